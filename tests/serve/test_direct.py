"""Answers that take the short way: the same answers in the same order, each recorded before it leaves."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import uvicorn

from interlock.core.clock import SystemClock
from interlock.serve import journal as journals
from interlock.serve.app import Application, Limits
from interlock.serve.direct import connections_of
from interlock.serve.engine import Engine
from interlock.serve.hands import Hands
from interlock.serve.journal import open_journal
from interlock.serve.server import protocols
from interlock.serve.watch import Watcher

ROWS = [{"age": age, "hours": 38.0, "income": 30.0} for age in range(20, 80)]


def ask(*rows, close=False, path="/invocations", headers=""):
    body = json.dumps({"dataframe_records": rows}).encode()
    end = "Connection: close\r\n" if close else ""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{headers}{end}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def read_answers(link, count):
    """Return status, headers and body of so many answers."""
    file, found = link.makefile("rb"), []
    for _ in range(count):
        status = int(file.readline().split()[1])
        headers = {}
        while line := file.readline().strip():
            name, _, value = line.decode().partition(": ")
            headers[name] = value
        found.append((status, headers, json.loads(file.read(int(headers["content-length"])))))
    return found


class Running:
    """A server in a thread of this process, over a real engine."""

    def __init__(self, shop, durability):
        self.shop, self.durability = shop, durability
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.tasks = 0
        self.thread = threading.Thread(target=lambda: asyncio.run(self.serve()))
        self.server = None
        self.thread.start()
        while self.server is None or not self.server.started:
            time.sleep(0.01)

    async def serve(self):
        with ThreadPoolExecutor(2) as pool:
            engine = Engine(
                "shop", open_journal(self.shop.store.predictions.folder, self.durability), SystemClock(), Hands(pool)
            )
            Watcher(engine, self.shop.source()).check()
            app = Application(engine, protocols(), [], Limits())
            running = self

            class Counted(connections_of(app)):
                def _start_asgi_task(self, cycle, app):
                    super()._start_asgi_task(cycle, app)
                    running.tasks += self._held is None

            config = uvicorn.Config(app, http=Counted, ws="none", lifespan="off", log_level="critical")
            self.engine, server = engine, uvicorn.Server(config)
            self.server = server
            await server.serve([self.listener])
            await engine.journal.close()

    def link(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def stop(self):
        self.server.should_exit = True
        self.thread.join(30)


@pytest.fixture(params=["fsync", "1s"])
def running(request, shop, tools):
    shop.deploy(tools.route(shop.bundle("people")))
    server = Running(shop, request.param)
    yield server
    server.stop()


def logged(running):
    return {row.id: row for row in running.shop.store.predictions.rows()}


def test_an_answer_is_in_the_log_when_it_is_there_and_needs_no_task(running):
    with running.link() as link:
        for row in ROWS[:5]:
            link.sendall(ask(row))
            [(status, headers, answer)] = read_answers(link, 1)
            assert status == 200
            assert headers["interlock-model"] == "model:buyer@1"
            [given] = answer["predictions"]
            kept = logged(running)[given["prediction_id"]]
            assert (kept.inputs, kept.score) == (row, given["probability"])
            assert kept.request_id == headers["interlock-request-id"]
    assert running.tasks == 0


def test_requests_sent_together_are_answered_in_order(running):
    with running.link() as link:
        link.sendall(b"".join(ask(row) for row in ROWS) + ask({"age": 1}) + ask(ROWS[0], close=True))
        found = read_answers(link, len(ROWS) + 2)
        assert link.recv(1) == b""
    assert [status for status, _, _ in found] == [200] * len(ROWS) + [400, 200]
    kept = logged(running)
    ids = [answer["predictions"][0]["prediction_id"] for status, _, answer in found if status == 200]
    assert [kept[ident].inputs["age"] for ident in ids] == [row["age"] for row in [*ROWS, ROWS[0]]]


def test_a_body_that_comes_in_pieces_and_other_requests_go_as_tasks(running):
    with running.link() as link:
        whole = ask(ROWS[0])
        link.sendall(whole[:-10])
        time.sleep(0.05)
        link.sendall(whole[-10:])
        link.sendall(b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert link.recv(65536).startswith(b"HTTP/1.1 200")
    with running.link() as link:
        link.sendall(ask(ROWS[0], headers="Interlock-Timeout-Ms: 5000\r\n"))
        assert read_answers(link, 1)[0][0] == 200
    assert running.tasks == 1  # the page
    assert len(logged(running)) == 2


def test_many_callers_at_once_get_their_own_answers(running):
    def caller(row):
        with running.link() as link:
            link.sendall(ask(row))
            return read_answers(link, 1)[0]

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(caller, ROWS))
    kept = logged(running)
    assert [kept[answer["predictions"][0]["prediction_id"]].inputs for _, _, answer in found] == ROWS


def test_what_cannot_be_recorded_is_not_given(running, monkeypatch):
    monkeypatch.setattr(journals, "_REOPEN_S", 0.05)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with running.link() as link:
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1]))
        try:
            link.sendall(ask(ROWS[0]) + ask(ROWS[1]))
            lost = read_answers(link, 2)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert [status for status, _, _ in lost] == [503, 503]
        assert all("could not be recorded" in answer["message"] for _, _, answer in lost)
        time.sleep(0.1)
        link.sendall(ask(ROWS[2]))
        [(status, _, answer)] = read_answers(link, 1)
        assert status == 200
    assert list(logged(running)) == [answer["predictions"][0]["prediction_id"]]


def test_who_has_gone_hurts_nobody(running):
    for _ in range(10):
        link = running.link()
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset instead of an end
        link.sendall(ask(ROWS[0]) * 3)
        link.close()
    with running.link() as link:
        link.sendall(ask(ROWS[1], close=True))
        assert read_answers(link, 1)[0][0] == 200


def test_what_is_no_request_is_told_so_after_the_answers_before_it(running):
    with running.link() as link:
        link.sendall(ask(ROWS[0]) + b"GARBAGE\r\n\r\n")
        found = b""
        while more := link.recv(65536):
            found += more
    first, _, rest = found.partition(b"HTTP/1.1 400")
    if running.durability == "1s":  # with fsync the answer waits for the disk when the garbage comes
        assert first.startswith(b"HTTP/1.1 200")
        assert b"no HTTP/1.1 request" in rest
    end = time.monotonic() + 20
    while len(logged(running)) < 1 and time.monotonic() < end:  # who was told goes before the disk is done
        time.sleep(0.02)
    assert len(logged(running)) == 1


def test_answers_are_counted_as_they_leave(running, monkeypatch):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with running.link() as link:
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1]))
        try:
            link.sendall(ask(ROWS[0]))
            assert read_answers(link, 1)[0][0] == 503
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    end = time.monotonic() + 20
    while not running.engine.metrics.requests and time.monotonic() < end:  # a moment after it left
        time.sleep(0.02)
    assert {key[2]: count for key, count in running.engine.metrics.requests.items()} == {503: 1}


def test_a_deadline_holds_also_where_no_task_was_begun(running, monkeypatch):
    """A disk that hangs: who set a deadline is told so in time, who set none waits."""
    answer = running.engine.answer

    async def slow(*arguments):
        await asyncio.sleep(0.3)
        return await answer(*arguments)

    monkeypatch.setattr(running.engine, "answer", slow)
    with running.link() as patient, running.link() as hasty:
        patient.sendall(ask(ROWS[0]))
        hasty.sendall(ask(ROWS[1], headers="Interlock-Timeout-Ms: 30\r\n"))
        [(status, _, told)] = read_answers(hasty, 1)
        assert (status, told["message"].split(" within")[0]) == (504, "There was no answer")
        assert read_answers(patient, 1)[0][0] == 200
    assert running.tasks == 0
    assert len(logged(running)) == 1


def test_time_in_the_line_counts(running, monkeypatch):
    shares = running.server.config.http_protocol_class.shares
    monkeypatch.setattr(shares, "admits", lambda *_: False)
    put = shares.put
    monkeypatch.setattr(
        shares, "put", lambda peer, size, answer: asyncio.get_running_loop().call_later(0.05, put, peer, size, answer)
    )
    with running.link() as link:
        link.sendall(ask(ROWS[0], headers="Interlock-Timeout-Ms: 20\r\n"))
        assert read_answers(link, 1)[0][0] == 504
    with running.link() as link:
        link.sendall(ask(ROWS[0], headers="Interlock-Timeout-Ms: 5000\r\n"))
        assert read_answers(link, 1)[0][0] == 200
    assert len(logged(running)) == 1


def test_small_requests_are_heard_of_whichever_way_they_come(running):
    pace = running.engine.hands.pace
    pieces = ask(ROWS[0])
    for sent in ([ask(ROWS[0])], [ask(ROWS[0], headers="Interlock-Timeout-Ms: 5000\r\n")], [pieces[:-9], pieces[-9:]]):
        pace.small_at = float("-inf")
        with running.link() as link:
            for piece in sent:
                link.sendall(piece)
                time.sleep(0.02)
            assert read_answers(link, 1)[0][0] == 200
        assert pace.small_at > 0
    pace.small_at = float("-inf")
    with running.link() as link:
        link.sendall(ask(*ROWS, *ROWS, *ROWS))
        assert read_answers(link, 1)[0][0] == 200
    assert pace.small_at < 0
