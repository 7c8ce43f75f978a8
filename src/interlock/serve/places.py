"""Places for large bodies: who finds none waits a moment, with the body unread, before being asked to come back.

An answer at once would be followed by the next request at once, and the bodies of those who are refused would take more
of the loop than those who are answered.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Final

_PATIENCE_S: Final = 1.0
_MOST_WAITING: Final = 4096  # beyond, refusals are at once


class Places:
    """How many large bodies are read or answered; belongs to one event loop.

    Attributes:
        taken: so many are.
    """

    def __init__(self) -> None:
        self.taken = 0
        self._waiting: deque[asyncio.Future[bool]] = deque()

    async def take(self, most: int) -> bool:
        """Return whether a place was to be had within a second; then it is to be given back.

        Args:
            most: how many there are now.
        """
        if self.taken < most:
            self.taken += 1
            return True
        if len(self._waiting) >= _MOST_WAITING:
            return False
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        # No `asyncio.timeout`: a request that was answered where it was read is no task yet.
        timer = loop.call_later(_PATIENCE_S, _give_up, waiter)
        self._waiting.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.result():
                self.give_back()  # it came in the very moment in which it was given up
            raise
        finally:
            timer.cancel()
            with contextlib.suppress(ValueError):  # who got a place stands in line no more
                self._waiting.remove(waiter)

    def give_back(self) -> None:
        """Give a place to who waits longest, if somebody does."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(True)
                return
        self.taken -= 1


def _give_up(waiter: asyncio.Future[bool]) -> None:
    if not waiter.done():
        waiter.set_result(False)
