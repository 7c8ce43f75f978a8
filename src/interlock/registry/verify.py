"""Whether the files of a version are what was registered: each one read, in the workspace or in a folder elsewhere."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, BinaryIO, ClassVar, Literal

import msgspec

from interlock.core.errors import Invalid, NotFound
from interlock.registry.content import files_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from interlock.core.ports import ObjectStore
    from interlock.store.manifests import Manifest

_CHUNK = 1 << 20
Fault = Literal["changed", "missing", "extra"]


class FileFault(msgspec.Struct, frozen=True):
    """A file that is not as it was registered.

    Attributes:
        path: the file.
        fault: its bytes changed, it is missing, or nobody registered it.
        wanted: the digest that was registered, or "".
        found: the digest of the bytes that are there, or "".
    """

    TABLE: ClassVar = ("fault", "path", "wanted", "found")

    path: str
    fault: Fault
    wanted: str = ""
    found: str = ""


class SeenFile(msgspec.Struct, frozen=True):
    """A file as somebody saw it elsewhere: its path in the folder and the SHA-256 of its bytes."""

    path: str
    digest: str


def stored_faults(objects: ObjectStore, bundle: str) -> list[FileFault]:
    """Return the files of a version whose bytes in the workspace are not what was registered.

    Raises:
        NotFound: the manifest is not here.
        Corrupt: its bytes have changed.

    Cost: reads every file once, in constant memory.
    """
    faults = []
    for entry in files_of(objects, bundle).files:
        try:
            with objects.open(entry.digest) as source:
                found = _digest(source)
        except NotFound:
            faults.append(FileFault(entry.path, "missing", entry.digest))
            continue
        if found != entry.digest:
            faults.append(FileFault(entry.path, "changed", entry.digest, found))
    return faults


def seen_faults(objects: ObjectStore, bundle: str, seen: Iterable[SeenFile]) -> list[FileFault]:
    """Return how the files that somebody saw in a folder differ from a version's, by path."""
    return faults_between(files_of(objects, bundle), seen)


def faults_between(manifest: Manifest, seen: Iterable[SeenFile]) -> list[FileFault]:
    """Return how files that somebody saw differ from those of a manifest, by path."""
    wanted = {entry.path: entry.digest for entry in manifest.files}
    found = {file.path: file.digest for file in seen}
    faults = []
    for path in sorted(wanted.keys() | found.keys()):
        if path not in found:
            faults.append(FileFault(path, "missing", wanted[path]))
        elif path not in wanted:
            faults.append(FileFault(path, "extra", "", found[path]))
        elif wanted[path] != found[path]:
            faults.append(FileFault(path, "changed", wanted[path], found[path]))
    return faults


def _digest(source: BinaryIO) -> str:
    checker = hashlib.sha256()
    while chunk := source.read(_CHUNK):
        checker.update(chunk)
    return checker.hexdigest()


def see(folder: Path) -> list[SeenFile]:
    """Return the files of a folder of the caller's machine, for `seen_faults`; links are not followed.

    Raises:
        Invalid: it holds a link or something else that is no plain file.
    """
    seen = []
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise Invalid(f"{path.name!r} is not a plain file.", about="folder")
        if path.is_file():
            with path.open("rb") as source:
                seen.append(SeenFile(path.relative_to(folder).as_posix(), _digest(source)))
    return seen
