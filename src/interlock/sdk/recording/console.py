"""What the process prints, line by line, for the log of its run; the terminal gets it as it would have anyway."""

from __future__ import annotations

import codecs
import collections
import contextlib
import re
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol, TextIO, cast

from interlock.sdk.recording import words

if TYPE_CHECKING:
    from collections.abc import Iterable

    from interlock.sdk.recording import entries

_LONGEST: Final = 64 << 10
_ESCAPES: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
Sink = Callable[[str, str, int], None]
"""Takes what was printed: `out`, `err` or `both`, the text, and when."""


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
    """Return a line of the log, such as `2026-01-31T12:00:00.000Z out| epoch 3`, without colours."""
    at = datetime.fromtimestamp((at_ns or time.time_ns()) / 1e9, UTC)
    if "\x1b" in line:
        line = _ESCAPES.sub("", line)
    shown = words.clean(line.rstrip("\r").rpartition("\r")[2])
    return f"{at.isoformat(timespec='milliseconds').replace('+00:00', 'Z')} {stream}| {shown}\n"


class Ears(Protocol):
    """What hears what is printed."""

    def listen(self, sink: Sink, when_kept: Callable[[Callable[[], None]], None]) -> None:
        """Send what is printed to a sink too, from now on.

        Args:
            sink: takes what is printed.
            when_kept: calls a function when all that the sink has got is on disk.
        """
        ...

    def belongs_to(self, location: str, begun: entries.Any) -> None:
        """Say whose words these are, should the process break off: the workspace, and the entry that begins the run."""
        ...

    def stop_listening(self) -> None:
        """Hear no more, when the sink has all."""
        ...


class Tee:
    """Hears what Python prints: it stands for `sys.stdout` and `sys.stderr`, and takes nothing from them."""

    def listen(self, sink: Sink, when_kept: Callable[[Callable[[], None]], None]) -> None:  # noqa: ARG002 - of `Ears`
        """Send what is printed to a sink too, from now on."""
        listen(sink)

    def belongs_to(self, location: str, begun: entries.Any) -> None:
        """Do nothing: what is heard is told at once."""

    def stop_listening(self) -> None:
        """Hear no more."""
        stop_listening()


class _Tee:
    """Stands for sys.stdout or sys.stderr; everything but writing is the original's."""

    def __init__(self, label: str, original: TextIO, sink: Sink) -> None:
        self.label = label
        self.original = original
        self.sink = sink
        self._bytes: _Bytes | None = None

    def write(self, text: str) -> int:
        written = self.original.write(text)
        self.sink(self.label, text, time.time_ns())
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
        self._tee.sink(self._tee.label, self._decode.decode(bytes(data)), time.time_ns())
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


_lock = threading.Lock()
_users = 0
# `print` holds no reference to the stream that it writes to (CPython before 3.14): a tee that another thread still
# prints through must outlive its time in `sys`.
_kept: collections.deque[_Tee] = collections.deque(maxlen=64)
_inside = threading.local()
_settling: list[Callable[[], None]] = []


def settle() -> None:
    """Return when all that was printed until now has reached who listens."""
    for wait in tuple(_settling):
        wait()


def settle_first(wait: Callable[[], None]) -> None:
    """Let `settle` wait for somebody who is told late."""
    _settling.append(wait)


def settle_no_more(wait: Callable[[], None]) -> None:
    """Let `settle` wait for him no more."""
    with contextlib.suppress(ValueError):
        _settling.remove(wait)


def listen(sink: Sink) -> None:
    """Send what is printed to a sink too, until `stop_listening` was called as often."""
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


def _guarded(sink: Sink) -> Sink:
    """Return a sink that never fails, and is not entered again by what it prints itself."""

    def take(stream: str, text: str, at_ns: int) -> None:
        if getattr(_inside, "now", False):
            return
        _inside.now = True
        with contextlib.suppress(Exception):
            sink(stream, text, at_ns)
        _inside.now = False

    return take


def _nowhere(stream: str, text: str, at_ns: int) -> None:
    """Take text and do nothing with it."""
