"""One sentence about a column, for people: what is different, in their own numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.monitor.bins import Numeric

if TYPE_CHECKING:
    from interlock.monitor.bins import Categorical, Counts
    from interlock.monitor.compare import Comparison


def changed_sentence(column: Numeric | Categorical, counts: Counts, found: Comparison, *, novel: bool = False) -> str:
    """Return what changed most: "AGEP: 38% of rows outside the reference range 18..54".

    Args:
        column: the reference column.
        counts: the window's counts in its bins, at least one row.
        found: their comparison.
        novel: whether only values that the reference never had are the matter.
    """
    what = _numbers(column, counts, found) if isinstance(column, Numeric) else _values(column, counts, novel=novel)
    return f"{column.name}: {what}"


def quiet_sentence(name: str, found: Comparison, smallest: float, *, real: bool) -> str:
    """Return that nothing calls for action, and how much would have had to change to be seen.

    Args:
        name: the column.
        found: its comparison.
        smallest: from `smallest_shift`.
        real: whether the change is beyond chance, but too small to matter.
    """
    unit = "KS" if found.degrees is None else "JS"
    if not found.weight:
        return f"{name}: no rows in the window"
    if real:
        return f"{name}: a real change, too small to matter ({unit} {found.effect:.3f})"
    if found.degrees == 0:
        return f"{name}: no new values"
    if smallest >= 1.0:
        return f"{name}: no change seen, but these rows are too few to see one"
    return f"{name}: no change beyond chance ({unit} {found.effect:.3f}; {smallest:.2f} would be seen)"


def missing_sentence(name: str) -> str:
    """Return that the window lacks a whole column."""
    return f"{name}: the column is missing from the window"


def share(part: float, whole: float) -> str:
    """Return a share as a percentage: whole points from 10% up, tenths below."""
    ratio = part / whole if whole else 0.0
    return f"{ratio:.0%}" if ratio >= 0.1 or not ratio else f"{ratio:.1%}"


def _empty(column: Numeric | Categorical, empty_now: int, rows: int, empty_before: int) -> str:
    return f"{share(empty_now, rows)} of rows empty, {share(empty_before, sum(column.counts))} in the reference"


def _numbers(column: Numeric, counts: Counts, found: Comparison) -> str:
    cells, rows, before = counts.cells, sum(counts.cells), sum(column.counts)
    outside = cells[1] + cells[-1]
    emptier = abs(cells[0] / rows - column.counts[0] / before)
    if emptier >= max(found.effect / 2, outside / rows):
        return _empty(column, cells[0], rows, column.counts[0])
    if outside / rows >= found.effect / 2:
        return f"{share(outside, rows)} of rows outside the reference range {column.lowest:g}..{column.uppers[-1]:g}"
    old, new, widest = 0.0, 0.0, (0.0, 0.0, 0)
    for place, (a, b) in enumerate(zip(column.counts, cells, strict=True)):
        old, new = old + a / before, new + b / rows
        if abs(old - new) > abs(widest[0] - widest[1]):
            widest = (old, new, place)
    at = column.uppers[min(max(widest[2] - 2, 0), len(column.uppers) - 1)]
    return f"{share(widest[1], 1.0)} of rows at or below {at:.4g}, {share(widest[0], 1.0)} in the reference"


def _values(column: Categorical, counts: Counts, *, novel: bool) -> str:
    cells, rows, before = counts.cells, sum(counts.cells), sum(column.counts)
    changes = [abs(now / rows - then / before) for then, now in zip(column.counts, cells, strict=True)]
    most = max(range(len(changes)), key=changes.__getitem__)
    if most == len(cells) - 1 or (novel and not counts.unseen):
        return _empty(column, cells[-1], rows, column.counts[-1])
    if novel or counts.unseen / rows >= changes[most] / 2:
        listed = ", ".join(counts.samples)
        return f"{share(counts.unseen, rows)} of rows hold values that the reference never had ({listed})"
    name = f"value {column.values[most]}" if most < len(column.values) else "rare values"
    now, then = share(cells[most], rows), share(column.counts[most], before)
    return f"{name} in {now} of rows, {then} in the reference"


def before_watch(count: int) -> str:
    """Return what follows the instant from which a version is watched, where predictions lie before it, or ""."""
    many = "1 prediction lies" if count == 1 else f"{count:,} predictions lie"
    return f"; {many} before that, and belong to no window of it" if count else ""
