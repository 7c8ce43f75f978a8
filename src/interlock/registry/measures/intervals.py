"""How sure a share, a ratio or a difference of shares is: intervals and tests that hold for small counts too."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CONFIDENCE: Final = 0.90  # of every two-sided interval that a gate shows
ALPHA: Final = (1 - CONFIDENCE) / 2  # level of the one-sided tests that belong to these intervals
Z: Final = NormalDist().inv_cdf(1 - ALPHA)
_STEPS: Final = 60


def wilson(hits: int, rows: int, z: float = Z) -> tuple[float, float]:
    """Return the interval of a share: `hits` of `rows`.

    Source: Wilson 1927, JASA 22; the ends are exact at 0 and all hits. Checked against scipy's
    `binomtest(...).proportion_ci(method="wilson")`, 1e-12.
    """
    if rows == 0:
        return 0.0, 1.0
    share = hits / rows
    middle = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z / (1 + z * z / rows) * (share * (1 - share) / rows + z * z / (4 * rows * rows)) ** 0.5
    return (0.0 if hits == 0 else middle - half), (1.0 if hits == rows else middle + half)


def ratio_tail(first: tuple[int, int], second: tuple[int, int], threshold: float) -> float:
    """Return how likely a ratio of shares this small is by chance when the true ratio is `threshold` or more.

    Args:
        first: hits and rows of the share above the line.
        second: hits and rows of the share below it.
        threshold: the ratio, above 0.

    Returns:
        A one-sided p, 0-1; 1.0 when both have no hits, as nothing is known then.

    Source: score test, Koopman 1984, Biometrics 40; keeps its level with counts near zero, where the interval of the
        logarithm does not. Asymptotically the same as `scipy.stats.contingency.relative_risk`.
    """
    return _tail(-_ratio_z(first, second, threshold))


def ratio_interval(first: tuple[int, int], second: tuple[int, int]) -> tuple[float, float]:
    """Return the interval of a ratio of shares: the ratios that `ratio_tail` does not exclude on either side.

    The upper end is infinite when the second share may be zero.
    """
    low, high = 1e-9, 1e9
    upper = _cross(lambda t: _ratio_z(first, second, t) > -Z, low, high)
    lower = _cross(lambda t: _ratio_z(first, second, t) > Z, low, high)
    return (0.0 if lower <= low * 2 else lower), (float("inf") if upper >= high / 2 else upper)


def difference_interval(first: tuple[int, int], second: tuple[int, int], z: float = Z) -> tuple[float, float]:
    """Return the interval of a difference of shares, first minus second.

    Args:
        first: hits and rows.
        second: hits and rows.
        z: the normal value of the confidence.

    Source: Newcombe 1998, Statistics in Medicine 17, method 10 (Wilson intervals combined).
    """
    return difference_of((_share(first), *wilson(*first, z)), (_share(second), *wilson(*second, z)))


def difference_of(first: tuple[float, float, float], second: tuple[float, float, float]) -> tuple[float, float]:
    """Return the interval of a difference, first minus second, that follows from the intervals of both.

    Args:
        first: what was measured, and the ends of its interval.
        second: the same of the other, at the same confidence.

    Source: Zou and Donner 2008, Statistics in Medicine 27: of two means it is Welch's with normal quantiles, of two
        Wilson intervals Newcombe's method 10. It takes both for independent; where they are of the same rows, errors
        mostly go together, and the interval is wider than it had to be.
    """
    (p, low_p, high_p), (q, low_q, high_q) = first, second
    difference = p - q
    return (
        difference - ((p - low_p) ** 2 + (high_q - q) ** 2) ** 0.5,
        difference + ((high_p - p) ** 2 + (q - low_q) ** 2) ** 0.5,
    )


def difference_tail(first: tuple[int, int], second: tuple[int, int], threshold: float) -> float:
    """Return how likely a difference this large is by chance when the true one is `threshold` or less.

    It is the level at which the lower end of `difference_interval` reaches the threshold; 1.0 when the difference
    itself does not exceed it.
    """
    if _share(first) - _share(second) <= threshold:
        return 1.0
    z = _cross(lambda z: difference_interval(first, second, z)[0] > threshold, 1e-6, 40.0)
    return _tail(z)


def holm(tails: Sequence[float]) -> list[float]:
    """Return the p of several tests, each corrected for having made all of them.

    Source: Holm 1979, Scandinavian Journal of Statistics 6: the chance of any false alarm stays at the level.
    """
    order = sorted(range(len(tails)), key=lambda i: tails[i])
    corrected, largest = [0.0] * len(tails), 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, tails[index] * (len(tails) - place)))
        corrected[index] = largest
    return corrected


def _tail(z: float) -> float:
    """Return the chance that a standard normal draw is at least `z`, also where it is very small."""
    return math.erfc(z / math.sqrt(2)) / 2


def _ratio_z(first: tuple[int, int], second: tuple[int, int], threshold: float) -> float:
    (x, n), (y, m) = first, second
    a, b, c = threshold * (n + m), -(threshold * (n + y) + m + x), x + y
    q = (-b - max(0.0, b * b - 4 * a * c) ** 0.5) / (2 * a)  # the most likely second share under the threshold
    p = min(1.0, threshold * q)
    variance = p * (1 - p) / n + threshold * threshold * q * (1 - q) / m
    gap = x / n - threshold * y / m
    if variance <= 0:
        return 0.0 if gap == 0 else (40.0 if gap > 0 else -40.0)
    return float(gap / variance**0.5)


def _cross(is_left: Callable[[float], bool], low: float, high: float) -> float:
    """Return where a condition that holds on the left stops to hold, by halving (in logarithms)."""
    for _ in range(_STEPS):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if is_left(middle) else (low, middle)
    return math.sqrt(low * high)


def _share(counts: tuple[int, int]) -> float:
    return counts[0] / counts[1]
