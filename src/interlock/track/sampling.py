"""Fewer points that look the same: what a chart needs of a long series."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interlock.store.segments import Points

Point = tuple[int, int, float]


def sample(points: Points, most: int) -> list[Point]:
    """Return at most `most` of a series' points as (step, instant, value), in order.

    The first and the last point are among them; the points between are cut into stretches of equal length, and of each
    stretch its smallest and its largest value stay, so that no spike is lost (the M4 idea of Jugel et al., 2014).
    A stretch of nothing but NaN keeps its first.

    Args:
        points: the series.
        most: at least 1.

    Cost: one pass.
    """
    count = len(points)
    rows = list(points)
    if count <= most:
        return rows
    if most < 4:
        return [rows[-1]] if most == 1 else [rows[0], *rows[1 : most - 1], rows[-1]]
    stretches = (most - 2) // 2
    kept = {0, count - 1}
    for number in range(stretches):
        start, end = 1 + number * (count - 2) // stretches, 1 + (number + 1) * (count - 2) // stretches
        places = range(start, end)
        known = [place for place in places if rows[place][2] == rows[place][2]]
        if known:
            kept |= {min(known, key=lambda p: rows[p][2]), max(known, key=lambda p: rows[p][2])}
        elif places:
            kept.add(start)
    return [rows[place] for place in sorted(kept)]
