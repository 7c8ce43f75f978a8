"""HTTP connections that answer predictions at once, where nothing has to be waited for.

Through ASGI each request becomes a task of the event loop, and its answer two messages; most predictions need neither:
their body came with their head, and a model answers within microseconds. Those are answered where they are read, and
leave when the turn of the loop ends: what was answered in one turn is recorded by one write, and wakes its callers in
one go. The rest, and whatever has to wait for a disk or a thread, go on as tasks.
"""

from __future__ import annotations

import logging
import time
import types
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from interlock.core.errors import Error
from interlock.serve.connections import BoundedProtocol
from interlock.serve.deadlines import DEADLINE, in_time
from interlock.serve.http import Request, count_of
from interlock.serve.journal import STAGE
from interlock.serve.shares import Shares
from interlock.serve.sizes import LARGE

if TYPE_CHECKING:
    from asyncio import BaseTransport, Task
    from collections.abc import Awaitable, Coroutine, Generator, Sequence

    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from interlock.serve.app import Application
    from interlock.serve.http import Response
    from interlock.serve.journal import PromptJournal
    from interlock.store.predictions import Answered

    Answering = Coroutine[Any, None, Response]
    Headers = Sequence[tuple[bytes, bytes]]
    Staged = list[tuple[PromptJournal, list[Answered]]]

_log: Final = logging.getLogger("interlock.serve")


def connections_of(application: Application) -> type[DirectProtocol]:
    """Return the class of a server's connections."""
    own = {"application": application, "outbox": Outbox(application), "shares": Shares(application.engine.hands.pace)}
    return type("Connection", (DirectProtocol,), own)


class DirectProtocol(BoundedProtocol):
    """uvicorn's protocol, with a short way for predictions.

    Bodies of predictions are small: who sends one for long holds a place that others could have.

    Attributes:
        application: what answers; also what uvicorn runs.
        outbox: where answers leave, that of the server's event loop.
        shares: says who is answered when.
    """

    application: ClassVar[Application]
    outbox: ClassVar[Outbox]
    shares: ClassVar[Shares]
    patience_s = 20.0
    whole_s = 60.0

    _waiting: set[Task[None]]  # for a disk or a thread
    _reading = False  # `data_received` is under way
    _held: RequestResponseCycle | None = None  # a request whose body comes in this read, or soon

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin with a new connection."""
        self._waiting = set()
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Take what came; a request that is not whole by then becomes a task, unless the rest of it is small."""
        self._reading = True
        super().data_received(data)
        self._reading = False
        if self._held is not None and not _is_awaited(self._held):
            held, self._held = self._held, None
            super()._start_asgi_task(held, self.app)

    def on_message_complete(self) -> None:
        """Answer a request that is whole, or let it wait for its share."""
        super().on_message_complete()
        held, self._held = self._held, None
        if held is None:
            return
        peer, size = self.client[0] if self.client else "", len(held.body)
        if _has(held, b"content-encoding"):
            size = LARGE  # what it unpacks to, nobody knows yet
        if self.shares.admits(peer, size):
            self._answer(held)
        else:
            began = time.perf_counter()
            self.shares.put(peer, size, lambda: self._answer(held, began))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        plain = self._reading and not self.flow.write_paused
        if plain and self.application.is_direct(cycle.scope):  # type: ignore[arg-type]
            self._held = cycle
        else:
            super()._start_asgi_task(cycle, app)

    def _answer(self, cycle: RequestResponseCycle, began: float = 0.0) -> Task[None] | None:
        """Answer at the end of this turn, or return the task that waits for what the answer needs."""
        if cycle.disconnected:
            return None
        request = Request(cycle.scope)  # type: ignore[arg-type]
        request.body, request.whole, request.began = bytes(cycle.body), True, began
        answering = self.application.respond(request)
        STAGE.open = True
        try:
            waiting = answering.send(None)
        except StopIteration as done:
            self.outbox.put(Leaving(self, cycle, request, done.value, STAGE.take()))
            return None
        finally:
            STAGE.open = False
        # It was recorded, and something has to be done yet: whatever becomes of that, the record is made now.
        errors = [error for journal, answered in STAGE.take() for error in journal.record_staged([answered]) if error]
        task = self.loop.create_task(self._answer_later(cycle, request, _resumed(answering, waiting), errors))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)
        return task

    async def _answer_later(
        self, cycle: RequestResponseCycle, request: Request, answering: Awaitable[Response], errors: list[Error]
    ) -> None:
        try:
            async with in_time(request):
                response = await answering
        except Error as error:
            response = self.application.refuse(request, error)
        if errors:
            response = self.application.refuse(request, errors[0])
        self.outbox.put(Leaving(self, cycle, request, response, []))

    def connection_lost(self, exc: Exception | None) -> None:
        """End; what the caller waited for is given up, where it has not begun."""
        self._held = None
        for task in self._waiting:
            task.cancel()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request, after the answers to those before it."""
        self.outbox.end()
        super().send_400_response(msg)

    def send(self, cycle: RequestResponseCycle, request: Request, response: Response) -> None:
        """Send an answer."""
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        if not cycle.disconnected:
            outbox, size = self.outbox, b"%d" % len(response.body)
            parts = [STATUS_LINE[response.status], outbox.defaults(cycle.default_headers)]
            parts += (b"content-type: ", response.media, b"\r\ncontent-length: ", size)
            parts += (b"\r\ninterlock-request-id: ", request.id.encode(), b"\r\n", outbox.lines(response.headers))
            if not cycle.keep_alive:
                parts.append(b"connection: close\r\n")
            parts += (b"\r\n", response.body)
            self._corked.send(b"".join(parts))
            if not cycle.keep_alive or (b"connection", b"close") in response.headers:
                self.transport.close()
        cycle.on_response()


def _has(cycle: RequestResponseCycle, wanted: bytes) -> bool:
    for name, _ in cycle.scope["headers"]:  # noqa: SIM110 - twice as fast as `any`, once a request
        if name == wanted:
            return True
    return False


def _is_awaited(cycle: RequestResponseCycle) -> bool:
    """Return whether the rest of a request is waited for without a task: it is small, and nothing is due meanwhile."""
    headers = dict(cycle.scope["headers"])
    small = 0 <= count_of(headers.get(b"content-length", b"")) <= LARGE
    return small and DEADLINE not in headers and not cycle.waiting_for_100_continue


class Leaving(NamedTuple):
    """An answer that leaves when this turn of the loop ends, and what has to be recorded before."""

    protocol: DirectProtocol
    cycle: RequestResponseCycle
    request: Request
    response: Response
    staged: Staged


class Outbox:
    """The answers of one turn of the event loop.

    Args:
        application: counts answers, and makes those of errors.

    Attributes:
        defaults: writes the headers that all answers of a second have.
        lines: writes those that all answers of a revision have.
    """

    def __init__(self, application: Application) -> None:
        self.defaults = _Lines()
        self.lines = _Lines()
        self._application = application
        self._leaving: list[Leaving] = []

    def put(self, leaving: Leaving) -> None:
        """Let an answer leave at the end of this turn."""
        if not self._leaving:
            leaving.protocol.loop.call_soon(self.end)
        self._leaving.append(leaving)

    def end(self) -> None:
        """Record what has to be, and send all answers."""
        leaving, self._leaving = self._leaving, []
        wrong = self._record(leaving)
        for place, one in enumerate(leaving):
            error = wrong.get(place) if wrong else None
            response = self._application.refuse(one.request, error) if error else one.response
            try:
                one.protocol.send(one.cycle, one.request, response)
                self._application.count(one.request, response)
            except Exception:  # noqa: BLE001 - the border of an answer: the others leave all the same
                _log.exception("request %s was answered, and the answer not sent", one.request.id)

    @staticmethod
    def _record(leaving: Sequence[Leaving]) -> dict[int, Error]:
        """Return the answers that could not be recorded, by their place."""
        staged: dict[PromptJournal, tuple[list[int], list[list[Answered]]]] = {}
        for place, one in enumerate(leaving):
            for journal, answered in one.staged:
                if (held := staged.get(journal)) is None:
                    staged[journal] = [place], [answered]
                else:
                    held[0].append(place)
                    held[1].append(answered)
        wrong: dict[int, Error] = {}
        for journal, (places, requests) in staged.items():
            try:
                errors = journal.record_staged(requests)
            except Exception:  # noqa: BLE001 - the border of a turn: nobody is given what nobody recorded
                _log.exception("%d predictions could not be recorded", len(requests))
                errors = [Error("Something is wrong in the server.", hint="Its log says what.")] * len(requests)
            if any(errors):
                wrong |= {place: error for place, error in zip(places, errors, strict=True) if error is not None}
        return wrong


class _Lines:
    """Writes headers as HTTP has them; the same ones again cost nothing."""

    def __init__(self) -> None:
        self._last: Headers = ()
        self._written = b""

    def __call__(self, headers: Headers) -> bytes:
        if headers is not self._last:
            self._last = headers
            self._written = b"".join([b"%b: %b\r\n" % pair for pair in headers])
        return self._written


@types.coroutine
def _resumed(answering: Answering, waiting: Any) -> Generator[Any, Any, Response]:
    """Go on, in a task, with a coroutine that was begun outside of one and waits for something."""
    try:
        while True:
            try:
                value = yield waiting
            except BaseException as error:  # noqa: BLE001 - also that the task was cancelled
                waiting = answering.throw(error)
            else:
                waiting = answering.send(value)
    except StopIteration as done:
        found: Response = done.value
        return found
