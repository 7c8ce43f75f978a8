"""Whose messages are read over gRPC, and for how long: silent calls and large messages do not shut others out.

A call begins with its head; its message may come later, or never. gRPC holds back what a client sends (up to a window
of some 64 KiB a connection) until a message is read, and from then on takes it whole, however large. So:

- Few messages are read at once, so that all of them, each as large as may be, fit into a budget of bytes. A message
  that came with its head is read within one turn of the loop, and nobody notices. Who is read next is of the address,
  and then of the connection, of which the fewest messages are being read; of several, they take turns.
- A message must be there within some seconds; within two where others wait, and then those of the address and
  connection with the most go first.
- Large messages that are here count against the same budget until they are answered.
- Calls are counted: of all the places, an address has half at most while others ask. Where none is left, a call whose
  message does not come makes room.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections import Counter
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING, Final

from interlock.serve.http import refusal
from interlock.serve.sizes import LARGE

if TYPE_CHECKING:
    from asyncio import Future, Task, TimerHandle
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    from interlock.core.errors import Error

_BUDGET: Final = 128_000_000  # bytes in messages that are read, and in large ones that wait for their answers
_FEWEST, _MOST = 4, 64  # messages that are read at once, whatever their limit
_PATIENCE_S: Final = 20.0
_SLOWEST: Final = 1_000_000  # bytes a second, of a client that is waited for
_CROWDED_S: Final = 2.0
_SHORT_S: Final = 1.0  # so long, a call without its message keeps its place also where there is no other
_TICK_S: Final = 0.25
_OTHERS_S: Final = 10.0
_TRIM_S: Final = 2.0  # after many large messages, memory is given back
_AGAIN: Final = "Come back in a second, or add replicas."


class Place:
    """A call's place in the crowd, from its head to its answer.

    Args:
        peer: the connection that it came over.
        since: when it began, on the loop's clock.
    """

    __slots__ = ("address", "held", "peer", "refused", "since", "task", "turn")

    def __init__(self, peer: str, since: float) -> None:
        self.peer = peer
        self.address = peer.rpartition(":")[0]
        self.since = since
        self.held = 0  # bytes of its message that count
        self.task: Task[object] | None = None  # while its message is not here
        self.turn: Future[None] | None = None
        self.refused: Error | None = None


class Crowd:
    """The calls of one server, in one event loop.

    Args:
        body_bytes: the largest message.
        patience_s: how long a message of no length may take.

    Cost: 2 us a call, while nobody waits.
    """

    def __init__(self, body_bytes: int, patience_s: float = _PATIENCE_S) -> None:
        self._loop = asyncio.get_running_loop()
        self._patience_s = patience_s + body_bytes / _SLOWEST
        self._body_bytes = max(1, body_bytes)
        self._at_once = max(_FEWEST, min(_MOST, _BUDGET // self._body_bytes))
        self._budget = max(_BUDGET, body_bytes)
        self._held = 0
        self._passed = 0  # bytes of large messages since memory was given back
        self._trimming = False
        self._open = 0
        self._addresses: dict[str, int] = {}  # open calls of each
        self._reading: dict[Place, float] = {}  # and since when; the oldest first
        self._line: dict[str, dict[str, dict[Place, None]]] = {}  # who waits, by address and connection
        self._timer: TimerHandle | None = None
        self._last: str | None = None
        self._mixed_at = float("-inf")  # when another address asked than before

    def enter(self, peer: str, most: int) -> Place:
        """Return a place, to `leave` again.

        Args:
            peer: the connection that a call came over.
            most: how many places there are now.

        Raises:
            Invalid: none is left for this address (429).
        """
        now = self._loop.time()
        place = Place(peer, now)
        address = place.address
        if address != self._last:
            if self._last is not None:
                self._mixed_at = now
            self._last = address
        mine, share = self._addresses.get(address, 0), max(1, most // 2)
        if self._open >= most:
            fullest = max(self._addresses, key=self._addresses.__getitem__)
            at_once = address != fullest and self._addresses[fullest] > share  # it has more than its own
            if not self._make_room(fullest, now if at_once else now - _SHORT_S):
                raise refusal(429, f"{most} calls are under way already.", hint=_AGAIN)
        elif mine >= share and now - self._mixed_at < _OTHERS_S and not self._make_room(address, now - _SHORT_S):
            raise refusal(429, f"{share} calls of this address are under way, and others ask.", hint=_AGAIN)
        self._open += 1
        self._addresses[address] = mine + 1
        return place

    def leave(self, place: Place) -> None:
        """Give a place back, and the bytes of its message."""
        self._open -= 1
        if place.held:
            self._let_go(place)
        left = self._addresses[place.address] - 1
        if left:
            self._addresses[place.address] = left
        else:
            del self._addresses[place.address]

    async def read(self, place: Place, receive: Callable[[], Awaitable[bytes]]) -> bytes:
        """Return a call's message, or what `receive` gives where there is none.

        Args:
            place: the call's.
            receive: waits for the message.

        Raises:
            Invalid: it did not come in time (408, 429), or there are too many large ones (429).
        """
        place.task = asyncio.current_task()
        try:
            if self._line or not self._is_free():
                place.turn = self._loop.create_future()
                self._line.setdefault(place.address, {}).setdefault(place.peer, {})[place] = None
                await place.turn
            else:
                self._begin(place)
            data = await receive()
            if data and len(data) > LARGE:  # what stands for none is false
                self._hold(place, len(data))
            return data
        except asyncio.CancelledError:
            why: Error | None = place.refused
            if why is None:
                raise
            if place.task is not None:
                place.task.uncancel()
            raise why from None
        finally:
            self._end(place)

    def _is_free(self) -> bool:
        """Return whether one more message may be read; large ones that are here leave less room, but always some."""
        left = self._at_once
        if self._held:
            left = max(_FEWEST, min(left, (self._budget - self._held) // self._body_bytes))
        return len(self._reading) < left

    def _begin(self, place: Place) -> None:
        self._reading[place] = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(_TICK_S, self._look)

    def _end(self, place: Place) -> None:
        place.task = None
        if place not in self._reading:
            self._unline(place)
            return
        del self._reading[place]
        if self._line:
            self._call_up()

    def _call_up(self) -> None:
        """Let those begin who wait, as far as there is room."""
        while self._line and self._is_free():
            following = self._next()
            self._unline(following)
            if following.turn is not None and not following.turn.done():
                following.turn.set_result(None)
                self._begin(following)

    def _unline(self, place: Place) -> None:
        queues = self._line.get(place.address, {})
        queue = queues.pop(place.peer, {})
        queue.pop(place, None)
        if queue:
            queues[place.peer] = queue  # as the last
        if place.address in self._line:
            del self._line[place.address]
            if queues:
                self._line[place.address] = queues

    def _next(self) -> Place:
        """Return who has waited longest, of the address and connection that has the fewest messages in reading."""
        address, queues = next(iter(self._line.items()))
        if len(self._line) > 1:
            address = _least(self._line, Counter(place.address for place in self._reading))
            queues = self._line[address]
        peer = next(iter(queues))
        if len(queues) > 1:
            peer = _least(queues, Counter(place.peer for place in self._reading if place.address == address))
        return next(iter(queues[peer]))

    def _waiting(self) -> Iterator[Place]:
        return chain.from_iterable(chain.from_iterable(queues.values()) for queues in self._line.values())

    def _hold(self, place: Place, size: int) -> None:
        if self._held and self._held + size > self._budget:
            self._passed += size
            raise refusal(429, f"{self._held} bytes of large messages are under way already.", hint=_AGAIN)
        place.held = size
        self._held += size

    def _let_go(self, place: Place) -> None:
        self._held -= place.held
        self._passed += place.held
        self._call_up()
        if self._passed > _BUDGET // 2 and not self._trimming:
            self._trimming = True
            self._loop.call_later(_TRIM_S, self._trim)

    def _trim(self) -> None:
        self._trimming, self._passed = False, 0
        self._loop.run_in_executor(None, _trim)

    def _make_room(self, address: str, before: float) -> bool:
        """Return whether a call of this address was found that began before and has no message yet; it is told so."""
        for place in chain(self._reading, self._waiting()):
            if place.address == address and place.refused is None and place.since < before:
                self._refuse(place, 429, "All places are taken, and this call's message has not come.")
                return True
        return False

    def _refuse(self, place: Place, status: int, message: str) -> None:
        if place.task is not None and place.refused is None:
            place.refused = refusal(status, message, hint=_AGAIN)
            place.task.cancel()

    def _look(self) -> None:
        """End calls whose message did not come in time."""
        now = self._loop.time()
        for place, since in self._reading.items():
            if now - since > self._patience_s:
                self._refuse(place, 408, f"The message was not there after {self._patience_s:g} seconds.")
        if self._line:
            self._thin_out(now)
        for place in self._waiting():
            if now - place.since > self._patience_s:
                self._refuse(place, 429, "Too many calls wait for their messages to be read.")
        self._timer = self._loop.call_later(_TICK_S, self._look) if self._reading or self._line else None

    def _thin_out(self, now: float) -> None:
        addresses = Counter(place.address for place in self._reading)
        peers = Counter(place.peer for place in self._reading)
        late = [place for place, since in self._reading.items() if now - since > _CROWDED_S and place.refused is None]
        late.sort(key=lambda place: (-addresses[place.address], -peers[place.peer]))
        for place in late[: max(1, self._at_once // 4)]:
            self._refuse(place, 429, f"Others wait, and the message was not there after {_CROWDED_S:g} seconds.")


def _least(waiting: Iterable[str], reading: Counter[str]) -> str:
    """Return which of those who wait has the fewest messages in reading; of several, the first."""
    return next((key for key in waiting if key not in reading), None) or min(waiting, key=reading.__getitem__)


def _trim() -> None:
    """Give freed memory back to the kernel: glibc keeps it, for each of gRPC's threads by itself."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
