"""Files that a client sent, as the files of a version: looked through before anything of them is kept."""

from __future__ import annotations

import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from interlock.core.errors import Invalid, NotFound
from interlock.core.refs import is_safe_path, parse
from interlock.registry.formats import look_into
from interlock.store.manifests import Entry, put_entries

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from interlock.core.files import StoredFile
    from interlock.core.ports import Transaction
    from interlock.registry.catalogue import Catalogue
    from interlock.registry.records import ModelVersion
    from interlock.store import Store
    from interlock.store.uploads import Uploads


def keep_files(store: Store, files: Mapping[str, StoredFile]) -> str:
    """Return the digest of the manifest of files, which are kept now.

    Args:
        store: the workspace.
        files: objects or uploads by their path in the folder.

    Raises:
        Invalid: there are none, a path leaves the folder or is a file and a folder, or a file is an archive that is
            refused; nothing is kept then.
        NotFound: a file is neither an upload nor an object.

    Cost: one copy of each file while it is looked through.
    """
    _check_paths(list(files))
    for path, file in files.items():
        _check_file(store.uploads, path, file)
    store.uploads.keep(file.digest for file in files.values())
    entries = [Entry(path, store.objects.size(file.digest) or 0, file.digest) for path, file in files.items()]
    return put_entries(store.objects, entries)


def folder_of_run(store: Store, run: str, place: str) -> str:
    """Return the digest of the manifest of the files that lie at a place of a run, which is kept now.

    Args:
        store: the workspace.
        run: the run.
        place: a reference such as `run:ID/models/tree` or `runs:/ID/models/tree`, or the path alone.

    Raises:
        NotFound: there is no such run, or it has no files there.
        Invalid: the place is another run's, or leaves it.
    """
    ident = parse(run, "run").name
    ref = parse(place if ":" in place else f"run:{ident}/{place.strip('/')}", "run")
    if ref.name != ident:
        raise Invalid(f"{place!r} is no place of run:{ident}.", about="bundle", hint="Name the run whose files it is.")
    if store.database.one("SELECT id FROM runs WHERE id = :run", {"run": ident}) is None:
        raise NotFound.named("run", ident)
    rows = store.database.all(
        "SELECT path, digest, size_bytes FROM artifacts WHERE owner = :run ORDER BY path", {"run": ident}
    )
    below = f"{ref.path}/" if ref.path else ""
    found = [
        Entry(
            row["path"].removeprefix(below) if row["path"] != ref.path else PurePosixPath(ref.path).name,
            row["size_bytes"],
            row["digest"],
        )
        for row in rows
        if row["path"] == ref.path or row["path"].startswith(below)
    ]
    if not found:
        folders = {str(folder) for row in rows for folder in PurePosixPath(row["path"]).parents} - {"."}
        raise NotFound.named("artifact", ref.path or "/", sorted(folders | {row["path"] for row in rows}))
    return put_entries(store.objects, found)


def register(
    store: Store, books: Catalogue, model: str, run: str, bundle: str, data: Sequence[str] | None
) -> ModelVersion:
    """Return the version of a run's files; the same files of a run are registered once.

    Args:
        store: the workspace.
        books: its catalogue.
        model: the model, made if it is new.
        run: the run, or "".
        bundle: the digest of the files' manifest.
        data: references of its data.
    """
    ident = parse(run, "run").name if run else ""
    draft = books.versions.draft(model, bundle=bundle, run=ident, data=data or ())

    def change(tx: Transaction) -> ModelVersion:
        held = books.versions.same(tx, draft)
        return books.versions.get(tx, model, held) if held else books.versions.create(tx, draft, make=True)

    return store.database.write(change)


def _check_paths(paths: list[str]) -> None:
    if not paths:
        raise Invalid("A version needs its files.", about="files", hint="Give at least one file by its path.")
    for path in paths:
        if not is_safe_path(path):
            raise Invalid(f"{path!r} is no path inside a version.", about="files", hint="Use plain relative parts.")
        parts = path.split("/")
        for end in range(1, len(parts)):
            if "/".join(parts[:end]) in paths:
                raise Invalid(f"{'/'.join(parts[:end])!r} is a file and a folder.", about="files")


def _check_file(uploads: Uploads, path: str, file: StoredFile) -> None:
    size = uploads.size(file.digest)
    if size is None:
        raise NotFound.named("object", file.digest, hint=f"Send {path} again.")
    with tempfile.TemporaryDirectory(prefix="interlock-") as folder:
        copy = Path(folder) / "file"
        uploads.fetch(file.digest, copy)
        with copy.open("rb") as source:
            look_into(source, size, path)
