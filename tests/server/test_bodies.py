"""Real sockets to a real server: what many requests together hold, and who has gone."""

from __future__ import annotations

import contextlib
import functools
import gzip
import http.client
import json
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any, Self

import pytest

from interlock.core.errors import Unavailable
from interlock.sdk.workspace import Workspace
from interlock.server import app as app_module
from interlock.server import bodies
from interlock.server.bodies import SMALL
from interlock.server.resources import Room, Share
from interlock.server.routes import Limits
from interlock.server.run import serving

MB = 1 << 20
HELD = 4 * MB
OPERATION = "/api/v1/notes/echo"
SEARCH = "/api/2.0/mlflow/runs/search"


def test_shares_of_a_room() -> None:
    room = Room(100)
    one, two = Share(room), Share(room)
    one.hold(60)
    one.hold(40)  # in all
    two.hold(40)
    with pytest.raises(Unavailable):
        two.hold(41)
    one.close()
    one.close()
    two.hold(100)
    with pytest.raises(Unavailable):
        one.hold(1)
    two.close()
    one.hold(100)


@pytest.fixture
def host(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(app_module, "Limits", functools.partial(Limits, held=HELD))
    with serving(workspace) as address:
        yield address.removeprefix("http://")


@pytest.fixture
def begin(host: str) -> Iterator[Callable[..., socket.socket]]:
    """Send a request's head and perhaps some of its body."""
    name, _, port = host.rpartition(":")
    with contextlib.ExitStack() as opened:

        def one(path: str, length: int, some: bytes = b"", method: str = "POST", more: str = "") -> socket.socket:
            sock = opened.enter_context(socket.create_connection((name, int(port)), timeout=20))
            head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n{more}"
            sock.sendall(f"{head}Content-Length: {length}\r\n\r\n".encode() + some)
            return sock

        yield one


def answer_of(sock: socket.socket) -> tuple[int, dict[str, str], Any]:
    response = http.client.HTTPResponse(sock)
    with contextlib.closing(response):
        response.begin()
        return response.status, {n.lower(): v for n, v in response.getheaders()}, json.loads(response.read())


def body_of(size: int) -> bytes:
    return b'{"filter":"' + b" " * (size - 13) + b'"}'


def fill(begin: Callable[..., socket.socket], path: str, host: str) -> list[socket.socket]:
    """Return connections that have sent most of what the server holds, and do not go on."""
    half = body_of(3 * MB)[: 3 * MB // 2]
    held = [begin(path, 3 * MB, half) for _ in range(2)]
    for _ in range(200):  # until that has arrived
        asked = begin(path, 2 * MB, body_of(2 * MB))
        status, headers, told = answer_of(asked)
        if status == 503:
            assert headers["retry-after"] == "1"
            assert "as many bytes" in told.get("title", told.get("message"))
            assert told.get("code", told.get("error_code")) in {"server.unavailable", "TEMPORARILY_UNAVAILABLE"}
            return held
    pytest.fail("there is no end to what is held")


@pytest.mark.parametrize("path", [OPERATION, SEARCH])
def test_bodies_have_an_end_together(begin: Callable[..., socket.socket], host: str, path: str) -> None:
    first, second = fill(begin, path, host)
    small = body_of(SMALL // 2)
    assert answer_of(begin(path, len(small), small))[0] < 500  # what is small goes on
    rest = body_of(3 * MB)[3 * MB // 2 :]
    second.close()
    for _ in range(200):  # until it is known that one has gone
        first.sendall(rest)
        status, _, _ = answer_of(first)
        if status != 503:
            break
        first = begin(path, 3 * MB, body_of(3 * MB)[: 3 * MB // 2])
    assert status < 500
    for _ in range(3):  # what was held is given back, whatever came of it
        assert answer_of(begin(path, 3 * MB, body_of(3 * MB)))[0] < 500


def test_uploads_that_have_begun_have_the_same_end(begin: Callable[..., socket.socket]) -> None:
    begun = [begin("/api/v1/uploads?name=x", 2 * MB, b"x" * (MB - 1000), "PUT") for _ in range(12)]
    waiting: set[socket.socket] = set(begun)
    while len(waiting) > HELD // MB:
        answered, _, _ = select.select(waiting, [], [], 20)
        assert answered, "more is held"
        for sock in answered:
            assert answer_of(sock)[0] == 503
            waiting.remove(sock)
    for sock in waiting:
        sock.sendall(b"x" * (MB + 1000))
    assert 200 in {answer_of(sock)[0] for sock in waiting}


def test_the_rest_of_a_body_that_found_no_room_is_read_and_forgotten(
    begin: Callable[..., socket.socket], host: str
) -> None:
    fill(begin, SEARCH, host)
    sock = begin(SEARCH, 3 * MB, body_of(3 * MB))
    assert answer_of(sock)[0] == 503
    sock.sendall(f"GET /api/v1/openapi.json HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert answer_of(sock)[0] == 200


def test_what_unpacks_to_much_has_the_same_end(begin: Callable[..., socket.socket]) -> None:
    bomb = gzip.compress(b" " * (2 * HELD))
    assert len(bomb) < SMALL
    sock = begin("/v1/traces", len(bomb), bomb, more="Content-Encoding: gzip\r\nX-Mlflow-Experiment-Id: 0\r\n")
    status, headers, _ = answer_of(sock)
    assert status == 503
    assert "retry-after" in headers


@pytest.mark.parametrize("path", ["/api/v1/objects/{digest}", "/get-artifact?run_id={run}&path=big"])
def test_nothing_is_read_for_who_has_gone(
    begin: Callable[..., socket.socket], host: str, workspace: Workspace, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 96 * MB
    digest = workspace.store.objects.put(bytes(size))
    asked = http.client.HTTPConnection(host, timeout=20)
    with contextlib.closing(asked):
        asked.request("POST", "/api/2.0/mlflow/runs/create", b'{"experiment_id": "0"}')
        run = json.loads(asked.getresponse().read())["run"]["info"]["run_id"]
        asked.request("PUT", f"/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts/big", bytes(size))
        assert asked.getresponse().read() == b"{}"
    file = Counted(workspace.store.objects.open(digest))
    monkeypatch.setattr(workspace.store.objects, "open", lambda _: file)
    monkeypatch.setattr("interlock.server.routes.Api._fetched", lambda *_: file)
    sock = begin(path.format(digest=digest, run=run), 0, method="GET")
    assert sock.recv(1000).startswith(b"HTTP/1.1 200")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # goes at once
    sock.close()
    assert file.closed_now.wait(20)
    assert file.taken < size / 2


class Counted:
    """A file that counts what is read of it."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.taken = 0
        self.closed_now = threading.Event()

    def read(self, size: int) -> bytes:
        data: bytes = self._file.read(size)
        self.taken += len(data)
        return data

    def seek(self, place: int) -> None:
        self._file.seek(place)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.closed_now.set()


def test_a_body_that_trickles_gives_its_room_back(
    begin: Callable[..., socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "_SILENCE_S", 0.5)
    monkeypatch.setattr(bodies, "_FAIR", 100 * MB)
    sock = begin(SEARCH, 3 * MB, body_of(3 * MB)[:MB])
    for _ in range(200):
        if select.select([sock], [], [], 0.05)[0]:
            break
        sock.sendall(b" ")
    assert answer_of(sock)[0] == 503
