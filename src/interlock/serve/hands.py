"""Where the work of a server's engines is done: in the event loop, beside it, or in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar
from weakref import WeakKeyDictionary

from interlock.serve.lane import Lane
from interlock.serve.shares import Pace
from interlock.serve.sizes import LARGE, MANY_RECORDED, MANY_VALUES, QUIET_BYTES, QUIET_S, QUIET_VALUES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from interlock.serve.model import LoadedModel
    from interlock.serve.turns import Turn

T = TypeVar("T")
_LARGE_AT_ONCE: Final = 2


class Hands:
    """The threads of a server.

    Args:
        pool: where calls of models run that take long.

    Attributes:
        pace: what is known of who asks.
    """

    def __init__(self, pool: Executor) -> None:
        self.pace = Pace()
        self._pool = pool
        self._lane = Lane(pool, _LARGE_AT_ONCE, self.pace)
        # A thread of its own for what may hang for seconds: all explanations, and each original.
        self._explaining = ThreadPoolExecutor(1, "interlock-explain")
        self._originals: WeakKeyDictionary[LoadedModel, Executor] = WeakKeyDictionary()
        self._lock = threading.Lock()  # the watcher's thread asks models, too

    def read_here(self, size_bytes: int) -> bool:
        """Return whether a body of this size is read in the event loop."""
        return size_bytes <= LARGE or (size_bytes <= QUIET_BYTES and not self.pace.small_ones_come)

    def score_here(self, turn: Turn) -> bool:
        """Return whether the rows of a request are scored in the event loop; its models' calls do not take long."""
        rows, view = turn.ask.rows, turn.view
        if rows * view.row_s > QUIET_S:
            return False
        return rows * len(view.columns) <= MANY_VALUES or not self.pace.small_ones_come

    def recorder(self, values: int) -> Executor | None:
        """Return where so many values are recorded; None for here and now."""
        if values <= MANY_RECORDED or (values <= QUIET_VALUES and not self.pace.small_ones_come):
            return None
        return self._lane.further

    async def work(self, size_bytes: int, function: Callable[..., T], *arguments: object) -> T:
        """Return what a function returns, run beside the event loop when the body it reads or writes is large."""
        if self.read_here(size_bytes):
            return function(*arguments)
        return await asyncio.get_running_loop().run_in_executor(self._lane.further, function, *arguments)

    async def aside(self, function: Callable[[], T]) -> T:
        """Return what a function returns that takes the interpreter for some milliseconds, beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._lane.new, function)

    async def beside(self, models: Iterable[LoadedModel], function: Callable[[], T]) -> T:
        """Return what a function that asks some models returns, run where large bodies are worked on."""
        place = self._of_original(models) or self._lane.new
        return await asyncio.get_running_loop().run_in_executor(place, function)

    async def apart(self, function: Callable[[], T]) -> T:
        """Return what a slow function returns, run in the one thread that all such share."""
        return await asyncio.get_running_loop().run_in_executor(self._explaining, function)

    def of(self, model: LoadedModel) -> Executor:
        """Return where calls of a model run; any thread may ask."""
        return self._of_original([model]) or self._pool

    def _of_original(self, models: Iterable[LoadedModel]) -> Executor | None:
        """Return the thread of the first original among some models, which it may stop; None where there is none."""
        for model in models:
            if model.engine.name == "worker":
                with self._lock:
                    if (found := self._originals.get(model)) is None:
                        self._originals[model] = found = ThreadPoolExecutor(1, "interlock-original")
                return found
        return None
