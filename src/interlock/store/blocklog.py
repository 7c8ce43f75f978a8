"""A log of blocks: an append-only file in which every acknowledged block is found again, whatever killed the writer.

    file    header  magic, version, salt, crc32
    block   header  magic, number, blocks on disk, length, crc32 of the payload, salted crc32 of this header
            payload
    seal    a block of length 0: nothing follows, so nothing may be missing

A writer holds an exclusive `flock` from before the file has its name until it is done: whoever gets the lock knows
that the writer is dead. Each block says how many before it were on disk when it was written; those are never missed
without a word. So damage is `Corrupt` where a later block says that this one was on disk; where none does, it is what
a power loss left of blocks that nobody had synced, and the log ends before it. The salt keeps a payload from posing as
a block header. Version 1 had no such number: there every block was synced before the next.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import struct
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import msgspec

from interlock.core.errors import Corrupt
from interlock.core.ids import new_id
from interlock.store.objects import sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUFFIX: Final = ".log"
_NEW: Final = ".log.new"
_VERSION: Final = 2
_FILE_MAGIC: Final = b"ILOG"
_BLOCK_MAGIC: Final = b"IBLK"
_FILE: Final = struct.Struct("<4sI8s")
_BLOCKS: Final = {1: struct.Struct("<4sIII"), 2: struct.Struct("<4sIIII")}
_BLOCK: Final = _BLOCKS[_VERSION]
_CRC: Final = struct.Struct("<I")
START: Final = _FILE.size + _CRC.size
HEAD: Final = _BLOCK.size + _CRC.size
_TRIES: Final = 10
_sync_data = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


class Block(msgspec.Struct, frozen=True):
    """One block: where it begins, its number from 0, what it carries, and where the next one begins."""

    offset: int
    number: int
    payload: bytes
    end: int


class _Head(NamedTuple):
    """What a block's header says."""

    number: int
    synced: int
    length: int
    crc: int


class BlockWriter:
    """A new log file that this process alone appends to.

    Args:
        folder: where the file is made; its name is a new ULID.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self._salt = secrets.token_bytes(8)
        self._number = 0
        self._synced = 0
        self.size = START
        for left in reversed(range(_TRIES)):
            try:
                self.path, self._handle = _create(folder, self._salt)
            except FileNotFoundError:  # taken for a dead writer's, before it was locked
                if not left:
                    raise
            else:
                break

    def append(self, payload: bytes) -> None:
        """Return when one block more is on disk.

        Raises:
            OSError: it could not be written. What is on disk is unknown then: append nothing more, `abandon` the file.
        """
        before = self._number, self.size
        self.write(payload)
        try:
            self.sync()
        except BaseException:
            self._number, self.size = before  # whoever cuts the file there has what was acknowledged
            raise

    def write(self, payload: bytes) -> None:
        """Return when one block more is with the kernel: it survives the end of this process, and no power loss yet.

        Raises:
            OSError: it could not be written; as in `append`.

        Cost: one system call.
        """
        block = _block(self._salt, self._number, self._synced, payload)
        _write(self._handle, block)
        self._number += 1
        self.size += len(block)

    def sync(self) -> None:
        """Return when all blocks that were written before the call are on disk; another thread may write meanwhile.

        Raises:
            OSError: they may not be; as in `append`.
        """
        number = self._number
        if number > self._synced:
            _sync_data(self._handle)
            self._synced = number

    def seal(self) -> None:
        """Write that nothing follows, and let go of the file; a file without blocks is removed."""
        try:
            if self._number:
                self.append(b"")
            else:
                self.path.unlink(missing_ok=True)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Let go of the file as it is; later calls do nothing."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            with contextlib.suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_UN)  # a forked child may hold a copy of the handle
            os.close(handle)


class BlockReader:
    """A log file opened for reading; its writer may go on.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: it is gone.
        Corrupt: it does not begin as a log, or a newer Interlock wrote it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle = os.open(path, os.O_RDONLY)
        try:
            self._salt = self._read_salt()
        except BaseException:
            os.close(self._handle)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)

    @property
    def size(self) -> int:
        """How many bytes the file has now."""
        return os.fstat(self._handle).st_size

    @property
    def sealed(self) -> bool:
        """Whether the log says that nothing follows."""
        head = self._head(self.size - self._head_size)
        return head is not None and head.length == 0

    def blocks(self, offset: int = START, number: int = 0) -> Iterator[Block]:
        """Yield the sound blocks from one on, up to the end of what is written.

        Args:
            offset: where the first wanted block begins.
            number: its number.

        Raises:
            Corrupt: a block is damaged that was on disk.
        """
        size = self.size
        while offset < size:
            head = self._head(offset)
            if head is None:
                self._check_lost(offset, number, size, "its header is damaged")
                return
            if head.number != number:
                raise self._corrupt(offset, f"block {number} is missing")
            end = offset + self._head_size + head.length
            if head.length == 0 or end > size:
                return
            payload = os.pread(self._handle, head.length, offset + self._head_size)
            if len(payload) < head.length:  # the file was cut meanwhile: its end was settled
                return
            if zlib.crc32(payload) != head.crc:
                if self._form is not _BLOCK and end < size:
                    raise self._corrupt(offset, "its checksum is not that of its bytes")
                self._check_lost(offset, number, size, "its checksum is not that of its bytes")
                return
            yield Block(offset, number, payload, end)
            offset, number = end, number + 1

    def last(self, number: int) -> bytes:
        """Return the bytes of a seal after so many blocks."""
        return _block(self._salt, number, number, b"", self._form)

    def _read_salt(self) -> bytes:
        raw = os.pread(self._handle, START, 0)
        if len(raw) < START or _CRC.unpack_from(raw, _FILE.size)[0] != zlib.crc32(raw[: _FILE.size]):
            raise self._corrupt(0, "its beginning is damaged")
        magic, version, salt = _FILE.unpack_from(raw)
        if magic != _FILE_MAGIC or version not in _BLOCKS:
            raise self._corrupt(0, f"it has format {version}; this Interlock reads up to {_VERSION}")
        self._form = _BLOCKS[version]
        self._head_size = self._form.size + _CRC.size
        return bytes(salt)

    def _head(self, offset: int) -> _Head | None:
        """Return what the header of the block at a place says, or None when there is no sound one."""
        return None if offset < START else self._parse(os.pread(self._handle, self._head_size, offset))

    def _parse(self, raw: bytes) -> _Head | None:
        form = self._form
        salted = zlib.crc32(raw[: form.size], zlib.crc32(self._salt))
        if len(raw) < self._head_size or _CRC.unpack_from(raw, form.size)[0] != salted:
            return None
        magic, number, *middle, length, crc = form.unpack_from(raw)
        return _Head(number, middle[0] if middle else number, length, crc) if magic == _BLOCK_MAGIC else None

    def _check_lost(self, offset: int, number: int, size: int, why: str) -> None:
        """Accept that a block is damaged, where no later one says that it was on disk.

        Raises:
            Corrupt: one does.
        """
        rest = os.pread(self._handle, size - offset, offset)
        place = rest.find(_BLOCK_MAGIC, 1)
        while place >= 0:
            head = self._parse(rest[place : place + self._head_size])
            if head is not None and head.synced > number:
                raise self._corrupt(offset, why)
            place = rest.find(_BLOCK_MAGIC, place + 1)

    def _corrupt(self, offset: int, why: str) -> Corrupt:
        return corrupt(self.path, offset, why)


def settle(path: Path) -> bool:
    """Return whether the writer of a log is dead; if so, the log ends in a seal after its last sound block.

    Raises:
        FileNotFoundError: it is gone.
        Corrupt: it is damaged in the middle, and left as it is.
        OSError: it cannot be changed.
    """
    with path.open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        with BlockReader(path) as reader:
            if reader.sealed:
                return True
            end, number = START, 0
            for block in reader.blocks():
                end, number = block.end, block.number + 1
            file.truncate(end)
            file.seek(end)
            file.write(reader.last(number))
            file.flush()
            os.fsync(file.fileno())
    return True


def remove_unnamed(folder: Path) -> None:
    """Remove files that a writer began and, killed, never gave their name."""
    for path in folder.glob("*" + _NEW):
        with contextlib.suppress(OSError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def corrupt(path: Path, offset: int, why: str) -> Corrupt:
    """Return the error for a log that is damaged at a place."""
    return Corrupt(
        f"Log {path.name} is damaged at byte {offset}: {why}.",
        about="log",
        hint="Restore the file from a backup; the blocks before this byte are sound.",
        segment=path.name,
        offset=offset,
    )


def _create(folder: Path, salt: bytes) -> tuple[Path, int]:
    """Return a new log file, which is locked before it has its name, and its handle."""
    stem = new_id()
    path, unnamed = folder / (stem + SUFFIX), folder / (stem + _NEW)
    handle = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        head = _FILE.pack(_FILE_MAGIC, _VERSION, salt)
        _write(handle, head + _CRC.pack(zlib.crc32(head)))
        os.fsync(handle)
        unnamed.rename(path)
        sync_folder(folder)
    except BaseException:
        os.close(handle)
        unnamed.unlink(missing_ok=True)
        raise
    return path, handle


def _block(salt: bytes, number: int, synced: int, payload: bytes, form: struct.Struct = _BLOCK) -> bytes:
    counts = (number, synced) if form is _BLOCK else (number,)
    head = form.pack(_BLOCK_MAGIC, *counts, len(payload), zlib.crc32(payload))
    return b"".join((head, _CRC.pack(zlib.crc32(head, zlib.crc32(salt))), payload))


def _write(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
