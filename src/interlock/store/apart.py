"""Reads files that nobody vouches for in a process apart, so that a damaged one ends that process and not ours.

The process stays for a while after a file, and the next file is read by it.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import io
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from interlock.core.errors import Invalid
from interlock.store.apart_reader import COUNT, END, FAILED, Failure, Request, memory_free

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import polars as pl

    from interlock.store.apart_reader import Kind

_COMMAND: Final = ("-P", "-m", "interlock.store.apart_reader")
_HEAD: Final = 9  # bytes: a mark, and how many follow
_PIPE: Final = 1 << 20
_SILENCE_S: Final = 600.0
_KEPT: Final = 2
_PATIENCE_S: Final = 10.0


class Unreadable(ValueError):
    """A file is not what its name says, or is damaged.

    Args:
        message: why, as the reader said it; it may repeat what is in the file.
        error: the name of the reader's error.
    """

    def __init__(self, message: str, error: str) -> None:
        super().__init__(message)
        self.error = error


def table(path: Path, kind: Kind) -> pl.DataFrame:
    """Return all rows of a file.

    Args:
        path: the file.
        kind: its format.

    Raises:
        Unreadable: it is damaged, or takes more than half of the memory that is free.
        OSError: the system refuses it.

    Cost: as Polars in this process, 0.2 s for a process when none waits, and 0.1 s for 100 MB of values.
    """
    import polars as pl

    most, size = memory_free() // 2, 0
    frames = []
    for frame in rows(path, kind):
        size += int(frame.estimated_size())
        if size > most:
            raise Unreadable(f"it unpacks to more than {most:,} bytes, half of the memory that is free", "MemoryError")
        frames.append(frame)
    return pl.concat(frames, rechunk=True) if frames else columns(path, kind)


def table_of(content: bytes, kind: Kind, name: str) -> pl.DataFrame:
    """Return all rows of a file that is in memory, such as a part of a bundle that a client brought.

    Args:
        content: its bytes.
        kind: its format.
        name: what it is, to begin a sentence with.

    Raises:
        Invalid: it is damaged, or takes more than half of the memory that is free.

    Cost: as `table`, and its bytes written to a temporary file.
    """
    try:
        with resting(content) as path:
            return table(path, kind)
    except Unreadable as error:
        why = str(error).split("\n", 1)[0].rstrip(".")
        raise Invalid(f"{name} cannot be read as {kind}: {why}.", about="file") from None


@contextlib.contextmanager
def resting(content: bytes) -> Iterator[Path]:
    """Give the path of a temporary file with these bytes."""
    with tempfile.NamedTemporaryFile(prefix="interlock-") as file:
        file.write(content)
        file.flush()
        yield Path(file.name)


def rows(
    path: Path, kind: Kind, names: Sequence[str] = (), start: int = 0, size: int = 1 << 17
) -> Iterator[pl.DataFrame]:
    """Return the rows of a file in their order, some at a time.

    Args:
        path: the file.
        kind: its format.
        names: which columns; none: all.
        start: how many rows to pass over.
        size: about how many rows to give at a time.

    Raises:
        Unreadable: it is damaged.
        OSError: the system refuses it.
    """
    import polars as pl

    for _, body in _asked(Request(str(path.absolute()), kind, "rows", tuple(names), start, size)):
        yield pl.read_ipc_stream(body)


def columns(path: Path, kind: Kind) -> pl.DataFrame:
    """Return a file's table without its rows; raises as `rows`."""
    import polars as pl

    (body,) = [body for _, body in _asked(Request(str(path.absolute()), kind, "schema"))]
    return pl.read_ipc_stream(body)


def count(path: Path, kind: Kind) -> int:
    """Return how many rows a file has; raises as `rows`."""
    (found,) = [int(body) for mark, body in _asked(Request(str(path.absolute()), kind, "count")) if mark == COUNT]
    return found


def _asked(request: Request) -> Iterator[tuple[bytes, bytes]]:
    """Return what a reader answers. A reader that is not listened to until its end is ended."""
    reader, heard = _first(request)
    whole = False
    try:
        while heard is not None and heard[0] != END:
            if heard[0] == FAILED:
                whole = True
                failure = msgspec.json.decode(heard[1], type=Failure)
                if failure.number:
                    raise OSError(failure.number, os.strerror(failure.number))
                raise Unreadable(failure.message, failure.error)
            yield heard
            heard = reader.hear()
        if heard is None:
            raise _broken(reader.end())
        whole = True
    finally:
        if whole:
            _keep(reader)
        else:
            reader.end(now=True)


def _first(request: Request) -> tuple[_Reader, tuple[bytes, bytes] | None]:
    """Return a reader that was asked, and its first answer."""
    while True:
        reader = _take()
        heard = reader.hear() if reader.ask(request) else None
        if heard is not None or reader.fresh:
            return reader, heard
        reader.end()  # it waited too long; or else this file ends also the next one


def _broken(status: int) -> Unreadable:
    why = signal.Signals(-status).name if status < 0 else f"status {status}"
    return Unreadable(f"it is damaged, or takes more memory than is free: its reader ended with {why}", why)


class _Reader:
    """A process that reads; `fresh` until it has answered once."""

    def __init__(self) -> None:
        places = os.pathsep.join(path for path in sys.path if path.startswith(os.sep))
        self._child = subprocess.Popen(
            [sys.executable, *_COMMAND],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": places},
            cwd="/",
        )
        self.fresh = True
        self.parent = os.getpid()
        if self._child.stdout is not None and hasattr(fcntl, "F_SETPIPE_SZ"):
            with contextlib.suppress(OSError):
                fcntl.fcntl(self._child.stdout, fcntl.F_SETPIPE_SZ, _PIPE)

    def ask(self, request: Request) -> bool:
        """Send a request; return whether it was taken."""
        assert self._child.stdin is not None  # noqa: S101 - for the type checker
        try:
            self._child.stdin.write(msgspec.json.encode(request) + b"\n")
            self._child.stdin.flush()
        except BrokenPipeError:
            return False
        return True

    def hear(self) -> tuple[bytes, bytes] | None:
        """Return a mark and what follows it; None when the process ended, or was silent for too long."""
        head = self._bytes(_HEAD)
        body = None if head is None else self._bytes(int.from_bytes(head[1:], "little"))
        return None if head is None or body is None else (head[:1], body)

    def _bytes(self, size: int) -> bytes | None:
        """Return so many bytes, past the pipe's buffer, of which nobody could say whether it has some."""
        assert self._child.stdout is not None  # noqa: S101 - for the type checker
        if not size:
            return b""
        pipe, sink, got = self._child.stdout.fileno(), io.BytesIO(), 0
        ready = select.poll()
        ready.register(pipe, select.POLLIN)
        sink.seek(size - 1)
        sink.write(b"\0")  # it has its size now, and gives its bytes away without a copy
        with sink.getbuffer() as whole:
            while got < size:
                if not ready.poll(_SILENCE_S * 1000):
                    self._child.kill()
                    return None
                with whole[got:] as rest:
                    more = os.readv(pipe, [rest])
                if not more:
                    return None
                got += more
        return sink.getvalue()

    def end(self, *, now: bool = False) -> int:
        """Return the status with which it ended; unless `now`, by itself."""
        try:
            if not now:
                self._child.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            now = True
        if now:
            self._child.kill()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        return self._child.wait()


_idle: Final[list[_Reader]] = []
_lock: Final = threading.Lock()


def _take() -> _Reader:
    with _lock:
        while _idle:
            reader = _idle.pop()
            if reader.parent == os.getpid():  # after a fork they are the other process's
                return reader
    return _Reader()


def _keep(reader: _Reader) -> None:
    reader.fresh = False
    with _lock:
        if len(_idle) < _KEPT:
            _idle.append(reader)
            return
    reader.end(now=True)


@atexit.register
def _end_all() -> None:
    with _lock:
        while _idle:
            reader = _idle.pop()
            if reader.parent == os.getpid():
                reader.end(now=True)
