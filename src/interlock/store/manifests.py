"""Folder manifests: a folder is the sorted list of its files' paths, sizes and digests, itself an object."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from interlock.core.canonical import canonical
from interlock.core.errors import Conflict, Corrupt, Error, Invalid, NotFound
from interlock.core.refs import is_safe_path

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from interlock.core.ports import ObjectStore


class Entry(msgspec.Struct, frozen=True):
    """One file of a folder."""

    path: str
    size_bytes: int
    digest: str


class Manifest(msgspec.Struct, frozen=True):
    """The files of a folder, sorted by path."""

    files: tuple[Entry, ...]

    def find(self, path: str) -> Entry:
        """Return the file of this path.

        Raises:
            NotFound: the folder has none.
        """
        for entry in self.files:
            if entry.path == path:
                return entry
        raise NotFound.named("file", path, (entry.path for entry in self.files))


def put_folder(objects: ObjectStore, folder: Path, without: Collection[str] = ()) -> str:
    """Return the digest of a folder's manifest, the folder's files being stored.

    Args:
        objects: where they go.
        folder: the folder.
        without: paths of files that are left out.

    Raises:
        Invalid: it holds a link or something else that is no plain file.
    """
    entries = []
    for path in sorted(folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        if path.is_symlink() or not path.is_file():
            raise Invalid(f"{path.name!r} is not a plain file.", about="folder")
        name = path.relative_to(folder).as_posix()
        if name not in without:
            entries.append(Entry(name, path.stat().st_size, objects.put(path)))
    return put_entries(objects, entries)


def put_entries(objects: ObjectStore, entries: list[Entry]) -> str:
    """Return the digest of a manifest of files that are stored already."""
    return objects.put(manifest_bytes(entries))


def manifest_bytes(entries: Iterable[Entry]) -> bytes:
    """Return a manifest as it is stored; its SHA-256 is the digest by which a folder is known."""
    return canonical(Manifest(tuple(sorted(entries, key=lambda entry: entry.path))))


def read_manifest(objects: ObjectStore, digest: str) -> Manifest:
    """Return a manifest.

    Raises:
        Corrupt: the object is no manifest, or names paths that leave the folder.
    """
    try:
        manifest = msgspec.json.decode(objects.get(digest), type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Corrupt(f"Object {digest} is no folder manifest: {error}.", about="object", digest=digest) from None
    if not all(is_safe_path(entry.path) for entry in manifest.files):
        raise Corrupt(f"Manifest {digest} names a path outside its folder.", about="object", digest=digest)
    return manifest


def write_folder(entries: Iterable[Entry], target: Path, fetch: Callable[[str, Path], None]) -> None:
    """Write files as a folder, which is there as a whole or not at all.

    Args:
        entries: the files, by their paths in it.
        target: the folder; not there yet.
        fetch: writes the object of a digest to a path, checked.

    Raises:
        Conflict: the folder is there already, or cannot be made.
        Corrupt: a path leaves the folder; nothing is written then.
    """
    files = tuple(entries)
    for entry in files:
        if not is_safe_path(entry.path):
            raise Corrupt(f"{entry.path!r} is a path outside its folder.", about="folder")
    if target.exists() or target.is_symlink():
        raise Conflict(f"{str(target)!r} is there already.", about="folder", hint="Name one that is not.")
    try:
        with tempfile.TemporaryDirectory(dir=target.absolute().parent, prefix=".interlock-") as name:
            staged = Path(name) / "files"
            staged.mkdir()
            for entry in files:
                path = staged / entry.path
                path.parent.mkdir(parents=True, exist_ok=True)
                fetch(entry.digest, path)
            staged.rename(target)
    except Error:  # some of ours are OSError too
        raise
    except OSError as error:
        raise Conflict(f"{str(target)!r} cannot be written: {error.strerror}.", about="folder") from None
