"""Connections whose requests come slowly, over a real uvicorn server."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time

import pytest
import uvicorn

from interlock.serve.connections import BoundedProtocol


class Hasty(BoundedProtocol):
    patience_s = 0.3
    whole_s = 0.6


async def echo(scope, receive, send):
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body, more = body + message.get("body", b""), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module")
def port():
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(echo, http=Hasty, ws="none", lifespan="off", log_level="critical")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join()


def answer(port, pieces, pause_s):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as link:
        for piece in pieces:
            link.sendall(piece)
            time.sleep(pause_s)
        return link.recv(65536)


HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n"


def test_a_request_that_comes_in_time_is_answered(port):
    assert answer(port, [HEAD, b"1" * 10, b"2" * 10], 0.05).endswith(b"1" * 10 + b"2" * 10)


def test_a_body_that_does_not_come_is_told_so(port):
    found = answer(port, [HEAD, b"1"], 0)
    assert found.startswith(b"HTTP/1.1 408")
    assert b"Nothing more of the request came for 0.3 seconds" in found


def test_a_body_that_trickles_is_told_so_although_it_never_rests(port):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as link:
        link.sendall(HEAD)
        link.settimeout(0.1)
        found = b""
        for _ in range(19):
            try:
                link.sendall(b"1")
                found = link.recv(65536)
            except TimeoutError:
                continue
            break
    assert found.startswith(b"HTTP/1.1 408")
    assert b"not there after 0.6 seconds" in found


@pytest.mark.parametrize("together", [True, False])
def test_a_body_is_not_read_as_the_next_request_where_another_protocol_is_asked_for(port, together):
    inner = b"POST /inner HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\ninner"
    head = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: %d\r\n\r\n" % len(
        inner
    )
    found = answer(port, [head + inner] if together else [head, inner], 0.05)
    assert found.startswith(b"HTTP/1.1 400")
    assert b"Upgrade" in found
    assert b"inner" not in found
    assert found.count(b"HTTP/1.1 4") == 1


def test_a_page_is_given_to_who_would_like_another_protocol(port):
    asked = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    assert answer(port, [asked], 0.05).startswith(b"HTTP/1.1 200")


def test_who_takes_no_answers_is_let_go(port):
    """Answers of ten megabytes, one after the other, of which nothing is taken."""
    body = b"x" * 10_000_000
    request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with socket.create_connection(("127.0.0.1", port), timeout=5) as link:
        link.sendall(request)
        time.sleep(1.2)
        taken = 0
        with contextlib.suppress(ConnectionError):
            while got := len(link.recv(1 << 20)):
                taken += got
        assert taken < len(body)


def test_who_takes_them_slowly_gets_them(port):
    body = b"x" * 3_000_000
    request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    taken = 0
    with socket.create_connection(("127.0.0.1", port), timeout=5) as link:
        link.sendall(request)
        while taken < len(body):
            time.sleep(0.05)
            got = len(link.recv(100_000))
            assert got
            taken += got
