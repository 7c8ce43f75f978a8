"""Compare one column's counts with its reference: how large the change is, and how often chance does as much."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import msgspec

from interlock.monitor.bins import Categorical, Counts, Numeric
from interlock.monitor.tails import (
    binomial_tail,
    binomial_upper,
    chi2_shift,
    chi2_tail,
    ks_critical,
    ks_tail,
    normal_quantile,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ENOUGH: Final = 5.0
SURE: Final = 1.0 - 1e-7
POWER: Final = 0.8


class Comparison(msgspec.Struct, frozen=True):
    """How a window's column differs from the reference.

    Attributes:
        effect: numeric: Kolmogorov-Smirnov distance in 0-1; categorical: Jensen-Shannon distance (base 2) in 0-1,
            less what chance adds.
        p: chance of such an effect without any change.
        spread: numeric: Wasserstein distance in reference standard deviations; categorical: largest change of one
            value's share.
        outside_rows: rows outside the reference range, with unseen values, or empty where the reference never was.
        outside_expected: the share (0-1) of such rows to expect without any change.
        novelty_p: chance of so many `outside_rows` without any change; 1.0 for a numeric column, where they are
            part of the distance.
        weight: effective rows n*m/(n+m).
        degrees: degrees of freedom of the categorical test, None for a numeric column.
    """

    effect: float
    p: float
    spread: float
    outside_rows: int
    outside_expected: float
    novelty_p: float
    weight: float
    degrees: int | None


def compare(column: Numeric | Categorical, counts: Counts) -> Comparison:
    """Return how a window's counts differ from the reference column's.

    Args:
        column: the reference column.
        counts: the window's rows in its bins, from `count`.

    Cost: O(bins).
    Source: numeric: two-sample Kolmogorov-Smirnov on the bins, empty values first (`scipy.stats.ks_2samp`, equal
        where each value is a bin). Categorical: G-test of homogeneity with Williams' correction (`chi2_contingency`
        with `lambda_="log-likelihood"`, equal before correction) on values expected at least 5 times. Unseen
        values: binomial, against the Clopper-Pearson upper bound of the Good-Turing missing mass (Good 1953), which
        a small reference knows badly.
    """
    return _compare_numbers(column, counts) if isinstance(column, Numeric) else _compare_values(column, counts)


def smallest_shift(found: Comparison, p: float, threshold: float) -> float:
    """Return the smallest effect that would have been seen with 80 % chance.

    Args:
        found: a comparison at the number of rows in question.
        p: the level of the test.
        threshold: the smallest effect that counts at all.

    Returns:
        In the unit of `found.effect`, in 0-1; 1.0 when no change of distribution could have been seen.

    Cost: O(1).
    Source: KS: critical distance plus the 80 % quantile of the error at a median, where it is widest. G: the
        noncentrality of chi-squared, 8 ln 2 * weight * JS^2.
    """
    if not found.weight or found.degrees == 0:
        return 1.0
    if found.degrees is None:
        critical = max(ks_critical(p, found.weight), threshold)
        return min(1.0, critical + normal_quantile(POWER) * 0.5 / math.sqrt(found.weight))
    seen = math.sqrt(chi2_shift(p, found.degrees, POWER) / (8.0 * math.log(2.0) * found.weight))
    return min(1.0, max(seen, threshold))


def _compare_numbers(column: Numeric, counts: Counts) -> Comparison:
    import numpy as np

    before, now = np.asarray(column.counts, dtype=np.float64), np.asarray(counts.cells, dtype=np.float64)
    m, n = float(before.sum()), float(now.sum())
    empty = not column.counts[0]
    outside = counts.cells[1] + counts.cells[-1] + (counts.cells[0] if empty else 0)
    expected = (2.0 + empty) / (m + 1.0)
    if not n:
        return Comparison(0.0, 1.0, 0.0, 0, expected, 1.0, 0.0, None)
    distance = float(np.abs(np.cumsum(before / m - now / n)).max())
    weight = float(m * n / (m + n))
    p = ks_tail(distance, weight)
    return Comparison(distance, p, _wasserstein(column, counts), outside, expected, 1.0, weight, None)


def _wasserstein(column: Numeric, counts: Counts) -> float:
    """Return the area between the distribution functions, in reference standard deviations (1 where they are 0)."""
    import numpy as np

    before, now = np.asarray(column.counts[1:], dtype=np.float64), np.asarray(counts.cells[1:], dtype=np.float64)
    if not (column.uppers and before.sum() and now.sum()):
        return 0.0
    gaps = np.abs(np.cumsum(before / before.sum() - now / now.sum()))[:-2]
    area = (gaps * np.diff([column.lowest, *column.uppers])).sum()
    return float((area + counts.beyond / now.sum()) / (column.scale or 1.0))


def _compare_values(column: Categorical, counts: Counts) -> Comparison:
    import numpy as np

    before, now = np.asarray(column.counts, dtype=np.float64), np.asarray(counts.cells, dtype=np.float64)
    m, n = float(before.sum()), float(now.sum())
    empty = not column.counts[-1]
    novel = counts.unseen + (counts.cells[-1] if empty else 0)
    expected = min(1.0, column.singletons / m + empty / (m + 1.0))
    if not n:
        return Comparison(0.0, 1.0, 0.0, 0, expected, 1.0, 0.0, 0)
    weight = float(m * n / (m + n))
    old, new = _fold(before, now)
    degrees = old.size - 1
    p = chi2_tail(_g(old, new), degrees)
    novelty_p = binomial_tail(novel, int(n), binomial_upper(column.singletons, int(m), SURE)) + (1.0 - SURE)
    spread = float(np.abs(before / m - now / n).max())
    return Comparison(_distance(old, new, weight), p, spread, novel, expected, min(1.0, novelty_p), weight, degrees)


def _fold(before: NDArray[np.float64], now: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return both counts with all values too rare to judge put to the rarest that is not."""
    import numpy as np

    kept = (before >= ENOUGH) & (before * (now.sum() / before.sum()) >= ENOUGH)
    if not kept.any():
        return before.sum(keepdims=True), now.sum(keepdims=True)
    old, new = before[kept], now[kept]
    rarest = int(np.argmin(old))
    old[rarest] += before[~kept].sum()
    new[rarest] += now[~kept].sum()
    return old, new


def _g(old: NDArray[np.float64], new: NDArray[np.float64]) -> float:
    """Return the G statistic of two rows of counts, divided by Williams' q so that small counts do not inflate it."""
    import numpy as np

    if old.size < 2:  # one value: nothing to compare
        return 0.0
    table = np.stack([old, new])
    total, sides, sums = table.sum(), table.sum(axis=1, keepdims=True), table.sum(axis=0, keepdims=True)
    logs = np.log(np.where(table > 0, table * total / (sides * sums), 1.0))
    williams = 1.0 + (total * (1.0 / sides).sum() - 1.0) * (total * (1.0 / sums).sum() - 1.0) / (
        6.0 * total * (old.size - 1)
    )
    return float(max(0.0, 2.0 * (table * logs).sum() / williams))


def _distance(old: NDArray[np.float64], new: NDArray[np.float64], weight: float) -> float:
    """Return the Jensen-Shannon distance (base 2) less the part that chance adds at these rows."""
    import numpy as np

    p, q = old / old.sum(), new / new.sum()
    middle = (p + q) / 2.0
    divergence = sum(0.5 * float((side * np.log2(np.where(side > 0, side / middle, 1.0))).sum()) for side in (p, q))
    chance = (old.size - 1) / (8.0 * math.log(2.0) * weight)
    return math.sqrt(max(0.0, divergence - chance))
