"""HTTP connections that send the head of an answer together with what follows it.

uvicorn writes the two one after the other, and each write is a system call and a packet. Here a head waits for the
first piece of its body, or for the end of an answer that has none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    from asyncio import BaseTransport, Transport


class CorkedProtocol(HttpToolsProtocol):
    """uvicorn's protocol over a transport that keeps heads back."""

    _corked: _Corked

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin with a new connection."""
        self._corked = _Corked(transport)  # type: ignore[arg-type]
        super().connection_made(self._corked)  # type: ignore[arg-type]

    def on_response_complete(self) -> None:
        """Send what is left of an answer, and go on."""
        self._corked.flush()
        super().on_response_complete()


class _Corked:
    """A transport that keeps the head of an answer until something follows it."""

    __slots__ = ("_head", "_transport")

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._head = b""

    def write(self, data: bytes) -> None:
        """Send bytes; a head, when something follows it."""
        if self._head:
            self._head, data = b"", self._head + data
        elif data.startswith(b"HTTP/1.") and not data.startswith(b"HTTP/1.1 100"):
            self._head = data
            return
        if data and not self._transport.is_closing():  # the client may have gone meanwhile
            self._transport.write(data)

    def send(self, data: bytes) -> None:
        """Send a whole answer."""
        self.flush()
        if not self._transport.is_closing():
            self._transport.write(data)

    def flush(self) -> None:
        """Send a head that nothing follows."""
        if self._head:
            self.write(b"")

    def close(self) -> None:
        """Send what is held, and close."""
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
