"""What changed from one run to another, as lines: facts, then code, then packages."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

import msgspec

from interlock.cli.render import clean
from interlock.core.errors import Error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interlock.sdk.workspace import Workspace
    from interlock.track.compare import Comparison

_MADE = {"metric": "system/", "tag": "interlock."}
_SHOWN = 12  # letters of a digest


def is_made(part: str, name: str) -> bool:
    """Return whether a fact is no word of the user's: what the machine did, and what Interlock notes of a run."""
    return part in _MADE and name.startswith(_MADE[part])


def of_users(compared: Comparison) -> tuple[Comparison, str]:
    """Return a comparison without what is not the user's, and a sentence about what was left out, if any."""
    kept = tuple(found for found in compared.differences if not is_made(found.part, found.name))
    left = len(compared.differences) - len(kept)
    text = f"{left} more of the machine and of Interlock differ{'s' * (left == 1)}: --all shows them." if left else ""
    return msgspec.structs.replace(compared, differences=kept), text


def changes(workspace: Workspace, compared: Comparison) -> Iterator[str]:
    """Yield what differs between two runs as lines; `-` is the first run's, `+` the second's."""
    digests: dict[str, tuple[str, str]] = {}
    for found in compared.differences:
        old, new = found.values
        if found.part == "run" and found.name in {"code", "environment"}:
            digests[found.name] = (str(old or ""), str(new or ""))
        yield f"{found.part} {clean(found.name)}"
        yield from (f"{sign} {_short(value)}" for sign, value in (("-", old), ("+", new)) if value is not None)
    if not compared.differences:
        yield "Nothing differs."
    for what, told in (("code", _code), ("environment", _packages)):
        if all(digests.get(what, ())) and what in digests:
            yield from told(workspace, *digests[what])


def _short(value: object) -> str:
    text = clean(str(value))
    return re.sub(rf"\b([0-9a-f]{{{_SHOWN}}})[0-9a-f]{{52}}\b", r"\1", text)


class _Entry(msgspec.Struct):
    path: str
    digest: str


class _Manifest(msgspec.Struct):
    files: list[_Entry]


def _files(workspace: Workspace, digest: str) -> dict[str, str]:
    try:
        found = msgspec.json.decode(workspace.read(digest), type=_Manifest)
    except (Error, msgspec.MsgspecError):
        return {}
    return {entry.path: entry.digest for entry in found.files}


def _code(workspace: Workspace, old: str, new: str) -> Iterator[str]:
    """Yield a unified diff of two snapshots of the project."""
    before, after = _files(workspace, old), _files(workspace, new)
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) != after.get(path):
            old_lines, new_lines = (_lines(workspace, side.get(path, "")) for side in (before, after))
            told = difflib.unified_diff(old_lines, new_lines, f"a/{path}", f"b/{path}", lineterm="", n=2)
            yield from map(clean, told)


def _lines(workspace: Workspace, digest: str) -> list[str]:
    return workspace.read(digest).decode("utf-8", "replace").splitlines() if digest else []


class _Environment(msgspec.Struct):
    python: str = ""
    packages: dict[str, str] = {}


def _packages(workspace: Workspace, old: str, new: str) -> Iterator[str]:
    """Yield the packages whose versions differ."""
    try:
        before, after = (msgspec.json.decode(workspace.read(digest), type=_Environment) for digest in (old, new))
    except (Error, msgspec.MsgspecError):
        return
    for name in sorted(before.packages.keys() | after.packages.keys()):
        versions = before.packages.get(name, "none"), after.packages.get(name, "none")
        if versions[0] != versions[1]:
            yield f"package {clean(name)}: {clean(versions[0])} -> {clean(versions[1])}"
