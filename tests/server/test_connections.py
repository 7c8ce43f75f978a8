"""Real sockets to a real server: requests that never end, and what is no request at all."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from interlock.sdk.workspace import Workspace
from interlock.serve import connections
from interlock.server.run import serving

PIECE = b"a" * (64 << 10)
MANY = 500  # pieces: 32 MB


@pytest.fixture
def server(workspace: Workspace) -> Iterator[str]:
    with serving(workspace) as address:
        yield address.removeprefix("http://")


@pytest.fixture
def connect(server: str) -> Iterator[Callable[[], socket.socket]]:
    name, _, port = server.rpartition(":")
    with contextlib.ExitStack() as opened:

        def one() -> socket.socket:
            return opened.enter_context(socket.create_connection((name, int(port)), timeout=20))

        yield one


def answer_of(sock: socket.socket) -> tuple[int, dict[str, str], bytes]:
    response = http.client.HTTPResponse(sock)
    with contextlib.closing(response):
        response.begin()
        return response.status, dict(response.getheaders()), response.read()


def send_without_end(sock: socket.socket, begin: bytes, piece: bytes = PIECE) -> int:
    """Return how many pieces were taken until the other side closed."""
    sock.sendall(begin)
    taken = 0
    with contextlib.suppress(ConnectionError):
        while taken < MANY:
            sock.sendall(piece)
            taken += 1
    return taken


def health(server: str) -> None:
    asked = http.client.HTTPConnection(server, timeout=20)
    with contextlib.closing(asked):
        asked.request("GET", "/health")
        assert asked.getresponse().status == 200


@pytest.mark.parametrize(
    "sent", [b"hello\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"]
)
def test_what_is_no_request_is_told_so(connect: Callable[[], socket.socket], sent: bytes) -> None:
    sock = connect()
    sock.sendall(sent)
    status, headers, body = answer_of(sock)
    assert (status, headers["content-type"]) == (400, "application/problem+json")
    told = json.loads(body)
    assert (told["code"], told["title"]) == ("request.invalid", "This is no HTTP/1.1 request.")
    assert sock.recv(1) == b""


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (b"GET /", PIECE),
        (b"GET / HTTP/1.1\r\nX: ", PIECE),
        (b"GET / HTTP/1.1\r\n", b"X: a\r\n" * 10_000),
        (b"POST /api/v1/notes/count HTTP/1.1\r\nHost: %b\r\nTransfer-Encoding: chunked\r\n\r\n1;", PIECE),
        (b"POST /api/v1/notes/count HTTP/1.1\r\nHost: %b\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ", PIECE),
    ],
    ids=["target", "header", "headers", "chunk extension", "trailer"],
)
def test_what_comes_beside_a_body_has_an_end(
    connect: Callable[[], socket.socket], server: str, begin: bytes, piece: bytes
) -> None:
    head = begin.replace(b"%b", server.encode()).replace(
        b"\r\nTransfer", b"\r\nContent-Type: application/json\r\nTransfer"
    )
    assert send_without_end(connect(), head, piece) < MANY / 2
    health(server)


def test_a_head_that_is_too_large_is_told_so(connect: Callable[[], socket.socket]) -> None:
    for begin, more in ((b"GET /", b"a"), (b"GET / HTTP/1.1\r\nX: ", b"a")):
        sock = connect()
        sock.sendall(begin)
        sock.sendall(more * (connections._HEAD + 1))
        status, _, body = answer_of(sock)
        assert (status, json.loads(body)["code"]) == (431, "request.invalid")
    sock = connect()
    sock.sendall(b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 201 + b"\r\n")
    assert answer_of(sock)[0] == 431


def test_a_large_head_is_read(connect: Callable[[], socket.socket], server: str) -> None:
    sock = connect()
    sock.sendall(f"GET /health HTTP/1.1\r\nHost: {server}\r\nCookie: {'x' * 50_000}\r\n\r\n".encode())
    assert answer_of(sock)[0] == 200


def test_requests_are_read_ahead_within_reason(connect: Callable[[], socket.socket], server: str) -> None:
    request = f"GET /health HTTP/1.1\r\nHost: {server}\r\n\r\n".encode()
    sock = connect()
    sock.sendall(request * 50)
    received = b""
    while received.count(b"HTTP/1.1 200 OK") < 50 or not received.endswith(b"OK"):
        received += sock.recv(1 << 16)
    assert send_without_end(connect(), b"", request * 1000) < MANY / 2
    health(server)


def test_nobody_waits_for_a_request_that_does_not_come(
    connect: Callable[[], socket.socket], server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections.BoundedProtocol, "patience_s", 0.2)
    silent, half, later, body = connect(), connect(), connect(), connect()
    half.sendall(b"GET /health HTTP/1.1\r\nHost: ")
    later.sendall(f"GET /health HTTP/1.1\r\nHost: {server}\r\n\r\n".encode())
    assert answer_of(later)[0] == 200
    later.sendall(b"GET /hea")
    body.sendall(f"POST /api/v1/notes/count HTTP/1.1\r\nHost: {server}\r\n".encode())
    body.sendall(b"Content-Type: application/json\r\nContent-Length: 10\r\n\r\n{")
    for sock in (half, later, body):
        status, _, told = answer_of(sock)
        assert (status, json.loads(told)["code"]) == (408, "request.invalid")
    for sock in (silent, half, later, body):
        assert sock.recv(1) == b""


def test_who_waits_for_an_answer_is_not_silent(
    connect: Callable[[], socket.socket], server: str, monkeypatch: pytest.MonkeyPatch, workspace: Workspace
) -> None:
    monkeypatch.setattr(connections.BoundedProtocol, "patience_s", 0.05)
    free = threading.Event()
    one = workspace.store.database.one
    monkeypatch.setattr(workspace.store.database, "one", lambda *args: free.wait(20) and one(*args))
    sock = connect()
    sock.sendall(f"GET /health HTTP/1.1\r\nHost: {server}\r\n\r\n".encode())
    sock.settimeout(0.3)
    with pytest.raises(TimeoutError):
        sock.recv(1)
    free.set()
    sock.settimeout(20)
    assert answer_of(sock)[0] == 200


def test_a_body_that_comes_slowly_is_waited_for(
    connect: Callable[[], socket.socket], server: str, monkeypatch: pytest.MonkeyPatch, workspace: Workspace
) -> None:
    monkeypatch.setattr(connections.BoundedProtocol, "patience_s", 1.0)
    sock = connect()
    head = f"PUT /api/v1/uploads?name=x HTTP/1.1\r\nHost: {server}\r\nTransfer-Encoding: chunked\r\n\r\n"
    sock.sendall(head.encode())
    for piece in (b"1", b"\r\n", b"a\r", b"\n1\r\n", b"b\r\n"):  # longer in all than patience lasts
        sock.settimeout(0.3)
        with contextlib.suppress(TimeoutError):
            assert sock.recv(1), "closed"
        sock.sendall(piece)
    sock.settimeout(20)
    sock.sendall(b"0\r\n\r\n")
    assert answer_of(sock)[0] == 200
    assert len([path for path in Path(workspace.store.uploads.root).rglob("*") if path.is_file()]) == 1
