"""Metrics of more than two classes: scikit-learn's figures to the twelfth digit, and intervals that hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import assume, given
from hypothesis import strategies as st

from interlock.audit.gates.figures import METRICS_OF
from interlock.registry.measures.classes import measure_classes

NAMES = sorted(METRICS_OF["more classes"])


def chosen(function, **how):
    """Return a function of truths and probabilities from one of truths and choices."""
    return lambda y, p: function(y, p.argmax(axis=1), **how)


WANTED = {
    **{
        f"{name}_{average}": chosen(getattr(reference, f"{name}_score"), average=average, zero_division=0)
        for name in ("precision", "recall", "f1")
        for average in ("macro", "weighted")
    },
    "accuracy": chosen(reference.accuracy_score),
    "balanced_accuracy": chosen(reference.balanced_accuracy_score),
    "roc_auc": lambda y, p: reference.roc_auc_score(y, p, multi_class="ovr", labels=range(p.shape[1])),
    "log_loss": lambda y, p: reference.log_loss(y, p, labels=range(p.shape[1])),
    "brier": lambda y, p: reference.brier_score_loss(y, p, labels=range(p.shape[1])),
}


@st.composite
def scored(draw) -> tuple[np.ndarray, np.ndarray]:
    """Draw truths and probabilities of 3 to 5 classes, with ties and with certainties."""
    classes = draw(st.integers(3, 5))
    weights = st.lists(st.sampled_from([0, 0, 1, 1, 2, 5]), min_size=classes, max_size=classes).filter(any)
    rows = draw(st.lists(st.tuples(st.integers(0, classes - 1), weights), min_size=2, max_size=50))
    table = np.array([row for _, row in rows], dtype=np.float64)
    return np.array([label for label, _ in rows]), table / table.sum(axis=1, keepdims=True)


def draw_rows(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return truths of three classes and probabilities that know something of them."""
    truth = rng.choice(3, rows, p=[0.5, 0.3, 0.2])
    sums = np.eye(3)[truth] * 1.2 + rng.normal(size=(rows, 3))
    table = np.exp(sums)
    return truth, table / table.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_equals_scikit_learn(name: str) -> None:
    @given(scored())
    def check(rows) -> None:
        truth, table = rows
        figure = measure_classes(name, truth, table)
        if figure is None:
            assert len(set(truth.tolist())) < (table.shape[1] if name == "roc_auc" else 2)
            assume(False)
        assert figure.value == pytest.approx(WANTED[name](truth, table), rel=1e-12, abs=1e-12)
        if "bootstrap" not in figure.method:
            assert figure.low - 1e-12 <= figure.value <= figure.high + 1e-12

    check()


@pytest.mark.parametrize("name", NAMES)
def test_equals_scikit_learn_on_many_rows(name: str) -> None:
    truth, table = draw_rows(np.random.default_rng(1), 20_000)
    figure = measure_classes(name, truth, table)
    assert figure.value == pytest.approx(WANTED[name](truth, table), rel=1e-12)
    assert figure.low < figure.value < figure.high < figure.low + 0.03
    assert measure_classes(name, truth, table) == figure


@pytest.mark.parametrize("name", NAMES)
def test_intervals_hold_the_truth_nine_times_in_ten(name: str) -> None:
    rng = np.random.default_rng(2)
    truth = WANTED[name](*draw_rows(rng, 300_000))
    figures = [measure_classes(name, *draw_rows(rng, 300)) for _ in range(150)]
    held = sum(figure.low <= truth <= figure.high for figure in figures)
    assert 0.80 * 150 <= held <= 0.98 * 150


def test_the_auc_of_two_columns_is_that_of_two_classes() -> None:
    from interlock.registry.measures.two_classes import measure

    rng = np.random.default_rng(3)
    labels = (rng.random(500) < 0.3).astype(np.int8)
    scores = 1 / (1 + np.exp(-(labels + rng.normal(size=500))))
    two, both = (
        measure("roc_auc", labels, scores),
        measure_classes("roc_auc", labels.astype(np.int64), np.column_stack([1 - scores, scores])),
    )
    assert (both.value, both.low, both.high) == pytest.approx((two.value, two.low, two.high), rel=1e-12)


def test_classes_that_are_absent_leave_some_undefined() -> None:
    truth, table = np.array([0, 1, 1, 0]), np.full((4, 3), 1 / 3)
    assert measure_classes("roc_auc", truth, table) is None
    assert measure_classes("f1_macro", truth, table) is not None
    assert measure_classes("f1_macro", truth * 0, table) is None
    assert measure_classes("accuracy", truth * 0, table).value == 1.0
