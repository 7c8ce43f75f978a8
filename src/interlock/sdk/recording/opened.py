"""Hears which files this process opens: from Python's audit events, and from readers that open files without it.

Source of the events: the audit events table of Python's documentation (`open`, `os.rename`). A hook that was added can
never be taken away again; when nobody listens, ours costs a tenth of a microsecond an event.
"""

from __future__ import annotations

import contextlib
import functools
import glob
import inspect
import itertools
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, Final, Protocol

from interlock.sdk.recording.imports import when_imported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_MOST_OF_A_FOLDER: Final = 1000
_MARK: Final = "__interlock_heard__"
_SCANS: Final = ("csv", "parquet", "ipc", "ndjson")
READERS: Final[dict[str, tuple[str, ...]]] = {
    "polars": (*(f"{how}_{kind}" for how in ("read", "scan") for kind in _SCANS), "read_json", "read_avro"),
    "pyarrow.csv": ("read_csv", "open_csv"),
    "pyarrow.dataset": ("dataset",),
    "pyarrow.feather": ("read_feather", "read_table"),
    "pyarrow.json": ("read_json",),
    "pyarrow.orc": ("read_table",),
    "pyarrow.parquet": ("read_table", "read_pandas", "ParquetFile.__init__"),
}
"""Functions that open files without a word, by module: their first argument names what they read."""


class Listener(Protocol):
    """Who hears of files; called in the thread that opens them, so it returns at once."""

    def opened(self, path: str, *, written: bool) -> None:
        """Take the path of a file that is opened, and whether it may be written."""
        ...


_listeners: list[Listener] = []
_deaf = threading.local()
_installed: list[int] = []


def listen(listener: Listener) -> None:
    """Tell a listener of each file that is opened from now on."""
    _listeners.append(listener)
    if not _installed:
        _installed.append(os.getpid())
        sys.addaudithook(_hook)
        os.register_at_fork(after_in_child=_listeners.clear)  # in a child nobody would take what is heard
        for module, names in READERS.items():
            when_imported(module, functools.partial(_watch, names=names))


def stop_listening(listener: Listener) -> None:
    """Tell a listener no more."""
    with contextlib.suppress(ValueError):
        _listeners.remove(listener)


@contextlib.contextmanager
def unheard() -> Iterator[None]:
    """Tell nobody of what this thread opens in the block: it is ours and not the script's."""
    before, _deaf.now = getattr(_deaf, "now", False), True
    try:
        yield
    finally:
        _deaf.now = before


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if not _listeners:
        return
    if event == "open":
        with contextlib.suppress(Exception):  # the border: an error here would be the script's
            _tell(args[0], written=bool(args[2] & _WRITES))
    elif event == "os.rename":
        with contextlib.suppress(Exception):  # as above
            _tell(args[1], written=True)


def _tell(path: Any, *, written: bool) -> None:
    if isinstance(path, int) or getattr(_deaf, "now", False):
        return
    found = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - quick, and now: the process may change its folder
    for listener in _listeners:
        listener.opened(found, written=written)


def _watch(module: Any, names: tuple[str, ...]) -> None:
    """Let readers of a module tell what they read."""
    for name in names:
        owner, _, last = name.rpartition(".")
        home = getattr(module, owner) if owner else module
        reader = getattr(home, last, None)
        if reader is not None and not hasattr(reader, _MARK):
            setattr(home, last, _heard(reader, 1 if owner else 0))


def _heard(reader: Callable[..., Any], place: int) -> Callable[..., Any]:
    """Return a reader that tells what it reads.

    Args:
        reader: the reader.
        place: which of its arguments names that.
    """
    try:
        name = list(inspect.signature(reader).parameters)[place]
    except (TypeError, ValueError, IndexError):
        name = ""

    @functools.wraps(reader)
    def read(*args: Any, **kwargs: Any) -> Any:
        if _listeners:
            with contextlib.suppress(Exception):  # as above
                for path in _files(args[place] if len(args) > place else kwargs.get(name)):
                    _tell(path, written=False)
        return reader(*args, **kwargs)

    setattr(read, _MARK, True)
    return read


def _files(source: Any) -> Iterator[str]:
    """Yield the files that a reader's argument stands for: a path, a pattern, a folder, or a list of these."""
    if isinstance(source, list | tuple):
        for part in itertools.islice(source, _MOST_OF_A_FOLDER):
            yield from _files(part)
        return
    if not isinstance(source, str | os.PathLike):
        return
    path = os.path.expanduser(os.fsdecode(source))  # noqa: PTH111 - patterns are texts
    if os.path.isdir(path):  # noqa: PTH112 - as above
        inside = (os.path.join(folder, name) for folder, _, names in os.walk(path) for name in sorted(names))  # noqa: PTH118
        yield from itertools.islice(inside, _MOST_OF_A_FOLDER)
    elif glob.has_magic(path) and not os.path.exists(path):  # noqa: PTH110 - as above
        yield from itertools.islice(glob.iglob(path, recursive=True), _MOST_OF_A_FOLDER)  # noqa: PTH207 - as above
    elif "\n" not in path and os.path.isfile(path):  # noqa: PTH113 - a text may be the data itself
        yield path
