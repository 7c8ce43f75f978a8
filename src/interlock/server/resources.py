"""What requests share: threads, and room for their bodies."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from interlock.core.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

_WORKERS: Final = 32


class Room:
    """How many bytes of bodies are held at once, by all requests together; who finds none left is told to come again.

    Args:
        most: how many.
    """

    def __init__(self, most: int) -> None:
        self._left = most
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        """Return whether so many bytes had room; then they have it until they are given back."""
        with self._lock:
            if size > self._left:
                return False
            self._left -= size
            return True

    def give_back(self, size: int) -> None:
        """Let others have the room of so many bytes."""
        with self._lock:
            self._left += size


class Share:
    """What one request holds of the room, until it is closed.

    Args:
        room: of what it is a share.
    """

    __slots__ = ("_held", "_room")

    def __init__(self, room: Room) -> None:
        self._room = room
        self._held = 0

    def hold(self, size: int) -> None:
        """Make room for so many bytes in all.

        Raises:
            Unavailable: there is not so much now.
        """
        if size <= self._held:
            return
        if not self._room.take(size - self._held):
            raise Unavailable(
                "The server holds as many bytes of requests as it can.", about="server", hint="Try again in a moment."
            )
        self._held = size

    def close(self) -> None:
        """Give back all that was taken."""
        held, self._held = self._held, 0
        if held:
            self._room.give_back(held)


class Crowd:
    """How many want something of which there are so many.

    Args:
        places: how many there are.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._inside = 0

    @property
    def waits(self) -> bool:
        """Whether somebody has to wait."""
        return self._inside > self._places

    @contextlib.contextmanager
    def joined(self) -> Iterator[None]:
        """Be one of them while the block runs, which is in the event loop."""
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1


class Resources:
    """Threads that stay, for the database keeps a connection for each, and room for bodies.

    Args:
        held: how many bytes of bodies are held at once.

    Attributes:
        pool: where operations run.
        uploads: where files are taken, apart from operations, which so never wait for who sends one slowly; who does,
            holds one of these threads for as long as nobody else wants it (see `BodyStream.read`).
        crowd: who wants one of those threads.
        room: how much of bodies may be held.
    """

    def __init__(self, held: int) -> None:
        self.pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="interlock-operation")
        self.uploads = ThreadPoolExecutor(_WORKERS, thread_name_prefix="interlock-upload")
        self.crowd = Crowd(_WORKERS)
        self.room = Room(held)

    def close(self) -> None:
        """Let what runs finish, and take no more."""
        for pool in (self.pool, self.uploads):
            pool.shutdown(wait=True, cancel_futures=True)
