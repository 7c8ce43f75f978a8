"""Places for large bodies: who finds none waits a moment, with the body unread, before being asked to come back.

An answer at once would be followed by the next request at once, and the bodies of those who are refused would take more
of the loop than those who are answered. No address has more than half of the places, so that none shuts out the others
by bodies that it begins and does not send.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from typing import Final, NamedTuple

_PATIENCE_S: Final = 1.0
_MOST_WAITING: Final = 4096  # beyond, refusals are at once


class _Waiting(NamedTuple):
    peer: str
    placed: asyncio.Future[bool]


class Places:
    """How many large bodies are read or answered; belongs to one event loop.

    Attributes:
        taken: so many are.
    """

    def __init__(self) -> None:
        self.taken = 0
        self._most = 0
        self._by: Counter[str] = Counter()
        self._waiting: deque[_Waiting] = deque()

    async def take(self, most: int, peer: str = "") -> bool:
        """Return whether a place was to be had within a second; then it is to be given back.

        Args:
            most: how many there are now.
            peer: the address of who asks.
        """
        self._most = most
        if self._is_room(peer):
            self._enter(peer)
            return True
        if len(self._waiting) >= _MOST_WAITING:
            return False
        loop = asyncio.get_running_loop()
        waiting = _Waiting(peer, loop.create_future())
        # No `asyncio.timeout`: a request that was answered where it was read is no task yet.
        timer = loop.call_later(_PATIENCE_S, _give_up, waiting.placed)
        self._waiting.append(waiting)
        try:
            return await waiting.placed
        except asyncio.CancelledError:
            if waiting.placed.done() and not waiting.placed.cancelled() and waiting.placed.result():
                self.give_back(peer)  # it came in the very moment in which it was given up
            raise
        finally:
            timer.cancel()
            with contextlib.suppress(ValueError):  # who got a place stands in line no more
                self._waiting.remove(waiting)

    def give_back(self, peer: str = "") -> None:
        """Give up a place of an address; who waits longest and may have it gets it."""
        self.taken -= 1
        self._by[peer] -= 1
        if not self._by[peer]:
            del self._by[peer]
        for waiting in self._waiting:
            if not waiting.placed.done() and self._is_room(waiting.peer):
                self._waiting.remove(waiting)
                self._enter(waiting.peer)
                waiting.placed.set_result(True)
                return

    def _is_room(self, peer: str) -> bool:
        return self.taken < self._most and self._by[peer] < max(1, self._most // 2)

    def _enter(self, peer: str) -> None:
        self.taken += 1
        self._by[peer] += 1


def _give_up(placed: asyncio.Future[bool]) -> None:
    if not placed.done():
        placed.set_result(False)
