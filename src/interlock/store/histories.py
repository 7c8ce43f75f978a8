"""Histories: the points of one metric by instant, a page at a time.

Segments say which instants and steps they span, so a page unpacks those it needs: the last page costs what the first
one does, unless segments overlap in both.
"""

from __future__ import annotations

import operator
from bisect import bisect_left, bisect_right
from itertools import islice
from typing import TYPE_CHECKING, Final

import msgspec

from interlock.store import inbox
from interlock.store.inbox import columns, distinct
from interlock.store.segments import Points, concatenate, rank, unpack_stored

if TYPE_CHECKING:
    from interlock.core.ports import Reader, Row

_FIRST, _LAST = -(1 << 63), (1 << 63) - 1
_HEADS: Final = (
    "SELECT first_step, last_step, digest, first_at, last_at, points FROM metric_segments"
    " WHERE run = :run AND key = :key AND COALESCE(last_at, :at) >= :at"
)
_DATA: Final = (
    "SELECT data FROM metric_segments WHERE run = :run AND key = :key AND first_step = :first_step AND digest = :digest"
)
Place = tuple[int, int, float]


class Page(msgspec.Struct, frozen=True):
    """Some points of a metric, by instant, then step, then value; NaN is the smallest value.

    Attributes:
        points: the points.
        last: the place of the last of them, after which the next page begins; None where there is none after it.
    """

    points: Points
    last: Place | None


def read_page(reader: Reader, run: str, key: str, after: Place | None, most: int | None) -> Page:
    """Return the points of a metric after a place, each once.

    Args:
        reader: what they are read from.
        run: the run's id.
        key: the metric's name.
        after: (instant, step, value) of a point, or None for the start.
        most: so many at most; None for all.

    Raises:
        Corrupt: stored bytes are not what was written.

    Cost: unpacks the segments that hold the page's instants; what waits to be packed is read too.
    """
    while (found := _attempt(reader, run, key, after, most)) is None:
        pass  # segments were merged between the list of them and the reading: the new ones hold the same points
    return found


def _attempt(reader: Reader, run: str, key: str, after: Place | None, most: int | None) -> Page | None:
    # What waits is read first: what is packed meanwhile is seen twice, which counts once, and never missed.
    fresh = inbox.waiting_of(reader, run, key)
    heads = reader.all(_HEADS, {"run": run, "key": key, "at": _within(after[0]) if after else _FIRST})
    heads = sorted((head for head in heads if after is None or _end(head) >= after[:2]), key=_begin)
    parts = [fresh] if len(fresh) else []
    start, held = 0, 0
    while True:
        # Twice as many each time: where all segments overlap, the whole is put in order a few times at most.
        begin, wanted = start, _LAST if most is None else max(most + 1, 2 * held)
        while start < len(heads) and held < wanted:
            held += heads[start]["points"]
            start += 1
        for head in heads[begin:start]:
            row = reader.one(
                _DATA, {"run": run, "key": key, "first_step": head["first_step"], "digest": head["digest"]}
            )
            if row is None:
                return None
            parts.append(unpack_stored(row["data"], run, key))
        points = _by_instant(parts)
        first = _place_after(points, after) if after else 0
        known = len(points) if start == len(heads) else _places_before(points, _begin(heads[start]))
        if start == len(heads) or (most is not None and known - first > most):
            return _cut(points, first, len(points) if most is None else min(first + most, known))


def _within(at: int) -> int:
    """Return the nearest instant that a database holds."""
    return max(_FIRST, min(at, _LAST))


def _begin(head: Row) -> tuple[int, int]:
    """Return an instant and a step before which a segment has no point."""
    if head["first_at"] is None:
        return _FIRST, _FIRST
    return head["first_at"], head["first_step"] if head["first_at"] == head["last_at"] else _FIRST


def _end(head: Row) -> tuple[int, int]:
    """Return an instant and a step after which a segment has no point."""
    if head["last_at"] is None:
        return _LAST, _LAST
    return head["last_at"], head["last_step"] if head["first_at"] == head["last_at"] else _LAST


def _places_before(points: Points, bound: tuple[int, int]) -> int:
    """Return how many points come before an instant and a step."""
    at, step = bound
    low, high = bisect_left(points.ats, at), bisect_right(points.ats, at)
    return bisect_left(points.steps, step, low, high)  # of equal instants, steps are in order


def _by_instant(parts: list[Points]) -> Points:
    """Return the points of some parts in order, each once."""
    joined = concatenate(sorted(parts, key=lambda part: part.ats[0]))  # mostly in order by that
    if all(map(operator.lt, joined.ats, islice(joined.ats, 1, None))):
        return joined
    rows = distinct(list(zip(joined.ats, joined.steps, joined.values, strict=True)))
    turned = columns(rows)
    return Points(turned.ats, turned.steps, turned.values)


def _place_after(points: Points, after: Place) -> int:
    """Return how many points are not after a place."""
    at, step, value = after
    low, high = _places_before(points, (at, step)), bisect_right(points.ats, at)
    wanted = rank(step, value)
    while low < high and rank(points.steps[low], points.values[low]) <= wanted:
        low += 1
    return low


def _cut(points: Points, first: int, end: int) -> Page:
    last = None
    if first < end < len(points):
        last = (points.ats[end - 1], points.steps[end - 1], points.values[end - 1])
    if first == 0 and end == len(points):
        return Page(points, last)
    return Page(Points(points.steps[first:end], points.ats[first:end], points.values[first:end]), last)
