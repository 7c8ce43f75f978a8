"""Metrics of a two-class classifier and how sure they are, in NumPy alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import msgspec

from interlock.audit.gates.intervals import ALPHA, Z, wilson
from interlock.registry.flavors.scoring import THRESHOLD

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

_DRAWS: Final = 2_000
_RESAMPLES: Final = 200
_SEED: Final = 20150101  # a gate says the same whenever it is asked


class Figure(msgspec.Struct, frozen=True):
    """A metric on some rows.

    Attributes:
        value: the metric.
        low: lower end of its 90 % interval.
        high: upper end.
        method: where the interval comes from.
    """

    value: float
    low: float
    high: float
    method: str


def measure(name: str, labels: NDArray[np.int8], scores: NDArray[np.float64]) -> Figure | None:
    """Return a metric with its interval, or None where it is not defined (one of the labels is absent).

    Args:
        name: a name of `policy.METRICS`.
        labels: (rows,), 0 or 1, at least one row.
        scores: (rows,), 0-1.

    Cost: O(rows log rows); average_precision 200 times that.
    Source: each equals scikit-learn 1.9's function of the same name within 1e-9 (tested).
    """
    positives = int(labels.sum())
    if name in _NEED_BOTH and positives in {0, len(labels)}:
        return None
    return _MEASURES[name](labels, scores)


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


def _roc_auc(labels: NDArray[np.int8], scores: NDArray[np.float64]) -> Figure:
    """DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44, by ranks (Sun and Xu 2014)."""
    import numpy as np

    positive = labels == 1
    m, n = int(positive.sum()), int((~positive).sum())
    ranks = _midranks(scores)
    above = (ranks[positive] - _midranks(scores[positive])) / n
    below = 1 - (ranks[~positive] - _midranks(scores[~positive])) / m
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

    rng = np.random.default_rng(_SEED)
    strata = [np.flatnonzero(hits == label) for label in (0, 1)]
    draws = []
    for _ in range(_RESAMPLES):
        weights = np.zeros(len(hits))
        for rows in strata:
            weights[rows] = np.bincount(rng.integers(0, len(rows), len(rows)), minlength=len(rows))
        draws.append(precision(weights))
    low, high = np.quantile(draws, [ALPHA, 1 - ALPHA])
    return Figure(precision(np.ones(len(hits))), float(low), float(high), f"stratified bootstrap, {_RESAMPLES} times")


def _accuracy(labels: NDArray[np.int8], scores: NDArray[np.float64]) -> Figure:
    right = int(((scores > THRESHOLD) == (labels == 1)).sum())
    low, high = wilson(right, len(labels))
    return Figure(right / len(labels), low, high, "Wilson")


def _balanced_accuracy(labels: NDArray[np.int8], scores: NDArray[np.float64]) -> Figure:
    return _of_counts(labels, scores, lambda tp, fp, p, n: (tp / p + (n - fp) / n) / 2)


def _f1(labels: NDArray[np.int8], scores: NDArray[np.float64]) -> Figure:
    import numpy as np

    def f1(tp: NDArray[np.float64], fp: NDArray[np.float64], p: int, n: int) -> NDArray[np.float64]:  # noqa: ARG001
        return np.divide(2 * tp, p + tp + fp, out=np.zeros_like(tp), where=p + tp + fp > 0)

    return _of_counts(labels, scores, f1)


def _log_loss(labels: NDArray[np.int8], scores: NDArray[np.float64]) -> Figure:
    import numpy as np

    tiny = np.finfo(np.float64).eps
    clipped = np.clip(scores, tiny, 1 - tiny)
    return _of_mean(-np.log(np.where(labels == 1, clipped, 1 - clipped)))


def _brier(labels: NDArray[np.int8], scores: NDArray[np.float64]) -> Figure:
    return _of_mean((scores - labels) ** 2)


def _of_counts(
    labels: NDArray[np.int8],
    scores: NDArray[np.float64],
    formula: Callable[[NDArray[np.float64], NDArray[np.float64], int, int], NDArray[np.float64]],
) -> Figure:
    """Return a figure of the confusion matrix; drawing its counts anew is the stratified bootstrap of the rows."""
    import numpy as np

    chosen, positive = scores > THRESHOLD, labels == 1
    p, n = int(positive.sum()), int((~positive).sum())
    tp, fp = int((chosen & positive).sum()), int((chosen & ~positive).sum())
    rng = np.random.default_rng(_SEED)
    drawn_tp = rng.binomial(p, tp / p if p else 0.0, _DRAWS).astype(np.float64)
    drawn_fp = rng.binomial(n, fp / n if n else 0.0, _DRAWS).astype(np.float64)
    low, high = np.quantile(formula(drawn_tp, drawn_fp, p, n), [ALPHA, 1 - ALPHA])
    value = float(formula(np.array([float(tp)]), np.array([float(fp)]), p, n)[0])
    return Figure(value, float(low), float(high), f"stratified bootstrap, {_DRAWS} times")


def _of_mean(losses: NDArray[np.float64]) -> Figure:
    value = float(losses.mean())
    half = Z * float(losses.std(ddof=1)) / len(losses) ** 0.5 if len(losses) > 1 else float("inf")
    return Figure(value, max(0.0, value - half), value + half, "normal, of the mean")


def _midranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[place], dtype=np.float64)


_MEASURES: Final = {
    "roc_auc": _roc_auc,
    "average_precision": _average_precision,
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "f1": _f1,
    "log_loss": _log_loss,
    "brier": _brier,
}
_NEED_BOTH: Final = frozenset({"roc_auc", "average_precision", "balanced_accuracy", "f1"})
