"""Where the example project comes from and where the demo lays it out."""

from __future__ import annotations

import shutil
from importlib import resources
from pathlib import Path

from interlock.core.errors import Conflict, NotFound

EXAMPLE = "employment"


def example_source(name: str = EXAMPLE) -> Path:
    """Return the folder of an example: in the installed package, or beside `src` in a checkout.

    Raises:
        NotFound: there is no such example.
    """
    package = Path(str(resources.files("interlock")))
    known = {}
    for shelf in (package.parents[1] / "examples", package / "examples"):
        if shelf.is_dir():
            known.update({path.name: path for path in shelf.iterdir() if (path / "interlock.toml").is_file()})
    if name not in known:
        raise NotFound.named("example", name, known)
    return known[name]


def lay_out(target: Path, name: str = EXAMPLE) -> bool:
    """Return whether an example was laid out now; a folder that holds it already is left as it is.

    Raises:
        Conflict: the folder holds something else.
    """
    if (target / "interlock.toml").exists():
        return False
    if target.exists() and any(target.iterdir()):
        raise Conflict(f"{target} is not empty and holds no project.", about="demo", hint="Name another with --folder.")
    shutil.copytree(
        example_source(name), target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", ".interlock")
    )
    return True
