"""Adaptive batching: rows of requests that wait for the same slow model go through it together.

While a call runs, what comes waits, and goes as the next call: under load batches form by themselves, and a lone
request never waits for company. Only where requests come faster than half of what a call costs at least does the first
one wait a moment for the next; how long is learned from the calls' own times. Rows are counted, not requests. A request
whose caller has gone leaves the queue; one that makes a call fail fails alone: the others are asked again without it.
"""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from interlock.core.errors import Error, Unavailable
from interlock.serve.prepared import Prepared

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor

    from interlock.serve.model import LoadedModel, Scores

T = TypeVar("T")
_log: Final = logging.getLogger("interlock.serve")
MOST_ROWS: Final = 1024
_LONGEST_WAIT_S: Final = 0.005
_WEIGHT: Final = 0.1  # of the newest call, and of the newest gap, in what is learned
_LONG_S: Final = 1.0  # a gap of this length or more says that nobody comes
_FEW: Final = 4  # rows whose time is taken for a call's fixed cost
_PATIENCE_S: Final = 12.0  # that those whose shared call failed wait, all in all, while their engine rests


class _Waiting(NamedTuple):
    prepared: Prepared
    done: asyncio.Future[Scores]


class Batcher:
    """Runs one model's calls; belongs to one event loop.

    Args:
        model: the model.
        pool: where calls run.
        most_rows: a call has at most so many rows; a request with more goes alone.
        calls: how many calls may run at once.

    Attributes:
        waiting: rows that wait for a call.
        batches: calls that were made.
        rows: rows that went through them.
    """

    def __init__(self, model: LoadedModel, pool: Executor, most_rows: int = MOST_ROWS, calls: int = 1) -> None:
        self.waiting = 0
        self.batches = 0
        self.rows = 0
        # Those who wait keep the model alive. Its batcher must not: the engine has batchers by model, weakly, and a
        # model that is served no more would stay in memory for ever.
        self._model = weakref.ref(model)
        self._pool = pool
        self._most_rows = most_rows
        self._free = calls
        self._queue: deque[_Waiting] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._fixed_s = 0.0  # what a call costs whatever its rows
        self._gap_s = _LONG_S  # between two requests
        self._last = float("-inf")

    @property
    def window_s(self) -> float:
        """How long the first of a batch waits for the next: nothing, unless that is expected within half a call."""
        patience = min(self._fixed_s / 2, _LONGEST_WAIT_S)
        return patience if self._gap_s < patience else 0.0

    async def run(self, prepared: Prepared) -> Scores:
        """Return the model's answers to some rows.

        Raises:
            Invalid: it does not take them.
            Unavailable: its answer is none, or it is down.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._gap_s += (min(now - self._last, _LONG_S) - self._gap_s) * _WEIGHT
        self._last = now
        done: asyncio.Future[Scores] = loop.create_future()
        self._queue.append(_Waiting(prepared, done))
        self.waiting += prepared.rows
        self._look(loop)
        return await done

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start a call if one may run now, at once or after the window."""
        if not self._queue or not self._free or self._timer is not None:
            return
        window = self.window_s
        if window and self.waiting < self._most_rows:
            self._timer = loop.call_later(window, self._start, loop)
        else:
            self._start(loop)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        model = self._model()
        if model is None or not self._free or not (batch := self._take()):
            return
        self._free -= 1
        call = loop.run_in_executor(self._pool, _call, model, [waiting.prepared for waiting in batch])
        call.add_done_callback(lambda done: self._end(loop, batch, done))

    def _take(self) -> list[_Waiting]:
        """Return the next requests, as many as a call holds; those whose callers have gone are dropped."""
        batch: list[_Waiting] = []
        rows = 0
        while self._queue:
            waiting = self._queue[0]
            if not waiting.done.done() and batch and rows + waiting.prepared.rows > self._most_rows:
                break
            self._queue.popleft()
            self.waiting -= waiting.prepared.rows
            if not waiting.done.done():
                batch.append(waiting)
                rows += waiting.prepared.rows
        return batch

    def _end(
        self,
        loop: asyncio.AbstractEventLoop,
        batch: list[_Waiting],
        done: asyncio.Future[tuple[list[Scores | Error], float]],
    ) -> None:
        self._free += 1
        self.batches += 1
        rows = sum(waiting.prepared.rows for waiting in batch)
        self.rows += rows
        error = done.exception()
        answers: list[Scores | Error] = []
        if error is None:
            answers, took = done.result()
            if rows <= _FEW or took < self._fixed_s:
                self._fixed_s += (took - self._fixed_s) * (_WEIGHT if self._fixed_s else 1.0)
        for place, waiting in enumerate(batch):
            if waiting.done.done():
                continue  # its caller has gone
            answer = answers[place] if error is None else error
            if isinstance(answer, BaseException):
                waiting.done.set_exception(answer)
            else:
                waiting.done.set_result(answer)
        self._look(loop)


def _call(model: LoadedModel, asked: Sequence[Prepared]) -> tuple[list[Scores | Error], float]:
    """Return the answer to each request, or its error, and how long the call took; runs in the pool."""
    began = time.perf_counter()
    found = _tried(lambda: _together(model, asked))
    took = time.perf_counter() - began
    if not isinstance(found, Error):
        return [*found], took
    if len(asked) == 1:
        return [found], took
    # One of them is to blame: each for itself. An engine that was killed over it rests first, and refuses all until
    # then: it is waited for, but not for ever.
    answers: list[Scores | Error] = []
    patience_s = _PATIENCE_S
    for one in asked:
        if rest_s := min(getattr(model.engine, "rest_s", 0.0), patience_s):
            time.sleep(rest_s)
            patience_s -= rest_s
        alone = _tried(lambda one=one: model.run(one))  # type: ignore[misc]
        answers.append(alone)
    return answers, took


def _together(model: LoadedModel, asked: Sequence[Prepared]) -> list[Scores]:
    if len(asked) == 1:
        return [model.run(asked[0])]
    together = model.run(Prepared.joined(asked))
    ends, found = 0, []
    for one in asked:
        found.append(together.part(ends, ends + one.rows))
        ends += one.rows
    return found


def _tried(call: Callable[[], T]) -> T | Error:
    try:
        return call()
    except Error as error:
        return error
    except Exception:  # noqa: BLE001 - a fault of one request must not become that of all who share its call
        _log.exception("a model's call failed")
        return Unavailable("The model failed to answer.", about="model", hint="The server's log says why.")
