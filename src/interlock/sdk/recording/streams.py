"""What a script, its children and its libraries write to the descriptors 1 and 2, for the log of the run.

The descriptors lead to the relay (see there), which passes everything on to where they led before. Where that was a
terminal, the script has a terminal still: of the same size, with colours and progress bars. Where both led to the same
place they are one stream, in which nothing changes its order; the log calls it `both`.
"""

from __future__ import annotations

import codecs
import contextlib
import ctypes
import errno
import fcntl
import os
import struct
import sys
import termios
import threading
from typing import TYPE_CHECKING, Any, Final, Self

from interlock.sdk.recording import console, relay
from interlock.sdk.recording.entries import Block, encode
from interlock.sdk.recording.outbox import warn

if TYPE_CHECKING:
    from collections.abc import Callable

    from interlock.sdk.recording import entries

_CHUNK: Final = 1 << 20  # all that a pipe may hold
_SETTLE_S: Final = 5.0
_STREAMS: Final = {1: b"o", 2: b"e"}
_TOLD_S: Final = 2.0
_GONE: Final = "interlock: what is written from here on is not in this log: the process that records it was killed.\n"
_Identity = tuple[int, int, int]


class Streams:
    """The diverted descriptors of this process.

    Args:
        ends: by name, the descriptors of the pipes to and from the relay.
        saved: the descriptors as they were, by number.
    """

    def __init__(self, ends: dict[str, int], saved: dict[int, int]) -> None:
        self._pid = os.getpid()
        self._ends = {name: (fd, _identity(fd)) for name, fd in ends.items()}
        self._saved = {number: (fd, _identity(fd)) for number, fd in saved.items()}
        self._ours = {number: _identity(number) for number in saved}
        self._sink: console.Sink | None = None
        self._when_kept: Callable[[Callable[[], None]], None] | None = None
        self._heard = 0
        self._marked = False
        self._changed = threading.Condition()
        self._asked = self._answered = 0
        self._ended = False
        self._thread = threading.Thread(target=self._serve, name="interlock-console", daemon=True)

    @classmethod
    def divert(cls) -> Self | None:
        """Return the streams, which lead to a relay from now on; None where that cannot be done.

        Call it while the process has one thread.
        """
        if not all(
            map(_identity, (0, *_STREAMS))
        ):  # whoever closes them wants no terminal, and pipes would take their place
            return None
        for name in ("stdout", "stderr"):
            with contextlib.suppress(Exception):
                getattr(sys, name).flush()
        opened: list[int] = []
        try:
            return cls._diverted(opened)
        except OSError as error:
            for fd in opened:
                with contextlib.suppress(OSError):
                    os.close(fd)
            warn(f"only what Python itself prints is in the log: {error}")
            return None

    @classmethod
    def _diverted(cls, opened: list[int]) -> Self:
        together = _identity(1) == _identity(2)
        groups = {b"b": [1, 2]} if together else {label: [number] for number, label in _STREAMS.items()}
        channels, inner = [], {}
        for label, members in groups.items():
            source, inner[label] = _pair(members[0])
            opened += [source, inner[label]]
            channels.append((label, source, members[0]))
        (control, ours), (told, frames) = os.pipe(), os.pipe()
        opened += [control, ours, told, frames]
        _fork(relay.Ends(tuple(channels), control, frames, os.getpid()))
        saved = {number: fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 10) for number in _STREAMS}
        for label, members in groups.items():
            for number in members:
                os.dup2(inner[label], number)
        for fd in (*inner.values(), *(source for _, source, _ in channels), control, frames):
            os.close(fd)
        made = cls({"control": ours, "told": told}, saved)
        os.register_at_fork(after_in_child=made._let_go)
        made._thread.start()
        return made

    def listen(self, sink: console.Sink, when_kept: Callable[[Callable[[], None]], None]) -> None:
        """Send what passes to a sink from now on, as (`out`, `err` or `both`; text; instant).

        Args:
            sink: takes what passes.
            when_kept: calls a function when all that the sink has got is on disk.
        """
        self._sink, self._when_kept = sink, when_kept
        console.settle_first(self.settle)

    def belongs_to(self, location: str, begun: entries.Any) -> None:
        """Say whose words these are, should the process break off.

        Args:
            location: the workspace.
            begun: the entry with which the run begins.
        """
        self._say(relay.RUN, encode(Block(0, [begun], location=location)))

    def settle(self, timeout_s: float = _SETTLE_S) -> None:
        """Return when the sink has all that was written until now."""
        if os.getpid() != self._pid or self._ended:
            return
        for name in ("stdout", "stderr"):
            with contextlib.suppress(Exception):
                getattr(sys, name).flush()
        with contextlib.suppress(Exception):
            ctypes.CDLL(None).fflush(None)  # what libraries wrote in C
        with self._changed:
            if not self._say(relay.SYNC, b""):  # the relay was killed, which its stand-in is about to tell
                self._changed.wait_for(lambda: self._answered == sys.maxsize or self._ended, _TOLD_S)
                return
            self._asked += 1
            goal = self._asked
            self._changed.wait_for(lambda: self._answered >= goal or self._ended, timeout_s)

    def stop_listening(self) -> None:
        """Give the descriptors back what they were; children that go on are still passed on."""
        if os.getpid() != self._pid:
            return
        self.settle()
        console.settle_no_more(self.settle)
        self._restore()
        self._ended = True
        self._say(relay.BYE, b"")
        self._close("control")

    def _serve(self) -> None:
        """Hear what the relay tells: the thread's work, which ends when the relay says no more."""
        decoders: dict[bytes, Any] = {}
        left = b""
        told, identity = self._ends["told"]
        while _identity(told) == identity:
            try:
                data = os.read(told, _CHUNK)
            except OSError:
                break
            if not data:
                break
            left += data
            used = 0
            for label, at_ns, content in relay.frames_of(left):
                used += relay.HEADER.size + len(content)
                self._heard += 1
                if label == relay.SYNCED:
                    with self._changed:
                        self._answered += 1
                        self._changed.notify_all()
                    continue
                if label == relay.GONE:
                    with self._changed:
                        self._answered = sys.maxsize  # whoever asked gets no answer
                        self._changed.notify_all()
                if label not in decoders:
                    decoders[label] = codecs.getincrementaldecoder("utf-8")("replace")
                self._hear(label, decoders[label].decode(content), at_ns)
            left = left[used:]
            self._mark()
        if not self._ended:  # the relay is gone, not we
            self._restore()
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._close("told")

    def _hear(self, label: bytes, text: str, at_ns: int) -> None:
        if label == relay.GONE:
            label, text = b"e", _GONE
        elif label == relay.LOST:
            label, text = b"e", f"interlock: {text} bytes of output are missing here: there were too many at once.\n"
        if self._sink is not None:
            with contextlib.suppress(Exception):  # the border: output goes on, whatever the log makes of it
                self._sink(relay.LABELS[label], text, at_ns)

    def _mark(self) -> None:
        """Tell the relay, when it is so, that what was heard until now is on disk."""
        if self._when_kept is None or self._marked:
            return
        self._marked, count = True, self._heard

        def kept() -> None:
            self._marked = False
            self._say(relay.KEPT, relay.COUNT.pack(count))
            if self._heard > count:
                self._mark()

        self._when_kept(kept)

    def _restore(self) -> None:
        """Let the descriptors lead where they led, unless the script has put something else there."""
        for number, (fd, identity) in self._saved.items():
            if _identity(fd) == identity and _identity(number) == self._ours[number]:
                os.dup2(fd, number)

    def _say(self, kind: bytes, content: bytes) -> bool:
        """Tell the relay something; return whether it is there."""
        control, identity = self._ends["control"]
        if _identity(control) != identity:  # scripts that become daemons close what they did not open
            return False
        try:
            os.write(control, relay.COMMAND.pack(kind, len(content)) + content)
        except OSError:
            return False
        return True

    def _close(self, name: str) -> None:
        fd, identity = self._ends[name]
        if _identity(fd) == identity:
            os.close(fd)

    def _let_go(self) -> None:
        """Close the run's ends in a child that was forked: only the run speaks with the relay."""
        for name in self._ends:
            with contextlib.suppress(OSError):
                self._close(name)


def _fork(ends: relay.Ends) -> None:
    """Start the relay as a process that is nobody's child: a script that waits for all of its children is not kept.

    Raises:
        OSError: there is no room for another process.
    """
    between = os.fork()
    if between == 0:
        code = 1
        try:
            os.setsid()  # Ctrl-C and a closed terminal are for the script
            if os.fork() == 0:
                relay.run(ends)
            code = 0
        finally:
            os._exit(code)
    if os.waitpid(between, 0)[1]:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def _pair(number: int) -> tuple[int, int]:
    """Return two ends, one to read and one to write, of which the second is a terminal where a descriptor is one.

    Raises:
        OSError: there are no more.
    """
    if not os.isatty(number):
        return os.pipe()
    outer, inner = os.openpty()
    with contextlib.suppress(OSError, termios.error):
        mode = termios.tcgetattr(number)
        mode[1] &= ~termios.OPOST  # ends of lines are the real terminal's business
        termios.tcsetattr(inner, termios.TCSANOW, mode)
        size = fcntl.ioctl(number, termios.TIOCGWINSZ, struct.pack("HHHH", 0, 0, 0, 0))
        fcntl.ioctl(inner, termios.TIOCSWINSZ, size)
    return outer, inner


def _identity(fd: int) -> _Identity | None:
    """Return what tells one open file from another, or None of a closed descriptor."""
    try:
        state = os.fstat(fd)
    except OSError:
        return None
    return state.st_dev, state.st_ino, state.st_rdev
