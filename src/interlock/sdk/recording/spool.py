"""The spool: what a process has said and no server has yet, in files that survive the process.

    OUTBOX/WRITER/ULID.log    blocks with checksums (interlock.store.blocklog), each synced when it is written
    OUTBOX/WRITER/files/ULID  copies of the files that entries name
    OUTBOX/WRITER/done        how far the server has it

A writer is one process (or one child of it). It holds a lock on its newest log; whoever gets that lock knows that the
writer is dead and may deliver what it left. Blocks end in batches: all of a batch is delivered, or all of it again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from interlock.core.errors import Corrupt
from interlock.core.ids import is_ulid, new_id
from interlock.sdk.places import FOLDER, is_address
from interlock.sdk.recording import entries
from interlock.sdk.recording.entries import Block, Ended, Resumed, Started, decode, encode
from interlock.store.blocklog import START, SUFFIX, BlockReader, BlockWriter

if TYPE_CHECKING:
    from collections.abc import Iterator


_ROTATE: Final = 8 << 20
_FILES: Final = "files"
_DONE: Final = "done"


class Place(msgspec.Struct, frozen=True):
    """A place between two blocks: the file, the offset in it, and the number of the next block."""

    file: str
    offset: int = START
    number: int = 0


class Batch(msgspec.Struct, frozen=True):
    """What is delivered together: its number, its entries, and where the next batch begins."""

    number: int
    entries: list[entries.Any]
    next: Place


def outbox_of(location: str) -> Path:
    """Return the folder in which what is meant for a workspace waits.

    Args:
        location: a project folder or an address. Of an address it is in the user's state folder.
    """
    if not is_address(location):
        return Path(location) / FOLDER / "outbox"
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "interlock" / "outbox"


class Spool:
    """The spool of this process, to be appended to by one thread.

    Args:
        location: the workspace that all of it is for.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, location: str) -> None:
        self.writer = new_id()
        self.folder = outbox_of(location) / self.writer
        self.cut = 0
        self._location = location
        self._open: dict[str, None] = {}
        (self.folder / _FILES).mkdir(mode=0o700, parents=True)
        self._log: BlockWriter | None = None
        self._broken: BlockWriter | None = None  # it keeps the lock until another file has one
        self._roll()

    def append(self, said: list[entries.Any], *, cut: bool) -> None:
        """Return when entries are on disk.

        Args:
            said: the entries.
            cut: whether a batch ends here.

        Raises:
            OSError: they are not on disk; the same entries may be given again.
        """
        number = self.cut + 1 if cut else 0
        log = self._log or self._roll()
        try:
            log.append(encode(Block(time.time_ns() // 1000, said, number)))
        except OSError:
            self._log = None
            with contextlib.suppress(OSError):
                os.truncate(log.path, log.size)  # what may have got there is said again, in another file
            self._broken = log
            raise
        self.cut += cut
        self._remember(said)
        if cut and log.size > _ROTATE:
            with contextlib.suppress(OSError):  # the entries are on disk; without room for a new file, this one goes on
                self._roll()
                log.seal()

    def stage(self) -> Path:
        """Return a new path for the bytes of a file, which an entry may then name by its last part."""
        return self.folder / _FILES / new_id()

    def let_go(self) -> None:
        """Close the files as they are: others may deliver what is left."""
        for log in (self._log, self._broken):
            if log is not None:
                log.abandon()
        self._log = self._broken = None

    def forget(self) -> None:
        """Remove the spool, of which the server has everything."""
        if self._log is not None:
            self._log.path.unlink(missing_ok=True)
        self.let_go()
        shutil.rmtree(self.folder, ignore_errors=True)

    def disown(self) -> None:
        """Close the files in a child process, in which they are copies: the parent keeps its locks."""
        for log in (self._log, self._broken):
            if log is not None and log._handle >= 0:  # noqa: SLF001 - `abandon` would unlock the parent's file
                os.close(log._handle)  # noqa: SLF001
                log._handle = -1  # noqa: SLF001
        self._log = self._broken = None

    def _roll(self) -> BlockWriter:
        """Begin the next file; the one before is sealed after it, so that one lock is held always."""
        log = BlockWriter(self.folder)
        first = Block(time.time_ns() // 1000, location=self._location, open=tuple(self._open))
        try:
            log.append(encode(first))
        except OSError:
            log.path.unlink(missing_ok=True)
            log.abandon()
            raise
        broken, self._log, self._broken = self._broken, log, None
        if broken is not None:
            broken.abandon()
        return log

    def _remember(self, said: list[entries.Any]) -> None:
        self._open = dict.fromkeys(still_open(self._open, said))


def still_open(known: dict[str, None], said: list[entries.Any]) -> list[str]:
    """Return the runs that a writer has begun and not ended, after these entries."""
    runs = dict(known)
    for entry in said:
        if isinstance(entry, Resumed) or (isinstance(entry, Started) and entry.mine):
            runs[entry.run] = None
        elif isinstance(entry, Ended):
            runs.pop(entry.run, None)
    return list(runs)


class SpoolReader:
    """Reads a writer's spool, of this process or of a dead one.

    Args:
        folder: the writer's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.dropped: list[str] = []

    @property
    def logs(self) -> list[Path]:
        """Its files, in the order in which they were written."""
        return sorted(self.folder.glob(f"*{SUFFIX}"))

    def location(self) -> str:
        """Return the workspace that it is for, or "" when its writer died before it said so."""
        for path in self.logs:
            for block in self._blocks(path):
                return block.location
        return ""

    def place(self) -> Place | None:
        """Return up to where the server has it, or None when that is not known."""
        try:
            return msgspec.msgpack.decode((self.folder / _DONE).read_bytes(), type=Place)
        except (OSError, msgspec.MsgspecError):
            return None

    def batches(self, *, ended: bool) -> Iterator[Batch]:
        """Yield the batches that no server has yet.

        Args:
            ended: whether the writer is dead: then what it wrote after its last cut is a batch too.

        Raises:
            Corrupt: a file is damaged in its middle.
        """
        done = self.place()
        number = 0
        said: list[entries.Any] = []
        end = Place("")
        for path in self.logs:
            if done is not None and path.name < done.file:
                continue
            at = done if done is not None and path.name == done.file else Place(path.name)
            end = Place(path.name, path.stat().st_size)
            with BlockReader(path) as reader:
                for raw in reader.blocks(at.offset, at.number):
                    block = _decoded(raw.payload, path)
                    said += block.entries
                    if block.cut:
                        number = block.cut
                        yield Batch(number, said, Place(path.name, raw.end, raw.number + 1))
                        said = []
        if ended and said:
            yield Batch(self._next_number(number), said, end)

    def open_runs(self) -> tuple[list[str], int]:
        """Return the runs that the writer began and did not end, and when it wrote last, in microseconds."""
        runs: list[str] = []
        at = 0
        for path in self.logs:
            for block in self._blocks(path):
                runs = still_open(dict.fromkeys([*runs, *block.open]), block.entries)
                at = block.at
        return runs, at

    def mark(self, batch: Batch) -> None:
        """Remember that the server has a batch, and remove what only it needed.

        Raises:
            Corrupt: the batch names what is no staged file; then nothing is changed.
        """
        files = [staged_path(self.folder, name) for entry in batch.entries for name in staged_of(entry)]
        part = self.folder / f"{_DONE}.new"
        part.write_bytes(msgspec.msgpack.encode(batch.next))
        part.replace(self.folder / _DONE)
        for path in files:
            path.unlink(missing_ok=True)
        for path in self.logs:
            if path.name < batch.next.file:
                path.unlink(missing_ok=True)

    def _next_number(self, seen: int) -> int:
        """Return the number of a batch that its writer did not cut: one more than its last, as far as that is known."""
        last = seen
        for path in self.logs:
            for block in self._blocks(path):
                last = max(last, block.cut)
        return last + 1

    def _blocks(self, path: Path) -> Iterator[Block]:
        with BlockReader(path) as reader:
            for raw in reader.blocks():
                yield _decoded(raw.payload, path)


def staged_of(entry: entries.Any) -> list[str]:
    """Return the names of the staged files that an entry needs."""
    if hasattr(entry, "staged"):
        return [entry.staged]
    return list(getattr(entry, "files", {}).values())


def staged_path(folder: Path, name: str) -> Path:
    """Return where a staged file of a writer lies; it may be gone already.

    Entries are read from disk, so a name in them may be anybody's: only what `Spool.stage` makes is followed.

    Raises:
        Corrupt: the name is not of `Spool.stage`, or a link or something else lies there than a plain file.
    """
    path = folder / _FILES / name if is_ulid(name) else None
    if path is None or path.parent.is_symlink() or not _is_plain(path):
        raise Corrupt(
            f"{folder} names {name!r}, which is no file of this outbox.",
            about="spool",
            hint="Nothing of it was read or sent. Look who wrote there, then remove the folder.",
        )
    return path


def _is_plain(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return True
    except NotADirectoryError:
        return False


def _decoded(payload: bytes, path: Path) -> Block:
    try:
        return decode(payload)
    except msgspec.MsgspecError as error:
        raise Corrupt(
            f"{path} holds what this Interlock cannot read: {error}.",
            about="spool",
            hint="Use the version of its writer.",
        ) from None
