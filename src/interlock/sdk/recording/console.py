"""What the process prints, line by line, for the log of its run; the terminal gets it as it would have anyway."""

from __future__ import annotations

import codecs
import collections
import contextlib
import sys
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TextIO, cast

from interlock.sdk.recording import words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_LONGEST: Final = 64 << 10


class Lines:
    """Makes lines of pieces of text; of a line that was overwritten (a progress bar), only the last state is kept."""

    def __init__(self) -> None:
        self._open: dict[str, str] = {}

    def feed(self, stream: str, text: str, at_ns: int = 0) -> str:
        """Return the whole lines that a piece completes, each with the instant and the stream in front."""
        *whole, rest = (self._open.pop(stream, "") + text).split("\n")
        if rest:
            if len(rest) > _LONGEST:
                whole, rest = [*whole, rest], ""
            else:
                # Nobody needs what a progress bar showed before; a carriage return at the end may begin "\r\n".
                self._open[stream] = rest[rest.rfind("\r", 0, -1) + 1 :]
        return "".join(stamped(stream, line, at_ns) for line in whole)

    def close(self, at_ns: int = 0) -> str:
        """Return the lines that have no end."""
        return "".join(self.feed(stream, "\n", at_ns) for stream in list(self._open))


def stamped(stream: str, line: str, at_ns: int = 0) -> str:
    """Return a line of the log, such as `2026-01-31T12:00:00.000Z out| epoch 3`."""
    at = datetime.fromtimestamp((at_ns or time.time_ns()) / 1e9, UTC)
    shown = words.clean(line.rstrip("\r").rpartition("\r")[2])
    return f"{at.isoformat(timespec='milliseconds').replace('+00:00', 'Z')} {stream}| {shown}\n"


class _Tee:
    """Stands for sys.stdout or sys.stderr; everything but writing is the original's."""

    def __init__(self, label: str, original: TextIO, sink: Callable[[str, str], None]) -> None:
        self.label = label
        self.original = original
        self.sink = sink
        self._bytes: _Bytes | None = None

    def write(self, text: str) -> int:
        written = self.original.write(text)
        self.sink(self.label, text)
        return written

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    @property
    def buffer(self) -> Any:
        if self._bytes is None:
            self._bytes = _Bytes(self)
        return self._bytes

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original, name)

    def __iter__(self) -> Any:
        return iter(self.original)


class _Bytes:
    """Stands for the bytes below a stream."""

    def __init__(self, tee: _Tee) -> None:
        self._tee = tee
        self._original = tee.original.buffer
        self._decode = codecs.getincrementaldecoder(tee.original.encoding or "utf-8")("replace")

    def write(self, data: Any) -> int:
        written = self._original.write(data)
        self._tee.sink(self._tee.label, self._decode.decode(bytes(data)))
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


_lock = threading.Lock()
_users = 0
# `print` holds no reference to the stream that it writes to (CPython before 3.14): a tee that another thread still
# prints through must outlive its time in `sys`.
_kept: collections.deque[_Tee] = collections.deque(maxlen=64)
_inside = threading.local()


def listen(sink: Callable[[str, str], None]) -> None:
    """Send what is printed to a sink too, as (`out` or `err`, text), until `stop_listening` was called as often."""
    global _users  # noqa: PLW0603 - the streams are the process's own
    with _lock:
        _users += 1
        if _users == 1:
            for label, name in (("out", "stdout"), ("err", "stderr")):
                original = getattr(sys, name)
                if original is not None:
                    _kept.append(_Tee(label, original, _guarded(sink)))
                    setattr(sys, name, cast("TextIO", _kept[-1]))


def stop_listening() -> None:
    """Take our ears off, when the last listener goes."""
    global _users  # noqa: PLW0603 - as above
    with _lock:
        _users -= 1
        if _users == 0:
            for name in ("stdout", "stderr"):
                stream: Any = getattr(sys, name)
                if isinstance(stream, _Tee):  # somebody else may have put his own there meanwhile
                    setattr(sys, name, stream.original)
                elif isinstance(getattr(stream, "original", None), _Tee):
                    stream.original.sink = _nowhere


def _guarded(sink: Callable[[str, str], None]) -> Callable[[str, str], None]:
    """Return a sink that never fails, and is not entered again by what it prints itself."""

    def take(stream: str, text: str) -> None:
        if getattr(_inside, "now", False):
            return
        _inside.now = True
        with contextlib.suppress(Exception):
            sink(stream, text)
        _inside.now = False

    return take


def _nowhere(stream: str, text: str) -> None:
    """Take text and do nothing with it."""
