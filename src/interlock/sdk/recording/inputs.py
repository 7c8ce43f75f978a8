"""The files that a run reads, by path, size and SHA-256: those that it names, and those that its process opens.

What a process opens is mostly no data: code, fonts, time zones, what the system tells of itself. Here stands what is.
A file that the run has written, or that is newer than the run, is something that it made, not something that it read.
Files are digested after they were opened: one that is another by then, or gone, is listed as it was, without a digest.
"""

from __future__ import annotations

import collections
import hashlib
import os
import stat
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from interlock.sdk.places import PROJECT_FILE
from interlock.sdk.recording import opened, words
from interlock.sdk.recording.project import installed_folders

if TYPE_CHECKING:
    from collections.abc import Callable

    from interlock.sdk.recording.project import Project

MOST_FILES: Final = 1000
MOST_NAMED: Final = 100
MOST_OF_ONE: Final = 256 << 20
MOST_BYTES: Final = 1 << 30
_HEARD: Final = 20_000  # so many paths are remembered
_CHUNK: Final = 1 << 20
_LAST_S: Final = 5.0  # for the sizes of files that there was no time to digest
_SYSTEM: Final = (
    *("/bin/", "/boot/", "/dev/", "/etc/", "/lib/", "/lib64/", "/proc/", "/run/", "/sbin/", "/sys/", "/usr/bin/"),
    *("/usr/lib/", "/usr/share/", "/usr/local/lib/", "/usr/local/share/", "/var/cache/", "/var/lib/"),
)
_NO_DATA: Final = frozenset(
    {".py", ".pyc", ".pyi", ".pyw", ".pyx", ".pth", ".so", ".dll", ".dylib", ".ipynb", ".mo"}
    | {".ttf", ".otf", ".afm", ".pem", ".key", ".crt", ".p12", ".pfx"}
)
_Identity = tuple[int, int, int, int]
_CACHES: Final = frozenset({"matplotlib", "fontconfig", "pip", "uv", "mesa_shader_cache"})


class ReadFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file that a run read.

    Attributes:
        path: in the project; of a file elsewhere its name alone.
        size_bytes: its size.
        modified_at: when it was changed last.
        digest: its SHA-256, or "".
        why: why it has no digest.
    """

    path: str
    size_bytes: int
    modified_at: datetime
    digest: str = ""
    why: str = ""

    @property
    def ref(self) -> str:
        """How the run names it among its inputs: `file:data/people.csv@sha256=...`."""
        at = self.modified_at.strftime("%Y-%m-%dT%H:%M:%SZ")
        known = f"sha256={self.digest}" if self.digest else f"size={self.size_bytes},modified={at}"
        return f"file:{self.path}@{known}"


class ReadFiles(msgspec.Struct, frozen=True):
    """The files that a run read, in the order in which it opened them, and how many more there were."""

    files: tuple[ReadFile, ...]
    left_out: int = 0


class Inputs:
    """Takes paths at almost no cost, and looks at the files in a thread of its own.

    Args:
        project: where paths are told from.
        tell: called in the thread with the reference of each file.
    """

    def __init__(self, project: Project, tell: Callable[[str], None]) -> None:
        self._project = project
        self._tell = tell
        self._began = time.time()
        self._heard: dict[str, bool] = {}  # whether it was written
        self._waiting: collections.deque[tuple[str, bool, os.stat_result]] = collections.deque()
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = self._hurry = False
        self._files: list[ReadFile] = []
        self._bytes = 0
        self._left_out = 0
        self._installed = installed_folders()

    @property
    def record(self) -> ReadFiles:
        """What was read so far."""
        return ReadFiles(tuple(self._files), self._left_out)

    def watch(self) -> None:
        """Take every file that the process opens from now on."""
        self._begin()
        opened.listen(self)

    def opened(self, path: str, *, written: bool) -> None:
        """Take the path of a file that the process opens.

        Cost: the first time one `stat`, which tells later whether it is still the same; then far under a microsecond.
        """
        if path in self._heard:
            self._heard[path] |= written
        elif len(self._heard) < _HEARD:
            if not written:
                try:
                    state = os.stat(path)  # noqa: PTH116 - the path is a text
                except (OSError, ValueError):
                    return  # it cannot be opened; the next time it may be
                self._waiting.append((path, False, state))
            self._heard[path] = written
            if not written:
                self._wake.set()
        elif not written:
            self._left_out += 1

    def named(self, path: Path) -> None:
        """Take a file that the run itself names, whatever it is.

        Raises:
            OSError: it is not there.
        """
        state = path.stat()
        self._begin()
        self._waiting.append((str(path.absolute()), True, state))
        self._wake.set()

    def close(self, timeout_s: float) -> None:
        """Look at what waits; when the time is over, at the size of the rest."""
        opened.stop_listening(self)
        thread, self._stop = self._thread, True
        self._wake.set()
        if thread is not None:
            thread.join(timeout_s)
            self._hurry = True
            thread.join(_LAST_S)

    def _begin(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="interlock-inputs", daemon=True)
                self._thread.start()

    def _serve(self) -> None:
        with opened.unheard():
            while True:
                stop = self._stop
                self._wake.clear()
                while self._waiting:
                    try:
                        self._look(*self._waiting.popleft())
                    except OSError:
                        continue  # it was there for a moment
                if stop:
                    return
                self._wake.wait()

    def _look(self, path: str, named: bool, state: os.stat_result) -> None:
        if not stat.S_ISREG(state.st_mode) or not (named or self._is_data(path, state)):
            return
        if len(self._files) >= MOST_FILES:
            self._left_out += 1
            return
        digest, why = self._digest(path, state)
        if self._heard.get(path) and not named:
            return  # written meanwhile
        told = words.clean(self._project.inside(path) or Path(path).name).replace("\n", "\\n")
        modified_at = datetime.fromtimestamp(int(state.st_mtime), UTC)
        found = ReadFile(told, state.st_size, modified_at, digest, why)
        if found not in self._files:
            self._files.append(found)
            if len(self._files) <= MOST_NAMED:
                self._tell(found.ref)

    def _digest(self, path: str, state: os.stat_result) -> tuple[str, str]:
        """Return the digest of the file that was opened, as `state` tells; or "" and why there is none."""
        if state.st_size > MOST_OF_ONE:
            return "", f"larger than {MOST_OF_ONE >> 20} MiB"
        if self._bytes + state.st_size > MOST_BYTES:
            return "", f"the run has read more than {MOST_BYTES >> 20} MiB before"
        self._bytes += state.st_size
        found = hashlib.sha256()
        try:
            file = open(path, "rb", buffering=0)  # noqa: PTH123, SIM115 - the path is a text
        except FileNotFoundError:
            return "", "it was removed meanwhile"
        with file:
            if _identity(os.fstat(file.fileno())) != _identity(state):
                return "", "it changed meanwhile"
            while chunk := file.read(_CHUNK):
                if self._hurry:
                    return "", "the run ended meanwhile"
                found.update(chunk)
            after = os.fstat(file.fileno())
        if _identity(after) != _identity(state):
            return "", "it changed meanwhile"
        return found.hexdigest(), ""

    def _is_data(self, path: str, state: os.stat_result) -> bool:
        """Return whether a file that was opened is something that the run read, and no part of what it runs on."""
        name = path.rpartition(os.sep)[2]
        if os.path.splitext(name)[1].lower() in _NO_DATA or name == PROJECT_FILE:  # noqa: PTH122 - as above
            return False
        if self._heard.get(path) or state.st_mtime >= self._began:
            return False
        inside = self._project.inside(path)
        if not inside and path.startswith(_SYSTEM):
            return False
        return not path.startswith(self._installed) and not _is_hidden(inside or _below_home(path))


def _identity(state: os.stat_result) -> _Identity:
    """Return what tells a file from another that took its place, and from itself after it was written."""
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns


def _is_hidden(path: str) -> bool:
    """Return whether a path leads through hidden folders, or is a hidden file; caches of data are no secret."""
    parts = path.split("/")
    for place, part in enumerate(parts):
        if part == ".cache":
            if _CACHES.intersection(parts[place : place + 2]):
                return True
        elif part.startswith(".") or part in {"site-packages", "dist-packages", "__pycache__"}:
            return True
    return False


def _below_home(path: str) -> str:
    home = os.path.expanduser("~")  # noqa: PTH111 - a text
    return path.removeprefix(home + os.sep) if home != os.sep else path
