"""The reference: what is counted, how, and what is refused."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.core.errors import Invalid
from interlock.monitor.bins import (
    MAX_BINS,
    MAX_KNOWN,
    MAX_VALUES,
    Categorical,
    Numeric,
    bin_numbers,
    bin_values,
    count,
    is_categorical,
)
from interlock.monitor.quality import roc_auc
from interlock.monitor.reference import Reference, build_reference

numbers = st.lists(st.none() | st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1.0, math.inf, -math.inf]), max_size=60)
words = st.lists(st.none() | st.sampled_from(list("abcdefgh")), max_size=60)


def scored(rows: int = 4000, seed: int = 0) -> tuple[pl.DataFrame, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows)
    chance = 1 / (1 + np.exp(-1.5 * x))
    return pl.DataFrame({"x": x}), chance, (rng.random(rows) < chance).astype(float)


def test_survives_json() -> None:
    frame, score, labels = scored()
    frame = frame.with_columns(kind=pl.Series(["a", "b", None, "c"] * 1000), flag=pl.col("x") > 0)
    built = build_reference(frame, columns=["x", "kind", "flag"], score=score, labels=labels)
    text = msgspec.json.encode(built)
    assert msgspec.json.decode(text, type=Reference) == built
    assert len(text) < 20_000


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pl.Series(list("abc")), True),
        (pl.Series([True, False]), True),
        (pl.Series(["a", "b"], dtype=pl.Categorical), True),
        (pl.Series(range(30)), True),
        (pl.Series([*range(30), None]), True),
        (pl.Series(range(31)), False),
        (pl.Series([1.0, 2.0]), False),
    ],
)
def test_what_is_compared_value_by_value(values: pl.Series, *, expected: bool) -> None:
    assert is_categorical(values) is expected


def test_lists_are_refused() -> None:
    with pytest.raises(Invalid, match="cannot be monitored"):
        build_reference(pl.DataFrame({"x": [[1, 2], [3]]}), columns=["x"])


def test_quantile_bins_hold_about_the_same() -> None:
    column = bin_numbers(pl.Series("x", np.random.default_rng(0).lognormal(size=25_600)))
    assert len(column.uppers) == MAX_BINS
    assert set(column.counts[2:-1]) == {100}
    assert column.counts[:2] == (0, 0)
    assert column.counts[-1] == 0


def test_a_value_that_repeats_is_one_bin() -> None:
    column = bin_numbers(pl.Series("x", [0.0] * 900 + list(np.linspace(1, 2, 100))))
    assert column.uppers[0] == 0.0
    assert column.counts[2] == 900


def test_numbers_outside_the_range_and_empty_ones_stand_apart() -> None:
    column = bin_numbers(pl.Series("x", [1.0, 2.0, 3.0]))
    seen = count(column, pl.Series("x", [None, float("nan"), 0.5, 2.0, 7.0, math.inf]))
    assert seen.cells == (2, 1, 0, 1, 0, 2)
    assert seen.beyond == pytest.approx(0.5 + 4.0)


def test_a_number_may_arrive_as_text() -> None:
    column = bin_numbers(pl.Series("x", [1.0, 2.0, 3.0]))
    assert count(column, pl.Series("x", ["1", "2.0", "n/a"])).cells == (1, 0, 1, 1, 0, 0)


@pytest.mark.parametrize("same", [pl.Series([1, 2, 2]), pl.Series([1.0, 2.0, 2.0]), pl.Series(["1", "2", "2"])])
def test_a_value_may_arrive_as_another_type(same: pl.Series) -> None:
    column = bin_values(pl.Series("c", [2, 2, 1, None]))
    assert column.values == ("2", "1")
    assert count(column, same).cells == (2, 1, 0, 0)
    assert count(column, same).unseen == 0


def test_many_values_are_folded_but_remembered() -> None:
    column = bin_values(pl.Series("c", [f"v{i}" for i in range(1000) for _ in range(1 + (i < 60))]))
    assert len(column.values) == MAX_VALUES
    assert column.singletons == 940
    assert column.counts[-2:] == (10 * 2 + 940, 0)
    seen = count(column, pl.Series(["v0", "v999", "new", "new", "newer"]))
    assert (seen.cells[-2], seen.unseen, seen.samples) == (4, 3, ("new", "newer"))


def test_too_many_values_to_remember_are_never_called_unseen() -> None:
    column = bin_values(pl.Series("c", [str(i) for i in range(MAX_KNOWN + MAX_VALUES + 1)]))
    assert column.rare is None
    assert count(column, pl.Series(["new"])).unseen == 0


@settings(max_examples=60, deadline=None)
@given(reference=numbers, one=numbers, two=numbers)
def test_counts_of_numbers_add_up(
    reference: list[float | None], one: list[float | None], two: list[float | None]
) -> None:
    column = bin_numbers(pl.Series("x", reference, dtype=pl.Float64))
    first, second, both = (count(column, pl.Series("x", part, dtype=pl.Float64)) for part in (one, two, one + two))
    assert (first + second).cells == both.cells
    assert (first + second).beyond == pytest.approx(both.beyond)
    assert sum(both.cells) == len(one) + len(two)
    assert sum(column.counts) == len(reference)


@settings(max_examples=60, deadline=None)
@given(reference=words, one=words, two=words)
def test_counts_of_values_add_up(reference: list[str | None], one: list[str | None], two: list[str | None]) -> None:
    column = bin_values(pl.Series("c", reference, dtype=pl.String))
    first, second, both = (count(column, pl.Series("c", part, dtype=pl.String)) for part in (one, two, one + two))
    assert (first + second).cells == both.cells
    assert (first + second).unseen == both.unseen == sum(1 for w in one + two if w is not None and w not in reference)
    assert sum(both.cells) == len(one) + len(two)
    assert count(column, pl.Series("c", reference, dtype=pl.String)).cells == column.counts


def test_quality_is_that_of_the_labelled_rows() -> None:
    frame, score, labels = scored()
    labels[::4] = np.nan
    known = ~np.isnan(labels)
    built = build_reference(frame, columns=["x"], score=score, labels=labels)
    assert (built.rows, built.labels) == (4000, 3000)
    assert built.auc == roc_auc(labels[known], score[known])
    assert built.label_rate == labels[known].mean()
    assert 0.005 < built.auc_se < 0.01


def test_calibration_is_the_isotonic_fit() -> None:
    from sklearn.isotonic import isotonic_regression

    frame, score, labels = scored()
    built = build_reference(frame, columns=[], score=score, labels=labels)
    assert built.score is not None
    places = np.searchsorted(built.score.uppers, score)
    rows = np.bincount(places)
    fitted = isotonic_regression(np.bincount(places, weights=labels) / rows, sample_weight=rows.astype(float))
    expected = [fitted[np.searchsorted(built.score.uppers, block.upper)] for block in built.blocks]
    assert [block.positives / block.rows for block in built.blocks] == pytest.approx(expected)
    assert expected == sorted(set(expected))
    assert sum(block.rows for block in built.blocks) == 4000


def test_one_label_only_gives_no_quality() -> None:
    frame, score, labels = scored(100)
    built = build_reference(frame, columns=["x"], score=score, labels=np.ones_like(labels))
    assert (built.auc, built.blocks, built.positives) == (None, (), 100)


def test_columns_keep_their_order_and_kind() -> None:
    frame = pl.DataFrame({"b": [1.5, 2.5], "a": ["x", "y"], "skipped": [0, 1]})
    built = build_reference(frame, columns=["b", "a"])
    assert [type(c) for c in built.columns] == [Numeric, Categorical]
    assert [c.name for c in built.columns] == ["b", "a"]
    assert (built.score, built.label_rate) == (None, None)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"columns": ["x", "gone"]}, "lacks gone"),
        ({"score": np.zeros(3)}, "must have the frame's 100 rows"),
        ({"labels": np.zeros(3)}, "must have the frame's 100 rows"),
        ({"labels": np.full(100, 2.0)}, "must be 0 or 1"),
        ({"score": np.full(100, np.nan)}, "must be finite"),
        ({"frame": pl.DataFrame({"x": []})}, "lacks rows"),
    ],
)
def test_what_cannot_be_a_reference(change: dict[str, object], sentence: str) -> None:
    frame, score, labels = scored(100)
    given = {"frame": frame, "columns": ["x"], "score": score, "labels": labels} | change
    with pytest.raises(Invalid, match=sentence):
        build_reference(given.pop("frame"), **given)
