"""Whose code it is: the project's (followed), Python's (its version counts), or a package's (its version counts).

Code that lies outside the project and belongs to no installed package is followed as well: nothing else pins it.
"""

from __future__ import annotations

import sys
import sysconfig
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

_PACKAGES = frozenset({"site-packages", "dist-packages"})
_HOME = str(Path(__file__).parents[1])
OURS, STANDARD, PACKAGE, GENERATED = "ours", "standard", "package", "generated"


class Origins:
    """Tells the origin of code for one project.

    Args:
        project: the project's folder.
    """

    def __init__(self, project: Path) -> None:
        self.project = project.resolve()
        self._of_file = lru_cache(maxsize=4096)(self._file)

    def file(self, name: str) -> str:
        """Return the origin of a source file; `<string>` and its like are generated."""
        return self._of_file(name)

    def _file(self, name: str) -> str:
        if name.startswith("<frozen"):
            return STANDARD
        if name.startswith("<"):
            return OURS if name.startswith("<ipython") else GENERATED
        path = Path(name).resolve()
        if path.is_relative_to(self.project):
            inside = path.relative_to(self.project).parts
            if not _PACKAGES.intersection(inside) and not str(path).startswith(_HOME):
                return OURS
        if _PACKAGES.intersection(path.parts) or str(path).startswith(_HOME):
            return PACKAGE
        return STANDARD if any(path.is_relative_to(folder) for folder in _standard_folders()) else OURS

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
def _standard_folders() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    return tuple({Path(paths[kind]).resolve() for kind in ("stdlib", "platstdlib")})
