from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
import uvicorn

from interlock.serve.corked import CorkedProtocol, _Corked


class Sent:
    """What one connection wrote, by the write; everything reaches the real transport."""

    def __init__(self, transport: Any, writes: list[bytes]) -> None:
        self._transport, self._writes = transport, writes

    def write(self, data: bytes) -> None:
        self._writes.append(data)
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


async def exchange(app: Any, request: bytes) -> tuple[bytes, list[bytes]]:
    """Return what a client of a server got until the connection was closed, and the server's writes."""
    writes: list[bytes] = []

    class Watched(CorkedProtocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(Sent(transport, writes))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, http=Watched, log_config=None, lifespan="off", ws="none"))
        serving = asyncio.create_task(server.serve([listener]))
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(request)
        got = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        server.should_exit = True
        await serving
    return got, writes


def answering(*pieces: bytes) -> Any:
    async def app(_: Any, receive: Any, send: Any) -> None:
        await receive()
        size = str(sum(map(len, pieces))).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", size)]})
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return app


def ask(**headers: str) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"GET / HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode()


def test_head_and_body_go_out_in_one_write() -> None:
    got, writes = asyncio.run(exchange(answering(b"hello"), ask(Connection="close")))
    assert got.endswith(b"\r\n\r\nhello")
    assert writes == [got]


def test_answers_to_requests_sent_together_stay_in_order() -> None:
    got, _ = asyncio.run(exchange(answering(b"one", b"two"), ask() + ask() + ask(Connection="close")))
    assert got.count(b"\r\n\r\nonetwo") == 3
    assert got.endswith(b"onetwo")


@pytest.mark.parametrize("size", [64 << 10, 5 << 20])
def test_large_answers_are_whole_and_not_held_back(size: int) -> None:
    pieces = [bytes([number]) * (size // 4) for number in range(4)]
    got, writes = asyncio.run(exchange(answering(*pieces), ask(Connection="close")))
    assert got.partition(b"\r\n\r\n")[2] == b"".join(pieces)
    assert max(map(len, writes)) <= (64 << 10) + size // 4


def test_what_is_held_for_a_client_that_goes_is_dropped() -> None:
    """A client may reset its connection in the turn in which it is answered; uvloop's transports raise then."""

    class Gone:
        closed = False

        def is_closing(self) -> bool:
            return self.closed

        def write(self, data: bytes) -> None:
            assert not self.closed, "written to who has gone"

        def close(self) -> None:
            self.closed = True

    transport = Gone()
    corked = _Corked(transport)  # type: ignore[arg-type]
    corked.write(b"HTTP/1.1 200 OK\r\n\r\n")
    transport.closed = True
    corked.write(b"y")
    corked.close()


def test_an_answer_without_a_body_and_an_invitation_go_out_by_themselves() -> None:
    got, _ = asyncio.run(exchange(answering(), ask(Connection="close")))
    assert got.endswith(b"content-length: 0\r\nconnection: close\r\n\r\n")
    wanting = b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    got, _ = asyncio.run(exchange(answering(b"ok"), wanting))
    assert got.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
