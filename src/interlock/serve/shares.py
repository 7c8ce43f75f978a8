"""Who is answered when more is asked than can be: small requests before large ones, and every address before any crowd.

One interpreter answers, so each request waits for those before it. Three rules keep that short for whoever asks little,
and none of them costs anything while there is no crowd:

- A small request is answered where it is read, unless its address has had many answers in this turn of the loop: the
  rest of them wait for slices of the next turns, so that no turn is long. The slices are thin while others ask besides.
- A body that holds up a turn of the loop waits for such a slice while small requests come.
- Bodies that take milliseconds are worked on beside the loop, and rest: see `lane.py`.

Addresses are those of connections: behind a proxy all callers have one, and are equals. Calls over gRPC, and requests
that a span is made for (tracing), are tasks from their beginning and stand in none of these lines.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from interlock.serve.sizes import SMALL

if TYPE_CHECKING:
    from collections.abc import Callable

    Answering = Callable[[], asyncio.Task[None] | None]

_LARGE: Final = "large "
_log: Final = logging.getLogger("interlock.serve")
RECENT_S: Final = 0.05  # so long after one came, small requests are expected


class _Rule(NamedTuple):
    """How long a slice of a turn is, and how many requests of an address are answered in a turn besides.

    As many of those who waited may be under way at once, where an answer waits for a disk.
    """

    slice_s: float
    at_once: int


_ALONE: Final = _Rule(0.0005, 100)
_MIXED: Final = _Rule(0.00015, 8)


class Pace:
    """What is known of who asks.

    Attributes:
        small_at: when a small request came last, by whichever protocol, on the clock of `time.perf_counter`.
    """

    def __init__(self) -> None:
        self.small_at = float("-inf")

    @property
    def small_ones_come(self) -> bool:
        """Whether small requests are expected."""
        return time.perf_counter() - self.small_at < RECENT_S


class Shares:
    """The whole requests of a server's connections, in the order in which they are answered.

    Args:
        pace: says whether small requests come.
    """

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._queues: dict[str, deque[Answering]] = {}  # by address; they take turns in its order
        self._under_way = 0  # small ones of those who waited
        self._set = False  # a slice will come
        self._last: str | None = None
        self._mixed_at = float("-inf")  # when another address asked than before
        self._counts: dict[str, int] = {}  # requests of this turn, by address

    def admits(self, peer: str, size: int) -> bool:
        """Return whether a request is answered now; else it is to be `put`.

        Args:
            peer: the address that it came from.
            size: bytes of its body.
        """
        if size > SMALL:
            return not self._queues and not self._pace.small_ones_come
        now = time.perf_counter()
        if peer != self._last:
            if self._last is not None:
                self._mixed_at = now
            self._last = peer
        if self._queues and peer in self._queues:
            return False
        counts = self._counts
        if not counts:
            asyncio.get_running_loop().call_soon(counts.clear)
        count = counts[peer] = counts.get(peer, 0) + 1
        return count <= self._rule(now).at_once

    def put(self, peer: str, size: int, answer: Answering) -> None:
        """Let a request wait for a slice of the loop's time.

        Args:
            peer: the address that it came from.
            size: bytes of its body.
            answer: answers it, or returns the task that will.
        """
        key = peer if size <= SMALL else f"{_LARGE}{peer}"  # an address's large ones do not hold up its small ones
        self._queues.setdefault(key, deque()).append(answer)
        self._look()

    def _rule(self, now: float) -> _Rule:
        return _MIXED if now - self._mixed_at < RECENT_S else _ALONE

    def _look(self) -> None:
        if self._queues and not self._set and self._under_way < self._rule(time.perf_counter()).at_once:
            self._set = True
            asyncio.get_running_loop().call_soon(self._slice)

    def _slice(self) -> None:
        """Answer some of those who wait, the addresses in turns; the rest after what has come meanwhile."""
        self._set = False
        now = time.perf_counter()
        rule = self._rule(now)
        while self._queues and self._under_way < rule.at_once:
            peer = next(iter(self._queues))
            queue = self._queues.pop(peer)
            answer = queue.popleft()
            if queue:
                self._queues[peer] = queue
            self._begin(answer, counts=not peer.startswith(_LARGE))
            if time.perf_counter() > now + rule.slice_s:
                break
        self._look()

    def _begin(self, answer: Answering, *, counts: bool) -> None:
        try:
            task = answer()
        except Exception:  # noqa: BLE001 - the border of an answer: those who wait behind it get theirs
            _log.exception("a request was not answered")
            return
        if task is not None and counts:  # a large one may wait for a place, which is nobody else's matter
            self._under_way += 1
            task.add_done_callback(self._ended)

    def _ended(self, _: asyncio.Task[None]) -> None:
        self._under_way -= 1
        self._look()
