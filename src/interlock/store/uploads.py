"""Files on their way in: bytes that an operation may still refuse, and that become objects only when it keeps them.

Each call has a folder of its own here, named by its id. What it sent goes with the folder when the call ends, however
it ends; what a call left behind that never came (its client died) is thrown away after a day.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from interlock.core.errors import Conflict, Invalid, NotFound
from interlock.core.ids import is_ulid
from interlock.store.objects import copy_and_hash, making_room

if TYPE_CHECKING:
    from collections.abc import Iterable

    from interlock.core.ports import ObjectStore

_WAIT_S: Final = 24 * 3600.0


class Uploads:
    """Bytes of clients, by digest, until an operation keeps them or refuses them.

    Args:
        root: the folder, made at the first upload.
        objects: where they are kept.
    """

    def __init__(self, root: Path, objects: ObjectStore) -> None:
        self.root = root
        self._objects = objects

    def put(self, source: BinaryIO, call: str) -> tuple[str, int]:
        """Return the digest and the size of a stream's bytes, which wait here now.

        Nothing is synced: no promise is made of bytes that nobody has kept.

        Args:
            source: the bytes.
            call: the id of the call that they belong to.

        Raises:
            Invalid: the call's id is no ULID.
            Conflict: the call ended meanwhile.
            StorageFull: the disk is full.
        """
        if not is_ulid(call):  # it becomes a name on disk
            raise Invalid(f"{call!r} is no id of a call: a ULID is wanted.", about="upload")
        self._expire()
        with making_room():
            self.root.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.root, prefix=".")
            try:
                with os.fdopen(handle, "wb") as sink:
                    digest = copy_and_hash(source, sink)
                    size = sink.tell()
                self._give(Path(name), call, digest)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        return digest, size

    def size(self, digest: str) -> int | None:
        """Return how many bytes an object or an upload has, or None when it is neither."""
        kept = self._objects.size(digest)
        if kept is not None:
            return kept
        found = self._find(digest)
        return found.stat().st_size if found else None

    def fetch(self, digest: str, target: Path) -> None:
        """Write the bytes of an object, or of an upload, to a file.

        Raises:
            NotFound: it is neither.
            Corrupt: an object's bytes have changed.
        """
        found = None if self._objects.size(digest) is not None else self._find(digest)
        if found is None:
            self._objects.fetch(digest, target)
        else:
            shutil.copyfile(found, target)

    def keep(self, digests: Iterable[str]) -> None:
        """Make objects of uploads; they are on disk when this returns, so a change may name them after it.

        Raises:
            NotFound: one is neither here nor an object.
            StorageFull: the disk is full.
        """
        for digest in digests:
            if not self._objects.hold(digest):
                found = self._find(digest)
                # Hashed again on its way: what is kept under a digest has it.
                if found is None or self._objects.put(found) != digest:
                    raise NotFound.named("object", digest, hint="Send the file again.")

    def release(self, call: str) -> None:
        """Throw away what a call sent; what it kept stays."""
        if is_ulid(call):
            shutil.rmtree(self.root / call, ignore_errors=True)

    def _give(self, file: Path, call: str, digest: str) -> None:
        """Put a file that has come whole into the folder of its call, which is there only now."""
        folder = self.root / call
        folder.mkdir(exist_ok=True)
        try:
            file.replace(folder / digest)
        except FileNotFoundError:  # released meanwhile
            raise Conflict(f"Call {call} ended before its file had come.", about="upload", hint="Call again.") from None

    def _find(self, digest: str) -> Path | None:
        return next(self.root.glob(f"*/{digest}"), None)

    def _expire(self) -> None:
        """Throw away what nobody came for."""
        oldest = time.time() - _WAIT_S
        for path in self.root.glob("*"):
            try:
                forgotten = path.stat().st_mtime < oldest
            except FileNotFoundError:  # released meanwhile
                continue
            if forgotten and path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif forgotten:  # a file whose sender, or whose server, went away
                path.unlink(missing_ok=True)
