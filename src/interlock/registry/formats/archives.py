"""Archives: no member may lead out of a folder; what lies inside says what they are. Nothing is ever unpacked."""

from __future__ import annotations

import bz2
import gzip
import lzma
import stat
import struct
import sys
import tarfile
import zipfile
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal, cast

from interlock.core.errors import Invalid
from interlock.core.refs import is_safe_path
from interlock.registry.formats import pickles, skops_zip
from interlock.registry.formats.verdict import Broken, Verdict, fail, refuse

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Iterator

_MEMBERS: Final = 1_000_000
_RATIO: Final = 200  # a member that grows more than this when it is unpacked is no weights
_SMALL: Final = 64 << 20
_TAR_BYTES: Final = 4 << 30  # so much of a compressed tar archive is unpacked to look at its members
_BLOCK: Final = 512
_TAR_AT: Final = 257
_SUM_AT: Final = slice(148, 156)
_LOCAL: Final = struct.Struct("<4s22xHH")  # of a zip member's own header: magic, lengths of name and extra field
_DIRECTORY: Final = 16 << 20  # bytes of a zip archive's directory; some 200,000 members
_TAIL: Final = (1 << 16) + 1024  # where its end stands, behind which is a comment of at most 64 KiB
_IN_LARGER: Final = 0xFFFFFFFF  # the size stands in the record for large archives
_UNICODE_PATH: Final = 0x7075
Compression = Literal["", "gz", "bz2", "xz", "zst"]


def is_zip(head: bytes) -> bool:
    """Return whether a file begins like a zip archive."""
    return head[:4] in {b"PK\x03\x04", b"PK\x05\x06"}


def is_tar(head: bytes) -> bool:
    """Return whether a file begins like a tar archive: by its magic, or as in 1979 by the sum of its first block."""
    if head[_TAR_AT : _TAR_AT + 5] == b"ustar":
        return True
    block = head[:_BLOCK]
    digits = block[_SUM_AT].strip(b" \0")
    if len(block) < _BLOCK or not block[0] or not digits or not all(digit in b"01234567" for digit in digits):
        return False
    return int(digits, 8) == sum(block) - sum(block[_SUM_AT]) + 8 * ord(" ")


def check_appended(source: BinaryIO, path: str) -> None:
    """Accept a file of another format at whose end no zip archive stands that leads out; unzip would find it.

    Raises:
        Invalid: a member is absolute, leads out of its folder, or is a link.
    """
    source.seek(0)
    if zipfile.is_zipfile(source):
        _check_directory(source, path)
        try:
            members = zipfile.ZipFile(source).infolist()
        except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError):  # it only looked like one
            return
        _check_names(source, members, path)


def read_zip(source: BinaryIO, path: str) -> Verdict:
    """Return the verdict on a zip archive: skops, one of PyTorch's (a pickle), or an archive.

    Raises:
        Invalid: a member is absolute, leads out of its folder, or is a link.
        Broken: it is no sound archive.
    """
    _check_directory(source, path)
    try:
        with zipfile.ZipFile(source) as archive:
            members = archive.infolist()
            _check_names(source, members, path)
            _check_sizes(members)
            names = [member.filename for member in members]
            if skops_zip.SCHEMA in names:
                return skops_zip.read(archive)
            for member in members:
                if member.filename.endswith("/"):
                    continue
                with archive.open(member) as inner:
                    found = pickles.read(inner.read(1 << 16), member.filename)
                if found is not None:
                    return found
    except (Broken, Invalid):
        raise
    except (
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        NotImplementedError,
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
    ) as error:
        fail(f"it is no sound archive: {error}")
    return Verdict("opaque", f"a zip archive of {len(names)} files, none of which is a model by itself")


def read_tar(source: BinaryIO, path: str, how: Compression = "") -> Verdict:
    """Return the verdict on a tar archive, compressed as `how` says.

    Raises:
        Invalid: a member is absolute, leads out of its folder, or is a link or a device; or there are so many, or they
            are packed so tightly, that nobody can say.
        Broken: it is no sound archive.
    """
    source.seek(0)
    count, pickled = 0, None
    try:
        unpacked = _unpacked(source, how)
        # What follows the end of an archive is looked at, too: some programs go on there.
        with tarfile.open(fileobj=unpacked, mode="r|" if how else "r:", ignore_zeros=True) as archive:
            for member in _bounded(archive, path, packed=bool(how)):
                count += 1
                if not (member.isfile() or member.isdir()):
                    refuse(f"its member {member.name[:200]!r} is a link or a device", path)
                _check_name(member.name.rstrip("/"), path)
                inner = archive.extractfile(member) if member.isfile() else None
                if inner is not None and pickled is None:
                    pickled = pickles.read(inner.read(1 << 16), member.name)
    except (
        tarfile.TarError,
        zlib.error,
        lzma.LZMAError,
        zstd.ZstdError,
        EOFError,
        OSError,
        UnicodeError,
        ValueError,
    ) as error:
        if isinstance(error, Invalid | Broken):
            raise
        fail(f"it is no sound archive: {error}")
    return pickled or Verdict("opaque", f"a tar archive of {count} files")


def _unpacked(source: BinaryIO, how: Compression) -> Any:
    """Return what a file holds; all of it, where several compressed parts stand one after the other."""
    if how == "gz":
        return gzip.GzipFile(fileobj=cast("Any", source))
    openers: dict[str, Any] = {"bz2": bz2.BZ2File, "xz": lzma.LZMAFile, "zst": zstd.ZstdFile}
    return openers[how](source) if how else source


def _bounded(archive: tarfile.TarFile, path: str, *, packed: bool) -> Iterator[tarfile.TarInfo]:
    number = total = 0
    while (member := archive.next()) is not None:
        number, total = number + 1, total + member.size
        if number > _MEMBERS or (packed and total > _TAR_BYTES):
            refuse("it is too large to be looked through; send its files, or send it without compression", path)
        yield member
        archive.members = []  # type: ignore[attr-defined] # what was looked at need not be remembered


def _check_directory(source: BinaryIO, path: str) -> None:
    """Accept a zip archive whose directory fits into memory; it is read as a whole."""
    end = source.seek(0, 2)
    source.seek(max(0, end - _TAIL))
    tail = source.read()
    place, larger = tail.rfind(b"PK\x05\x06"), tail.rfind(b"PK\x06\x06")
    sizes = [
        tail[place + 12 : place + 16] if place >= 0 else b"",
        tail[larger + 40 : larger + 48] if larger >= 0 else b"",
    ]
    found = int.from_bytes(sizes[0], "little")
    if found == _IN_LARGER:
        found = int.from_bytes(sizes[1], "little")
    if found > _DIRECTORY:
        refuse("it is too large to be looked through; send its files", path)


def _check_names(source: BinaryIO, members: list[zipfile.ZipInfo], path: str) -> None:
    """Accept members whose every name stays inside: in the directory, in their own headers, as Unicode."""
    for member in members:
        mode = member.external_attr >> 16
        if stat.S_IFMT(mode) not in {0, stat.S_IFREG, stat.S_IFDIR}:
            refuse(f"its member {member.filename[:200]!r} is a link or a device", path)
        for name in (member.filename, _own_name(source, member), _unicode_path(member.extra)):
            _check_name(name.rstrip("/"), path)


def _own_name(source: BinaryIO, member: zipfile.ZipInfo) -> str:
    """Return the name in a member's own header, which programs that read from the front go by; "" without one."""
    source.seek(max(member.header_offset, 0))
    header = source.read(_LOCAL.size)
    magic, length, _ = _LOCAL.unpack(header) if len(header) == _LOCAL.size else (b"", 0, 0)
    return source.read(length).decode("utf-8", "replace") if magic == b"PK\x03\x04" else ""


def _unicode_path(extra: bytes) -> str:
    """Return the name that stands for a member's own one in programs that know the field; "" where there is none."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == _UNICODE_PATH:
            return extra[9 : 4 + length].decode("utf-8", "replace")
        extra = extra[4 + length :]
    return ""


def _check_sizes(members: list[zipfile.ZipInfo]) -> None:
    for member in members:
        if member.file_size > _SMALL and member.file_size > _RATIO * max(member.compress_size, 1):
            fail(f"its member {member.filename[:200]!r} would grow to {member.file_size:,} bytes")


def _check_name(name: str, path: str) -> None:
    plain = name.removeprefix("./")
    if name in {"", "."}:
        return
    if not is_safe_path(plain) or plain[1:2] == ":":
        refuse(f"its member {name[:200]!r} leads out of its folder", path)
