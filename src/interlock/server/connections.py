"""HTTP connections whose requests have an end.

uvicorn reads the head of a request however long it is and whenever it comes, and as many requests ahead as a client
sends: any of them fills the memory. Here each has a limit, and what is no HTTP is told so in the words of our errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from interlock.core.errors import Invalid
from interlock.core.ids import new_id
from interlock.serve.corked import CorkedProtocol
from interlock.server.problems import MEDIA_TYPE, Refusal, respond

if TYPE_CHECKING:
    from asyncio import BaseTransport, TimerHandle

    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

_HEAD: Final = 64 << 10  # bytes, beside those of the read in which it begins
_HEADERS: Final = 200
_AHEAD: Final = 100  # requests that a client sends before it has the answers to those before
_PATIENCE_S: Final = 60.0  # with a client that has begun a request and sends no more of it
_REASONS: Final = {400: b"Bad Request", 408: b"Request Timeout", 431: b"Request Header Fields Too Large"}


class BoundedProtocol(CorkedProtocol):
    """uvicorn's protocol with limits for what comes beside bodies, which are limited where they are read."""

    _unfinished = False  # a request has begun and not ended
    _moved = False  # in this read, a head ended or some of a body came
    _aside = 0  # bytes since then
    _last = 0.0  # when something came
    _timer: TimerHandle | None = None
    _refused: Refusal | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin with a new connection, on which a request shall come."""
        super().connection_made(transport)
        self._last = self.loop.time()
        self._wait(_PATIENCE_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came, if the request goes forward by it."""
        self._last = self.loop.time()
        self._moved = False
        super().data_received(data)
        if not self._unfinished:
            self._aside = 0
            self._stop_waiting()
            return
        self._aside = 0 if self._moved else self._aside + len(data)
        if self._aside > _HEAD:
            self._refuse(431, f"The head of a request is larger than {_HEAD} bytes.")
        elif self._timer is None:
            self._wait(_PATIENCE_S)

    def on_message_begin(self) -> None:
        """Note that a request begins."""
        super().on_message_begin()
        self._unfinished = True

    def on_headers_complete(self) -> None:
        """Start what answers, if there are not too many headers and requests already; the parser stops at an error."""
        self._moved = True
        if len(self.headers) > _HEADERS:
            self._refused = _refusal(431, f"A request has more than {_HEADERS} headers.")
            raise self._refused
        if len(self.pipeline) >= _AHEAD:
            self._refused = _refusal(400, f"More than {_AHEAD} requests wait for their answers.")
            raise self._refused
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Hand on some of a body."""
        self._moved = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that a request ended."""
        self._moved = True
        self._unfinished = False
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words are for its log
        """Answer that this is no request that is read here, and close; where an answer is under way, only close."""
        cycle: RequestResponseCycle | None = self.cycle
        under_way = cycle is not None and cycle.response_started and not cycle.response_complete
        if not under_way and not self.pipeline and not self.transport.is_closing():
            refusal = self._refused or _refusal(400, "This is no HTTP/1.1 request.")
            body = bytes(respond(refusal, new_id()).body)
            head = (
                b"HTTP/1.1 %d %b\r\ncontent-type: %b\r\ncontent-length: %d\r\nx-content-type-options: nosniff\r\n"
                b"connection: close\r\n\r\n"
            )
            values = (refusal.status, _REASONS[refusal.status], MEDIA_TYPE.encode(), len(body))
            self.transport.write(head % values + body)
        self.transport.close()

    def _refuse(self, status: int, message: str) -> None:
        self._refused = _refusal(status, message)
        self.send_400_response("")

    def _wait(self, patience_s: float) -> None:
        self._timer = self.loop.call_later(patience_s, self._look)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """Give up a client that is silent for too long, if it is not we who keep it waiting."""
        cycle: RequestResponseCycle | None = self.cycle
        if self.flow.read_paused or (cycle is not None and cycle.waiting_for_100_continue):
            self._last = self.loop.time()
        left = self._last + _PATIENCE_S - self.loop.time()
        if left > 0:
            self._wait(left)
        elif self._unfinished:
            self._refuse(408, f"Nothing more of the request came for {_PATIENCE_S:g} seconds.")
        else:
            self.transport.close()


def _refusal(status: int, message: str) -> Refusal:
    return Refusal(status, Invalid(message, about="request"))
