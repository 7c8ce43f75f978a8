"""Which values of this run are stored already, and whether they are still what was stored.

A value that a step returned is known by its identity, so handing it to ten steps writes it once. Anybody may change a
frame in place, so identity alone would lie: a frame is compared with a copy-on-write clone, a pickled value with its
bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import weakref
from collections.abc import Callable
from typing import Any

import msgspec

Node = Any


class _Handle(msgspec.Struct, frozen=True):
    value: Callable[[], object]
    node: Node
    unchanged: Callable[[Any], bool]


class Handles:
    """The stored values that are still in memory."""

    def __init__(self) -> None:
        self._by_id: dict[int, _Handle] = {}

    def remember(self, value: object, node: Node, unchanged: Callable[[Any], bool]) -> None:
        """Keep in mind that a value is stored as `node`, as long as `unchanged` says so."""
        with contextlib.suppress(TypeError):  # what cannot be referred to weakly is written again instead
            place = id(value)
            reference = weakref.ref(value, lambda _: self._by_id.pop(place, None))
            self._by_id[place] = _Handle(reference, node, unchanged)

    def find(self, value: Any, probe: Any = None) -> Node | None:
        """Return how a value is stored, or None when it is not, or has changed since.

        Args:
            value: the value.
            probe: what its `unchanged` compares; without it the value itself.
        """
        handle = self._by_id.get(id(value))
        if handle is None or handle.value() is not value:
            return None
        return handle.node if handle.unchanged(value if probe is None else probe) else None


def frame_probe(frame: Any) -> Callable[[Any], bool]:
    """Return a function that tells whether a Polars frame still holds what it holds now.

    Cost: the clone shares memory until somebody writes; a comparison runs at the speed of memory.
    """
    clone = frame.clone()
    return lambda other: bool(other.schema == clone.schema and other.equals(clone))


def pickle_probe(data: bytes) -> Callable[[Any], bool]:
    """Return a function that tells whether a pickle has the same bytes."""
    known = hashlib.sha256(data).digest()
    return lambda other: bool(hashlib.sha256(other).digest() == known)
