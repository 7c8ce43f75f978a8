"""Where large bodies are read, scored, recorded and written: beside the event loop, which hands the work over.

All of it needs the one interpreter that small requests need too. While those come, it is done piece by piece, with
rests between the pieces: who comes at any instant finds the interpreter free more often than not, so
that the median of small requests stays what it was.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from interlock.serve.shares import Pace

_REST: Final = 1.5  # of the time a piece took: large bodies have two fifths of an interpreter then
_LONGEST_REST_S: Final = 1.0


class Lane:
    """Pieces of work in two lines; belongs to one event loop.

    Args:
        pool: the threads.
        places: how many of them it may use.
        pace: says whether small requests come.

    Attributes:
        new: takes the first piece of a request.
        further: takes what goes on with a request; such pieces go before all new ones.
    """

    def __init__(self, pool: Executor, places: int, pace: Pace) -> None:
        self.new: Executor = _Line(self)
        self.further: Executor = _Line(self, first=True)
        self._pool = pool
        self._places = places
        self._pace = pace
        self._waiting: tuple[deque[_Piece], deque[_Piece]] = deque(), deque()
        self._running = 0
        self._rest_until = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def put(self, call: Callable[[], Any], *, first: bool) -> Future[Any]:
        """Return the future of a call that begins when there is room for it."""
        piece = _Piece(call)
        self._waiting[0 if first else 1].append(piece)
        self._look()
        return piece.future

    def _look(self) -> None:
        """Begin what may begin now."""
        first, rest = self._waiting
        loop = asyncio.get_running_loop()
        while (first or rest) and self._running < self._room():
            piece = (first or rest).popleft()
            self._running += 1
            self._pool.submit(piece.run).add_done_callback(
                lambda done: loop.call_soon_threadsafe(self._ended, done.result())
            )

    def _room(self) -> int:
        """Return how many may run now: as there are places; while small requests come, one, once it has rested."""
        if not self._pace.small_ones_come:
            return self._places
        left = self._rest_until - time.perf_counter()
        if left <= 0:
            return 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(left, self._rested)
        return 0

    def _rested(self) -> None:
        self._timer = None
        self._look()

    def _ended(self, took_s: float) -> None:
        self._running -= 1
        self._rest_until = time.perf_counter() + min(took_s * _REST, _LONGEST_REST_S)
        self._look()


class _Line(Executor):
    """One line of a lane."""

    def __init__(self, lane: Lane, *, first: bool = False) -> None:
        self._lane = lane
        self._first = first

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        """Return the future of a call."""
        return self._lane.put(lambda: function(*arguments, **named), first=self._first)


class _Piece:
    """A call, and its future."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.future: Future[Any] = Future()
        self._call = call

    def run(self) -> float:
        """Make the call; return the CPU seconds that it took."""
        if not self.future.set_running_or_notify_cancel():
            return 0.0
        began = time.thread_time()
        try:
            found = self._call()
        except BaseException as error:  # noqa: BLE001 - whoever waits for the future gets it
            self.future.set_exception(error)
        else:
            self.future.set_result(found)
        return time.thread_time() - began
