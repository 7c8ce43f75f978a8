"""Drift: equal to the textbook where it can be, silent where nothing changed, plain where something did."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.monitor import tails
from interlock.monitor.bins import bin_numbers, bin_values, count
from interlock.monitor.compare import _distance, _g, compare
from interlock.monitor.drift import _adjust, count_window, drift, drift_of_counts, rows_needed
from interlock.monitor.reference import SCORE, Reference, build_reference

ALPHA = 0.01 / 24


def people(rows: int, rng: np.random.Generator) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "age": rng.integers(18, 55, rows),
            "income": rng.lognormal(10, 1, rows),
            "school": rng.choice(24, rows, p=np.arange(24, 0, -1) / 300),
            "region": rng.choice(["north", "south", "east"], rows, p=[0.5, 0.3, 0.2]),
            "insured": rng.random(rows) < 0.9,
        }
    )


def reference(rows: int = 5000, seed: int = 0) -> Reference:
    frame = people(rows, np.random.default_rng(seed))
    return build_reference(frame, columns=frame.columns)


def found(window: pl.DataFrame, name: str, **options: object):
    return next(d for d in drift(options.get("reference", reference()), window, alpha=ALPHA) if d.column == name)


# ------------------------------------------------------------ against the textbook


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 20), max_size=80), st.lists(st.integers(-5, 30), min_size=1, max_size=80))
def test_numbers_are_compared_as_scipy_compares_them(more: list[int], now: list[int]) -> None:
    before = [*range(21), *more]  # each value is a bin, so that binning loses nothing
    column = bin_numbers(pl.Series("x", before))
    result = compare(column, count(column, pl.Series("x", now)))
    exact = scipy.stats.ks_2samp(before, now, method="asymp")
    assert result.effect == pytest.approx(exact.statistic, abs=1e-12)
    assert result.spread == pytest.approx(scipy.stats.wasserstein_distance(before, now) / np.std(before), abs=1e-9)


def test_binning_loses_little_of_a_continuous_column() -> None:
    rng = np.random.default_rng(0)
    before, now = rng.normal(size=20_000), rng.normal(0.2, 1, size=5_000)
    column = bin_numbers(pl.Series("x", before))
    result = compare(column, count(column, pl.Series("x", now)))
    exact = scipy.stats.ks_2samp(before, now).statistic
    assert exact - 1 / 256 <= result.effect <= exact + 1e-12
    assert result.spread == pytest.approx(scipy.stats.wasserstein_distance(before, now) / before.std(), rel=0.05)


@pytest.mark.parametrize("rows", [50, 100, 470, 10_000])
@pytest.mark.parametrize("p", [0.3, 0.01, 1e-4, 1e-6])
def test_ks_tail_is_scipys(rows: int, p: float) -> None:
    distance = scipy.stats.kstwo.isf(p, rows)
    assert tails.ks_tail(distance, rows) == pytest.approx(p, rel=0.15)
    assert tails.ks_tail(tails.ks_critical(p, rows), rows) == pytest.approx(p, rel=1e-6)


def test_g_is_scipys_divided_by_williams() -> None:
    table = np.array([[310.0, 200.0, 44.0, 12.0], [25.0, 19.0, 9.0, 5.0]])
    plain = scipy.stats.chi2_contingency(table, correction=False, lambda_="log-likelihood")
    n, rows, columns = table.sum(), table.sum(axis=1), table.sum(axis=0)
    q = 1 + (n * (1 / rows).sum() - 1) * (n * (1 / columns).sum() - 1) / (6 * n * 3)
    assert _g(*table) == pytest.approx(plain.statistic / q)
    assert tails.chi2_tail(plain.statistic, 3) == pytest.approx(plain.pvalue)


def test_what_chance_adds_to_the_distance_is_taken_off() -> None:
    rng = np.random.default_rng(0)
    share = np.full(20, 0.05)
    raw, mended = [], []
    for _ in range(200):
        old, new = rng.multinomial(5000, share).astype(float), rng.multinomial(500, share).astype(float)
        mended.append(_distance(old, new, 5000 * 500 / 5500))
        raw.append(_distance(old, new, np.inf))
    assert np.mean(raw) > 0.08
    assert np.mean(np.square(mended)) < 0.2 * np.mean(np.square(raw))
    apart = np.array([500.0, 0.0]), np.array([0.0, 500.0])
    assert _distance(*apart, 1e12) == pytest.approx(1.0)


def test_correction_is_benjamini_yekutieli() -> None:
    ps = np.random.default_rng(0).random(30) ** 4
    assert _adjust(ps.tolist()) == pytest.approx(scipy.stats.false_discovery_control(ps, method="by"))
    assert _adjust([]) == []


@pytest.mark.parametrize(("hits", "rows"), [(0, 50), (3, 50), (50, 50)])
def test_bounds_of_a_share_are_exact(hits: int, rows: int) -> None:
    for bound, side in ((tails.binomial_lower, "greater"), (tails.binomial_upper, "less")):
        interval = scipy.stats.binomtest(hits, rows, alternative=side).proportion_ci(0.99, "exact")
        expected = interval.low if side == "greater" else interval.high
        assert bound(hits, rows, 0.99) == pytest.approx(expected)
    assert tails.binomial_tail(hits, rows, 0.1) == pytest.approx(scipy.stats.binom.sf(hits - 1, rows, 0.1))


# ------------------------------------------------------------ silent where nothing changed


@pytest.mark.parametrize("size", [300, 5000])
def test_false_alarms_keep_to_their_budget(size: int) -> None:
    rng = np.random.default_rng(1)
    alarms, looks = 0, 150
    for look in range(looks):
        if look % 10 == 0:
            known = reference(size, seed=look)
        alarms += any(d.severity != "none" for d in drift(known, people(400, rng), alpha=0.1))
    assert alarms <= scipy.stats.binom.isf(0.001, looks, 0.1)


def test_a_value_that_a_small_reference_missed_is_no_alarm() -> None:
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(300):
        old, new = (pl.DataFrame({"c": rng.choice(8, n, p=[0.93, *[0.01] * 7])}) for n in (150, 500))
        alarms += drift(build_reference(old, columns=["c"]), new, alpha=0.01)[0].severity != "none"
    assert alarms <= scipy.stats.binom.isf(0.001, 300, 0.01)


def test_many_rows_do_not_make_a_harmless_change_an_alarm() -> None:
    rng = np.random.default_rng(0)
    column = bin_numbers(pl.Series("x", rng.normal(size=200_000)))
    known = Reference(200_000, (column,))
    [result] = drift(known, pl.DataFrame({"x": rng.normal(0.05, 1, 200_000)}), alpha=ALPHA)
    assert result.p < 1e-9
    assert result.severity == "none"
    assert "too small to matter" in result.reason


def test_an_empty_window_says_so() -> None:
    for result in drift(reference(), people(0, np.random.default_rng(0)), alpha=ALPHA):
        assert (result.severity, result.p, result.smallest_shift) == ("none", 1.0, 1.0)
        assert "no rows" in result.reason


def test_too_few_rows_say_so() -> None:
    assert "too few" in found(people(3, np.random.default_rng(0)), "age").reason


# ------------------------------------------------------------ plain where something changed


def test_ages_outside_the_range() -> None:
    rng = np.random.default_rng(0)
    window = people(500, rng).with_columns(age=pl.Series(np.r_[rng.integers(18, 55, 310), [70] * 190]))
    result = found(window, "age")
    assert result.severity == "alarm"
    assert result.reason == "age: 38% of rows outside the reference range 18..54"
    assert (result.outside_rows, result.rows) == (190, 500)
    assert result.p < 1e-20


def test_a_shift_inside_the_range() -> None:
    window = people(500, np.random.default_rng(0)).with_columns(age=18 + pl.col("age") % 18)
    result = found(window, "age")
    before = (people(5000, np.random.default_rng(0))["age"] <= 35).mean()
    assert result.severity == "alarm"
    assert result.reason == f"age: 100% of rows at or below 35, {before:.0%} in the reference"


def test_a_share_that_moved() -> None:
    window = people(500, np.random.default_rng(0)).with_columns(region=pl.Series(["north"] * 100 + ["east"] * 400))
    assert found(window, "region").reason == "region: value east in 80% of rows, 19% in the reference"
    assert found(window, "region").severity == "alarm"


def test_unseen_values() -> None:
    window = people(500, np.random.default_rng(0))
    window = window.with_columns(region=pl.Series(["west"] * 12 + window["region"].to_list()[12:]))
    result = found(window, "region")
    assert result.severity == "alarm"
    assert result.reason == "region: 2.4% of rows hold values that the reference never had (west)"
    assert found(window.with_columns(region=pl.col("region").replace("west", "east")), "region").severity == "none"


@pytest.mark.parametrize("name", ["age", "region", "insured"])
def test_empty_values(name: str) -> None:
    window = people(500, np.random.default_rng(0)).with_columns(
        pl.when(pl.int_range(pl.len()) < 100).then(None).otherwise(pl.col(name)).alias(name)
    )
    result = found(window, name)
    assert result.severity == "alarm"
    assert result.reason == f"{name}: 20% of rows empty, 0% in the reference"
    assert result.outside_rows == 100


def test_a_constant_column_is_still_watched() -> None:
    known = build_reference(pl.DataFrame({"c": ["0"] * 3000}), columns=["c"])
    [same] = drift(known, pl.DataFrame({"c": ["0"] * 500}), alpha=ALPHA)
    assert (same.severity, same.reason) == ("none", "c: no new values")
    [other] = drift(known, pl.DataFrame({"c": ["0"] * 480 + ["1"] * 20}), alpha=ALPHA)
    assert other.severity == "alarm"


def test_a_missing_column_is_an_alarm() -> None:
    result = found(people(500, np.random.default_rng(0)).drop("age"), "age")
    assert (result.severity, result.kind) == ("alarm", "missing")
    assert result.reason == "age: the column is missing from the window"


def test_the_score_comes_first_and_counts_double() -> None:
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"x": rng.normal(size=50_000)})
    known = build_reference(frame, columns=["x"], score=frame["x"].to_numpy())
    moved = rng.normal(0.18, 1, 50_000)
    score, column = drift(known, pl.DataFrame({"x": moved}), moved, alpha=ALPHA)
    assert (score.column, score.severity) == (SCORE, "alarm")
    assert (column.column, column.severity) == ("x", "warn")
    assert score.effect == column.effect


def test_the_worst_column_leads() -> None:
    window = people(500, np.random.default_rng(0)).with_columns(region=pl.lit("east"), age=18 + pl.col("age") % 18)
    results = drift(reference(), window, alpha=ALPHA)
    assert {d.column for d in results[:2]} == {"age", "region"}
    assert [d.severity for d in results] == ["alarm"] * 2 + ["none"] * 3


def test_counts_of_two_halves_tell_the_same() -> None:
    rng = np.random.default_rng(0)
    known, window = reference(), people(1000, rng)
    halves = [count_window(known, half) for half in (window[:400], window[400:])]
    merged = {name: halves[0][name] + halves[1][name] for name in halves[0]}
    assert drift_of_counts(known, merged, alpha=ALPHA) == drift(known, window, alpha=ALPHA)


# ------------------------------------------------------------ power


def test_the_smallest_shift_is_seen_four_times_in_five() -> None:
    rng = np.random.default_rng(0)
    known = build_reference(pl.DataFrame({"x": rng.random(20_000)}), columns=["x"])
    rows, tests = 500, 120
    shift = drift(known, pl.DataFrame({"x": rng.random(rows)}), alpha=ALPHA)[0].smallest_shift
    assert 0.09 < shift < 0.2
    seen = 0
    for _ in range(tests):
        values = rng.random(rows)
        lifted = np.where(rng.random(rows) < 2 * shift, 0.5 + values / 2, values)
        seen += drift(known, pl.DataFrame({"x": lifted}), alpha=ALPHA)[0].severity != "none"
    assert scipy.stats.binom.ppf(0.001, tests, 0.8) <= seen


def test_the_smallest_categorical_shift_is_seen_four_times_in_five() -> None:
    rng = np.random.default_rng(0)
    known = build_reference(pl.DataFrame({"c": [0, 1, 2, 3] * 5000}), columns=["c"])
    shift = drift(known, pl.DataFrame({"c": rng.choice(4, 500)}), alpha=ALPHA)[0].smallest_shift
    low, high = 0.0, 0.2
    for _ in range(40):
        step = (low + high) / 2
        moved = np.array([0.25 + step, 0.25 - step, 0.25, 0.25])
        low, high = (low, step) if _distance(np.full(4, 1e9), moved * 1e9, np.inf) > shift else (step, high)
    seen = sum(
        drift(known, pl.DataFrame({"c": rng.choice(4, 500, p=moved)}), alpha=ALPHA)[0].p <= ALPHA for _ in range(120)
    )
    assert scipy.stats.binom.ppf(0.001, 120, 0.8) <= seen <= scipy.stats.binom.ppf(0.999, 120, 0.8)


def test_rows_needed_are_those_that_see_the_shift() -> None:
    rng = np.random.default_rng(0)
    known = build_reference(pl.DataFrame({"x": rng.random(20_000)}), columns=["x"])
    rows = rows_needed(20_000, 0.12, tests=1, alpha=ALPHA)
    assert rows is not None
    [at] = drift(known, pl.DataFrame({"x": rng.random(rows)}), alpha=ALPHA)
    assert at.smallest_shift == pytest.approx(0.12, rel=0.02)
    assert rows_needed(100, 0.12, tests=1, alpha=ALPHA) is None
    assert rows_needed(20_000, 0.05, tests=1, alpha=ALPHA) is None


def test_values_too_rare_to_judge_are_put_together() -> None:
    column = bin_values(pl.Series("c", ["a"] * 900 + ["b"] * 96 + [f"r{i}" for i in range(4)]))
    result = compare(column, count(column, pl.Series("c", ["a"] * 90 + ["b"] * 10)))
    assert result.degrees == 1
    assert result.outside_expected == pytest.approx(4 / 1000, abs=0.002)
