"""Metrics of two classes: scikit-learn's to the twelfth digit, and intervals that hold the truth as often as said."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import given
from hypothesis import strategies as st

from interlock.audit.gates.figures import METRICS_OF
from interlock.registry.measures.two_classes import auc_interval, auc_variance, measure


def averaged(function, average: str):
    """Return a function of labels and scores from one of labels and choices."""
    return lambda y, s: function(y, s > 0.5, average=average, zero_division=0)


NAMES = sorted(METRICS_OF["two classes"])
WANTED = {
    **{
        f"{name}{suffix}": averaged(getattr(reference, f"{name}_score"), average)
        for name in ("precision", "recall", "f1")
        for suffix, average in (("", "binary"), ("_macro", "macro"), ("_weighted", "weighted"))
    },
    "roc_auc": reference.roc_auc_score,
    "average_precision": reference.average_precision_score,
    "accuracy": lambda y, s: reference.accuracy_score(y, s > 0.5),
    "balanced_accuracy": lambda y, s: reference.balanced_accuracy_score(y, s > 0.5),
    "log_loss": lambda y, s: reference.log_loss(y, s, labels=[0, 1]),
    "brier": reference.brier_score_loss,
}
# Few distinct values, so that there are ties, and the ends of 0-1.
scored = st.lists(
    st.tuples(st.integers(0, 1), st.one_of(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), st.floats(0, 1))),
    min_size=2,
    max_size=60,
).filter(lambda rows: len({label for label, _ in rows}) == 2)


def arrays(rows) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and scores of rows."""
    return np.array([row[0] for row in rows], dtype=np.int8), np.array([row[1] for row in rows], dtype=np.float64)


@pytest.mark.parametrize("name", NAMES)
def test_equals_scikit_learn(name: str) -> None:
    @given(scored)
    def check(rows) -> None:
        labels, scores = arrays(rows)
        figure = measure(name, labels, scores)
        assert figure is not None
        assert figure.value == pytest.approx(WANTED[name](labels, scores), rel=1e-12, abs=1e-12)
        if "bootstrap" not in figure.method:
            assert figure.low - 1e-12 <= figure.value <= figure.high + 1e-12

    check()


@pytest.mark.parametrize("name", NAMES)
def test_equals_scikit_learn_on_many_rows(name: str) -> None:
    rng = np.random.default_rng(1)
    labels = (rng.random(20_000) < 0.3).astype(np.int8)
    scores = 1 / (1 + np.exp(-(labels * 1.5 - 1 + rng.normal(size=20_000)).round(2)))
    figure = measure(name, labels, scores)
    assert figure.value == pytest.approx(WANTED[name](labels, scores), rel=1e-12, abs=1e-12)
    assert 0 < figure.high - figure.low < 0.02
    assert figure.low < figure.value < figure.high
    assert measure(name, labels, scores) == figure


@pytest.mark.parametrize(
    "name", ["roc_auc", "average_precision", "balanced_accuracy", "f1", "f1_macro", "precision", "recall"]
)
@pytest.mark.parametrize("label", [0, 1])
def test_one_label_alone_defines_nothing(name: str, label: int) -> None:
    assert measure(name, np.full(10, label, np.int8), np.linspace(0, 1, 10)) is None


def test_a_perfect_score_of_few_rows_is_not_certain() -> None:
    labels = np.array([0] * 20 + [1] * 20, dtype=np.int8)
    figure = measure("roc_auc", labels, labels.astype(np.float64))
    assert (figure.value, figure.high) == (1.0, 1.0)
    assert figure.low == pytest.approx(0.05 ** (1 / 20))


def test_variance_by_counts_is_near_delongs() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random(4000) < 0.4).astype(np.int8)
    figure = measure("roc_auc", labels, 1 / (1 + np.exp(-(labels + rng.normal(size=4000)))))
    low, high = auc_interval(figure.value, auc_variance(figure.value, int(labels.sum()), int((1 - labels).sum())), 100)
    assert (low, high) == pytest.approx((figure.low, figure.high), abs=0.002)


@pytest.mark.parametrize("name", NAMES)
def test_intervals_hold_the_truth_nine_times_in_ten(name: str) -> None:
    rng = np.random.default_rng(2)

    def draw(rows: int) -> tuple[np.ndarray, np.ndarray]:
        labels = (rng.random(rows) < 0.3).astype(np.int8)
        return labels, 1 / (1 + np.exp(-(labels * 1.2 - 1.2 + rng.normal(size=rows))))

    truth = WANTED[name](*draw(300_000))
    tries = 60 if name == "average_precision" else 200
    figures = [measure(name, *draw(300)) for _ in range(tries)]
    held = sum(figure.low <= truth <= figure.high for figure in figures)
    assert 0.80 * tries <= held <= 0.98 * tries
