"""The log of a run: what its steps print and log, with the instant, the step and the stream in front of each line.

Several runs may go on in one process: what is printed goes to the log of the run whose step prints it, and to
where it would have gone anyway. A run's log is held with a lock, so that nobody resumes a run that still goes on.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import sys
import threading
from contextvars import ContextVar
from pathlib import Path  # noqa: TC003 - an attribute
from typing import TYPE_CHECKING, Any, TextIO, cast

from interlock.core.errors import Conflict, Invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from interlock.core.clock import Clock

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}\Z")
_sink: ContextVar[Callable[[str, str], None] | None] = ContextVar("interlock_sink", default=None)


def log_path(root: Path, run: str) -> Path:
    """Return where the log of a run is.

    Raises:
        Invalid: the id could name another file.
    """
    if not _RUN_ID.match(run):
        raise Invalid(f"{run!r} cannot be the id of a run.", about="run", hint="Ids are letters, digits, '-' and '_'.")
    return root / "logs" / f"{run}.log"


class RunLog:
    """The log file of one run, written line by line.

    Args:
        path: the file, which is made when it is missing and never cut.
        clock: tells the instant of each line.
        alone: whether no other process may have the run at the same time.

    Raises:
        Conflict: another process has it.
    """

    def __init__(self, path: Path, clock: Clock, *, alone: bool = True) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self.path = path
        self.handle = os.open(path, flags, 0o600)
        self._clock = clock
        self._lock = threading.Lock()
        if alone:
            try:
                fcntl.flock(self.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(self.handle)
                raise Conflict(
                    f"Run {path.stem} is going on in another process.", about="run", hint="Wait until it has ended."
                ) from None

    def writer(self, label: str) -> LineWriter:
        """Return a writer for one step.

        Args:
            label: what stands in front of its lines, such as `train#3`.
        """
        return LineWriter(label, self._line)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self.handle)

    def _line(self, label: str, stream: str, text: str) -> None:
        at = self._clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        clean = text.replace("\r", "\\r")
        with self._lock:
            os.write(self.handle, f"{at} {label} {stream}| {clean}\n".encode("utf-8", "backslashreplace"))


class LineWriter:
    """Takes pieces of text and hands on whole lines."""

    def __init__(self, label: str, line: Callable[[str, str, str], None]) -> None:
        self._label = label
        self._line = line
        self._open: dict[str, str] = {}
        self._lock = threading.Lock()

    def __call__(self, stream: str, text: str) -> None:
        """Take a piece of text that a stream (`out`, `err`, `log`) got."""
        with self._lock:
            *lines, rest = (self._open.pop(stream, "") + text).split("\n")
            if rest:
                self._open[stream] = rest
            for line in lines:
                self._line(self._label, stream, line)

    def close(self) -> None:
        """Hand on lines that have no end."""
        for stream in list(self._open):
            self(stream, "\n")


@contextlib.contextmanager
def captured(sink: Callable[[str, str], None]) -> Iterator[None]:
    """Send what is printed and logged inside the block to `sink`, besides where it goes anyway."""
    token = _sink.set(sink)
    try:
        yield
    finally:
        _sink.reset(token)


class _Tee:
    """Stands for sys.stdout or sys.stderr while runs go on; all but writing is the original's."""

    def __init__(self, label: str, original: TextIO) -> None:
        self.label = label
        self.original = original

    def write(self, text: str) -> int:
        sink = _sink.get()
        if sink is not None:
            sink(self.label, text)
        return self.original.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original, name)


class _Handler(logging.Handler):
    """Takes log records of steps; where nobody else listens, warnings still reach the console."""

    def emit(self, record: logging.LogRecord) -> None:
        sink = _sink.get()
        if sink is not None:
            sink("log", f"{record.levelname} {record.name}: {self.format(record)}\n")
        alone = logging.getLogger().handlers == [self]
        if alone and logging.lastResort and record.levelno >= logging.lastResort.level:
            logging.lastResort.emit(record) if sink is None else _console(record, self)


def _console(record: logging.LogRecord, handler: logging.Handler) -> None:
    current: Any = sys.stderr
    stream = current.original if isinstance(current, _Tee) else current
    stream.write(f"{handler.format(record)}\n")


_installing = threading.Lock()
_installed: list[Any] = []
_users = 0


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """Put our ears on sys.stdout, sys.stderr and logging for the length of the block; blocks may overlap."""
    global _users  # noqa: PLW0603 - the streams are the process's own
    with _installing:
        _users += 1
        if _users == 1:
            _install()
    try:
        yield
    finally:
        with _installing:
            _users -= 1
            if _users == 0:
                _remove()


def _install() -> None:
    root, handler = logging.getLogger(), _Handler()
    _installed[:] = [handler, root.level]
    root.addHandler(handler)
    if root.level in {logging.NOTSET, logging.WARNING}:
        root.setLevel(logging.INFO)
    sys.stdout, sys.stderr = cast("TextIO", _Tee("out", sys.stdout)), cast("TextIO", _Tee("err", sys.stderr))


def _remove() -> None:
    root, (handler, level) = logging.getLogger(), _installed
    root.removeHandler(handler)
    if root.level == logging.INFO:
        root.setLevel(level)
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name)
        if isinstance(stream, _Tee):  # somebody else may have put his own there meanwhile
            setattr(sys, name, stream.original)
