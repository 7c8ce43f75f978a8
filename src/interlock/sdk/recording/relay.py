"""The relay: a process of its own between a script's descriptors and where they led, which tells the run what passes.

It is no thread, so that nothing is lost and nobody hangs: what a crashing process wrote last still arrives, a script
that holds the interpreter while it prints waits for nobody, and children may print when the script is long gone.

Should it be killed, for a machine without memory may take the wrong one, a second process that does nothing but wait
(`run`) holds the same ends and passes on what comes after it: no write of the script fails. What is lost is what the
relay had read and not yet written, 64 KiB of a stream at most, and for the log all that the run was not told by then.

    control   the run says RUN (where to leave the rest), SYNC (answer when all that was written has passed), KEPT (so
              many frames are on disk), BYE
    frames    label, instant, length, bytes: for the log; `s` answers SYNC, `l` counts bytes that found no room,
              `g` is the last: the relay was killed
"""

from __future__ import annotations

import codecs
import collections
import contextlib
import errno
import fcntl
import os
import select
import signal
import struct
import termios
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from interlock.sdk.recording.console import Lines
from interlock.sdk.recording.entries import Said, decode
from interlock.sdk.recording.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER: Final = struct.Struct(">cQI")
COMMAND: Final = struct.Struct(">cI")
RUN, SYNC, KEPT, BYE = b"r", b"s", b"k", b"b"
COUNT: Final = struct.Struct(">Q")
SYNCED, LOST, GONE = b"s", b"l", b"g"
LABELS: Final = {b"o": "out", b"e": "err", b"b": "both"}
_CHUNK: Final = 64 << 10
_WHOLE: Final = select.PIPE_BUF  # so much fits where poll says that something does
_MOST_WAITING: Final = 32 << 20
_MOST_SENT: Final = 4 << 20  # what was sent and may be on no disk yet
_LOOK_MS: Final = 500  # at the size of a terminal, which tells nobody but its own processes
_LAST_S: Final = 1.0  # somebody may write for ever
_DEAF: Final = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGTSTP", "SIGPIPE", "SIGWINCH", "SIGUSR1", "SIGUSR2")


class Ends(NamedTuple):
    """The relay's ends of what leads to it.

    Attributes:
        channels: label, the descriptor that is read, and the one that is written, of each stream.
        control: where the run says something.
        frames: where the run is told, or -1 of a relay that tells nobody.
        run: the process of the run.
    """

    channels: tuple[tuple[bytes, int, int], ...]
    control: int
    frames: int
    run: int


class Channel:
    """One stream on its way.

    Args:
        label: which it is.
        source: what is read.
        sink: what is written.
        tell: where it is told that nothing is read any more, or -1.
    """

    def __init__(self, label: bytes, source: int, sink: int, tell: int = -1) -> None:
        self.label = label
        self.source = source
        self.sink = sink
        self._tell = tell
        self.waiting = memoryview(b"")
        self.open = True
        self.is_tty = os.isatty(source) and os.isatty(sink)

    def read(self) -> bytes:
        """Return what is there, which waits now; nothing at the end, which a terminal tells by an error."""
        try:
            data = os.read(self.source, _CHUNK)
        except OSError:
            data = b""
        self.waiting = memoryview(data)
        if not data:
            self.close()
        return data

    def write(self) -> None:
        """Write a part of what waits, so much as is taken at once; whoever reads no more, is told nothing more."""
        try:
            self.waiting = self.waiting[os.write(self.sink, self.waiting[:_WHOLE]) :]
        except OSError as error:
            if error.errno not in {errno.EAGAIN, errno.EINTR}:
                self.waiting = memoryview(b"")
                self.close()  # the script hears of it as it would have

    def close(self) -> None:
        """Read no more."""
        if self.open:
            self.open = False
            os.close(self.source)
            if self._tell >= 0:
                with contextlib.suppress(OSError):
                    os.write(self._tell, self.label)

    def follow(self) -> None:
        """Give the script's side of a terminal the size that the real one has."""
        if self.open and self.is_tty:
            with contextlib.suppress(OSError):
                now, known = (fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(8)) for fd in (self.sink, self.source))
                if now != known:
                    fcntl.ioctl(self.source, termios.TIOCSWINSZ, now)


class Relay:
    """Passes everything on until nobody can write any more.

    Args:
        ends: its descriptors.
        tell: where the label of a stream is written that has ended, or -1.
    """

    def __init__(self, ends: Ends, tell: int = -1) -> None:
        self._ends = ends
        self._channels = [Channel(*channel, tell) for channel in ends.channels]
        self._frames: collections.deque[bytes] = collections.deque()
        self._size = 0
        self._sent: collections.deque[bytes] = collections.deque()  # not known to be on disk
        self._sent_size = 0
        self._kept = 0
        self._lost = 0
        self._said = b""
        self._syncs = 0
        self._asked = 0.0
        self._run = b""
        self._listening = ends.frames >= 0
        self._alive = _watch(ends.run) if self._listening else -1
        if self._listening:
            os.set_blocking(ends.frames, False)

    def serve(self) -> None:
        """Return when every stream has ended and the run has no more to say."""
        while self._listening or any(channel.open or channel.waiting for channel in self._channels):
            timeout = _LOOK_MS if any(channel.is_tty for channel in self._channels) else None
            if self._syncs and not self._blocked:
                timeout = 0
            try:
                self._turn(timeout)
            except Exception:
                if not self._listening:
                    raise
                self._hang_up()  # what the script writes matters more than what the run hears of it

    @property
    def _blocked(self) -> bool:
        """Whether something waits until where it leads takes it."""
        return any(channel.waiting for channel in self._channels)

    def _turn(self, timeout: int | None) -> None:
        ready = self._ready(timeout)
        moved = [self._pass_on(channel, ready) for channel in self._channels]
        if not self._listening:
            return
        if self._ends.control in ready:
            self._hear()
        elif self._alive in ready:
            self._bereave()
        if self._ends.frames in ready:
            self._send()
        if self._syncs and not self._blocked and (not any(moved) or time.monotonic() - self._asked > _LAST_S):
            for _ in range(self._syncs):
                self._tell(SYNCED, b"")
            self._syncs = 0

    def _ready(self, timeout: int | None) -> set[int]:
        """Return the descriptors with which something can be done now."""
        poll = select.poll()
        for channel in self._channels:
            if channel.waiting:
                poll.register(channel.sink, select.POLLOUT)
            elif channel.open:
                poll.register(channel.source, select.POLLIN)
        if self._listening:
            poll.register(self._ends.control, select.POLLIN)
            if self._alive >= 0:
                poll.register(self._alive, select.POLLIN)
            if self._frames:
                poll.register(self._ends.frames, select.POLLOUT)
        return {fd for fd, _ in poll.poll(timeout)}

    def _pass_on(self, channel: Channel, ready: set[int]) -> bool:
        """Return whether something of a stream was moved on."""
        channel.follow()
        if channel.waiting:
            if channel.sink in ready:
                channel.write()
                return True
        elif channel.open and channel.source in ready:
            self._tell(channel.label, channel.read())
            return True
        return False

    def _tell(self, label: bytes, data: bytes) -> None:
        """Queue what the run is told; where it listens too slowly, count what it missed."""
        if not self._listening or (label in LABELS and not data):
            return
        if label in LABELS and self._size + len(data) > _MOST_WAITING:
            self._lost += len(data)
            return
        if self._lost:
            lost, self._lost = self._lost, 0
            self._queue(LOST, str(lost).encode())
        for start in range(0, len(data) or 1, _WHOLE - HEADER.size):
            self._queue(label, data[start : start + _WHOLE - HEADER.size])

    def _queue(self, label: bytes, data: bytes) -> None:
        self._frames.append(HEADER.pack(label, time.time_ns(), len(data)) + data)
        self._size += len(self._frames[-1])

    def _send(self) -> None:
        try:
            while self._frames:
                size = os.write(self._ends.frames, self._frames[0])  # all of it or nothing
                self._sent.append(self._frames.popleft())
                self._size -= size
                self._sent_size += size
        except BlockingIOError:
            pass
        except BrokenPipeError:
            self._bereave()
        while self._sent_size > _MOST_SENT:
            self._forget()

    def _forget(self) -> None:
        """Forget the oldest frame that was sent."""
        self._sent_size -= len(self._sent.popleft())
        self._kept += 1

    def _hear(self) -> None:
        """Take what the run says; when it says no more, and did not say good-bye, its process has broken off."""
        data = os.read(self._ends.control, _CHUNK)
        self._said += data
        while len(self._said) >= COMMAND.size:
            kind, size = COMMAND.unpack_from(self._said)
            if len(self._said) < COMMAND.size + size:
                break
            content, self._said = self._said[COMMAND.size : COMMAND.size + size], self._said[COMMAND.size + size :]
            if kind == RUN:
                self._run = content
            elif kind == SYNC:
                self._syncs += 1
                self._asked = time.monotonic()
            elif kind == KEPT:
                (count,) = COUNT.unpack(content)
                while self._sent and self._kept < count:
                    self._forget()
            else:
                self._hang_up()
                return
        if not data:
            self._bereave()

    def _bereave(self) -> None:
        """Leave what the run was not told, or could not keep, where it is sent from later."""
        for channel in self._channels:
            self._drain(channel)
        left = b"".join([*self._sent, *self._frames])
        self._hang_up()
        with contextlib.suppress(Exception):  # the border: there is nobody left to tell
            if self._run and left:
                _leave(self._run, left)

    def _drain(self, channel: Channel) -> None:
        """Read what is there of a stream, whether or not where it leads has room for it now."""
        end = time.monotonic() + _LAST_S
        poll = select.poll()
        poll.register(channel.source, select.POLLIN)
        while channel.open and len(channel.waiting) < _MOST_SENT and time.monotonic() < end and poll.poll(0):
            before = bytes(channel.waiting)
            self._tell(channel.label, channel.read())
            channel.waiting = memoryview(before + channel.waiting)

    def _hang_up(self) -> None:
        self._listening, self._syncs = False, 0
        self._frames.clear()
        for end in (self._ends.control, self._ends.frames):
            os.close(end)


def run(ends: Ends) -> None:
    """Be the relay, and who takes its place should it break off: in a process made for it, which never returns."""
    try:
        for name in _DEAF:
            signal.signal(getattr(signal, name), signal.SIG_IGN)
        passed = {fd for channel in ends.channels for fd in channel[1:]}
        hears, tells = os.pipe()
        try:
            child = os.fork()
        except OSError:  # no room for a second process: the relay alone does the same as long as it lives
            child = tells = -1
        if child <= 0:
            _close_others({ends.control, ends.frames, tells, *passed})
            Relay(ends, tells).serve()
        else:
            _close_others({hears, ends.frames, *passed})  # when these frames end nobody is left, and the run knows
            _stand_by(ends, hears, child)
        os._exit(0)
    finally:
        os._exit(1)


def _stand_by(ends: Ends, hears: int, child: int) -> None:
    """Hold the ends of the streams until the relay ends; if it was killed, pass on what is left and what comes."""
    left = {label: (label, source, sink) for label, source, sink in ends.channels}
    while told := os.read(hears, _CHUNK):
        for number in told:
            label = bytes([number])
            if label in left:  # held open here, a script would write for ever to a reader that is gone
                os.close(left.pop(label)[1])
    if os.waitpid(child, 0)[1]:
        with contextlib.suppress(OSError):
            os.write(ends.frames, HEADER.pack(GONE, time.time_ns(), 0))
        Relay(Ends(tuple(left.values()), -1, -1, 0)).serve()


def frames_of(data: bytes) -> Iterator[tuple[bytes, int, bytes]]:
    """Yield label, instant and bytes of the whole frames of some data."""
    at = 0
    while len(data) - at >= HEADER.size:
        label, at_ns, size = HEADER.unpack_from(data, at)
        if len(data) - at - HEADER.size < size:
            return
        yield label, at_ns, data[at + HEADER.size : at + HEADER.size + size]
        at += HEADER.size + size


def _leave(said: bytes, left: bytes) -> None:
    """Write the last lines of a run into an outbox, from which the next run or `interlock sync` sends them."""
    block = decode(said)
    (begun,) = block.entries
    lines, log = Lines(), ""
    decode_part = {label: codecs.getincrementaldecoder("utf-8")("replace").decode for label in LABELS}
    for label, at_ns, data in frames_of(left):
        if label in LABELS:
            log += lines.feed(LABELS[label], decode_part[label](data), at_ns)
    if log := log + lines.close(time.time_ns()):
        spool = Spool(block.location)
        spool.append([begun, Said(begun.run, log=log)], cut=True)
        spool.let_go()


def _watch(process: int) -> int:
    """Return a descriptor that tells when a process ends, or -1 where there is no such thing."""
    try:
        return os.pidfd_open(process)
    except (AttributeError, OSError):
        return -1


def _close_others(kept: set[int]) -> None:
    """Close what this process got from its parent and has no use for: locks, pipes, files."""
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    try:
        known = [int(name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208 - numbers
    except OSError:
        known = list(range(1024))
    for fd in known:
        if fd > 2 and fd not in kept:
            with contextlib.suppress(OSError):
                os.close(fd)
