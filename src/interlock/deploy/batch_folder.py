"""The folder that scored files are written to: each part is there once and whole, however often its maker is killed.

    _interlock/lock           held by the process that writes
    _interlock/plan.json      what shall be done
    _interlock/journal.jsonl  a line a part that is done, each on disk before the next is begun
    _interlock/parts/         parts that are done, until all are
    _interlock/done.json      the report; there when everything is published
    00000-00000.parquet ...   the output
    _bad_rows/                which rows were refused, and why

A part is written beside its place, synced, renamed, and then named in the journal. What the journal does not name is
made again; what it names is checked against its digest. Only when all parts are done do they move up, by renaming.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from interlock.core.errors import Conflict, Corrupt, Invalid, StorageFull, Unavailable
from interlock.deploy.batch_records import Part, Plan, Report
from interlock.store.objects import sync_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OWN: Final = "_interlock"
BAD_ROWS: Final = "_bad_rows"
_FULL: Final = {28, 122}  # ENOSPC, EDQUOT


class OutputFolder:
    """An output folder, held by this process; use it as a context manager.

    Args:
        path: the folder, which is made if it is missing.

    Raises:
        Conflict: another process writes it, or it holds other files.
        Invalid: it is a file.
        Unavailable: it cannot be made or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._own = path / OWN
        self._parts = self._own / "parts"
        check_free(path)
        self._made = not path.exists()
        with _writing(path):
            self._own.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(self._own / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(self._handle, 20, 0).decode(errors="replace").strip()
            os.close(self._handle)
            raise Conflict(
                f"Process {pid or 'unknown'} is scoring into {str(path)!r}.",
                about="folder",
                hint="Wait for it, or write to another folder.",
            ) from None
        try:
            with _writing(path):
                os.ftruncate(self._handle, 0)
                os.pwrite(self._handle, str(os.getpid()).encode(), 0)
                self._parts.mkdir(exist_ok=True)
        except BaseException:  # nobody has this folder yet, so nobody else would close the lock
            os.close(self._handle)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)

    def plan(self) -> Plan | None:
        """Return what was begun here, or None."""
        found: Plan | None = _decode(self._own / "plan.json", Plan)
        return found

    def done(self) -> Report | None:
        """Return the report when all is published, or None."""
        found: Report | None = _decode(self._own / "done.json", Report)
        return found

    def begin(self, plan: Plan) -> None:
        """Write down what shall be done."""
        with _writing(self.path):
            _write(self._own / "plan.json", msgspec.json.encode(plan))
            if self._made:
                sync_folder(self.path.parent)
            sync_folder(self.path)

    def restart(self) -> None:
        """Throw away what was begun and not published.

        Raises:
            Conflict: all is published.
        """
        if self.done() is not None or any(entry.name != OWN for entry in self.path.iterdir()):
            raise Conflict(
                f"{str(self.path)!r} holds published files.",
                about="folder",
                hint="They may be in use: write to another folder with --output, or take this one away yourself.",
            )
        with _writing(self.path):
            for name in ("journal.jsonl", "plan.json"):
                (self._own / name).unlink(missing_ok=True)
            shutil.rmtree(self._parts)
            self._parts.mkdir()
            sync_folder(self._own)

    def parts(self) -> list[Part]:
        """Return the parts that are done, each checked; what is not in the journal is taken away.

        Raises:
            Corrupt: a part is not as it was written, or the journal is damaged.

        Cost: reads the parts once.
        """
        found = self._journal()
        for part in found:
            for name, digest in _files(part):
                if _digest(self._place(name)) != digest:
                    raise Corrupt(
                        f"{name!r} in {str(self.path)!r} is not as it was written.",
                        about="folder",
                        hint="Take the folder away and start again.",
                    )
        named = {name for part in found for name, _ in _files(part)}
        with _writing(self.path):
            for entry in self._parts.iterdir():
                if entry.name not in named:
                    entry.unlink()
        return found

    def keep(self, name: str, write: Callable[[Path], None]) -> tuple[str, int]:
        """Return digest and size of a file that is now on disk, whole, and waits to be published.

        Args:
            name: the file's name.
            write: writes it where it is told.
        """
        making, place = self._parts / f"{name}.tmp", self._parts / name
        with _writing(self.path):
            write(making)
            digest = _digest(making)
            with making.open("rb") as file:
                os.fsync(file.fileno())
                size = os.fstat(file.fileno()).st_size
            making.rename(place)
            sync_folder(self._parts)
        return digest or "", size

    def note(self, part: Part) -> None:
        """Write down that a part is done."""
        with _writing(self.path), (self._own / "journal.jsonl").open("ab") as file:
            file.write(msgspec.json.encode(part) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if part.first == 0 and part.input == 0:
            sync_folder(self._own)

    def publish(self, report: Report) -> None:
        """Move all parts to where readers look, then write the report; again is nothing new."""
        with _writing(self.path):
            if any(part.report for part in report.parts):
                (self.path / BAD_ROWS).mkdir(exist_ok=True)
            for part in report.parts:
                for name, _ in _files(part):
                    with contextlib.suppress(FileNotFoundError):  # moved before
                        (self._parts / name).rename(self._published(name))
            if (self.path / BAD_ROWS).exists():
                sync_folder(self.path / BAD_ROWS)
            sync_folder(self.path)
            _write(self._own / "done.json", msgspec.json.encode(report))

    def _journal(self) -> list[Part]:
        path = self._own / "journal.jsonl"
        found: list[Part] = []
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return []
        lines = data.split(b"\n")
        good = 0
        for number, line in enumerate(lines):
            try:
                found.append(msgspec.json.decode(line, type=Part))
            except msgspec.MsgspecError:
                if number < len(lines) - 1 and any(later.strip(b"\0") for later in lines[number + 1 :]):
                    raise Corrupt(f"Line {number + 1} of {path.name} is damaged.", about="folder") from None
                break
            good += len(line) + 1
        if good < len(data):  # a line that was being written when its process was killed
            with path.open("r+b") as file:
                file.truncate(good)
                os.fsync(file.fileno())
        elif good > len(data):  # all of the last line but its end
            with path.open("ab") as file:
                file.write(b"\n")
                os.fsync(file.fileno())
        return found

    def _published(self, name: str) -> Path:
        return self.path / BAD_ROWS / name if name.startswith("bad-") else self.path / name

    def _place(self, name: str) -> Path:
        waiting = self._parts / name
        return waiting if waiting.exists() else self._published(name)


def check_free(path: Path) -> None:
    """Accept a folder that is new, empty or ours.

    Raises:
        Conflict: it holds other files.
        Invalid: it is a file.
    """
    if not path.exists():
        return
    if not path.is_dir():
        raise Invalid(f"{str(path)!r} is a file; a folder is wanted.", about="folder")
    if not (path / OWN).is_dir() and any(path.iterdir()):
        raise Conflict(f"{str(path)!r} holds other files.", about="folder", hint="Name a new folder, or an empty one.")


def peek(path: Path) -> tuple[Plan | None, int]:
    """Return what was begun in a folder and how many rows are done, as far as can be told without holding it."""
    plan = _decode(path / OWN / "plan.json", Plan)
    done = 0
    with contextlib.suppress(FileNotFoundError):
        for line in (path / OWN / "journal.jsonl").read_bytes().split(b"\n")[:-1]:
            with contextlib.suppress(msgspec.MsgspecError):
                done += msgspec.json.decode(line, type=Part).taken
    return plan, done


def _files(part: Part) -> list[tuple[str, str]]:
    files = [(part.name, part.digest)]
    return [*files, (part.report, part.report_digest)] if part.report else files


def _digest(path: Path) -> str | None:
    try:
        with path.open("rb", buffering=0) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def _write(path: Path, data: bytes) -> None:
    making = path.with_suffix(".tmp")
    with making.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    making.rename(path)
    sync_folder(path.parent)


def _decode(path: Path, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise Corrupt(f"{path.name} is damaged: {error}.", about="folder") from None


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, Unavailable):
            raise
        if error.errno in _FULL:
            raise StorageFull(f"There is no room for {str(path)!r}.", about="folder") from None
        raise Unavailable(
            f"{str(path)!r} cannot be written: {error.strerror or type(error).__name__}.", about="folder"
        ) from None
