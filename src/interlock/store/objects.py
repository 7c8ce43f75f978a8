"""Objects in a folder: bytes live once, under their SHA-256.

A name on disk is made of a digest alone, never of a client's text. Bytes go to a temporary file, are synced,
and get their name by a rename that is synced too; so an object is whole or not there. Reading checks the digest.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from interlock.core.errors import Corrupt, Error, Invalid, NotFound, StorageFull
from interlock.core.files import is_digest
from interlock.core.ports import Held

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK = 1 << 20
_STRIDE = 4 << 20
_REMOVED = "removed."
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class FolderObjects:
    """An `ObjectStore` in a folder, which is made when it is missing."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._incoming = root / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)

    def put(self, source: bytes | BinaryIO | Path) -> str:
        """Return the digest of the bytes, which are on disk when this returns.

        Cost: one pass over the bytes, two syncs; bytes that are here already are not written again.
        """
        if isinstance(source, bytes):
            found = hashlib.sha256(source).hexdigest()
            return found if self.hold(found) else self._write(io.BytesIO(source))
        if isinstance(source, Path):
            with source.open("rb") as file:
                return self._write(file)
        return self._write(source)

    def get(self, digest: str) -> bytes:
        """Return the bytes of an object.

        Raises:
            NotFound: it is not here.
            Corrupt: its bytes have changed.
        """
        with self.open(digest) as source:
            data = source.read()
        if hashlib.sha256(data).hexdigest() != digest:
            raise changed(digest)
        return data

    def fetch(self, digest: str, target: Path) -> None:
        """Write the bytes of an object to a file; a changed object leaves no file behind.

        Raises:
            NotFound: it is not here.
            Corrupt: its bytes have changed.
        """
        with self.open(digest) as source, target.open("wb") as sink:
            found = copy_and_hash(source, sink)
        if found != digest:
            target.unlink()
            raise changed(digest)

    def open(self, digest: str) -> BinaryIO:
        """Return an object as a file, for those who check it as they read it.

        Raises:
            NotFound: it is not here.
        """
        path = self._path(digest)
        for place in (path, self._aside(digest), path):  # a removal has it aside while it decides
            with contextlib.suppress(FileNotFoundError):
                return place.open("rb")
        raise NotFound.named("object", digest)

    def size(self, digest: str) -> int | None:
        """Return how many bytes an object has, or None when it is not here."""
        try:
            return self._path(digest).stat().st_size
        except FileNotFoundError:
            return None

    def hold(self, digest: str) -> bool:
        """Return whether an object is here; if so, no collection removes it for a day, so that it can be named."""
        try:
            os.utime(self._path(digest))
        except FileNotFoundError:
            return False
        return True

    def remove(self, digest: str, before: float) -> bool:
        """Return whether an object was removed: not one that was put or held since `before` (seconds since 1970).

        It is moved aside before its age is looked at: whoever holds it meanwhile either made it young, and it goes
        back, or finds it missing and writes it again.
        """
        found = self.look(digest)
        if found is None or found.touched_at >= before:
            return False
        path, aside = self._path(digest), self._aside(digest)
        try:
            path.replace(aside)
            if aside.stat().st_mtime >= before:
                aside.replace(path)
                return False
            aside.unlink()
        except FileNotFoundError:  # it was not here, or somebody else collects too
            return False
        return True

    def sweep(self, before: float) -> None:
        """Clear away what broken-off calls left: half-written bytes, and a removal that was not decided."""
        for path in self._incoming.iterdir():
            digest = path.name.removeprefix(_REMOVED)
            with contextlib.suppress(FileNotFoundError):
                if digest != path.name:
                    with contextlib.suppress(FileExistsError):  # put again since; that one is younger
                        os.link(path, self._path(digest))
                    path.unlink()
                elif path.stat().st_mtime < before:
                    path.unlink()

    def look(self, digest: str) -> Held | None:
        """Return how large an object is and when it was last put or held; None when it is not here."""
        try:
            found = self._path(digest).stat()
        except FileNotFoundError:
            return None
        return Held(found.st_size, found.st_mtime)

    def digests(self) -> Iterator[str]:
        """Return the digests of all objects here, in order."""
        for folder in sorted(self.root.iterdir()):
            if folder != self._incoming and folder.is_dir():
                yield from (folder.name + file.name for file in sorted(folder.iterdir()))

    def _path(self, digest: str) -> Path:
        if not is_digest(digest):
            raise Invalid(f"{digest!r} is no digest: 64 hexadecimal digits are wanted.", about="object")
        return self.root / digest[:2] / digest[2:]

    def _aside(self, digest: str) -> Path:
        return self._incoming / f"{_REMOVED}{digest}"

    def _write(self, source: BinaryIO) -> str:
        with making_room():
            handle, name = tempfile.mkstemp(dir=self._incoming)
            try:
                with os.fdopen(handle, "wb") as sink:
                    digest = copy_and_hash(source, _Settling(sink))
                    sink.flush()
                    os.fsync(sink.fileno())
                target = self._path(digest)
                if not target.parent.exists():
                    target.parent.mkdir(exist_ok=True)
                    sync_folder(self.root)
                Path(name).chmod(0o444)
                Path(name).replace(target)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        sync_folder(target.parent)
        return digest


class Sink(Protocol):
    """What takes bytes."""

    def write(self, data: bytes, /) -> object:
        """Take some."""
        ...


def copy_and_hash(source: BinaryIO, sink: Sink) -> str:
    """Return the SHA-256 of a stream's bytes, which are copied to another."""
    checker = hashlib.sha256()
    while chunk := source.read(_CHUNK):
        checker.update(chunk)
        sink.write(chunk)
    return checker.hexdigest()


class _Settling:
    """A file that asks the system to write it to disk while it comes, so that the sync at its end waits for little."""

    def __init__(self, sink: BinaryIO) -> None:
        self._sink = sink
        self._written = self._asked = 0

    def write(self, data: bytes) -> None:
        """Write bytes."""
        self._sink.write(data)
        self._written += len(data)
        if self._written - self._asked >= _STRIDE and hasattr(os, "posix_fadvise"):
            self._sink.flush()
            length = self._written - self._asked
            os.posix_fadvise(self._sink.fileno(), self._asked, length, os.POSIX_FADV_DONTNEED)
            self._asked = self._written


@contextlib.contextmanager
def making_room() -> Iterator[None]:
    """Say that the disk is full in the words of our errors.

    Raises:
        StorageFull: it is.
    """
    try:
        yield
    except OSError as error:
        if full := no_room(error):
            raise full from None
        raise


def no_room(error: Exception) -> StorageFull | None:
    """Return what an error of the system means, if it is that the disk is full."""
    if not isinstance(error, OSError) or isinstance(error, Error) or error.errno not in NO_ROOM:
        return None
    return StorageFull(
        f"This cannot be stored: {error.strerror}.",
        about="object",
        hint="Make room on the server's disk, then try again; reading goes on.",
    )


def sync_folder(path: Path) -> None:
    """Make the names in a folder survive power loss."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def changed(digest: str) -> Corrupt:
    """Return the error that says that an object is not what its name says."""
    return Corrupt(
        f"Object {digest} has changed on disk: its bytes no longer have this digest.",
        about="object",
        hint="Restore it from a backup; nothing that needs it can be trusted until then.",
        digest=digest,
    )
