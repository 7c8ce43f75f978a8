"""Clients who hold connections without use: who say nothing, half of something, or read no answer."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from typing import Final, Self

_HEAD: Final = b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
_RESET: Final = struct.pack("ii", 1, 0)  # closing sends RST


class Crowd:
    """Holds connections, and drips a byte a second into those that have begun something; a context.

    Args:
        url: the server's.
        idle: connections over which nothing is sent.
        heads: connections that send a head byte by byte.
        bodies: connections that send a body byte by byte.
        deaf: connections that ask for much and read nothing.
        body: what the last ones ask.
    """

    def __init__(self, url: str, *, idle: int, heads: int, bodies: int, deaf: int, body: bytes) -> None:
        host, port = url.removeprefix("http://").split(":")
        self._address = (host, int(port))
        self._counts = (idle, heads, bodies, deaf)
        self._body = body
        self._links: list[socket.socket] = []
        self._dripping: list[socket.socket] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._drip)

    def __enter__(self) -> Self:
        idle, heads, bodies, deaf = self._counts
        for _ in range(idle):
            self._open()
        for _ in range(heads):
            self._dripping.append(self._open(_HEAD + b"X-Slow: "))
        for _ in range(bodies):
            self._dripping.append(self._open(_HEAD + b'Content-Length: 2000\r\n\r\n{"instances": ['))
        for _ in range(deaf):
            link = self._open()
            link.setblocking(False)
            with contextlib.suppress(BlockingIOError, OSError):
                for _ in range(90):
                    link.send(_HEAD + b"Content-Length: %d\r\n\r\n" % len(self._body) + self._body)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for link in self._links:
            link.close()

    def reset(self, count: int) -> None:
        """Begin so many requests and break off, as a machine that lost power does."""
        for number in range(count):
            with socket.create_connection(self._address, timeout=20) as link:
                link.sendall(_HEAD + b"Content-Length: 2000\r\n\r\n" + b"x" * (number % 50))
                link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)

    def _open(self, data: bytes = b"") -> socket.socket:
        link = socket.create_connection(self._address, timeout=20)
        self._links.append(link)
        if data:
            link.sendall(data)
        return link

    def _drip(self) -> None:
        while not self._stop.wait(1):
            for link in self._dripping:
                with contextlib.suppress(OSError):
                    link.send(b" ")
            time.sleep(0)
