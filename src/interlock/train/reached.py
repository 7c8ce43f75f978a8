"""What a walk found, and a quick look at whether all of it is still the same."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from interlock.core.errors import Invalid

if TYPE_CHECKING:
    import types
    from collections.abc import Callable

    from interlock.train.values import Encoded

GONE: Any = object()


@dataclass
class Reach:
    """What one function or class can reach.

    Attributes:
        parts: what it depends on, each under a name that people understand: `code pipeline.clean`.
        reasons: why results that depend on it cannot be cached: kind (see `outside`) and sentence.
    """

    parts: dict[str, str] = field(default_factory=dict)
    reasons: list[tuple[str, str]] = field(default_factory=list)
    tops: set[str] = field(default_factory=set)
    names: list[tuple[Any, str, Any]] = field(default_factory=list)
    cells: list[tuple[types.CellType, Any]] = field(default_factory=list)
    functions: list[tuple[types.FunctionType, Any]] = field(default_factory=list)
    classes: list[tuple[type, dict[str, Any]]] = field(default_factory=list)
    mutable: list[tuple[Any, bytes]] = field(default_factory=list)

    def holds(self, digest: Callable[[object], Encoded]) -> bool:
        """Return whether all that was reached is still the same: nothing assigned, patched or changed in place."""
        return (
            all(space.get(name, GONE) is value for space, name, value in self.names)
            and all(contents_of(cell) is value for cell, value in self.cells)
            and all(state_of(function) == state for function, state in self.functions)
            and all(_same(vars(kind), before) for kind, before in self.classes)
            and all(_tree(digest, value) == tree for value, tree in self.mutable)
        )


def digest_text(text: str) -> str:
    """Return a short digest of a text: 128 bits of its SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def show(tree: bytes) -> str:
    """Return a value's tree itself when it is short, else a digest of it."""
    return tree.decode() if len(tree) <= 80 else f"sha256:{digest_text(tree.decode())}"


def contents_of(cell: types.CellType) -> Any:
    """Return what a closure cell holds, or `GONE`."""
    try:
        return cell.cell_contents
    except ValueError:
        return GONE


def state_of(function: types.FunctionType) -> tuple[int, ...]:
    """Return the identities of what a function is made of and carries with it."""
    extra = [part for item in vars(function).items() for part in (id(item[0]), id(item[1]))]
    return (id(function.__code__), id(function.__defaults__), id(function.__kwdefaults__), *extra)


def _same(now: Any, before: dict[str, Any]) -> bool:
    return len(now) == len(before) and all(now.get(key, GONE) is value for key, value in before.items())


def _tree(digest: Callable[[object], Encoded], value: object) -> bytes:
    try:
        return digest(value).tree
    except Invalid:
        return b""
