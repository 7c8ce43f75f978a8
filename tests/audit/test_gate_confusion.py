"""The confusion matrix, of any number of classes."""

from __future__ import annotations

import numpy as np
import sklearn.metrics as reference
from hypothesis import given
from hypothesis import strategies as st

from interlock.audit.gates.confusion import confusion_matrix, counted

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
