"""Artifacts: the files of runs and logged models, by path; their bytes are objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from interlock.core.errors import Invalid, NotFound
from interlock.core.files import StoredFile
from interlock.core.refs import is_safe_path

if TYPE_CHECKING:
    from collections.abc import Iterable

    from interlock.core.ports import Reader, Row, Transaction
    from interlock.store import Store

Kind = Literal["run", "logged_model", "trace"]
_LOGGED: Final[dict[Kind, str]] = {
    "run": "run.artifact_logged",
    "logged_model": "logged_model.artifact_logged",
    "trace": "trace.artifact_logged",
}
_DELETED: Final[dict[Kind, str]] = {
    "run": "run.artifact_deleted",
    "logged_model": "logged_model.artifact_deleted",
    "trace": "trace.artifact_deleted",
}
_ALL: Final = "SELECT path, digest, size_bytes FROM artifacts WHERE owner = :owner ORDER BY path"
_BELOW: Final = (
    "SELECT path, digest, size_bytes FROM artifacts WHERE owner = :owner"
    " AND (path = :path OR (path > :low AND path < :high)) ORDER BY path"
)
_LONGEST: Final = 2000
_AFTER_SLASH: Final = "0"  # the character after "/": paths below a folder are those between "folder/" and "folder0"


class Listed(msgspec.Struct, frozen=True):
    """A file or a folder in a listing; a folder has no size."""

    path: str
    is_folder: bool
    size_bytes: int


class Artifacts:
    """The files of a workspace's runs and logged models.

    Args:
        store: what the workspace remembers.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(self, tx: Transaction, kind: Kind, owner: str, file: StoredFile) -> None:
        """Add a file, whose bytes are an object already; it replaces another of its path, and again it is nothing new.

        Raises:
            Invalid: the path leaves its owner, or is a folder here, or a part of it is a file.
        """
        check_path(file.name)
        held = _row(tx, owner, file.name)
        if held is not None and (held["digest"], held["size_bytes"]) == (file.digest, file.size_bytes):
            return
        check_place(tx, owner, file.name)
        tx.run(
            "INSERT INTO artifacts (owner, path, digest, size_bytes) VALUES (:owner, :path, :digest, :size)"
            " ON CONFLICT (owner, path) DO UPDATE SET digest = excluded.digest, size_bytes = excluded.size_bytes",
            {"owner": owner, "path": file.name, "digest": file.digest, "size": file.size_bytes},
        )
        data = {"path": file.name, "digest": file.digest}
        self._store.ledger.append(tx, _LOGGED[kind], f"{kind}:{owner}", data)

    def delete(self, tx: Transaction, kind: Kind, owner: str, path: str) -> None:
        """Take a file, or a folder with all in it ("" for all), away; the bytes stay while something names them.

        Raises:
            NotFound: there is nothing of this path.
        """
        held = _below(tx, owner, path)
        if not held and path:
            raise NotFound.named("artifact", path, _some(tx, owner))
        for file in held:
            tx.run("DELETE FROM artifacts WHERE owner = :owner AND path = :path", {"owner": owner, "path": file.name})
            self._store.ledger.append(tx, _DELETED[kind], f"{kind}:{owner}", {"path": file.name})

    def find(self, owner: str, path: str) -> StoredFile:
        """Return one file.

        Raises:
            NotFound: there is none of this path.
        """
        row = _row(self._store.database, owner, path)
        if row is None:
            raise NotFound.named("artifact", path, _some(self._store.database, owner))
        return StoredFile(row["path"], row["digest"], row["size_bytes"])

    def all(self, owner: str, folder: str = "") -> list[StoredFile]:
        """Return all files of an owner, or those of a folder, by path."""
        return _below(self._store.database, owner, folder)

    def list(self, owner: str, folder: str = "") -> list[Listed]:
        """Return what lies directly in a folder, by path; a path that is a file is listed by nothing."""
        return list_files(self.all(owner, folder), folder)


def list_files(files: Iterable[StoredFile], folder: str) -> list[Listed]:
    """Return what lies directly in a folder, of files below it, by path."""
    below = f"{folder}/" if folder else ""
    found: dict[str, Listed] = {}
    for file in files:
        if file.name != folder:
            name, slash, _ = file.name.removeprefix(below).partition("/")
            path = f"{below}{name}"
            found.setdefault(path, Listed(path, bool(slash), 0 if slash else file.size_bytes))
    return [*found.values()]


def check_path(path: str) -> None:
    """Accept a relative path of plain parts.

    Raises:
        Invalid: it is none.
    """
    if not is_safe_path(path) or len(path) > _LONGEST:
        raise Invalid(f"{path[:200]!r} is no path inside a run.", about="artifact", hint="Use plain relative parts.")


def check_place(reader: Reader, owner: str, path: str) -> None:
    """Accept a path at which an owner may have a file; worth a look before the bytes are taken.

    Raises:
        Invalid: it leaves its owner, or is a folder here, or a part of it is a file.
    """
    check_path(path)
    clash = reader.one(
        "SELECT path FROM artifacts WHERE owner = :owner AND path > :low AND path < :high LIMIT 1",
        {"owner": owner, "low": f"{path}/", "high": f"{path}{_AFTER_SLASH}"},
    )
    parents = [path[:place] for place, letter in enumerate(path) if letter == "/"]
    clash = clash or next(filter(None, (_row(reader, owner, parent) for parent in parents)), None)
    if clash is not None:
        raise Invalid(
            f"{path!r} cannot be a file beside {clash['path']!r}.",
            about="artifact",
            hint="A path is a file or a folder, not both.",
        )


def _some(reader: Reader, owner: str) -> list[str]:
    """Return names of an owner's files among which a near one may be."""
    rows = reader.all("SELECT path FROM artifacts WHERE owner = :owner ORDER BY path LIMIT 200", {"owner": owner})
    return [row["path"] for row in rows]


def _row(reader: Reader, owner: str, path: str) -> Row | None:
    return reader.one(
        "SELECT path, digest, size_bytes FROM artifacts WHERE owner = :owner AND path = :path",
        {"owner": owner, "path": path},
    )


def _below(reader: Reader, owner: str, folder: str) -> list[StoredFile]:
    values = {"owner": owner, "path": folder, "low": f"{folder}/", "high": f"{folder}{_AFTER_SLASH}"}
    rows = reader.all(_BELOW, values) if folder else reader.all(_ALL, {"owner": owner})
    return [StoredFile(row["path"], row["digest"], row["size_bytes"]) for row in rows]
