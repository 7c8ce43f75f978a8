"""The recorder: takes what runs of this process say at almost no cost, and writes it to the outbox from a thread.

What is said is appended to a deque. The thread looks there ten times a second, so kill -9 costs at most the last tenth
of a second and the write that was going on. Batches go to the server about once a second while a run is young, later
less often: a segment of many points is smaller than many segments.
"""

from __future__ import annotations

import collections
import contextlib
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from interlock.core.errors import Error, Unavailable
from interlock.sdk.recording.entries import Block, Ended, Entry, Points, Said, encode
from interlock.sdk.recording.held import Held, count_points
from interlock.sdk.recording.outbox import Outbox, warn
from interlock.sdk.recording.points import Gathered
from interlock.sdk.recording.syncing import sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from interlock.sdk.recording import entries
    from interlock.sdk.workspace import Workspace

LOOK_S: Final = 0.1
_SEND_S: Final = (1.0, 10.0)
_YOUNG_S: Final = 60.0
_MUCH: Final = 100_000  # points that make a batch at once, or as much text
_POINT_BYTES: Final = 24
_LATE: Final = -10  # after what the script itself has put there
_BEHIND: Final = 200_000  # items in the deque beyond which callers wait


class Speaker(Protocol):
    """A run, as its recorder sees it."""

    push: Callable[[Any], None]

    def again(self) -> entries.Any:
        """Return the entry by which a child process begins to add to it, or None where it is the child's own."""
        ...


class Kept(NamedTuple):
    """In the deque: whom to tell that all before it is on disk."""

    call: Callable[[], None]


class Recorder:
    """Takes what the runs of this process say about one workspace.

    Args:
        location: the workspace.
        first_step: returns the first step of a metric of a run that was resumed.
    """

    def __init__(self, location: str, first_step: Callable[[str, str], int | None]) -> None:
        self.location = location
        self.buffer: collections.deque[Any] = collections.deque()
        self.pid = os.getpid()
        self._gathered = Gathered(first_step)
        self._outbox: Outbox | None = None
        self._began = time.monotonic()
        self._uncut_since = 0.0
        self._uncut = 0
        self._adopted = False
        self._held = Held()
        self._flushed: list[threading.Event] = []  # who waits until what is held is on disk
        self._kept: list[Kept] = []  # whom to tell that it is, without a batch being made for that
        self._warned = False
        self._ticks: list[Callable[[], None]] = []
        self._wake = threading.Event()
        self._stop = False
        self._braking = False
        self._speakers: list[Speaker] = []
        self._open()

    @property
    def speakers(self) -> int:
        """How many runs go on."""
        return len(self._speakers)

    def join(self, speaker: Speaker) -> None:
        """Let a run push: tuples (run, nanoseconds, step, values), entries, and functions that return entries."""
        self._speakers.append(speaker)
        speaker.push = self._first_words if self._outbox is None else self.buffer.append

    def leave(self, speaker: Speaker) -> None:
        """Forget a run that is over."""
        if speaker in self._speakers:
            self._speakers.remove(speaker)

    def stage(self) -> Path:
        """Return a path for the bytes of a file that an entry then names."""
        return self._ready().spool.stage()

    def tick(self, function: Callable[[], None]) -> None:
        """Call a function in the thread, ten times a second or so."""
        self._ticks.append(function)

    def when_kept(self, call: Callable[[], None]) -> None:
        """Call a function in the thread when all that was said until now is on disk."""
        self.buffer.append(Kept(call))

    def flush(self, timeout_s: float) -> bool:
        """Return whether all that was said until now is with the server; False where it stays on disk for now."""
        outbox, written = self._outbox, threading.Event()
        if outbox is None:  # closed, or in a child that has said nothing
            return True
        self.buffer.append(written)
        self._wake.set()
        end = time.monotonic() + timeout_s
        while not written.wait(0.05):
            if time.monotonic() > end or not self._thread.is_alive():
                return False
        return outbox.settle(max(0.0, end - time.monotonic()))

    def close(self, timeout_s: float = 30.0) -> bool:
        """Write and deliver what is left; return whether the server has everything."""
        outbox = self._outbox
        if outbox is None:
            return True
        self._stop = True
        self._wake.set()
        self._thread.join(timeout_s)
        lost = self._unwritten()
        done = outbox.close(timeout_s, whole=not lost)
        self._outbox = None
        if lost:
            warn(f"{self.location}: {lost} could not be written to disk in time, and are lost.")
        return done and not lost

    def _unwritten(self) -> str:
        """Return how much of what was said is not on disk, in words; "" for nothing."""
        loose = [item for item in self.buffer.copy() if not isinstance(item, threading.Event | Kept)]
        held, missing = list(self._held.entries), list(self._held.missing.values())
        points = self._gathered.count + sum(len(item[3]) for item in loose if type(item) is tuple)
        points += sum(count_points(entry) for entry in held if isinstance(entry, Points))
        points += sum(what.points for what in missing)
        others = sum(not isinstance(entry, Points) for entry in held)
        others += sum(type(item) is not tuple for item in loose)
        others += sum(what.lines + what.others for what in missing)
        if self._thread.is_alive():
            return "the last things that your runs logged"
        if not points and not others:
            return ""
        return f"{points} points and {others} other things that your runs logged"

    def disown(self) -> None:
        """Forget in a forked child what belongs to the parent, which sends it.

        The child becomes a writer of its own, if it says anything.
        """
        self.buffer.clear()
        outbox, self._outbox = self._outbox, None
        if outbox is not None:
            outbox.disown()
        self._gathered.take()
        self._held, self._flushed, self._kept, self._ticks, self._stop = Held(), [], [], [], False
        self._wake = threading.Event()
        self.pid = os.getpid()
        for speaker in self._speakers:
            speaker.push = self._first_words

    def _first_words(self, item: Any) -> None:
        """Take what is the first thing that a child process says."""
        self._ready()
        if "multiprocessing.util" in sys.modules:  # its children end without what `atexit` would do
            sys.modules["multiprocessing.util"].Finalize(None, self.close, exitpriority=_LATE)
        for speaker in self._speakers:
            if (begun := speaker.again()) is not None:
                self.buffer.append(begun)
            speaker.push = self.buffer.append
        self.buffer.append(item)

    def _slowly(self, item: Any) -> None:
        """Take an item when the thread has caught up."""
        while len(self.buffer) > _BEHIND // 2 and self._thread.is_alive():
            self._wake.set()
            time.sleep(LOOK_S / 10)
        self.buffer.append(item)

    def _brake(self) -> None:
        """Let callers wait while the deque is long, so that memory stays bounded."""
        if self._braking != (len(self.buffer) > _BEHIND):
            self._braking = not self._braking
            for speaker in self._speakers:
                speaker.push = self._slowly if self._braking else self.buffer.append

    def _open(self) -> None:
        try:
            self._outbox = Outbox(self.location, self._adopt)
        except OSError as error:
            raise Unavailable(
                f"Nothing can be recorded: {error}.",
                about="outbox",
                hint="Let us write to the workspace's folder, or set XDG_STATE_HOME to a folder that we may write to.",
            ) from None
        self._thread = threading.Thread(target=self._serve, name="interlock-recorder", daemon=True)
        self._thread.start()

    def _ready(self) -> Outbox:
        if self._outbox is None:
            self._open()
        assert self._outbox is not None  # noqa: S101 - for the type checker
        return self._outbox

    def _adopt(self, workspace: Workspace) -> None:
        """Deliver what earlier processes left, once."""
        outbox = self._outbox
        if self._adopted or outbox is None:
            return
        self._adopted = True
        for done in sync(workspace, lambda: outbox.closing):
            for refused in done.refused:
                warn(f"{self.location} refused of an earlier run: {refused}")

    def _serve(self) -> None:
        last = 2  # when it ends: once more after what never can be written was left out
        while True:
            stop = self._stop
            for tick in self._ticks:
                with contextlib.suppress(Exception):  # a broken sensor is no reason to lose points
                    tick()
            try:
                while self._look(stop=stop):
                    pass
                self._warned = False
            except Exception as error:  # noqa: BLE001 - the border of the thread, on which everything else hangs
                self._trouble(error)
                last -= stop
                if stop and last:
                    continue
            if stop:
                return
            self._wake.wait(LOOK_S)
            self._wake.clear()

    def _trouble(self, error: Exception) -> None:
        """Keep what could not be written, but for what never can."""
        if not isinstance(error, OSError):
            warn(f"{self._held.keep_only(_is_sound)} things that your runs logged cannot be kept: {error!r}")
            return
        self._held.refused()
        if not self._warned:
            self._warned = True
            warn(f"{self.location}: what your runs log cannot be written to disk: {error}. Trying again.")

    def _look(self, *, stop: bool) -> bool:
        """Write what the deque holds, or a good part of it; return whether there is more."""
        outbox = self._outbox
        if outbox is None:
            return False
        buffer = self.buffer
        self._brake()
        for _ in range(min(len(buffer), _MUCH)):
            item = buffer.popleft()
            if type(item) is tuple:
                self._point(item)
            elif isinstance(item, threading.Event):
                self._flushed.append(item)
            elif isinstance(item, Kept):
                self._kept.append(item)
            else:
                said = self._entries(item)
                if any(isinstance(entry, Ended) for entry in said):
                    self._hold(self._gathered.take())
                self._hold(said)
        held = self._held.entries
        self._uncut += self._gathered.count + sum(len(e.log) for e in held if isinstance(e, Said)) // _POINT_BYTES
        self._hold(self._gathered.take())
        cut = stop or bool(self._flushed) or self._is_time()
        if held or (cut and self._uncut_since):
            outbox.put(self._held.whole(), cut=cut)
            self._uncut_since = 0.0 if cut else self._uncut_since or time.monotonic()
            self._uncut = 0 if cut else self._uncut
            self._held.written()
        for event in self._flushed:
            event.set()
        self._flushed.clear()
        for kept in self._kept:
            kept.call()
        self._kept.clear()
        return len(buffer) > _MUCH or (stop and bool(buffer))

    def _hold(self, said: Iterable[entries.Any]) -> None:
        if self._held.add(said):
            warn(f"{self.location}: nothing can be written to disk, and memory has enough: points are left out now.")

    def _is_time(self) -> bool:
        """Return whether what was said makes a batch: its age, its size, or something that others wait for."""
        if any(not isinstance(entry, Points | Said) for entry in self._held.entries):
            return True
        if self._uncut > _MUCH:
            return True
        now = time.monotonic()
        least, most = _SEND_S
        wait = min(most, max(least, least * (now - self._began) / _YOUNG_S))
        return bool(self._uncut_since) and now - self._uncut_since >= wait

    def _point(self, item: tuple[str, int, int | None, dict[str, float]]) -> None:
        try:
            refused = self._gathered.add(*item)
        except (Error, OverflowError, TypeError) as error:
            refused = [f"{', '.join(item[3])} ({error})"]
        if refused:
            warn(f"points of {', '.join(refused)} were left out: their step is no number of 64 bits.")

    def _entries(self, item: Any) -> list[entries.Any]:
        if isinstance(item, Entry):
            return [item]  # type: ignore[list-item]  # all entries are one of the union
        try:
            return list(item())
        except Exception as error:  # noqa: BLE001 - the border: looking around must not cost the run
            warn(f"could not record: {error!r}")
            return []


def _is_sound(entry: entries.Any) -> bool:
    try:
        encode(Block(0, [entry]))
    except Exception:  # noqa: BLE001 - whatever the reason is, it cannot be written
        return False
    return True
