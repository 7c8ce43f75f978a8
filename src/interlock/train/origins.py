"""Whose code it is: the project's (followed), Python's (its version counts), or a package's (its version counts).

Code that lies outside the project and belongs to no installed package is followed as well: nothing else pins it.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

_PACKAGES = frozenset({"site-packages", "dist-packages"})
_HOME = f"{Path(__file__).resolve().parents[1]}{os.sep}"
OURS, STANDARD, PACKAGE, GENERATED = "ours", "standard", "package", "generated"


class Origins:
    """Tells the origin of code for one project.

    Args:
        project: the project's folder.
    """

    def __init__(self, project: Path) -> None:
        self.project = project.resolve()
        self._inside = f"{self.project}{os.sep}"
        self._of_file = lru_cache(maxsize=4096)(self._file)

    def file(self, name: str) -> str:
        """Return the origin of a source file; `<string>` and its like are generated."""
        return self._of_file(name)

    def is_below(self, name: str) -> bool:
        """Return whether a source file is the project's own."""
        return _real(name).startswith(self._inside) and self.file(name) == OURS

    def _file(self, name: str) -> str:
        if name.startswith("<frozen"):
            return STANDARD
        if name.startswith("<"):
            return OURS if name.startswith("<ipython") else GENERATED
        path = _real(name)
        if path.startswith(self._inside):
            inside = path[len(self._inside) :].split("/")
            if not _PACKAGES.intersection(inside) and not path.startswith(_HOME):
                return OURS
        if _PACKAGES.intersection(path.split("/")) or path.startswith(_HOME):
            return PACKAGE
        return STANDARD if path.startswith(_standard_folders()) else OURS

    def module(self, name: str) -> str:
        """Return the origin of a loaded module by its name; what cannot be told is a package's."""
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names and not self._shadowed(name):
            return STANDARD
        module = sys.modules.get(name)
        if module is None:
            return PACKAGE
        return self.of_module(module)

    def of_module(self, module: ModuleType) -> str:
        """Return the origin of a module."""
        file = getattr(module, "__file__", None)
        if file:
            return self.file(file)
        if module.__name__ == "__main__":
            return OURS
        folders: Any = getattr(module, "__path__", ())  # a package without __init__
        return next((self.file(str(Path(folder) / "__init__.py")) for folder in folders), STANDARD)

    def _shadowed(self, name: str) -> bool:
        file = getattr(sys.modules.get(name), "__file__", None)
        return bool(file) and self.file(str(file)) == OURS


@lru_cache(maxsize=1)
def _standard_folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    return tuple({f"{os.path.realpath(paths[kind])}{os.sep}" for kind in ("stdlib", "platstdlib")})


@lru_cache(maxsize=2048)
def _real_folder(name: str) -> str:
    return os.path.realpath(name)


def _real(name: str) -> str:
    """Return the path of a file with the links among its folders followed; folders are looked at once."""
    folder, _, last = name.rpartition(os.sep)
    return f"{_real_folder(folder or '.')}{os.sep}{last}"
