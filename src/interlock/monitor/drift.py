"""Drift: whether what the model sees changed more than chance explains, and enough to matter.

A column's severity needs both: an effect beyond a threshold that does not depend on the number of rows, and
significance after correction for looking at many columns. The first keeps ten million rows from crying wolf, the
second three hundred.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

from interlock.monitor.bins import Counts, Numeric, count
from interlock.monitor.compare import POWER, Comparison, compare, smallest_shift
from interlock.monitor.reference import SCORE
from interlock.monitor.sentences import changed_sentence, missing_sentence, quiet_sentence
from interlock.monitor.tails import ks_critical, normal_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from interlock.monitor.bins import Categorical
    from interlock.monitor.reference import Reference

Severity: TypeAlias = Literal["none", "warn", "alarm"]
WARN: Final = 0.05
ALARM: Final = 0.10
NOVEL: Final = 0.005
MANY: Final = 1e9
_ORDER: Final = {"alarm": 0, "warn": 1, "none": 2}


class ColumnDrift(msgspec.Struct, frozen=True):
    """What became of one column in one window.

    Attributes:
        column: its name; "model score" is the model's own output.
        kind: "numeric", "categorical" or "missing".
        severity: "none", "warn" or "alarm".
        effect: numeric: KS distance; categorical: Jensen-Shannon distance without what chance adds; both in 0-1.
        p: chance (0-1) of such a change without drift, corrected for all tests of the window.
        spread: numeric: Wasserstein distance in reference standard deviations; categorical: largest change of one
            value's share.
        smallest_shift: the smallest effect that would have been seen with 80 % chance at these rows.
        rows: rows of the window.
        outside_rows: rows outside the reference range, with unseen values, or empty where the reference never was.
        outside_expected: the share of such rows to expect without drift.
        reason: one sentence for people.
    """

    column: str
    kind: Literal["numeric", "categorical", "missing"]
    severity: Severity
    effect: float
    p: float
    spread: float
    smallest_shift: float
    rows: int
    outside_rows: int
    outside_expected: float
    reason: str

    def __str__(self) -> str:
        return self.column if self.severity != "none" else ""


def drift(
    reference: Reference, frame: pl.DataFrame, score: NDArray[np.float64] | None = None, *, alpha: float
) -> list[ColumnDrift]:
    """Return what became of each column in a window: the score first, then the worst.

    Args:
        reference: what to compare with.
        frame: the window's rows; columns that the reference does not know are ignored.
        score: float (rows,), the model's scores, or None.
        alpha: chance (0-1) of any false alarm in this window, over all columns together.

    Returns:
        One record for the score, if given, and one for each reference column, also for one that the frame lacks.

    Cost: O(rows log bins) per column, one pass; memory of one column.
    Source: Kolmogorov-Smirnov and G-tests with Benjamini and Yekutieli 2001 (any dependence between columns).
    """
    return drift_of_counts(reference, count_window(reference, frame, score), alpha=alpha)


def count_window(
    reference: Reference, frame: pl.DataFrame, score: NDArray[np.float64] | None = None
) -> dict[str, Counts]:
    """Return a window's rows in the reference's bins, by column; counts of the same column add up over windows.

    Args:
        reference: whose bins to use.
        frame: the rows; a column that it lacks is left out of the answer.
        score: float (rows,), or None.

    Cost: as `drift`.
    """
    import polars as pl

    counts = {c.name: count(c, frame[c.name]) for c in reference.columns if c.name in frame.columns}
    if reference.score is not None and score is not None:
        counts[SCORE] = count(reference.score, pl.Series(SCORE, score))
    return counts


def drift_of_counts(reference: Reference, counts: dict[str, Counts], *, alpha: float) -> list[ColumnDrift]:
    """Return what became of each column, from counts alone: the score first, then the worst.

    Args:
        reference: what to compare with.
        counts: from `count_window`, or the sum of several; an absent input is an alarm, an absent score is not.
        alpha: chance (0-1) of any false alarm over all columns together.

    Returns:
        As `drift`.

    Cost: O(columns * bins).
    Source: as `drift`.
    """
    inputs = [(c, counts[c.name]) for c in reference.columns if c.name in counts]
    scored = [(reference.score, counts[SCORE])] if reference.score is not None and SCORE in counts else []
    pairs: list[tuple[Numeric | Categorical, Counts]] = [*scored, *inputs]
    found = [compare(column, seen) for column, seen in pairs]
    tests = len(found) + sum(c.degrees is not None for c in found)
    ps = _adjust([c.p for c in found] + [c.novelty_p for c in found if c.degrees is not None])
    novelties = iter(ps[len(found) :])
    judged = [
        _judge(column, seen, result, (p, 1.0 if result.degrees is None else next(novelties)), (alpha, tests))
        for (column, seen), result, p in zip(pairs, found, ps, strict=False)
    ]
    rows = max((sum(seen.cells) for _, seen in pairs), default=0)
    judged += [_missing(c.name, rows) for c in reference.columns if c.name not in counts]
    return sorted(judged, key=lambda d: (d.column != SCORE, _ORDER[d.severity], -d.effect, d.column))


def rows_needed(reference_rows: int, shift: float, *, tests: int, alpha: float) -> int | None:
    """Return the rows a window needs for a numeric shift to be seen with 80 % chance, or None if no number is enough.

    Args:
        reference_rows: rows of the reference.
        shift: the KS distance to see, in 0-1.
        tests: how many tests share `alpha`: one a numeric column and the score, two a categorical column.
        alpha: chance (0-1) of any false alarm in the window.

    Cost: O(1).
    Source: `smallest_shift`, solved for the rows.
    """
    if shift <= WARN:
        return None
    error = normal_quantile(POWER) * 0.5
    critical = ks_critical(_first(alpha, tests), MANY) * math.sqrt(MANY)
    needed = max(((critical + error) / shift) ** 2, (error / (shift - WARN)) ** 2)
    return math.ceil(needed * reference_rows / (reference_rows - needed)) if needed < reference_rows else None


def _judge(
    column: Numeric | Categorical,
    counts: Counts,
    found: Comparison,
    ps: tuple[float, float],
    budget: tuple[float, int],
) -> ColumnDrift:
    """Return one column's record from its comparison, its corrected p-values and the window's (alpha, tests)."""
    alpha, tests = budget
    rows, scale = sum(counts.cells), 0.5 if column.name == SCORE else 1.0
    smallest = smallest_shift(found, _first(alpha, tests), scale * WARN)
    novel = ps[1] <= alpha and found.outside_rows >= (found.outside_expected + NOVEL) * rows
    moved = ps[0] <= alpha and found.effect >= scale * WARN
    severity: Severity = "warn" if moved else "none"
    if novel or (moved and found.effect >= scale * ALARM):
        severity = "alarm"
    if novel or moved:
        reason = changed_sentence(column, counts, found, novel=not moved)
    else:
        reason = quiet_sentence(column.name, found, smallest, real=ps[0] <= alpha)
    return ColumnDrift(
        column=column.name,
        kind="numeric" if isinstance(column, Numeric) else "categorical",
        severity=severity,
        effect=found.effect,
        p=min(ps),
        spread=found.spread,
        smallest_shift=smallest,
        rows=rows,
        outside_rows=found.outside_rows,
        outside_expected=found.outside_expected,
        reason=reason,
    )


def _missing(name: str, rows: int) -> ColumnDrift:
    return ColumnDrift(name, "missing", "alarm", 1.0, 0.0, 1.0, 1.0, rows, rows, 0.0, missing_sentence(name))


def _harmonic(tests: int) -> float:
    return sum(1.0 / i for i in range(1, tests + 1))


def _first(alpha: float, tests: int) -> float:
    """Return the level that the smallest p-value of a window must reach."""
    return alpha / (tests * _harmonic(tests)) if tests else alpha


def _adjust(ps: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number, valid under any dependence.

    Source: Benjamini and Yekutieli 2001, Annals of Statistics 29, theorem 1.3; equals
        `scipy.stats.false_discovery_control(ps, method="by")` (tested).
    """
    order = sorted(range(len(ps)), key=ps.__getitem__, reverse=True)
    corrected, lowest, factor = [0.0] * len(ps), 1.0, len(ps) * _harmonic(len(ps))
    for rank, place in zip(range(len(ps), 0, -1), order, strict=True):
        lowest = min(lowest, ps[place] * factor / rank)
        corrected[place] = lowest
    return corrected
