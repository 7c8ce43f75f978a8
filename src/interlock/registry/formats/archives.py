"""Archives: no member may lead out of a folder; what lies inside says what they are. Nothing is ever unpacked."""

from __future__ import annotations

import lzma
import stat
import tarfile
import zipfile
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal

from interlock.core.errors import Invalid
from interlock.core.refs import is_safe_path
from interlock.registry.formats import pickles, skops_zip
from interlock.registry.formats.verdict import Broken, Verdict, fail, refuse

if TYPE_CHECKING:
    from collections.abc import Iterator

_MEMBERS: Final = 100_000
_RATIO: Final = 200  # a member that grows more than this when it is unpacked is no weights
_SMALL: Final = 64 << 20
_TAR_BYTES: Final = 4 << 30
_TAR_AT: Final = 257
Compression = Literal["", "gz", "bz2", "xz"]
_MODES: Final[dict[Compression, Any]] = {"": "r|", "gz": "r|gz", "bz2": "r|bz2", "xz": "r|xz"}


def is_zip(head: bytes) -> bool:
    """Return whether a file begins like a zip archive."""
    return head[:4] in {b"PK\x03\x04", b"PK\x05\x06"}


def is_tar(head: bytes) -> bool:
    """Return whether a file begins like a tar archive."""
    return head[_TAR_AT : _TAR_AT + 5] == b"ustar"


def read_zip(source: BinaryIO, path: str) -> Verdict:
    """Return the verdict on a zip archive: skops, one of PyTorch's (a pickle), or an archive.

    Raises:
        Invalid: a member is absolute, leads out of its folder, or is a link.
        Broken: it is no sound archive.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            members = archive.infolist()
            _check_zip(members, path)
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
        Invalid: a member is absolute, leads out of its folder, or is a link or a device.
        Broken: it is no sound archive.
    """
    source.seek(0)
    count, pickled = 0, None
    try:
        with tarfile.open(fileobj=source, mode=_MODES[how]) as archive:
            for member in _bounded(archive):
                count += 1
                if not (member.isfile() or member.isdir()):
                    refuse(f"its member {member.name[:200]!r} is a link or a device", path)
                _check_name(member.name.rstrip("/"), path)
                inner = archive.extractfile(member) if member.isfile() else None
                if inner is not None and pickled is None:
                    pickled = pickles.read(inner.read(1 << 16), member.name)
    except (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, UnicodeError) as error:
        fail(f"it is no sound archive: {error}")
    return pickled or Verdict("opaque", f"a tar archive of {count} files")


def _bounded(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    total = 0
    for number, member in enumerate(archive):
        total += member.size
        if number >= _MEMBERS or total > _TAR_BYTES:
            fail("it is too large to be looked through")
        yield member


def _check_zip(members: list[zipfile.ZipInfo], path: str) -> None:
    if len(members) > _MEMBERS:
        fail(f"it has more than {_MEMBERS:,} members")
    for member in members:
        _check_name(member.filename.rstrip("/"), path)
        mode = member.external_attr >> 16
        if stat.S_IFMT(mode) not in {0, stat.S_IFREG, stat.S_IFDIR}:
            refuse(f"its member {member.filename[:200]!r} is a link or a device", path)
        if member.file_size > _SMALL and member.file_size > _RATIO * max(member.compress_size, 1):
            fail(f"its member {member.filename[:200]!r} would grow to {member.file_size:,} bytes")


def _check_name(name: str, path: str) -> None:
    plain = name.removeprefix("./")
    if name in {"", "."}:
        return
    if not is_safe_path(plain) or plain[1:2] == ":":
        refuse(f"its member {name[:200]!r} leads out of its folder", path)
