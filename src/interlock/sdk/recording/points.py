"""Points of metrics on their way: gathered by column, and packed into segments when they are sent."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Final

from interlock.sdk.recording.entries import Points
from interlock.store.segments import MAX_POINTS, pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_LEAST: Final = -(2**63)
_MOST: Final = 2**63 - 1
Columns = tuple["array[int]", "array[int]", "array[float]"]


class Gathered:
    """Points of all runs since the last look, by run and metric, with the step that each metric takes next.

    Args:
        first: the first step of a metric of a run, where none was said.
    """

    def __init__(self, first: Callable[[str, str], int]) -> None:
        self._first = first
        self._next: dict[tuple[str, str], int] = {}
        self._columns: dict[str, dict[str, Columns]] = {}
        self.count = 0

    def add(self, run: str, at_ns: int, step: int | None, values: Mapping[str, float]) -> list[str]:
        """Take one point of some metrics; return the names of those that were refused: their step is out of range."""
        held = self._columns.setdefault(run, {})
        at = at_ns // 1000
        for key, value in values.items():
            if step is None:
                place = self._next.get((run, key))
                if place is None:
                    place = self._first(run, key)
            else:
                place = step
            if not _LEAST <= place < _MOST:
                return list(values)
            self._next[run, key] = place + 1
            columns = held.get(key)
            if columns is None:
                columns = held[key] = (array("q"), array("q"), array("d"))
            columns[0].append(place)
            columns[1].append(at)
            columns[2].append(value)
        self.count += len(values)
        return []

    def take(self) -> list[Points]:
        """Return what was gathered as entries, one a run, and begin anew."""
        taken, self._columns, self.count = self._columns, {}, 0
        return [
            Points(run, {key: (s.tobytes(), a.tobytes(), v.tobytes()) for key, (s, a, v) in held.items()})
            for run, held in taken.items()
            if held
        ]


def segments(parts: Iterable[Points]) -> list[dict[str, bytes]]:
    """Return packed segments by metric: one dict, or several where a metric has more points than a segment holds."""
    packed = []
    joined: dict[str, Columns] = {}
    for part in parts:
        for key, columns in part.columns.items():
            held = joined.setdefault(key, (array("q"), array("q"), array("d")))
            held[0].frombytes(columns[0])
            held[1].frombytes(columns[1])
            held[2].frombytes(columns[2])
    start = 0
    while joined:
        end = start + MAX_POINTS
        packed.append({key: pack(s[start:end], a[start:end], v[start:end]) for key, (s, a, v) in joined.items()})
        joined = {key: columns for key, columns in joined.items() if len(columns[0]) > end}
        start = end
    return packed
