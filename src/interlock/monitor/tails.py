"""Tail probabilities: how often chance alone would do this much.

Thin, typed doors to `scipy.special`, so that no other module of the room meets its untyped answers, or pays for the
import before it has a number to judge.
"""

from __future__ import annotations

from statistics import NormalDist


def normal_quantile(share: float) -> float:
    """Return the standard normal value that `share` (0-1, ends excluded) of draws stay below."""
    return NormalDist().inv_cdf(share)


def normal_tail(z: float) -> float:
    """Return the chance (0-1) that a standard normal draw is at least `z`."""
    return NormalDist().cdf(-z)


def ks_tail(distance: float, rows: float) -> float:
    """Return the chance of a Kolmogorov-Smirnov distance at least this large without any change.

    Args:
        distance: the largest gap between the two distribution functions, in 0-1.
        rows: effective rows n*m/(n+m) of the two samples.

    Returns:
        p in 0-1. Conservative (too large) where values repeat or are binned, as the distance is then smaller.

    Cost: O(1).
    Source: Stephens 1970, JRSS B 32, the finite-sample form of Kolmogorov's limit; within 15 % of
        `scipy.stats.kstwo.sf` for rows >= 50 and p >= 1e-6 (tested), and too large rather than too small below.
    """
    import scipy.special

    root = rows**0.5
    return float(scipy.special.kolmogorov((root + 0.12 + 0.11 / root) * distance)) if rows > 0 else 1.0


def ks_critical(p: float, rows: float) -> float:
    """Return the Kolmogorov-Smirnov distance at which `ks_tail` falls to `p` (1.0 when no distance does)."""
    import scipy.special

    root = rows**0.5
    return min(1.0, float(scipy.special.kolmogi(p)) / (root + 0.12 + 0.11 / root)) if rows > 0 else 1.0


def chi2_tail(statistic: float, degrees: int) -> float:
    """Return the chance that chi-squared with `degrees` of freedom is at least `statistic` (1.0 at 0 degrees)."""
    import scipy.special

    return float(scipy.special.chdtrc(degrees, statistic)) if degrees > 0 else 1.0


def chi2_shift(p: float, degrees: int, power: float) -> float:
    """Return the noncentrality that a chi-squared test at level `p` detects with chance `power`.

    Source: Cohen 1988, ch. 7; `scipy.special.chndtrinc` solves for the noncentrality.
    """
    import scipy.special

    critical = scipy.special.chdtri(degrees, p)
    return float(scipy.special.chndtrinc(critical, degrees, 1.0 - power))


def binomial_tail(hits: int, rows: int, rate: float) -> float:
    """Return the chance of at least `hits` among `rows` when each hits with chance `rate`."""
    import scipy.special

    return float(scipy.special.bdtrc(hits - 1, rows, rate)) if hits > 0 else 1.0


def binomial_lower(hits: int, rows: int, confidence: float) -> float:
    """Return the one-sided lower bound of a share, exact at `confidence`.

    Source: Clopper and Pearson 1934, Biometrika 26; agrees with `scipy.stats.binomtest(...).proportion_ci`.
    """
    import scipy.special

    return float(scipy.special.betaincinv(hits, rows - hits + 1, 1.0 - confidence)) if hits > 0 else 0.0


def binomial_upper(hits: int, rows: int, confidence: float) -> float:
    """Return the one-sided upper bound of a share, exact at `confidence`; the counterpart of `binomial_lower`."""
    return 1.0 - binomial_lower(rows - hits, rows, confidence)
