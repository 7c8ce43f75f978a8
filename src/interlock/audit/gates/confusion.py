"""The confusion matrix, and the metrics that follow from its counts alone, of two classes and of more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from interlock.audit.gates.figure import SEED, Figure
from interlock.audit.gates.intervals import ALPHA, wilson

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    Counts = NDArray[np.float64]  # (draws, classes, classes): rows by what is true, columns by what was chosen
    Formula = Callable[[Counts], NDArray[np.float64]]

_DRAWS: Final = 2_000
_FEWER_DRAWS: Final = 200
_MANY_CLASSES: Final = 30
_AT_ONCE: Final = 2_000_000  # counts in memory


def confusion_matrix(truth: NDArray[np.integer], chosen: NDArray[np.integer], classes: int) -> NDArray[np.int64]:
    """Return how many rows of each class were taken for which: (classes, classes), the truth by rows.

    Args:
        truth: the place of each row's class, (rows,).
        chosen: the place of the class that was chosen, (rows,).
        classes: how many there are.

    Source: equals scikit-learn's `confusion_matrix` with all classes as labels (tested).
    """
    import numpy as np

    flat = truth.astype(np.int64) * classes + chosen
    return np.bincount(flat, minlength=classes * classes).reshape(classes, classes)


def counted(name: str, counts: NDArray[np.int64]) -> Figure:
    """Return a metric of a confusion matrix with its interval.

    Shares of rows have Wilson's interval. The others have a stratified bootstrap: drawing the counts of each true class
    anew, by a multinomial, is drawing its rows with replacement.

    Args:
        name: one of `COUNTED`; `precision`, `recall` and `f1` are those of the last of two classes.
        counts: what `confusion_matrix` gives.

    Source: scikit-learn 1.9's functions with `zero_division=0`, within 1e-12 (tested): averages are over the classes
        that are true or chosen somewhere, the balanced accuracy over those that are true.
    """
    import numpy as np

    right, rows = int(np.trace(counts)), int(counts.sum())
    if name in {"accuracy", "recall_weighted"}:
        return _share(right, rows)
    if name == "precision":
        return _share(int(counts[-1, -1]), int(counts[:, -1].sum()))
    if name == "recall":
        return _share(int(counts[-1, -1]), int(counts[-1].sum()))
    formula = _FORMULAS[name]
    value = float(formula(counts[None].astype(np.float64))[0])
    found = _drawn(formula, counts)
    low, high = np.quantile(found, [ALPHA, 1 - ALPHA])
    return Figure(value, float(low), float(high), f"stratified bootstrap, {len(found)} times")


def _share(hits: int, rows: int) -> Figure:
    low, high = wilson(hits, rows)
    return Figure(hits / rows if rows else 0.0, low, high, "Wilson")


def _drawn(formula: Formula, counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return a metric of matrices that are drawn anew, some at a time."""
    import numpy as np

    classes, sizes = len(counts), counts.sum(axis=1)
    shares = np.divide(counts, sizes[:, None], out=np.full(counts.shape, 1 / classes), where=sizes[:, None] > 0)
    draws = _DRAWS if classes <= _MANY_CLASSES else _FEWER_DRAWS
    rng = np.random.default_rng(SEED)
    step = max(1, _AT_ONCE // classes**2)
    parts = []
    for first in range(0, draws, step):
        drawn = rng.multinomial(sizes, shares, size=(min(step, draws - first), classes))
        parts.append(formula(drawn.astype(np.float64)))
    return np.concatenate(parts)


def _over(numerator: Counts, denominator: Counts) -> Counts:
    """Return quotients, 0 where there is nothing to divide by."""
    import numpy as np

    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


def _precision(counts: Counts) -> Counts:
    return _over(_right(counts), counts.sum(axis=1))


def _recall(counts: Counts) -> Counts:
    return _over(_right(counts), counts.sum(axis=2))


def _f1(counts: Counts) -> Counts:
    return _over(2 * _right(counts), counts.sum(axis=1) + counts.sum(axis=2))


def _right(counts: Counts) -> Counts:
    import numpy as np

    return np.diagonal(counts, axis1=1, axis2=2).copy()


def _macro(each: Formula) -> Formula:
    def formula(counts: Counts) -> NDArray[np.float64]:
        known = (counts.sum(axis=1) + counts.sum(axis=2)) > 0
        mean: NDArray[np.float64] = (each(counts) * known).sum(axis=1) / known.sum(axis=1)
        return mean

    return formula


def _weighted(each: Formula) -> Formula:
    def formula(counts: Counts) -> NDArray[np.float64]:
        sizes = counts.sum(axis=2)
        mean: NDArray[np.float64] = (each(counts) * sizes).sum(axis=1) / sizes.sum(axis=1)
        return mean

    return formula


def _balanced(counts: Counts) -> NDArray[np.float64]:
    true = counts.sum(axis=2) > 0
    mean: NDArray[np.float64] = _recall(counts).sum(axis=1) / true.sum(axis=1)
    return mean


_FORMULAS: Final[dict[str, Formula]] = {
    "balanced_accuracy": _balanced,
    "f1": lambda counts: _f1(counts)[:, -1],
    "f1_macro": _macro(_f1),
    "f1_weighted": _weighted(_f1),
    "precision_macro": _macro(_precision),
    "precision_weighted": _weighted(_precision),
    "recall_macro": _macro(_recall),
}
COUNTED: Final = frozenset({*_FORMULAS, "accuracy", "recall_weighted", "precision", "recall"})
