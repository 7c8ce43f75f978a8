"""The outbox of this process: what is said goes to disk, then to the server, and then it is forgotten.

One thread says, another one here delivers. With the server away the spool grows, one line warns, and the thread tries
again now and then; what is left when the process ends, `interlock sync` or the next run delivers.
"""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401 - services may need it, and it cannot be loaded while a process ends
import contextlib
import sys
import threading
import time
from typing import TYPE_CHECKING, Final

from interlock.core.errors import Denied, Error, MissingExtra, Unavailable
from interlock.sdk.recording.delivery import Courier
from interlock.sdk.recording.spool import Spool, SpoolReader
from interlock.sdk.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from interlock.sdk.recording import entries

_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 30.0


def warn(text: str) -> None:
    """Print one line for people where warnings go; a broken stderr is no reason to fail."""
    with contextlib.suppress(Exception):
        stream = sys.__stderr__ or sys.stderr
        stream.write(f"interlock: {text}\n")
        stream.flush()


class Outbox:
    """Takes entries from one thread and delivers them from another.

    Args:
        location: the workspace.
        earlier: called in the delivering thread before the first delivery, to send what earlier processes left.
    """

    def __init__(self, location: str, earlier: Callable[[Workspace], None] | None = None) -> None:
        self.location = location
        self.spool = Spool(location)
        self._reader = SpoolReader(self.spool.folder)
        self._earlier = earlier
        self._changed = threading.Condition()
        self._written = 0  # the last batch on disk
        self._delivered = 0
        self._tried = 0  # batches that were there when an attempt failed
        self._closing = False
        self._warned = False
        self._loose = False  # something is on disk that belongs to no batch yet
        self._workspace: Workspace | None = None
        self._thread = threading.Thread(target=self._serve, name="interlock-outbox", daemon=True)
        self._thread.start()

    @property
    def closing(self) -> bool:
        """Whether it is about to end."""
        return self._closing

    @property
    def folder(self) -> Path:
        """Where it waits."""
        return self.spool.folder

    def put(self, said: list[entries.Any], *, cut: bool) -> None:
        """Return when entries are on disk; with `cut` they go to the server now, with all before them.

        Raises:
            OSError: they are not on disk.
        """
        self.spool.append(said, cut=cut)
        self._loose = not cut
        if cut:
            with self._changed:
                self._written = self.spool.cut
                self._changed.notify_all()

    def settle(self, timeout_s: float) -> bool:
        """Return whether the server has all that was cut, after waiting for it; not long for a server that is away."""
        end = time.monotonic() + timeout_s
        with self._changed:
            goal = self._written
            while self._delivered < goal:
                left = end - time.monotonic()
                if left <= 0 or self._tried >= goal or not self._thread.is_alive():
                    return False
                self._changed.wait(left)
        return True

    def close(self, timeout_s: float, *, whole: bool = True) -> bool:
        """Deliver what is left if the server takes it; return whether it has everything. What is left stays on disk.

        Args:
            timeout_s: how long to wait at most.
            whole: False when something could not be put: then the spool stays, by which others see that runs broke off.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        done = self._delivered == self._written and not self._loose and not self._thread.is_alive()
        if done and whole:
            self.spool.forget()
            return True
        self.spool.let_go()
        return False

    def disown(self) -> None:
        """Forget all this in a child process: thread, files and connections are the parent's."""
        self.spool.disown()
        self._workspace = None

    def _serve(self) -> None:
        pause = again = 0.0
        while True:
            with self._changed:
                while not self._closing and (left := self._rest_s(again)) != 0:
                    self._changed.wait(left)
                goal, closing = self._written, self._closing
            try:
                self._deliver()
                pause = 0.0
            except Exception as error:  # noqa: BLE001 - the border of the thread: all is on disk, and tried again
                pause = min(max(pause * 2, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
                again = time.monotonic() + pause
                self._complain(error)
                with self._changed:
                    self._tried = goal
                    self._changed.notify_all()
            if closing:
                self._let_go()
                return

    def _rest_s(self, again: float) -> float | None:
        """Return how long there is nothing to do: 0 for not at all, None for until something is put."""
        if self._written == self._delivered:
            return None
        return max(0.0, again - time.monotonic())

    def _deliver(self) -> None:
        """Carry every batch that is on disk.

        Raises:
            Error: the server is away or not well.
        """
        if self._written == self._delivered:
            return
        if self._workspace is None:
            self._workspace = Workspace.open(self.location)
            if self._earlier is not None:  # first: a run that goes on again must not be ended after that
                self._earlier(self._workspace)
        courier = Courier(self._workspace, self.spool.folder)
        for batch in self._reader.batches(ended=False):
            courier.carry(batch)
            self._reader.mark(batch)
            for refusal in courier.refusals:
                warn(f"{self.location} refused a {refusal}")
            courier.refusals.clear()
            with self._changed:
                self._delivered = batch.number
                self._changed.notify_all()
        if self._warned:
            warn(f"{self.location} answers again, and has everything.")
            self._warned = False

    def _complain(self, error: Exception) -> None:
        self._let_go()
        if self._warned:
            return
        self._warned = True
        if isinstance(error, Unavailable | Denied | MissingExtra):
            why = error.message
        else:
            why = f"{self.location}: {error if isinstance(error, Error) else repr(error)}"
        warn(f"{why} What your runs log waits in {self.spool.folder.parent} and is sent when it answers again.")

    def _let_go(self) -> None:
        workspace, self._workspace = self._workspace, None
        if workspace is not None:
            with contextlib.suppress(Exception):
                workspace.close()
