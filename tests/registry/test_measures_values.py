"""Metrics of values: scikit-learn's figures to the twelfth digit, and intervals that hold the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics as reference
from hypothesis import assume, given
from hypothesis import strategies as st

from interlock.audit.gates.figures import METRICS_OF
from interlock.registry.measures.values import _rank, measure_values

NAMES = sorted(METRICS_OF["values"])
WANTED = {
    "mae": reference.mean_absolute_error,
    "rmse": reference.root_mean_squared_error,
    "r2": reference.r2_score,
    "median_absolute_error": reference.median_absolute_error,
    "mape": reference.mean_absolute_percentage_error,
}
number = st.one_of(st.sampled_from([0.0, -1.0, 1.0, 1e-3, 250.0]), st.floats(-1e6, 1e6).map(lambda x: round(x, 4)))
answered = st.lists(st.tuples(number, number), min_size=2, max_size=60)


def draw_rows(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return values away from 0, and answers that know something of them."""
    truth = 20 + rng.gamma(4, 3, rows)
    return truth, truth + rng.normal(size=rows) * 4


@pytest.mark.parametrize("name", NAMES)
def test_equals_scikit_learn(name: str) -> None:
    @given(answered)
    def check(rows) -> None:
        truth, given_ = np.array(rows).T.copy()
        figure = measure_values(name, truth, given_)
        if figure is None:
            assert name == "r2"
            assert len(set(truth.tolist())) == 1
            assume(False)
        assert figure.value == pytest.approx(WANTED[name](truth, given_), rel=1e-12, abs=1e-12)
        assert figure.low <= figure.value <= figure.high

    check()


@pytest.mark.parametrize("name", NAMES)
def test_equals_scikit_learn_on_many_rows(name: str) -> None:
    truth, given_ = draw_rows(np.random.default_rng(1), 20_000)
    figure = measure_values(name, truth, given_)
    assert figure.value == pytest.approx(WANTED[name](truth, given_), rel=1e-12)
    assert figure.low < figure.value < figure.high < figure.low * 1.1
    assert measure_values(name, truth, given_) == figure


@pytest.mark.parametrize("name", NAMES)
def test_intervals_hold_the_truth_nine_times_in_ten(name: str) -> None:
    rng = np.random.default_rng(2)
    truth = WANTED[name](*draw_rows(rng, 400_000))
    figures = [measure_values(name, *draw_rows(rng, 300)) for _ in range(300)]
    held = sum(figure.low <= truth <= figure.high for figure in figures)
    assert 0.84 * 300 <= held <= 0.96 * 300


def test_a_truth_of_nought_counts_as_scikit_learn_has_it() -> None:
    truth, given_ = np.array([0.0, 2.0]), np.array([1.0, 2.0])
    assert measure_values("mape", truth, given_).value == reference.mean_absolute_percentage_error(truth, given_) > 1e15


def test_r2_needs_values_that_differ() -> None:
    assert measure_values("r2", np.full(9, 0.1), np.arange(9.0)) is None
    assert measure_values("mae", np.full(9, 0.1), np.full(9, 0.1)).value == 0


@pytest.mark.parametrize("rows", [1, 4, 5, 30, 1001, 20_000])
def test_the_ends_of_a_medians_interval_are_binomial(rows: int) -> None:
    place = _rank(rows)
    assert scipy.stats.binom.cdf(place, rows, 0.5) <= 0.05 < scipy.stats.binom.cdf(place + 1, rows, 0.5)


def test_one_row_is_not_certain() -> None:
    for name in NAMES:
        figure = measure_values(name, np.array([1.0]), np.array([2.0]))
        assert figure is None if name == "r2" else (figure.low, figure.high) == (0.0, math.inf)


def test_errors_whose_squares_no_float_holds() -> None:
    truth, given_ = np.array([1e308, 1.0, 0.0]), np.array([-1e308, 1.0, 0.0])
    largest = np.finfo(np.float64).max
    assert measure_values("mae", truth, given_).value == pytest.approx(largest / 3)
    assert measure_values("rmse", truth, given_).value == pytest.approx(largest / 3**0.5)
