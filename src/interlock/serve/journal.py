"""The way of predictions to disk: an answer leaves when its rows are in the log, and not before.

What "in the log" means is the deployment's `durability`. With `fsync`, rows are on disk: they survive a power loss.
With `1s`, they are with the kernel: they survive the end of this process, however it ends, and a power loss takes the
last second at most. When the disk fails, the requests under way fail with it, and later ones begin a new file.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Final, Literal, Protocol

from interlock.core.errors import Error, Invalid, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from concurrent.futures import Executor, Future
    from pathlib import Path

    from interlock.store.predictions import Answered

Durability = Literal["fsync", "1s"]
_REOPEN_S: Final = 1.0


class Writer(Protocol):
    """What we use of the prediction log's writer that waits for the disk."""

    def append(self, rows: Sequence[Answered]) -> Future[None]:
        """Return a future that is done when the rows are on disk."""
        ...

    def close(self) -> None:
        """Write what is left and let go of the file."""
        ...


class Prompt(Protocol):
    """What we use of its writer that does not."""

    def write(self, answered: Sequence[Answered]) -> None:
        """Return when the rows are with the kernel."""
        ...

    def close(self) -> None:
        """Sync what is left and let go of the file."""
        ...


class Record(Protocol):
    """Where the engine leaves its answers.

    Attributes:
        durability: when they count as recorded.
        waiting: rows that are not recorded yet.
        written: rows that are.
        error: what went wrong last, or "" once rows are recorded again.
    """

    @property
    def durability(self) -> Durability:
        """When they count as recorded."""
        ...

    @property
    def waiting(self) -> int:
        """Rows that are not recorded yet."""
        ...

    @property
    def written(self) -> int:
        """Rows that are."""
        ...

    @property
    def error(self) -> str:
        """What went wrong last, or nothing."""
        ...

    def record(self, answered: list[Answered], beside: Executor | None = None) -> Awaitable[None] | None:
        """Return None when one request's answers are recorded, or what to wait for.

        Args:
            answered: the answers.
            beside: where many of them are written, by a journal without a thread of its own; None for here and now.

        Raises (here or from what is waited for):
            Unavailable: they could not be recorded.
            Invalid: they hold what the log cannot store.
        """
        ...

    async def close(self) -> None:
        """Wait for what is under way, then close the log."""
        ...


class Switch:
    """A journal whose durability can be changed while it is used.

    Each request's rows go to the one journal that is in place when they are recorded; one that was replaced is closed
    once all that it took is recorded.

    Args:
        opener: opens a journal of a durability.
        durability: when an answer counts as recorded, to begin with.
        loop: the event loop that records.
    """

    def __init__(
        self, opener: Callable[[Durability], Record], durability: Durability, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._opener = opener
        self._loop = loop
        self._now = opener(durability)
        self._before: list[Record] = []
        self._closing: set[asyncio.Task[None]] = set()
        self._written = 0
        self.record = self._now.record

    @property
    def durability(self) -> Durability:
        """When an answer counts as recorded."""
        return self._now.durability

    @durability.setter
    def durability(self, wanted: Durability) -> None:
        """Change it, also from another thread; raises Unavailable where no journal can be opened."""
        if wanted == self._now.durability:
            return
        before, self._now = self._now, self._opener(wanted)
        self._before.append(before)
        self.record = self._now.record
        # Not before the loop's present step has ended: it may be about to record there.
        self._loop.call_soon_threadsafe(self._retire, before)

    @property
    def waiting(self) -> int:
        """Rows that are not recorded yet."""
        return self._now.waiting + sum(one.waiting for one in self._before)

    @property
    def written(self) -> int:
        """Rows that are."""
        return self._written + self._now.written + sum(one.written for one in self._before)

    @property
    def error(self) -> str:
        """What went wrong last."""
        return self._now.error

    async def close(self) -> None:
        """Wait for what is under way, then close the log."""
        await asyncio.sleep(0)  # a journal that was replaced a moment ago is retired first
        await asyncio.gather(*self._closing)
        await self._now.close()

    def _retire(self, before: Record) -> None:
        task = self._loop.create_task(self._close(before))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close(self, before: Record) -> None:
        await before.close()
        self._before.remove(before)
        self._written += before.written


def open_journal(folder: Path, durability: Durability) -> Record:
    """Return the journal of a deployment.

    Args:
        folder: the prediction log's.
        durability: when an answer counts as recorded.
    """
    from interlock.store.predictions import PredictionWriter, PromptWriter

    if durability == "1s":
        return PromptJournal(lambda: PromptWriter(folder))
    return Journal(lambda: PredictionWriter(folder))


_Item = tuple[list["Answered"], "asyncio.Future[None]"]


class Journal:
    """Waits for the disk; belongs to one event loop.

    Rows of requests that come while the last batch is being written go together as the next: one hand-over to the log's
    thread and one wake-up serve all of them. A row that cannot be stored fails its own request only.

    Args:
        opener: makes a writer: now, and again after one failed.
    """

    durability: Durability = "fsync"

    def __init__(self, opener: Callable[[], Writer]) -> None:
        self.waiting = 0
        self.written = 0
        self.error = ""
        self._opener = opener
        self._writer = opener()
        self._broken_at = 0.0
        self._items: list[_Item] = []
        self._under_way = 0

    def record(self, answered: list[Answered], beside: Executor | None = None) -> Awaitable[None]:  # noqa: ARG002
        """Return what is done when the rows are on disk."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._items.append((answered, waiter))
        self.waiting += _count(answered)
        if not self._under_way:
            self._under_way = 1
            # Not at once, here and in `_done`: requests that the loop reads in this same turn join the batch.
            loop.call_soon(self._next, loop)
        return waiter

    async def close(self) -> None:
        """Wait for what is under way, then close the log."""
        while self._under_way:  # noqa: ASYNC110 - once, at the end; an event would cost at every batch
            await asyncio.sleep(0.005)
        await asyncio.to_thread(self._writer.close)

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        """Send what has gathered; called when a batch, which still counts as under way, is done."""
        self._under_way -= 1
        if self._items and not self._under_way:
            items, self._items = self._items, []
            self._send(loop, items)

    def _send(self, loop: asyncio.AbstractEventLoop, items: list[_Item]) -> None:
        self._under_way += 1
        try:
            self._reopen()
            future = self._writer.append([one for part, _ in items for one in part] if len(items) > 1 else items[0][0])
        except Error as error:
            loop.call_soon(self._done, loop, items, error)
            return
        future.add_done_callback(lambda done: loop.call_soon_threadsafe(self._done, loop, items, done.exception()))

    def _done(self, loop: asyncio.AbstractEventLoop, items: list[_Item], error: BaseException | None) -> None:
        if isinstance(error, Invalid) and len(items) > 1:
            for item in items:  # one of them is to blame: each for itself
                self._send(loop, [item])
        else:
            self._answer(items, error)
        loop.call_soon(self._next, loop)

    def _answer(self, items: list[_Item], error: BaseException | None) -> None:
        rows = sum(_count(part) for part, _ in items)
        self.waiting -= rows
        if error is None:
            self.written += rows
            self.error = ""
        elif not isinstance(error, Invalid):
            self.error = f"{type(error).__name__}: {error}"
            self._broken_at = self._broken_at or time.monotonic()
        for _, waiter in items:
            if waiter.done():
                continue  # its caller was cancelled
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error if isinstance(error, Invalid) else _lost())

    def _reopen(self) -> None:
        """Begin a new file after a failure, but not at every request while the disk is still full."""
        if self._broken_at and time.monotonic() - self._broken_at >= _REOPEN_S:
            self._broken_at = time.monotonic()
            self._writer = self._opener()
            self._broken_at = 0.0


class Stage:
    """Answers that are not recorded by themselves, but with all others of a turn of the event loop.

    Whoever opens it takes what was left on it, and sends nothing of that before it is recorded.
    """

    def __init__(self) -> None:
        self.open = False
        self._left: list[tuple[PromptJournal, list[Answered]]] = []

    def leave(self, journal: PromptJournal, answered: list[Answered]) -> None:
        """Leave one request's answers."""
        self._left.append((journal, answered))

    def take(self) -> list[tuple[PromptJournal, list[Answered]]]:
        """Return what was left since the last time, and which journal it belongs to."""
        left, self._left = self._left, []
        return left


STAGE: Final = Stage()
"""That of this process's event loop."""


class PromptJournal:
    """Writes at once, in the event loop; what is large, where it is told to. Belongs to one event loop.

    Args:
        opener: makes a writer: now, and again after one failed.
    """

    durability: Durability = "1s"

    def __init__(self, opener: Callable[[], Prompt]) -> None:
        self.waiting = 0
        self.written = 0
        self.staged = 0
        self.error = ""
        self._opener = opener
        self._writer = opener()
        self._broken_at = 0.0
        self._reopening = threading.Lock()  # requests of the loop and of threads find the failure at once

    def record(self, answered: list[Answered], beside: Executor | None = None) -> Awaitable[None] | None:
        """Return None when the rows are with the kernel; what to wait for, when they are written beside."""
        if beside is not None:
            return self._record_beside(answered, beside)
        if STAGE.open:
            self.staged += 1
            STAGE.leave(self, answered)
        else:
            self._write(answered)
            self.written += _count(answered)
        return None

    def record_staged(self, requests: Sequence[list[Answered]]) -> list[Error | None]:
        """Return for each of some requests whose answers were left on the stage why they could not be recorded."""
        self.staged -= len(requests)
        every = [one for answered in requests for one in answered]
        try:
            self._write(every)
        except Invalid as error:
            if len(requests) == 1:
                return [error]
            self.staged += len(requests)
            return [self.record_staged([answered])[0] for answered in requests]  # one is to blame: each for itself
        except Error as error:
            return [error] * len(requests)
        self.written += _count(every)
        return [None] * len(requests)

    async def close(self) -> None:
        """Close the log."""
        while self.waiting or self.staged:  # noqa: ASYNC110 - once, at the end
            await asyncio.sleep(0.005)
        await asyncio.to_thread(self._writer.close)

    async def _record_beside(self, answered: list[Answered], beside: Executor) -> None:
        rows = _count(answered)
        self.waiting += rows
        try:
            await asyncio.shield(asyncio.get_running_loop().run_in_executor(beside, self._write, answered))
            self.written += rows
        finally:
            self.waiting -= rows

    def _reopen(self) -> None:
        """Begin a new file after a failure, but not at every request while the disk is still full."""
        if self._broken_at and time.monotonic() - self._broken_at >= _REOPEN_S:
            self._broken_at = time.monotonic()
            failed, self._writer = self._writer, self._opener()
            self._broken_at = 0.0
            threading.Thread(target=failed.close, name="interlock-predictions-end").start()  # it waits for its thread

    def _write(self, answered: list[Answered]) -> None:
        try:
            if self._broken_at and self._reopening.acquire(blocking=False):
                try:
                    self._reopen()
                finally:
                    self._reopening.release()
            self._writer.write(answered)
        except Invalid:
            raise
        except Error as error:
            self.error = f"{type(error).__name__}: {error}"
            self._broken_at = self._broken_at or time.monotonic()
            raise _lost() from None
        if self.error:
            self.error = ""


def _count(answered: Sequence[Answered]) -> int:
    return len(answered[0].ids) if len(answered) == 1 else sum(len(one.ids) for one in answered)


def _lost() -> Unavailable:
    return Unavailable(
        "The prediction could not be recorded, so it is not given.",
        about="prediction",
        hint="Look at disk space and permissions of the workspace, then try again.",
    )
