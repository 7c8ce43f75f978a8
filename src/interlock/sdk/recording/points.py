"""Points of metrics on their way: gathered by column, and packed into segments when they are sent."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Final

from interlock.sdk.recording.entries import Points
from interlock.store.segments import MAX_POINTS, pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

_LEAST: Final = -(2**63)
_MOST: Final = 2**63 - 1
Columns = tuple["array[int]", "array[int]", "array[float]"]
Said = dict[str, tuple[bytes, bytes, bytes]]


class Gathered:
    """Points of all runs since the last look, by run and metric, with the step that each metric takes next.

    Args:
        first: the first step of a metric of a run, where none was said; None where only the workspace will know.
    """

    def __init__(self, first: Callable[[str, str], int | None]) -> None:
        self._first = first
        self._next: dict[tuple[str, str], int] = {}
        self._following: set[tuple[str, str]] = set()  # whose steps count from 0, until one is said
        self._columns: dict[str, dict[tuple[str, bool], Columns]] = {}
        self.count = 0

    def add(self, run: str, at_ns: int, step: int | None, values: Mapping[str, float]) -> list[str]:
        """Take one point of some metrics; return the names of those that were refused: their step is out of range."""
        held = self._columns.setdefault(run, {})
        at = at_ns // 1000
        for key, value in values.items():
            if step is None:
                known = self._next.get((run, key))
                place = self._begin(run, key) if known is None else known
            else:
                place = step
                self._following.discard((run, key))
            if not _LEAST <= place < _MOST:
                return list(values)
            self._next[run, key] = place + 1
            kind = (key, (run, key) in self._following)
            columns = held.get(kind)
            if columns is None:
                columns = held[kind] = (array("q"), array("q"), array("d"))
            columns[0].append(place)
            columns[1].append(at)
            columns[2].append(value)
        self.count += len(values)
        return []

    def take(self) -> list[Points]:
        """Return what was gathered as entries, one a run, and begin anew."""
        taken, self._columns, self.count = self._columns, {}, 0
        return [
            Points(run, _bytes(held, following=False), _bytes(held, following=True))
            for run, held in taken.items()
            if held
        ]

    def _begin(self, run: str, key: str) -> int:
        """Return the first step of a metric."""
        first = self._first(run, key)
        if first is None:
            self._following.add((run, key))
        return first or 0


def segments(parts: Iterable[Points]) -> list[dict[str, bytes]]:
    """Return packed segments by metric: one dict, or several where a metric has more points than a segment holds."""
    return [{key: pack(*columns) for key, columns in part.items()} for part in _split([part.columns for part in parts])]


def following(parts: Iterable[Points], last: Callable[[str], int | None]) -> Iterator[dict[str, bytes]]:
    """Yield packed segments of points that go on after those that the workspace has.

    Each one is made when the one before has been sent. So one that comes a second time may have other steps, which is
    no matter since it is not taken; what comes after it has the right ones.

    Args:
        parts: the points.
        last: the last step of a metric that the workspace has, or None.
    """
    for part in _split([part.following for part in parts]):
        packed = {}
        for key, (steps, ats, values) in part.items():
            known = last(key)
            shift = 0 if known is None else known + 1 - steps[0]
            packed[key] = pack(array("q", [step + shift for step in steps]), ats, values)
        yield packed


def _split(parts: list[Said]) -> Iterator[dict[str, Columns]]:
    """Yield columns by metric, as many points of each as a segment holds."""
    joined: dict[str, Columns] = {}
    for part in parts:
        for key, columns in part.items():
            held = joined.setdefault(key, (array("q"), array("q"), array("d")))
            held[0].frombytes(columns[0])
            held[1].frombytes(columns[1])
            held[2].frombytes(columns[2])
    start = 0
    while joined:
        end = start + MAX_POINTS
        yield {key: (s[start:end], a[start:end], v[start:end]) for key, (s, a, v) in joined.items()}
        joined = {key: columns for key, columns in joined.items() if len(columns[0]) > end}
        start = end


def _bytes(held: dict[tuple[str, bool], Columns], *, following: bool) -> Said:
    return {
        key: (s.tobytes(), a.tobytes(), v.tobytes()) for (key, kind), (s, a, v) in held.items() if kind is following
    }
