"""Requests that ask for what is about to arrive: they wait without a thread, and are answered when it comes."""

from __future__ import annotations

import asyncio
import collections
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_MOST: Final = 256  # requests that wait at once; further ones are refused
_REMEMBERED: Final = 1024  # arrivals
_LONGEST_S: Final = 1.6


class Later(Exception):
    """What a request asks for is not all here yet.

    Args:
        name: what it waits for.
        since: `Arrivals.count` before it was looked for.
        refusal: what it is told where it does not come in time.
    """

    def __init__(self, name: str, since: int, refusal: Exception) -> None:
        super().__init__(name)
        self.name = name
        self.since = since
        self.refusal = refusal


class Arrivals:
    """What arrived, and who waits for it. Any thread may tell; those who wait are of an event loop."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()
        self._last: collections.OrderedDict[str, int] = collections.OrderedDict()
        self._forgotten = 0  # arrivals up to this one are no longer remembered by name
        self._waiting: dict[asyncio.Future[None], str] = {}

    def tell(self, names: Iterable[str]) -> None:
        """Say that something arrived."""
        told = set(names)
        with self._lock:
            for name in told:
                self.count += 1
                self._last[name] = self.count
                self._last.move_to_end(name)
                if len(self._last) > _REMEMBERED:
                    self._forgotten = max(self._forgotten, self._last.popitem(last=False)[1])
            woken = [future for future, name in self._waiting.items() if name in told]
            for future in woken:
                del self._waiting[future]
        for future in woken:
            future.get_loop().call_soon_threadsafe(_wake, future)

    async def wait(self, later: Later, began: float) -> None:
        """Wait until what a request asks for has arrived, or something of it.

        Args:
            later: what it waits for.
            began: when the request came, in the loop's time.

        Raises:
            Exception: the request's refusal: it did not come in time, or too many wait.
        """
        loop = asyncio.get_running_loop()
        left = began + _LONGEST_S - loop.time()
        future: asyncio.Future[None] = loop.create_future()
        with self._lock:
            if max(self._last.get(later.name, 0), self._forgotten) > later.since:
                return  # it came between the look and now
            if left <= 0 or len(self._waiting) >= _MOST:
                raise later.refusal
            self._waiting[future] = later.name
        try:
            await asyncio.wait_for(future, left)
        except TimeoutError:
            raise later.refusal from None
        finally:
            with self._lock:
                self._waiting.pop(future, None)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
