"""The tree recomputed leaf by leaf and compared with the stored nodes: the right edge only, log2(size) hashes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from interlock.core.errors import Finding
from interlock.store.merkle import EMPTY_ROOT, node_hash

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_CANDIDATES: Final = 4
_MAX_FINDINGS: Final = 100


class Report:
    """What is wrong so far: the first hundred findings, and the smallest index of all."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.first_bad: int | None = None

    def add(self, rule: str, index: int, message: str) -> None:
        """Note that something is wrong at an index."""
        if self.first_bad is None or index < self.first_bad:
            self.first_bad = index
        if len(self.findings) < _MAX_FINDINGS:
            self.findings.append(Finding(rule, message, rows=(index,), count=1))


class _Subtree(NamedTuple):
    """A full subtree: its place, the hashes it may have, and whether these are beyond doubt."""

    level: int
    place: int
    hashes: tuple[bytes, ...]
    is_sound: bool


class Frontier:
    """The right edge of the tree.

    Where a computed hash and the stored one differ, both go on as candidates, and whichever fits the node above was
    right. So an entry that was changed is not blamed on the nodes above it, nor a changed node on its parents.

    Args:
        stored: returns what is stored at a level and index, None where there is nothing.
        report: where differences go.
    """

    def __init__(self, stored: Callable[[int, int], bytes | None], report: Report) -> None:
        self._stored = stored
        self._report = report
        self._edge: list[_Subtree] = []
        self.size = 0

    def push(self, leaf: bytes | None) -> None:
        """Add the next leaf's hash, None where its entry is not there; compare all nodes that it completes."""
        index, stored = self.size, self._stored(0, self.size)
        if stored is None:
            self._report.add("node", index, f"The tree has no hash of entry {index}.")
        elif leaf not in {None, stored}:
            self._report.add("entry", index, f"Entry {index} does not have the hash that the tree has of it.")
        hashes = tuple(dict.fromkeys(hash_ for hash_ in (stored, leaf) if hash_ is not None))
        self._edge.append(_Subtree(0, index, hashes, is_sound=leaf is not None and leaf == stored))
        while len(self._edge) > 1 and self._edge[-1].level == self._edge[-2].level:
            right, left = self._edge.pop(), self._edge.pop()
            self._edge.append(self._join(left, right))
        self.size += 1

    def roots(self) -> tuple[bytes, ...]:
        """Return the hashes that the root may have: one where nothing is in doubt."""
        found: tuple[bytes, ...] | None = None
        for subtree in reversed(self._edge):
            found = subtree.hashes if found is None else _pairs(subtree.hashes, found)
        return (EMPTY_ROOT,) if found is None else found

    def _join(self, left: _Subtree, right: _Subtree) -> _Subtree:
        level, place = left.level + 1, left.place >> 1
        found, stored = _pairs(left.hashes, right.hashes), self._stored(level, place)
        if stored is not None and stored in found:
            return _Subtree(level, place, (stored,), is_sound=True)
        if left.is_sound and right.is_sound:
            first, last = place << level, ((place + 1) << level) - 1
            fault = "is missing" if stored is None else "is not that of the two below it"
            self._report.add("node", first, f"The tree's hash over entries {first} to {last} {fault}.")
        return _Subtree(level, place, found if stored is None else (*found, stored), is_sound=False)


def _pairs(left: tuple[bytes, ...], right: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return tuple(node_hash(one, other) for one in left for other in right)[:_MAX_CANDIDATES]
