"""The remote client against servers that misbehave; what it does with a good one is in test_local_remote.py."""

from __future__ import annotations

import hashlib
import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from notes_service import SERVICES

from interlock.core.actor import acting_as
from interlock.core.errors import Corrupt, Error, Invalid, Unavailable
from interlock.core.ids import new_id
from interlock.sdk import remote
from interlock.sdk.catalog import Catalog
from interlock.sdk.remote import RemoteBackend
from interlock.sdk.workspace import Workspace
from interlock.server.run import Server, serving
from interlock.store import create_store

CATALOG = Catalog(SERVICES)
COUNT = CATALOG.operation("notes", "count")
BREAK_OFF = CATALOG.operation("notes", "break_off")
Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_PAUSES_S", (0.0, 0.0))


class Fake:
    """An HTTP server that answers as it is told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.asked: list[str] = []
        self.headers: list[Any] = []
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_all(self) -> None:
                fake.asked.append(f"{self.command} {self.path}")
                fake.headers.append(self.headers)
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                fake.answers.pop(0)(self)

            do_GET = do_POST = do_PUT = handle_all  # noqa: N815 - the library's names

            def log_message(self, *_: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def fake() -> Iterator[Fake]:
    opened = Fake()
    yield opened
    opened.close()


@pytest.fixture
def client(fake: Fake) -> Iterator[RemoteBackend]:
    opened = RemoteBackend(fake.address)
    yield opened
    opened.close()


def say(status: int, body: bytes, content_type: str = "application/msgpack", **headers: str) -> Answer:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Type": content_type, "Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def hang_up(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def hang_up_after_answer(body: bytes) -> Answer:
    """Answer as if the connection stayed, then close it."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        say(200, body)(handler)
        handler.wfile.flush()
        handler.close_connection = True

    return answer


SEVEN = msgspec.msgpack.encode(7)
BUSY = say(503, msgspec.json.encode(Unavailable("Busy.").to_problem()), "application/problem+json")


@pytest.mark.parametrize("trouble", [hang_up, BUSY, say(502, b"<html>", "text/html")])
def test_reading_calls_are_tried_again(fake: Fake, client: RemoteBackend, trouble: Answer) -> None:
    fake.answers = [trouble, trouble, say(200, SEVEN)]
    assert client.call(COUNT, {}) == 7
    assert len(fake.asked) == 3


@pytest.mark.parametrize("trouble", [hang_up, BUSY, say(502, b"<html>", "text/html")])
def test_writing_calls_are_made_once(fake: Fake, client: RemoteBackend, trouble: Answer) -> None:
    fake.answers = [trouble, say(200, b"\xc0")]
    with pytest.raises(Unavailable):
        client.call(BREAK_OFF, {})
    assert fake.asked == ["POST /api/v1/notes/break_off"]


def test_in_the_end_reading_calls_give_up(fake: Fake, client: RemoteBackend) -> None:
    fake.answers = [hang_up] * 4
    with pytest.raises(Unavailable, match="cannot be reached"):
        client.call(COUNT, {})
    assert len(fake.asked) == 3


def test_errors_that_stay_are_not_tried_again(fake: Fake, client: RemoteBackend) -> None:
    fake.answers = [say(422, msgspec.json.encode(Invalid("No.").to_problem()), "application/problem+json")] * 2
    with pytest.raises(Invalid, match="No"):
        client.call(COUNT, {})
    assert len(fake.asked) == 1


def test_a_connection_is_used_again(fake: Fake, client: RemoteBackend) -> None:
    ports: set[int] = set()

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        ports.add(handler.client_address[1])
        say(200, SEVEN)(handler)

    fake.answers = [answer] * 3
    assert [client.call(COUNT, {}) for _ in range(3)] == [7] * 3
    assert len(ports) == 1


def test_a_connection_that_the_server_closed_is_not_written_to(fake: Fake, client: RemoteBackend) -> None:
    fake.answers = [hang_up_after_answer(SEVEN), say(200, b"\xc0")]
    assert client.call(COUNT, {}) == 7
    (idle, _), *_ = client._connections._idle
    idle.sock.settimeout(5)
    assert idle.sock.recv(1, socket.MSG_PEEK) == b""  # the goodbye has arrived
    assert client.call(BREAK_OFF, {}) is None


def test_a_connection_whose_answer_was_not_read_is_not_used_again(fake: Fake, client: RemoteBackend) -> None:
    fake.answers = [say(200, b"x" * 100_000), say(200, SEVEN)]
    with client._answer("GET", "/", b"", {}, 5):
        pass
    assert client._connections._idle == []
    assert client.call(COUNT, {}) == 7


@pytest.mark.parametrize(
    "answer",
    [
        say(200, b"<html>hello</html>", "text/html"),
        say(200, msgspec.msgpack.encode("seven")),
        say(404, b"<html>no</html>", "text/html"),
        say(418, b"{}", "application/json"),
        say(500, b"not json", "application/problem+json"),
        say(500, b'{"code": 3, "findings": 4}', "application/problem+json"),
        say(500, b'{"facts": []}', "application/problem+json"),
        say(302, b"", "text/html", Location="http://evil.example/"),
    ],
)
def test_answers_of_something_else_are_an_error_of_ours(fake: Fake, client: RemoteBackend, answer: Answer) -> None:
    fake.answers = [answer]
    with pytest.raises(Error) as caught:
        client.call(COUNT, {})
    assert type(caught.value) is Error
    assert len(fake.asked) == 1


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(Unavailable, match="cannot be reached") as caught:
        RemoteBackend(f"http://127.0.0.1:{port}").call(COUNT, {})
    assert "interlock up" in caught.value.hint


def test_something_that_speaks_no_http() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def talk() -> None:
            for _ in range(3):
                connection, _ = server.accept()
                with connection:
                    connection.recv(1000)
                    connection.sendall(b"220 mail ready\r\n\r\n")

        thread = threading.Thread(target=talk)
        thread.start()
        with pytest.raises(Unavailable):
            RemoteBackend(f"http://127.0.0.1:{server.getsockname()[1]}").call(COUNT, {})
        thread.join()


def test_silence_ends_after_the_time_that_was_set(fake: Fake) -> None:
    enough = threading.Event()
    fake.answers = [lambda _: enough.wait(10)] * 3
    client = RemoteBackend(fake.address, read_s=0.05)
    try:
        with pytest.raises(Unavailable, match=r"did not answer within 0\.05 seconds"):
            client.call(COUNT, {})
    finally:
        enough.set()
        client.close()


@pytest.mark.parametrize(
    "address",
    ["ftp://x", "http://", "http://:80", "http://host:port", "http://u:p@host", "http://host?x", "http://h:99999", ""],
)
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(Invalid):
        RemoteBackend(address)


def test_a_server_may_stand_under_a_path(fake: Fake) -> None:
    fake.answers = [say(200, SEVEN)]
    client = RemoteBackend(f"{fake.address}/ml/")
    assert client.call(COUNT, {}) == 7
    assert fake.asked == ["POST /ml/api/v1/notes/count"]
    client.close()


def test_the_caller_is_named(fake: Fake, client: RemoteBackend) -> None:
    fake.answers = [say(200, SEVEN)]
    with acting_as("user:J\u00fcrg\r\nX-Evil: 1"):
        client.call(COUNT, {})
    assert fake.headers[0]["Interlock-Actor"] == "user:J%C3%BCrg%0D%0AX-Evil%3A 1".replace("%3A", ":")
    assert "X-Evil" not in fake.headers[0]


def test_bytes_that_are_not_what_was_asked_for(fake: Fake, client: RemoteBackend, tmp_path: Path) -> None:
    digest = hashlib.sha256(b"abc").hexdigest()
    fake.answers = [say(200, b"abd")] * 2
    with pytest.raises(Corrupt):
        client.read(digest)
    with pytest.raises(Corrupt):
        client.save(digest, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_breaks_off_is_fetched_again(fake: Fake, client: RemoteBackend, tmp_path: Path) -> None:
    data = b"abc" * 1000

    def half(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[:100])
        hang_up(handler)

    digest = hashlib.sha256(data).hexdigest()
    fake.answers = [half, say(200, data), half, say(200, data)]
    client.save(digest, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == data
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert client.read(digest) == data


def test_an_upload_that_the_server_stored_wrongly(fake: Fake, client: RemoteBackend, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    wrong = b'{"name": "a", "digest": "00", "size_bytes": 3}'
    fake.answers = [say(200, wrong, "application/json"), say(200, b"{}", "application/json")]
    with pytest.raises(Corrupt):
        client.put(tmp_path / "a", new_id())
    with pytest.raises(Error, match="no stored file"):
        client.put(tmp_path / "a", new_id())


def test_a_file_that_changes_is_sent_as_long_as_it_was_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"x" * 20)
    with file.open("rb") as source:
        reader = remote._Counting(source, 10, "log")
        assert reader.read() + reader.read() == b"x" * 10
    with file.open("rb") as source:
        reader = remote._Counting(source, 30, "log")
        assert reader.read() == b"x" * 20
        with pytest.raises(Invalid, match="became shorter"):
            reader.read()


def test_a_refused_upload_says_why_although_it_was_not_taken(tmp_path: Path) -> None:
    from interlock.server import app, routes

    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(64 << 20)
    with Workspace.over(create_store(tmp_path / ".interlock"), services=SERVICES) as workspace:
        server = Server(workspace)
        server._uvicorn.config.app = app.create_app(workspace, limits=routes.Limits(file=1000))
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            with Workspace.open(server.address, services=SERVICES) as client, pytest.raises(Error) as caught:
                client.upload(big)
        finally:
            server.stop()
            thread.join()
    assert isinstance(caught.value, Invalid | Unavailable)  # by chance of the network the answer may be lost


def test_threads_share_a_client(tmp_path: Path) -> None:
    results: list[int] = []
    with (
        Workspace.over(create_store(tmp_path / ".interlock"), services=SERVICES) as local,
        serving(local) as address,
        Workspace.open(address, services=SERVICES) as workspace,
    ):

        def work() -> None:
            results.extend(workspace.notes.echo(value=number)["value"] for number in range(20))

        threads = [threading.Thread(target=work) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(results) == sorted([*range(20)] * 12)
