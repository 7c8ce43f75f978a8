"""Which files are the project's: how they are named in a run, and which of its modules a process has imported."""

from __future__ import annotations

import hashlib
import os
import sys
import sysconfig
from pathlib import Path
from typing import Final

import msgspec

from interlock.core.refs import is_safe_path
from interlock.sdk.places import is_address
from interlock.sdk.recording.secrecy import kept_out
from interlock.store.manifests import Entry
from interlock.train.origins import Origins

MOST_FILES: Final = 500
MOST_BYTES: Final = 16 << 20
MOST_OF_ONE: Final = 1 << 20
_NAMED: Final = 100


class Project:
    """A folder with all that belongs together.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._origins = Origins(self.root)
        # What is installed may lie in the project; a project may lie in what is installed.
        prefixes = {os.path.realpath(prefix) for prefix in (sys.prefix, sys.base_prefix, sys.exec_prefix)}
        self._installed = tuple(f"{prefix}{os.sep}" for prefix in prefixes if prefix.startswith(f"{self.root}{os.sep}"))

    def inside(self, path: str | os.PathLike[str]) -> str:
        """Return the path of a file in the project, with slashes; "" of one that is elsewhere.

        A link counts by where it lies, not by where it leads.
        """
        path = Path(path)
        for folder in (path.parent, Path(os.path.realpath(path.parent))):
            if folder.is_relative_to(self.root):
                return (folder / path.name).relative_to(self.root).as_posix()
        return ""

    def has_code(self, path: str) -> bool:
        """Return whether a source file is the project's own, and belongs to nothing that is installed there."""
        return self._origins.is_below(path) and not os.path.realpath(path).startswith(self._installed)


def project_of(location: str, script: Path | None) -> Project:
    """Return the project of a script: the git work tree around it, or the workspace's folder, or its own folder.

    Args:
        location: the workspace.
        script: the script; None, or a program that is installed, stands for the folder of the process.
    """
    folder = (Path.cwd() if script is None or _is_installed(script.absolute()) else script.parent).resolve()
    for root in (folder, *folder.parents):
        if (root / ".git").exists():
            return Project(root)
    workspace = Path(location).resolve()
    return Project(workspace if not is_address(location) and folder.is_relative_to(workspace) else folder)


def _is_installed(path: Path) -> bool:
    return str(path).startswith(installed_folders()) or not {"site-packages", "dist-packages"}.isdisjoint(path.parts)


def installed_folders() -> tuple[str, ...]:
    """Return the folders of Python, of what is installed for it, and of ourselves."""
    paths = sysconfig.get_paths()
    folders = {paths[kind] for kind in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders.add(str(Path(__file__).parents[2]))
    for prefix in {sys.prefix, sys.base_prefix, sys.exec_prefix}:
        if Path(prefix, "pyvenv.cfg").exists() or Path(prefix, "conda-meta").exists():
            folders.add(prefix)
        folders |= {str(Path(prefix, part)) for part in ("lib", "share", "etc", "bin")}
    return tuple({f"{form}{os.sep}" for folder in folders for form in (folder, os.path.realpath(folder))})


class Imported(msgspec.Struct, frozen=True):
    """Modules of the project that a run has imported.

    Attributes:
        files: path, size and digest of each.
        left_out: paths of those that were too many or too large, or that git ignores, the first hundred.
    """

    files: tuple[Entry, ...]
    left_out: tuple[str, ...] = ()


class Modules:
    """The source of the project's modules as this process imports them, each told once.

    Args:
        project: the project.
        known: a source file that is told already, such as the script.
    """

    def __init__(self, project: Project, known: Path | None) -> None:
        self._project = project
        self._known = os.path.realpath(known) if known is not None else ""
        self._seen: set[str] = set()
        self._bytes = 0
        self._files: list[Entry] = []
        self._left_out: list[str] = []

    @property
    def record(self) -> Imported:
        """What was told so far."""
        return Imported(tuple(sorted(self._files, key=lambda entry: entry.path)), tuple(self._left_out))

    def fresh(self) -> dict[str, bytes]:
        """Return the source of the modules that were imported since the last call, by their path in the project.

        Cost: some milliseconds for thousands of modules.
        """
        named: dict[str, str] = {}
        for module in list(sys.modules.values()):
            file = getattr(module, "__dict__", {}).get("__file__")  # a lazy module must not load for this
            if isinstance(file, str) and file not in self._seen and self._is_ours(file):
                named[self._project.inside(file)] = file
        secret = kept_out(self._project.root, list(named))
        found = {}
        for path, file in named.items():
            source = self._read(file) if is_safe_path(path) and path not in secret else None
            if source is not None:
                found[path] = source
                self._files.append(Entry(path, len(source), hashlib.sha256(source).hexdigest()))
            elif len(self._left_out) < _NAMED:
                self._left_out.append(path)
        return found

    def _is_ours(self, file: str) -> bool:
        self._seen.add(file)
        if not file.endswith(".py") or "site-packages" in file:
            return False
        return self._project.has_code(file) and os.path.realpath(file) != self._known

    def _read(self, file: str) -> bytes | None:
        """Return a file's bytes; None where it is gone, or one too many."""
        try:
            size = Path(file).stat().st_size
            if size > MOST_OF_ONE or self._bytes + size > MOST_BYTES or len(self._files) >= MOST_FILES:
                return None
            self._bytes += size
            return Path(file).read_bytes()
        except OSError:
            return None
