"""Where the example project comes from and where the demo lays it out."""

from __future__ import annotations

import shutil
from importlib import resources
from pathlib import Path

from interlock.core.errors import Conflict, NotFound

EXAMPLE = "employment"


def example_source(name: str = EXAMPLE) -> Path:
    """Return the folder of an example: inside the installed package, or in the repository it was installed from.

    Raises:
        NotFound: there is no such example.
    """
    package = Path(str(resources.files("interlock")))
    for folder in (package / "examples" / name, package.parents[1] / "examples" / name):
        if (folder / "interlock.toml").is_file():
            return folder
    raise NotFound.named("example", name, [EXAMPLE])


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
