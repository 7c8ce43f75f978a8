"""Connections to one server: kept alive, shared by threads, on the standard library alone."""

from __future__ import annotations

import contextlib
import http.client
import selectors
import threading
import time
from typing import TYPE_CHECKING, Any, BinaryIO, Final
from urllib.parse import urlsplit

from interlock.core.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CONNECT_S: Final = 10.0
_IDLE_S: Final = 30.0  # less than our server's 75 s, so that a request rarely meets a closing connection
_KEPT: Final = 8


class Connections:
    """A small pool of connections to one address.

    Args:
        address: `http://` or `https://`, a host, perhaps a port and a path under which the server stands.

    Raises:
        Invalid: the address is none.
    """

    def __init__(self, address: str) -> None:
        try:
            parts = urlsplit(address)
            port = parts.port
        except ValueError as error:
            raise _no_address(address, str(error)) from None
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise _no_address(address, "it needs http:// or https:// and a host")
        if parts.username or parts.query or parts.fragment:
            raise _no_address(address, "it may hold neither names nor queries")
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname, port
        self.prefix = parts.path.rstrip("/")
        self.address = f"{parts.scheme}://{parts.netloc}{self.prefix}"
        self._idle: list[tuple[http.client.HTTPConnection, float]] = []
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def exchange(
        self, method: str, path: str, body: bytes | BinaryIO, headers: Mapping[str, str], timeout_s: float
    ) -> Iterator[http.client.HTTPResponse]:
        """Send a request and give its response, to be read inside the block.

        Raises:
            OSError: the server cannot be reached, or the connection broke.
            http.client.HTTPException: what came back is no HTTP.
        """
        connection = self._take()
        answered = False
        try:
            if connection.sock is None:
                connection.timeout = _CONNECT_S
                connection.connect()
            connection.sock.settimeout(timeout_s)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                # A server that refuses a large body answers and closes before it has read it all; the answer says why.
                connection.request(method, self.prefix + path, body=body, headers=dict(headers))
            response = connection.getresponse()
            yield response
            answered = response.isclosed() and not response.will_close
        finally:
            if answered:
                self._give_back(connection)
            else:
                connection.close()

    def close(self) -> None:
        """Close the connections that wait."""
        with self._lock:
            waiting, self._idle = self._idle, []
        for connection, _ in waiting:
            connection.close()

    def _take(self) -> http.client.HTTPConnection:
        while True:
            with self._lock:
                if not self._idle:
                    break
                connection, since = self._idle.pop()
            if time.monotonic() - since < _IDLE_S and not _has_ended(connection.sock):
                return connection
            connection.close()
        if self._secure:
            return http.client.HTTPSConnection(self._host, self._port)
        return http.client.HTTPConnection(self._host, self._port)

    def _give_back(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if len(self._idle) < _KEPT:
                self._idle.append((connection, time.monotonic()))
                return
        connection.close()


def _has_ended(sock: Any) -> bool:
    """Return whether an idle connection can be read: nothing is due, so it is the other side's goodbye."""
    if sock is None:
        return True
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        return bool(selector.select(0))


def _no_address(address: str, why: str) -> Invalid:
    return Invalid(
        f"{address!r} is not the address of a server: {why}.",
        about="workspace",
        hint="Addresses look like http://127.0.0.1:8230.",
    )
