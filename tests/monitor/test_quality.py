"""Quality: measured like scikit-learn, bounded like DeLong, estimated only where the model was ever judged."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from interlock.core.errors import Invalid
from interlock.monitor.drift import drift
from interlock.monitor.quality import auc_interval, estimable, estimated_auc, roc_auc
from interlock.monitor.reference import Reference, build_reference

pairs = st.lists(st.tuples(st.integers(0, 1), st.integers(-4, 4).map(float)), min_size=2, max_size=60)


def world(rows: int, rng: np.random.Generator, centre: float = 0.0, wide: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Scores that are honest chances, and labels drawn from them; `centre` and `wide` say who is scored."""
    score = 1 / (1 + np.exp(-1.5 * rng.normal(centre, wide, rows)))
    return score, (rng.random(rows) < score).astype(float)


def judged(rows: int = 8000, seed: int = 0) -> Reference:
    score, labels = world(rows, np.random.default_rng(seed))
    return build_reference(pl.DataFrame({"x": score}), columns=["x"], score=score, labels=labels)


@settings(max_examples=100, deadline=None)
@given(pairs)
def test_auc_is_scikit_learns(rows: list[tuple[int, float]]) -> None:
    labels, scores = (np.array(part) for part in zip(*rows, strict=True))
    assume(0 < labels.sum() < labels.size)
    assert roc_auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert roc_auc(1 - labels, -scores) == pytest.approx(roc_auc(labels, scores), abs=1e-12)
    interval = auc_interval(labels, scores)
    assert interval is not None
    assert 0.0 <= interval.low <= interval.value <= interval.high <= 1.0
    assert interval.se > 0.0


def test_auc_on_many_rows() -> None:
    score, labels = world(50_000, np.random.default_rng(0))
    assert roc_auc(labels, score) == pytest.approx(roc_auc_score(labels, score), abs=1e-12)


def test_one_label_only() -> None:
    assert math.isnan(roc_auc([1, 1], [0.2, 0.3]))
    assert auc_interval([0, 0], [0.2, 0.3]) is None


@pytest.mark.parametrize(
    ("labels", "scores"),
    [([0, 2], [0.1, 0.2]), ([0, 1], [0.1]), ([0, 1], [0.1, math.nan]), ([0, math.nan], [0.1, 0.2])],
)
def test_what_cannot_be_judged(labels: list[float], scores: list[float]) -> None:
    with pytest.raises(Invalid):
        roc_auc(labels, scores)


def test_standard_error_is_delongs() -> None:
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, 120), rng.integers(0, 12, 120) / 12.0
    wins = np.sign(np.subtract.outer(scores[labels == 1], scores[labels == 0])) / 2 + 0.5
    m, n = wins.shape
    expected = np.sqrt(wins.mean(axis=1).var(ddof=1) / m + wins.mean(axis=0).var(ddof=1) / n)
    interval = auc_interval(labels, scores)
    assert interval is not None
    assert interval.se == pytest.approx(expected, rel=1e-12)


def test_standard_error_is_near_the_bootstraps() -> None:
    rng = np.random.default_rng(0)
    score, labels = world(600, rng)
    drawn = [roc_auc(labels[rows], score[rows]) for rows in rng.integers(0, 600, (500, 600))]
    interval = auc_interval(labels, score)
    assert interval is not None
    assert interval.se == pytest.approx(np.std(drawn), rel=0.12)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    truth = roc_auc(*reversed(world(400_000, rng)))
    held = 0
    for _ in range(400):
        score, labels = world(150, rng)
        interval = auc_interval(labels, score, 0.9)
        held += interval is not None and interval.low <= truth <= interval.high
    assert 0.85 <= held / 400 <= 0.95


def test_perfect_separation_is_not_certainty() -> None:
    few, many = (auc_interval([0] * n + [1] * n, range(2 * n)) for n in (3, 300))
    assert few is not None
    assert many is not None
    assert few.value == many.value == few.high == many.high == 1.0
    assert few.low < 0.7
    assert 0.97 < many.low < 1.0


@pytest.mark.parametrize(("centre", "wide"), [(0.0, 1.0), (0.6, 0.7), (0.0, 0.4), (-0.5, 1.3)])
def test_the_estimate_follows_who_is_scored(centre: float, wide: float) -> None:
    score, labels = world(20_000, np.random.default_rng(1), centre, wide)
    estimate = estimated_auc(judged(30_000), score)
    assert estimate is not None
    assert estimate.low <= roc_auc(labels, score) <= estimate.high
    assert estimate.high - estimate.low < 0.03
    assert estimate.value == pytest.approx(roc_auc(labels, score), abs=0.012)


@pytest.mark.parametrize("size", [400, 8000])
def test_estimates_hold_the_labels_answer_as_often_as_they_say(size: int) -> None:
    rng = np.random.default_rng(2)
    held = 0
    for look in range(150):
        if look % 10 == 0:
            known = judged(size, seed=look)
        score, labels = world(500, rng)
        estimate = estimated_auc(known, score, draws=200)
        held += estimate is not None and estimate.low <= roc_auc(labels, score) <= estimate.high
    assert held / 150 >= 0.85


def test_the_estimate_is_the_reference_on_the_reference() -> None:
    score, labels = world(3000, np.random.default_rng(3))
    known = build_reference(pl.DataFrame({"x": score}), columns=["x"], score=score, labels=labels)
    estimate = estimated_auc(known, score)
    assert estimate is not None
    assert estimate.value == pytest.approx(roc_auc(labels, score), abs=1e-9)
    assert known.block_auc > roc_auc(labels, score)


def test_the_estimate_is_the_same_each_time() -> None:
    score, _ = world(500, np.random.default_rng(4))
    assert estimated_auc(judged(), score) == estimated_auc(judged(), score)
    assert estimated_auc(judged(), score) != estimated_auc(judged(), score, seed=1)


def test_without_labels_there_is_no_estimate() -> None:
    known = build_reference(pl.DataFrame({"x": [0.1, 0.2]}), columns=["x"], score=np.array([0.1, 0.2]))
    assert estimated_auc(known, [0.1]) is None
    assert estimated_auc(judged(), []) is None
    assert "no labels" in estimable(known, [])


def test_an_estimate_is_trusted_only_on_rows_like_the_references() -> None:
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"age": rng.integers(18, 55, 4000), "kind": rng.choice(["a", "b"], 4000)})
    score, labels = world(4000, rng)
    known = build_reference(frame, columns=["age", "kind"], score=score, labels=labels)
    same = frame.sample(500, seed=1)

    def doubt(window: pl.DataFrame) -> str:
        return estimable(known, drift(known, window, score[:500], alpha=0.01))

    assert doubt(same) == ""
    assert doubt(same.with_columns(age=18 + pl.col("age") % 10)) == ""  # other ages, all of them known
    assert "18.6% of rows have a value of age" in doubt(
        same.with_columns(age=pl.Series([70] * 93 + same["age"].to_list()[93:]))
    )
    assert "of kind that the reference never had" in doubt(same.with_columns(kind=pl.lit("c")))
    assert "of kind that the reference never had" in doubt(same.with_columns(kind=pl.lit(None, dtype=pl.String)))
    assert "of age that the reference never had" in doubt(same.drop("age"))
