"""The project's code as one object: which files a run was made with."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import msgspec

from interlock.store.manifests import Entry, put_entries

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from interlock.core.ports import ObjectStore

SUFFIXES = frozenset({".py", ".toml", ".sql", ".md"})
SKIPPED = frozenset({"data", "venv", "node_modules", "__pycache__", "build", "dist"})
REVISION = "revision.json"
_MOST_BYTES = 1_000_000
_GIT_S = 10


class Revision(msgspec.Struct, frozen=True):
    """Where in git's history a project stands.

    Attributes:
        commit: the commit's name.
        dirty: whether files differ from it.
    """

    commit: str
    dirty: bool


def snapshot(project: Path, objects: ObjectStore) -> str:
    """Return the digest of a folder manifest of the project's source files.

    Python, TOML, SQL and Markdown files count; what is hidden, `data`, virtual environments and files above 1 MB do
    not. In a git repository the file `revision.json` of the manifest holds a `Revision`.

    Args:
        project: the folder.
        objects: where the files go.
    """
    entries = []
    for path in _files(project):
        data = path.read_bytes()
        if len(data) <= _MOST_BYTES:
            entries.append(Entry(path.relative_to(project).as_posix(), len(data), objects.put(data)))
    found = revision(project)
    if found is not None:
        data = msgspec.json.encode(found)
        entries.append(Entry(REVISION, len(data), objects.put(data)))
    return put_entries(objects, entries)


def revision(project: Path) -> Revision | None:
    """Return where the project stands in git, or None outside of a repository.

    Args:
        project: the folder.
    """
    commit = _git(project, "rev-parse", "--verify", "HEAD")
    if commit is None:
        return None
    changes = _git(project, "status", "--porcelain", "--", ".")
    return Revision(commit.strip(), dirty=changes is None or bool(changes.strip()))


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.is_symlink():
            continue
        if path.is_dir():
            if path.name not in SKIPPED and not (path / "pyvenv.cfg").exists():
                yield from _files(path)
        elif path.suffix in SUFFIXES and path.is_file():
            yield path


def _git(project: Path, *words: str) -> str | None:
    command = ["git", "-c", "core.fsmonitor=false", "-C", str(project), *words]
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(  # noqa: S603,RUF100 - our own words
            command, capture_output=True, text=True, timeout=_GIT_S, env=environment, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
