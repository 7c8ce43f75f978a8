"""A log of blocks: an append-only file in which every acknowledged block is found again, whatever killed the writer.

    file    header  magic, version, salt, crc32
    block   header  magic, number, length, crc32 of the payload, salted crc32 of this header
            payload
    seal    a block of length 0: nothing follows, so nothing may be missing

A writer holds an exclusive `flock` from before the file has its name until it is done: whoever gets the lock knows
that the writer is dead. One block is in flight at a time, and the next begins only after the sync of the one before.
So damage to the last block of a log without a seal is a write that was never acknowledged, and is dropped; damage
that anything follows is `Corrupt`. The salt keeps a payload from posing as a block header.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import struct
import zlib
from typing import TYPE_CHECKING, Final, Self

import msgspec

from interlock.core.errors import Corrupt
from interlock.core.ids import new_id
from interlock.store.objects import sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUFFIX: Final = ".log"
_NEW: Final = ".log.new"
_VERSION: Final = 1
_FILE_MAGIC: Final = b"ILOG"
_BLOCK_MAGIC: Final = b"IBLK"
_FILE: Final = struct.Struct("<4sI8s")
_BLOCK: Final = struct.Struct("<4sIII")
_CRC: Final = struct.Struct("<I")
START: Final = _FILE.size + _CRC.size
HEAD: Final = _BLOCK.size + _CRC.size
_TRIES: Final = 10
_sync_data = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


class Block(msgspec.Struct, frozen=True):
    """One block: where it begins, its number from 0, and what it carries."""

    offset: int
    number: int
    payload: bytes

    @property
    def end(self) -> int:
        """Where the next block begins."""
        return self.offset + HEAD + len(self.payload)


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
        block = _block(self._salt, self._number, payload)
        _write(self._handle, block)
        _sync_data(self._handle)
        self._number += 1
        self.size += len(block)

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
        head = self._head(self.size - HEAD)
        return head is not None and head[1] == 0

    def blocks(self, offset: int = START, number: int = 0) -> Iterator[Block]:
        """Yield the sound blocks from one on, up to the end of what is written.

        Args:
            offset: where the first wanted block begins.
            number: its number.

        Raises:
            Corrupt: a block is damaged and something follows it.
        """
        size = self.size
        while offset < size:
            head = self._head(offset)
            if head is None:
                if self._any_head_after(offset, size):
                    raise self._corrupt(offset, "its header is damaged")
                return
            found, length, crc = head
            if found != number:
                raise self._corrupt(offset, f"block {number} is missing")
            if length == 0 or offset + HEAD + length > size:
                return
            payload = os.pread(self._handle, length, offset + HEAD)
            if len(payload) < length:  # the file was cut meanwhile: its end was settled
                return
            if zlib.crc32(payload) != crc:
                if offset + HEAD + length < size:
                    raise self._corrupt(offset, "its checksum is not that of its bytes")
                return
            block = Block(offset, number, payload)
            yield block
            offset, number = block.end, number + 1

    def _read_salt(self) -> bytes:
        raw = os.pread(self._handle, START, 0)
        if len(raw) < START or _CRC.unpack_from(raw, _FILE.size)[0] != zlib.crc32(raw[: _FILE.size]):
            raise self._corrupt(0, "its beginning is damaged")
        magic, version, salt = _FILE.unpack_from(raw)
        if magic != _FILE_MAGIC or version != _VERSION:
            raise self._corrupt(0, f"it has format {version}; this Interlock reads {_VERSION}")
        return bytes(salt)

    def _head(self, offset: int) -> tuple[int, int, int] | None:
        """Return number, length and checksum of the block at a place, or None when there is no sound header."""
        if offset < START:
            return None
        raw = os.pread(self._handle, HEAD, offset)
        return _parse_head(raw, self._salt)

    def _any_head_after(self, offset: int, size: int) -> bool:
        rest = os.pread(self._handle, size - offset, offset)
        place = rest.find(_BLOCK_MAGIC, 1)
        while place >= 0:
            if _parse_head(rest[place : place + HEAD], self._salt) is not None:
                return True
            place = rest.find(_BLOCK_MAGIC, place + 1)
        return False

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
            file.write(_block(reader._salt, number, b""))  # noqa: SLF001 - of this module
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


def _block(salt: bytes, number: int, payload: bytes) -> bytes:
    head = _BLOCK.pack(_BLOCK_MAGIC, number, len(payload), zlib.crc32(payload))
    return b"".join((head, _CRC.pack(zlib.crc32(head, zlib.crc32(salt))), payload))


def _parse_head(raw: bytes, salt: bytes) -> tuple[int, int, int] | None:
    if len(raw) < HEAD or _CRC.unpack_from(raw, _BLOCK.size)[0] != zlib.crc32(raw[: _BLOCK.size], zlib.crc32(salt)):
        return None
    magic, number, length, crc = _BLOCK.unpack_from(raw)
    return (number, length, crc) if magic == _BLOCK_MAGIC else None


def _write(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
