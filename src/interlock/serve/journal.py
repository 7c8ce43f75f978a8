"""The way of predictions to disk: an answer leaves when its rows are in the log, and not before.

What "in the log" means is the deployment's `durability`. With `fsync`, rows are on disk: they survive a power loss.
With `1s`, they are with the kernel: they survive the end of this process, however it ends, and a power loss takes the last
second at most. When the disk fails, the requests under way fail with it, and later ones begin a new file.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, Literal, Protocol

from interlock.core.errors import Error, Invalid, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from interlock.store.predictions import Answered

Durability = Literal["fsync", "1s"]
_REOPEN_S: Final = 1.0
_AT_ONCE: Final = 2000  # values; more are written by a thread


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

    durability: Durability
    waiting: int
    written: int
    error: str

    def record(self, answered: list[Answered]) -> Awaitable[None] | None:
        """Return None when one request's answers are recorded, or what to wait for.

        Raises (here or from what is waited for):
            Unavailable: they could not be recorded.
            Invalid: they hold what the log cannot store.
        """
        ...

    async def close(self) -> None:
        """Wait for what is under way, then close the log."""
        ...


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

    def record(self, answered: list[Answered]) -> Awaitable[None]:
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


class PromptJournal:
    """Writes at once, in the event loop; what is large, in a thread. Belongs to one event loop.

    Args:
        opener: makes a writer: now, and again after one failed.
    """

    durability: Durability = "1s"

    def __init__(self, opener: Callable[[], Prompt]) -> None:
        self.waiting = 0
        self.written = 0
        self.error = ""
        self._opener = opener
        self._writer = opener()
        self._broken_at = 0.0

    def record(self, answered: list[Answered]) -> Awaitable[None] | None:
        """Return None when the rows are with the kernel; what to wait for, when they are many."""
        if sum(len(one.ids) * len(one.columns) for one in answered) > _AT_ONCE:
            return self._record_beside(answered)
        self._write(answered)
        self.written += _count(answered)
        return None

    async def close(self) -> None:
        """Close the log."""
        while self.waiting:  # noqa: ASYNC110 - once, at the end
            await asyncio.sleep(0.005)
        await asyncio.to_thread(self._writer.close)

    async def _record_beside(self, answered: list[Answered]) -> None:
        rows = _count(answered)
        self.waiting += rows
        try:
            await asyncio.shield(asyncio.to_thread(self._write, answered))
            self.written += rows
        finally:
            self.waiting -= rows

    def _write(self, answered: list[Answered]) -> None:
        try:
            if self._broken_at and time.monotonic() - self._broken_at >= _REOPEN_S:
                self._broken_at = time.monotonic()
                self._writer.close()
                self._writer = self._opener()
                self._broken_at = 0.0
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
