"""HTTP connections whose requests have an end.

uvicorn reads the head of a request however long it is and whenever it comes, and as many requests ahead as a client
sends: any of them fills the memory. Here each has a limit, and what is no HTTP is told so in the words of our errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from interlock.core.errors import Invalid
from interlock.serve.corked import CorkedProtocol
from interlock.serve.http import JSON, to_json

if TYPE_CHECKING:
    from asyncio import BaseTransport, TimerHandle

    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from interlock.core.errors import Error

_HEAD: Final = 64 << 10  # bytes, beside those of the read in which it begins
_HEADERS: Final = 200
_AHEAD: Final = 100  # requests that a client sends before it has the answers to those before
_BODILESS: Final = frozenset({b"GET", b"HEAD"})
_REASONS: Final = {400: b"Bad Request", 408: b"Request Timeout", 431: b"Request Header Fields Too Large"}


class _Stop(Exception):
    """A request that is not read on."""


class BoundedProtocol(CorkedProtocol):
    """uvicorn's protocol with limits for what comes beside bodies, which are limited where they are read.

    Attributes:
        patience_s: with a client that has begun a request and sends no more of it, or takes nothing of its answers.
        whole_s: how long a request may come altogether.
    """

    patience_s = 60.0
    whole_s = float("inf")
    _unfinished = False  # a request has begun and not ended
    _moved = False  # in this read, a head ended or some of a body came
    _aside = 0  # bytes since then
    _last = 0.0  # when something came
    _timer: TimerHandle | None = None
    _began = 0.0  # when the request began
    _refused: tuple[int, str] | None = None
    _deaf: TimerHandle | None = None  # runs while the client takes no answers
    _unsent = 0  # bytes, when somebody looked

    def refusal(self, status: int, error: Error) -> tuple[bytes, bytes]:
        """Return the content type and the body of an answer that says so."""
        return JSON, to_json({"error": str(error), "code": error.code, "status": status})

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin with a new connection, on which a request shall come."""
        super().connection_made(transport)
        self._last = self._began = self.loop.time()
        self._wait(self.patience_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._stop_waiting()
        if self._deaf is not None:
            self._deaf.cancel()
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
            self._wait(self.patience_s)

    def on_message_begin(self) -> None:
        """Note that a request begins."""
        super().on_message_begin()
        self._unfinished = True
        self._began = self.loop.time()

    def on_headers_complete(self) -> None:
        """Start what answers, if there are not too many headers and requests already; the parser stops at an error."""
        self._moved = True
        if len(self.headers) > _HEADERS:
            self._refused = 431, f"A request has more than {_HEADERS} headers."
            raise _Stop
        if len(self.pipeline) >= _AHEAD:
            self._refused = 400, f"More than {_AHEAD} requests wait for their answers."
            raise _Stop
        if self.parser.should_upgrade() and self.parser.get_method() not in _BODILESS:
            # The parser would pass over the body, and read it as the next request.
            self._refused = 400, "Another protocol is asked for by Upgrade; send HTTP/1.1 without it."
            raise _Stop
        super().on_headers_complete()

    def pause_writing(self) -> None:
        """Note that the client does not take its answers, which gather here."""
        super().pause_writing()
        self._unsent = self.transport.get_write_buffer_size()
        self._deaf = self.loop.call_later(self.patience_s, self._end_if_deaf)

    def resume_writing(self) -> None:
        """Note that it does."""
        if self._deaf is not None:
            self._deaf.cancel()
        super().resume_writing()

    def _end_if_deaf(self) -> None:
        unsent = self.transport.get_write_buffer_size()
        if unsent >= self._unsent:
            self.transport.abort()
        else:
            self._unsent = unsent
            self._deaf = self.loop.call_later(self.patience_s, self._end_if_deaf)

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
            status, message = self._refused or (400, "This is no HTTP/1.1 request.")
            media, body = self.refusal(status, Invalid(message, about="request"))
            head = (
                b"HTTP/1.1 %d %b\r\ncontent-type: %b\r\ncontent-length: %d\r\nx-content-type-options: nosniff\r\n"
                b"connection: close\r\n\r\n"
            )
            values = (status, _REASONS[status], media, len(body))
            self.transport.write(head % values + body)
        self.transport.close()

    def _refuse(self, status: int, message: str) -> None:
        self._refused = status, message
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
            self._last = self._began = self.loop.time()
        left = min(self._last + self.patience_s, self._began + self.whole_s) - self.loop.time()
        if left > 0:
            self._wait(left)
        elif self._unfinished:
            patient = self.loop.time() - self._last < self.patience_s
            late = f"The request was not there after {self.whole_s:g} seconds."
            self._refuse(408, late if patient else f"Nothing more of the request came for {self.patience_s:g} seconds.")
        else:
            self.transport.close()
