"""Versions of installed packages, and of what they need, read from the names of their metadata folders."""

from __future__ import annotations

import re
import sys
from functools import lru_cache
from pathlib import Path

import msgspec

_FOLDER = re.compile(r"(?P<name>.+?)-(?P<version>[^-]+?)\.(dist|egg)-info\Z")
_NEED = re.compile(rb"^Requires-Dist:\s*([A-Za-z0-9][A-Za-z0-9._-]*)([^\r\n]*)", re.MULTILINE)


class Installed(msgspec.Struct, frozen=True):
    """One installed distribution: its normalised name, version and metadata folder."""

    name: str
    version: str
    folder: str


def normalised(name: str) -> str:
    """Return a distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


@lru_cache(maxsize=1)
def installed() -> dict[str, Installed]:
    """Return what is installed, by normalised name; the first on the path wins, as in imports."""
    found: dict[str, Installed] = {}
    for place in sys.path:
        folder = Path(place or ".")
        if not folder.is_dir():
            continue
        for entry in folder.iterdir():
            if match := _FOLDER.match(entry.name):
                name = normalised(match["name"])
                found.setdefault(name, Installed(name, match["version"], str(entry)))
    return found


@lru_cache(maxsize=512)
def owner(top: str) -> str:
    """Return the distribution that holds a top-level module, or "" when none says so.

    Cost: one look into a file list; where module and distribution differ in name, into all of them, once a process.
    """
    near = installed().get(normalised(top))
    if near is not None and _holds(near, top):
        return near.name
    return next((dist.name for dist in installed().values() if _holds(dist, top)), near.name if near else "")


def _holds(dist: Installed, top: str) -> bool:
    names = _files(dist.folder)
    starts = (f"{top}/".encode(), f"{top}.py,".encode(), f"{top}.cpython".encode(), f"{top}.abi3".encode())
    return any(names.startswith(start) or b"\n" + start in names for start in starts)


@lru_cache(maxsize=1024)
def _files(folder: str) -> bytes:
    for name in ("RECORD", "installed-files.txt"):
        path = Path(folder) / name
        if path.is_file():
            return path.read_bytes()
    return b""


@lru_cache(maxsize=512)
def needs(name: str) -> tuple[str, ...]:
    """Return the installed distributions that one needs, extras left out."""
    metadata = Path(installed()[name].folder) / "METADATA"
    if not metadata.is_file():
        return ()
    head = metadata.read_bytes().partition(b"\n\n")[0]
    wanted = {normalised(match[1].decode()) for match in _NEED.finditer(head) if b"extra" not in match[2]}
    return tuple(sorted(wanted & set(installed())))


@lru_cache(maxsize=64)
def versions(tops: frozenset[str]) -> dict[str, str]:
    """Return the versions of the distributions that hold these top-level modules, and of all that those need.

    Args:
        tops: names of top-level modules; one of no distribution is listed by its own name and `__version__`.
    """
    found: dict[str, str] = {}
    waiting = []
    for top in tops:
        name = owner(top)
        if name:
            waiting.append(name)
        else:
            found[top] = str(getattr(sys.modules.get(top), "__version__", "unknown"))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = installed()[name].version
            waiting += needs(name) if name != "interlock" else ()  # our own needs make no difference to a step
    return found
