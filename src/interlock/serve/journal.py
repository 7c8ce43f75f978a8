"""The way of predictions to disk: whoever waits here goes on when the rows are in the log, and not before.

Rows of requests that come while the last batch is being written go together as the next: one hand-over to the log's
thread and one wake-up serve all of them. A row that cannot be stored fails its own request only. When the disk fails,
the requests under way fail with it, and later ones begin a new file.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, Protocol

from interlock.core.errors import Error, Invalid, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from interlock.store.predictions import Prediction

_REOPEN_S: Final = 1.0


class Writer(Protocol):
    """What we use of the prediction log's writer."""

    def append(self, rows: Sequence[Prediction]) -> Future[None]:
        """Return a future that is done when the rows are on disk."""
        ...

    def close(self) -> None:
        """Write what is left and let go of the file."""
        ...


_Item = tuple[list["Prediction"], "asyncio.Future[None]"]


class Journal:
    """Hands rows to a writer in batches; belongs to one event loop.

    Args:
        opener: makes a writer: now, and again after one failed.

    Attributes:
        waiting: rows that are not on disk yet.
        written: rows that are.
        error: what went wrong last, or "" once rows are written again.
    """

    def __init__(self, opener: Callable[[], Writer]) -> None:
        self.waiting = 0
        self.written = 0
        self.error = ""
        self._opener = opener
        self._writer = opener()
        self._broken_at = 0.0
        self._items: list[_Item] = []
        self._under_way = 0

    async def write(self, rows: list[Prediction]) -> None:
        """Return when the rows are on disk.

        Args:
            rows: one request's predictions.

        Raises:
            Unavailable: they could not be written.
            Invalid: they hold what the log cannot store.
        """
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._items.append((rows, waiter))
        self.waiting += len(rows)
        if not self._under_way:
            self._under_way = 1
            # Not at once, here and in `_done`: requests that the loop reads in this same turn join the batch.
            loop.call_soon(self._next, loop)
        await waiter

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
            future = self._writer.append([row for rows, _ in items for row in rows] if len(items) > 1 else items[0][0])
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
        rows = sum(len(rows) for rows, _ in items)
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


def _lost() -> Unavailable:
    return Unavailable(
        "The prediction could not be recorded, so it is not given.",
        about="prediction",
        hint="Look at disk space and permissions of the workspace, then try again.",
    )
