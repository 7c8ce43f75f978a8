"""Metrics of a two-class classifier and how sure they are, in NumPy alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from interlock.registry.flavors.scoring import THRESHOLD
from interlock.registry.measures.confusion import COUNTED, all_counted, confusion_matrix
from interlock.registry.measures.figure import SEED, Figure
from interlock.registry.measures.intervals import ALPHA, Z
from interlock.registry.measures.losses import ALWAYS, brier, log_loss

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

_RESAMPLES: Final = 200


def measure(name: str, labels: NDArray[np.int8], scores: NDArray[np.float64]) -> Figure | None:
    """Return a metric with its interval, or None where it is not defined (one of the labels is absent).

    Args:
        name: a metric of two classes in `policy.METRICS`.
        labels: (rows,), 0 or 1, at least one row.
        scores: (rows,), 0-1.

    Cost: O(rows log rows); average_precision 200 times that.
    Source: each equals scikit-learn 1.9's function of the same name within 1e-12 (tested).
    """
    return all_measures((name,), labels, scores)[name]


def all_measures(
    names: Iterable[str], labels: NDArray[np.int8], scores: NDArray[np.float64]
) -> dict[str, Figure | None]:
    """Return metrics as `measure` does; what rests on the confusion matrix is drawn anew once for all of them."""
    import numpy as np

    one, names = int(labels.sum()) in {0, len(labels)}, list(names)
    defined = [name for name in names if name in ALWAYS or not one]
    counts = confusion_matrix(labels, (scores > THRESHOLD).astype("int64"), 2)
    found: dict[str, Figure | None] = dict.fromkeys(names)
    found.update(all_counted([name for name in defined if name in COUNTED], counts))
    table = np.column_stack([1 - scores, scores])
    for name in defined:
        if name in _LOSSES:
            found[name] = _LOSSES[name](labels, table)
        elif name in _RANKED:
            found[name] = _RANKED[name](labels, scores)
    return found


def auc_variance(auc: float, positives: int, negatives: int) -> float:
    """Return the variance of a ROC AUC known only by its value and counts.

    Source: Hanley and McNeil 1982, Radiology 143, formula 1.
    """
    q1, q2 = auc / (2 - auc), 2 * auc * auc / (1 + auc)
    spread = auc * (1 - auc) + (positives - 1) * (q1 - auc * auc) + (negatives - 1) * (q2 - auc * auc)
    return float(max(0.0, spread) / (positives * negatives))


def auc_interval(auc: float, variance: float, smaller: int) -> tuple[float, float]:
    """Return the 90 % interval of a ROC AUC, built on its logit so that it stays within 0-1.

    Args:
        auc: the AUC.
        variance: its variance.
        smaller: rows of the rarer label; they bound what an AUC of exactly 0 or 1 can mean.
    """
    if auc in {0.0, 1.0} or variance == 0.0:
        reach = 1.0 - ALPHA ** (1.0 / smaller)
        return max(0.0, auc - reach), min(1.0, auc + reach)
    middle, half = math.log(auc / (1 - auc)), Z * variance**0.5 / (auc * (1 - auc))
    return 1 / (1 + math.exp(-(middle - half))), 1 / (1 + math.exp(-(middle + half)))


def won(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each row the share of the other side's rows that it is on the right side of: (rows,), ties half.

    The mean over the positive rows, and that over the negative ones, is the ROC AUC.

    Source: DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44, by ranks (Sun and Xu 2014).
    """
    import numpy as np

    ranks, found = _midranks(scores), np.empty(len(scores))
    found[positive] = (ranks[positive] - _midranks(scores[positive])) / (~positive).sum()
    found[~positive] = 1 - (ranks[~positive] - _midranks(scores[~positive])) / positive.sum()
    return found


def _roc_auc(labels: NDArray[np.int8], scores: NDArray[np.float64]) -> Figure:
    import numpy as np

    positive = labels == 1
    share = won(positive, scores)
    above, below = share[positive], share[~positive]
    m, n = len(above), len(below)
    auc = float(above.mean())
    variance = (above.var(ddof=1) / m if m > 1 else 0.0) + (below.var(ddof=1) / n if n > 1 else 0.0)
    low, high = auc_interval(auc, float(variance), min(m, n))
    return Figure(float(np.clip(auc, 0, 1)), low, high, "DeLong")


def _average_precision(labels: NDArray[np.int8], scores: NDArray[np.float64]) -> Figure:
    import numpy as np

    order = np.argsort(-scores, kind="stable")
    hits = labels[order].astype(np.float64)
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))

    def precision(weights: NDArray[np.float64]) -> float:
        true = np.cumsum(weights * hits)[ends]
        seen = np.cumsum(weights)[ends]
        share = np.divide(true, seen, out=np.zeros_like(true), where=seen > 0)
        return float((np.diff(true, prepend=0.0) * share).sum() / true[-1])

    rng = np.random.default_rng(SEED)
    strata = [np.flatnonzero(hits == label) for label in (0, 1)]
    draws = []
    for _ in range(_RESAMPLES):
        weights = np.zeros(len(hits))
        for rows in strata:
            weights[rows] = np.bincount(rng.integers(0, len(rows), len(rows)), minlength=len(rows))
        draws.append(precision(weights))
    low, high = np.quantile(draws, [ALPHA, 1 - ALPHA])
    return Figure(precision(np.ones(len(hits))), float(low), float(high), f"stratified bootstrap, {_RESAMPLES} times")


def _midranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[place], dtype=np.float64)


_RANKED: Final = {"roc_auc": _roc_auc, "average_precision": _average_precision}
_LOSSES: Final = {"log_loss": log_loss, "brier": brier}
