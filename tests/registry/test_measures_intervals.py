"""Intervals and tests of shares: against SciPy, and against what chance really does."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from interlock.registry.measures.figure import of_mean
from interlock.registry.measures.intervals import (
    ALPHA,
    CONFIDENCE,
    difference_interval,
    difference_of,
    difference_tail,
    holm,
    ratio_interval,
    ratio_tail,
    wilson,
)

counts = st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts)
def test_wilson_is_scipys(count) -> None:
    low, high = wilson(*count)
    want = scipy.stats.binomtest(*count).proportion_ci(CONFIDENCE, method="wilson")
    assert low == pytest.approx(want.low, abs=1e-12)
    assert high == pytest.approx(want.high, abs=1e-12)


def test_wilson_of_nothing_is_everything() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


@given(counts, counts)
def test_ratio_interval_holds_the_ratio(first, second) -> None:
    low, high = ratio_interval(first, second)
    assert 0 <= low <= high
    if second[0]:
        ratio = first[0] / first[1] / (second[0] / second[1])
        assert low <= ratio * (1 + 1e-9)
        assert high >= ratio * (1 - 1e-9)


def test_ratio_interval_is_scipys_where_counts_are_large() -> None:
    low, high = ratio_interval((40_000, 100_000), (50_000, 100_000))
    want = scipy.stats.contingency.relative_risk(40_000, 100_000, 50_000, 100_000).confidence_interval(CONFIDENCE)
    assert low == pytest.approx(want.low, abs=2e-5)
    assert high == pytest.approx(want.high, abs=2e-5)


@given(counts, counts, st.floats(0.1, 1.0))
def test_ratio_tail_and_interval_say_the_same(first, second, threshold: float) -> None:
    tail, (_, high) = ratio_tail(first, second, threshold), ratio_interval(first, second)
    if abs(tail - ALPHA) > 1e-6:
        assert (tail < ALPHA) == (high < threshold)


def test_ratio_tail_of_nobody_proves_nothing() -> None:
    assert ratio_tail((0, 50), (0, 60), 0.8) > ALPHA
    assert ratio_tail((0, 500), (300, 500), 0.8) < 1e-10
    assert ratio_interval((10, 50), (0, 5))[1] == float("inf")


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [  # Newcombe 1998, table II, method 10, 95 %
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((10, 10), (0, 20), 0.6791, 1.0000),
        ((5, 56), (0, 29), -0.0381, 0.1926),
    ],
)
def test_difference_interval_is_newcombes(first, second, low: float, high: float) -> None:
    assert difference_interval(first, second, 1.959963985) == pytest.approx((low, high), abs=6e-5)


@given(counts, counts, st.floats(0.0, 0.5))
def test_difference_tail_and_interval_say_the_same(first, second, threshold: float) -> None:
    tail, (low, _) = difference_tail(first, second, threshold), difference_interval(first, second)
    if abs(tail - ALPHA) > 1e-6 and abs(low - threshold) > 1e-9:
        assert (tail < ALPHA) == (low > threshold)


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_is_between_one_test_and_bonferroni(tails) -> None:
    corrected = holm(tails)
    for tail, p in zip(tails, corrected, strict=True):
        assert tail <= p <= min(1.0, tail * len(tails))
    order = np.argsort(tails, kind="stable")
    assert np.all(np.diff(np.array(corrected)[order]) >= 0)


def test_holm_of_a_known_case() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@pytest.mark.parametrize(("rows", "low", "high"), [(40, 0.4, 0.5), (100, 0.04, 0.05), (2000, 0.4, 0.5)])
def test_at_the_bound_the_ratio_alarms_as_rarely_as_it_says(rows: int, low: float, high: float) -> None:
    rng = np.random.default_rng(0)
    one, other = rng.binomial(rows, low, 2000), rng.binomial(rows, high, 2000)
    alarms = sum(ratio_tail((int(x), rows), (int(y), rows), 0.8) < ALPHA for x, y in zip(one, other, strict=True))
    assert alarms <= scipy.stats.binom.ppf(0.999, 2000, ALPHA * 1.15)


def test_the_difference_of_two_means_is_welchs_and_holds_the_truth() -> None:
    rng, held = np.random.default_rng(8), 0
    for _ in range(400):
        first, second = of_mean(rng.gamma(2, 3, 150)), of_mean(rng.gamma(2, 2, 250))
        ends = difference_of((first.value, first.low, first.high), (second.value, second.low, second.high))
        held += ends[0] <= 2 <= ends[1]
    half = ((first.high - first.value) ** 2 + (second.high - second.value) ** 2) ** 0.5
    assert ends == pytest.approx((first.value - second.value - half, first.value - second.value + half))
    assert 0.86 * 400 <= held <= 0.94 * 400
