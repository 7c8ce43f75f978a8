"""Files that come in parts: each part waits in a folder of its upload until all are there, then they become one object.

An upload is named by 128 random bits, which only its maker knows: whoever has the name may send parts of it. Nothing is
promised of a part before the object is made, so parts are not synced. Uploads that nobody completes go after a day.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import secrets
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, cast

import msgspec

from interlock.core.errors import Conflict, Invalid, NotFound
from interlock.core.files import is_digest
from interlock.store.objects import copy_and_hash, making_room

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.core.ports import ObjectStore

MOST_PARTS: Final = 10_000
WAIT_S: Final = 24 * 3600.0
_NAME: Final = re.compile(r"[0-9a-f]{32}\Z")
_PREFIX: Final = "parts-"
_CHUNK: Final = 1 << 20


class Plan(msgspec.Struct, frozen=True):
    """What an upload will be.

    Attributes:
        owner: whose file it becomes; the caller's own words, given back at the end.
        parts: how many parts it has.
        largest: the most bytes that all parts may have together.
    """

    owner: str
    parts: int
    largest: int


class Parts:
    """The uploads that come in parts.

    Args:
        root: the folder of uploads.
        objects: where whole files go.
    """

    def __init__(self, root: Path, objects: ObjectStore) -> None:
        self._root = root
        self._objects = objects

    def begin(self, plan: Plan) -> str:
        """Return the name of a new upload.

        Raises:
            Invalid: it has no parts, or more than 10,000.
            StorageFull: the disk is full.
        """
        if not 1 <= plan.parts <= MOST_PARTS:
            raise Invalid(f"A file comes in 1 to {MOST_PARTS:,} parts, not in {plan.parts}.", about="upload")
        self._expire()
        name = secrets.token_hex(16)
        with making_room():
            folder = self._root / f"{_PREFIX}{name}"
            folder.mkdir(parents=True)
            (folder / "plan.json").write_bytes(msgspec.json.encode(plan))
        return name

    def plan(self, name: str) -> Plan:
        """Return what an upload will be.

        Raises:
            NotFound: there is no such upload, or it was completed or given up.
        """
        try:
            return msgspec.json.decode((self._folder(name) / "plan.json").read_bytes(), type=Plan)
        except FileNotFoundError:
            raise _gone() from None

    def put(self, name: str, number: int, source: BinaryIO) -> str:
        """Return the digest of a part, which waits now; one that comes again replaces what came before.

        Args:
            name: the upload.
            number: the part's, from 1.
            source: its bytes.

        Raises:
            NotFound: there is no such upload.
            Invalid: it has no such part.
            StorageFull: the disk is full.
        """
        plan, folder = self.plan(name), self._folder(name)
        if not 1 <= number <= plan.parts:
            raise Invalid(f"The upload has parts 1 to {plan.parts}, not {number}.", about="upload")
        try:
            with making_room():
                handle, path = tempfile.mkstemp(dir=folder, prefix="coming.")
                try:
                    with os.fdopen(handle, "wb") as sink:
                        digest = copy_and_hash(source, sink)
                    for old in folder.glob(f"part-{number:05}.*"):
                        old.unlink(missing_ok=True)
                    Path(path).replace(folder / f"part-{number:05}.{digest}")
                except BaseException:
                    Path(path).unlink(missing_ok=True)
                    raise
        except FileNotFoundError:  # given up meanwhile
            raise _gone() from None
        return digest

    def join(self, name: str, wanted: Sequence[tuple[int, str]]) -> tuple[str, int]:
        """Return digest and size of the object that the parts became; the parts stay until `end`.

        Args:
            name: the upload.
            wanted: numbers and digests of the parts, as the sender knows them.

        Raises:
            NotFound: there is no such upload.
            Conflict: parts are missing, or are others than the sender knows.
            Invalid: together they are too large.

        Cost: one pass over the bytes, in constant memory.
        """
        plan, folder = self.plan(name), self._folder(name)
        numbers = [number for number, _ in wanted]
        if numbers != list(range(1, plan.parts + 1)):
            raise Conflict(f"The upload has parts 1 to {plan.parts}, each of which must be named once.", about="upload")
        paths = []
        for number, digest in wanted:
            path = folder / f"part-{number:05}.{digest}"
            if not is_digest(digest) or not path.is_file():
                raise Conflict(
                    f"Part {number} did not come, or came with other bytes.", about="upload", hint="Send it again."
                )
            paths.append(path)
        if (size := sum(path.stat().st_size for path in paths)) > plan.largest:
            raise Invalid(f"The file is larger than {plan.largest} bytes.", about="upload")
        return self._objects.put(cast("BinaryIO", _Joined(paths))), size

    def done(self, name: str) -> bool:
        """Return whether an upload was completed within the last day."""
        return (self._folder(name) / "done").exists()

    def end(self, name: str) -> None:
        """Throw the parts of a completed upload away; that it was completed is remembered for a day."""
        folder = self._folder(name)
        (folder / "done").touch()
        for path in folder.iterdir():
            if path.name != "done":
                path.unlink(missing_ok=True)

    def give_up(self, name: str) -> None:
        """Throw an upload away; one that is gone is nothing new."""
        shutil.rmtree(self._folder(name), ignore_errors=True)

    def _folder(self, name: str) -> Path:
        if not _NAME.match(name):
            raise _gone()
        return self._root / f"{_PREFIX}{name}"

    def _expire(self) -> None:
        oldest = time.time() - WAIT_S
        for folder in self._root.glob(f"{_PREFIX}*"):
            with contextlib.suppress(FileNotFoundError):
                if folder.stat().st_mtime < oldest:
                    shutil.rmtree(folder, ignore_errors=True)


class _Joined(io.RawIOBase):
    """Several files as one, each checked against the digest in its name before its last piece is handed on."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = iter(paths)
        self._file: BinaryIO | None = None
        self._path = Path()
        self._checker = hashlib.sha256()

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return the next piece, or nothing at the end.

        Raises:
            Conflict: a part has other bytes than came.
        """
        while True:
            if self._file is None:
                path = next(self._paths, None)
                if path is None:
                    return b""
                self._path, self._file, self._checker = path, path.open("rb"), hashlib.sha256()
            if piece := self._file.read(_CHUNK if size < 0 else size):
                self._checker.update(piece)
                return piece
            self._file.close()
            self._file = None
            number, _, digest = self._path.name.removeprefix("part-").partition(".")
            if self._checker.hexdigest() != digest:
                raise Conflict(f"Part {int(number)} has changed on disk.", about="upload", hint="Send it again.")


def _gone() -> NotFound:
    return NotFound("There is no such upload: it was completed, given up, or forgotten after a day.", about="upload")
