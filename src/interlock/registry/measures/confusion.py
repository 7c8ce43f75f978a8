"""The confusion matrix, and the metrics that follow from its counts alone, of two classes and of more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from interlock.registry.measures.figure import SEED, Figure
from interlock.registry.measures.intervals import ALPHA, wilson

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    Counts = NDArray[np.float64]  # (draws, classes)
    Formula = Callable[["Tallies"], NDArray[np.float64]]
    _Part = tuple[NDArray[np.int64], NDArray[np.int64]]  # what was right, and what was taken

_DRAWS: Final = 2_000
_FEWER_DRAWS: Final = 200
_MANY_CLASSES: Final = 30
_AT_ONCE: Final = 2_000_000  # counts in memory


class Tallies(NamedTuple):
    """What the averages need of confusion matrices, each (draws, classes).

    `right`: how many rows of a class were taken for it; `true`: how many are of it; `taken`: all taken for it.
    """

    right: Counts
    true: Counts
    taken: Counts


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
    """Return a metric of a confusion matrix with its interval; see `all_counted`."""
    return all_counted((name,), counts)[name]


def all_counted(names: Iterable[str], counts: NDArray[np.int64]) -> dict[str, Figure]:
    """Return metrics of a confusion matrix with their intervals.

    Shares of rows have Wilson's interval. The others have a stratified bootstrap: drawing the counts of each true class
    anew, by a multinomial, is drawing its rows with replacement. All of them are of the same draws.

    Args:
        names: some of `COUNTED`; `precision`, `recall` and `f1` are those of the last of two classes.
        counts: what `confusion_matrix` gives.

    Cost: draws * min(rows, classes ** 2), whatever the number of metrics; 200 draws for more than 30 classes.
    Source: scikit-learn 1.9's functions with `zero_division=0`, within 1e-12 (tested): averages are over the classes
        that are true or chosen somewhere, the balanced accuracy over those that are true.
    """
    import numpy as np

    found: dict[str, Figure] = {}
    draws: Tallies | None = None
    for name in names:
        if name in _SHARES:
            found[name] = share(*_SHARES[name](counts))
            continue
        draws = _drawn(counts) if draws is None else draws
        formula = _FORMULAS[name]
        drawn = formula(draws)
        low, high = np.quantile(drawn, [ALPHA, 1 - ALPHA])
        method = f"stratified bootstrap, {len(drawn)} times"
        found[name] = Figure(float(formula(_tallies(counts))[0]), float(low), float(high), method)
    return found


def share(hits: int, rows: int) -> Figure:
    """Return a share of rows, such as the accuracy, with Wilson's interval; 0 of no rows."""
    low, high = wilson(hits, rows)
    return Figure(hits / rows if rows else 0.0, low, high, "Wilson")


def _tallies(counts: NDArray[np.int64]) -> Tallies:
    import numpy as np

    every = counts[None].astype(np.float64)
    return Tallies(np.diagonal(every, axis1=1, axis2=2).copy(), every.sum(axis=2), every.sum(axis=1))


def _drawn(counts: NDArray[np.int64]) -> Tallies:
    """Return what matrices say that are drawn anew: cell by cell, or row by row where that is less."""
    import numpy as np

    classes, rows = len(counts), int(counts.sum())
    draws = _DRAWS if classes <= _MANY_CLASSES else _FEWER_DRAWS
    by_row = rows < classes**2
    step = max(1, _AT_ONCE // (rows if by_row else classes**2))
    sizes = [min(step, draws - first) for first in range(0, draws, step)]
    rng = np.random.default_rng(SEED)
    parts = list(_by_row(counts, sizes, rng) if by_row else _by_cell(counts, sizes, rng))
    right, taken = (np.concatenate(part).astype(np.float64) for part in zip(*parts, strict=True))
    return Tallies(right, np.broadcast_to(counts.sum(axis=1).astype(np.float64), right.shape), taken)


def _by_cell(counts: NDArray[np.int64], sizes: list[int], rng: np.random.Generator) -> Iterator[_Part]:
    import numpy as np

    classes, true = len(counts), counts.sum(axis=1)
    shares = np.divide(counts, true[:, None], out=np.full(counts.shape, 1 / classes), where=true[:, None] > 0)
    for size in sizes:
        drawn = rng.multinomial(true, shares, size=(size, classes))
        yield np.diagonal(drawn, axis1=1, axis2=2), drawn.sum(axis=1)


def _by_row(counts: NDArray[np.int64], sizes: list[int], rng: np.random.Generator) -> Iterator[_Part]:
    import numpy as np

    classes, true = len(counts), counts.sum(axis=1)
    places, columns = np.nonzero(counts)
    many = counts[places, columns]
    truth, chosen = np.repeat(places, many), np.repeat(columns, many)  # by their truth
    first, span = (np.cumsum(true) - true)[truth], true[truth]
    for size in sizes:
        drawn = chosen[first + rng.integers(0, span, (size, len(truth)))]
        offset = classes * np.arange(size)[:, None]
        hit = drawn == truth
        yield (
            np.bincount((truth + offset)[hit], minlength=size * classes).reshape(size, classes),
            np.bincount((drawn + offset).ravel(), minlength=size * classes).reshape(size, classes),
        )


def _over(numerator: Counts, denominator: Counts) -> Counts:
    """Return quotients, 0 where there is nothing to divide by."""
    import numpy as np

    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


def _precision(of: Tallies) -> Counts:
    return _over(of.right, of.taken)


def _recall(of: Tallies) -> Counts:
    return _over(of.right, of.true)


def _f1(of: Tallies) -> Counts:
    return _over(2 * of.right, of.taken + of.true)


def _macro(each: Formula) -> Formula:
    def formula(of: Tallies) -> NDArray[np.float64]:
        known = (of.taken + of.true) > 0
        mean: NDArray[np.float64] = (each(of) * known).sum(axis=1) / known.sum(axis=1)
        return mean

    return formula


def _weighted(each: Formula) -> Formula:
    def formula(of: Tallies) -> NDArray[np.float64]:
        mean: NDArray[np.float64] = (each(of) * of.true).sum(axis=1) / of.true.sum(axis=1)
        return mean

    return formula


def _balanced(of: Tallies) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = _recall(of).sum(axis=1) / (of.true > 0).sum(axis=1)
    return mean


def _right(counts: NDArray[np.int64]) -> tuple[int, int]:
    return int(counts.trace()), int(counts.sum())


_SHARES: Final[dict[str, Callable[[NDArray[np.int64]], tuple[int, int]]]] = {
    "accuracy": _right,
    "recall_weighted": _right,
    "precision": lambda counts: (int(counts[-1, -1]), int(counts[:, -1].sum())),
    "recall": lambda counts: (int(counts[-1, -1]), int(counts[-1].sum())),
}
_FORMULAS: Final[dict[str, Formula]] = {
    "balanced_accuracy": _balanced,
    "f1": lambda of: _f1(of)[:, -1],
    "f1_macro": _macro(_f1),
    "f1_weighted": _weighted(_f1),
    "precision_macro": _macro(_precision),
    "precision_weighted": _weighted(_precision),
    "recall_macro": _macro(_recall),
}
COUNTED: Final = frozenset({*_FORMULAS, *_SHARES})
