"""HTTP connections that send the head and the body of an answer together.

uvicorn writes them one after the other, and each write is a system call and a packet. Here what is written in one turn
of the event loop goes out at its end, at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, BaseTransport, Transport

_MOST: Final = 64 << 10  # held back; more goes out at once, so that a slow reader slows its writer


class CorkedProtocol(HttpToolsProtocol):
    """uvicorn's protocol over a transport that gathers small writes."""

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin with a new connection."""
        super().connection_made(_Corked(transport, self.loop))  # type: ignore[arg-type]


class _Corked:
    """A transport that sends what was written when the event loop's turn ends."""

    __slots__ = ("_held", "_loop", "_size", "_transport")

    def __init__(self, transport: Transport, loop: AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        """Send bytes, soon."""
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)
        self._size += len(data)
        if self._size > _MOST:
            self._flush()

    def close(self) -> None:
        """Send what is held, and close."""
        self._flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _flush(self) -> None:
        held, self._held, self._size = self._held, [], 0
        if held and not self._transport.is_closing():  # the client may have gone in this turn
            self._transport.write(held[0] if len(held) == 1 else b"".join(held))
