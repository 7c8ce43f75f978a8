"""The confusion matrix, of any number of classes."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import given
from hypothesis import strategies as st

from interlock.registry.measures import confusion
from interlock.registry.measures.confusion import COUNTED, all_counted, confusion_matrix, counted

pairs = st.integers(2, 6).flatmap(
    lambda classes: st.tuples(
        st.just(classes),
        st.lists(st.tuples(st.integers(0, classes - 1), st.integers(0, classes - 1)), min_size=1, max_size=80),
    )
)


@given(pairs)
def test_equals_scikit_learn(drawn) -> None:
    classes, rows = drawn
    truth, chosen = np.array(rows).T
    wanted = reference.confusion_matrix(truth, chosen, labels=range(classes))
    assert confusion_matrix(truth, chosen, classes).tolist() == wanted.tolist()


def test_small_types_do_not_overflow() -> None:
    truth = np.full(300, 19, dtype=np.int8)
    counts = confusion_matrix(truth, truth, 20)
    assert counts[19, 19] == counts.sum() == 300


def test_many_classes_are_drawn_within_bounds_of_memory() -> None:
    counts = np.diag(np.full(400, 3)) + np.eye(400, k=1, dtype=np.int64)
    figure = counted("f1_macro", counts)
    assert figure.method == "stratified bootstrap, 200 times"
    assert figure.low < figure.high
    assert figure.low < figure.value + 0.02
    assert counted("f1_macro", counts) == figure


def test_all_metrics_are_of_the_same_draws(monkeypatch) -> None:
    counts, drawn = np.array([[30, 5, 1], [4, 20, 6], [0, 3, 31]]), []
    real = confusion._drawn
    monkeypatch.setattr(confusion, "_drawn", lambda matrix: drawn.append(1) or real(matrix))
    every = all_counted(sorted(COUNTED - {"precision", "recall", "f1"}), counts)
    assert len(drawn) == 1
    assert every == {name: counted(name, counts) for name in every}
    assert all_counted(("accuracy",), counts) == {"accuracy": every["accuracy"]}
    assert len(drawn) == 1 + 6  # a share needs none


def test_drawing_rows_is_drawing_cells(monkeypatch) -> None:
    rng = np.random.default_rng(5)
    truth = rng.integers(0, 40, 1500)
    counts = confusion_matrix(truth, np.where(rng.random(1500) < 0.6, truth, rng.integers(0, 40, 1500)), 40)
    by_row = all_counted(("f1_macro", "precision_weighted", "balanced_accuracy"), counts)
    monkeypatch.setattr(confusion, "_by_row", confusion._by_cell)
    by_cell = all_counted(by_row, counts)
    for name, figure in by_row.items():
        width = figure.high - figure.low
        assert by_cell[name].value == figure.value
        assert by_cell[name].high - by_cell[name].low == pytest.approx(width, rel=0.2)
        assert abs(by_cell[name].low - figure.low) < 0.2 * width


def test_a_thousand_classes_of_a_few_rows_cost_what_their_rows_cost(monkeypatch) -> None:
    monkeypatch.setattr(confusion, "_by_cell", None)
    figures = all_counted(COUNTED, np.eye(1000, dtype=np.int64))
    assert {figure.value for figure in figures.values()} == {1.0}
