"""Scores of a fitted estimator on rows it saw: few, quick, and ours, so that they mean the same for every library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_ROWS: Final = 10_000
_TINY: Final = 1e-15


def score(estimator: Any, inputs: Any, truth: Any) -> dict[str, float]:
    """Return the scores of an estimator that tells classes or numbers, by name; none for others.

    Args:
        estimator: a fitted estimator.
        inputs: rows as it was fitted on.
        truth: one label or number a row.
    """
    import numpy as np

    truth = np.asarray(truth)
    if truth.ndim != 1 or not truth.size:
        return {}
    kind = getattr(estimator, "_estimator_type", None) or _tagged(estimator)
    if kind == "classifier":
        return _classes(estimator, inputs, truth)
    if kind == "regressor":
        return numbers(truth.astype(np.float64), np.asarray(estimator.predict(inputs), dtype=np.float64).reshape(-1))
    return {}


def numbers(truth: NDArray[np.float64], predicted: NDArray[np.float64]) -> dict[str, float]:
    """Return how near numbers come: r2, root of the mean squared error, mean absolute error."""
    import numpy as np

    gap = truth - predicted
    spread = float(np.sum((truth - truth.mean()) ** 2))
    found = {"rmse": float(np.sqrt(np.mean(gap**2))), "mae": float(np.mean(np.abs(gap)))}
    return {"r2": 1 - float(np.sum(gap**2)) / spread, **found} if spread else found


def auc(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """Return the chance that a true row scores higher than another, ties counting half.

    Args:
        truth: (rows,), both values among them.
        scores: (rows,).
    """
    import numpy as np

    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    ranks = (last - (count - 1) / 2)[place]
    true = int(truth.sum())
    return float((ranks[truth].sum() - true * (true + 1) / 2) / (true * (truth.size - true)))


def _classes(estimator: Any, inputs: Any, truth: NDArray[Any]) -> dict[str, float]:
    import numpy as np

    found = {"accuracy": float(np.mean(np.asarray(estimator.predict(inputs)).reshape(-1) == truth))}
    labels = getattr(estimator, "classes_", None)
    if labels is None or not callable(getattr(estimator, "predict_proba", None)):
        return found
    labels = np.asarray(labels)
    chances = np.asarray(estimator.predict_proba(inputs), dtype=np.float64)
    if chances.ndim != 2 or chances.shape[1] != labels.size:
        return found
    columns = np.searchsorted(labels, truth)
    columns[columns == labels.size] = 0
    if (labels[columns] == truth).all():
        picked = np.clip(chances[np.arange(truth.size), columns], _TINY, 1.0)
        found["log_loss"] = float(-np.mean(np.log(picked)))
    true = truth == labels[-1]
    if labels.size == 2 and 0 < true.sum() < true.size:
        found["roc_auc"] = auc(true, chances[:, 1])
    return found


def _tagged(estimator: Any) -> str:
    """Return the kind that newer scikit-learns tell by tags."""
    tags = getattr(estimator, "__sklearn_tags__", None)
    return str(tags().estimator_type) if callable(tags) else ""
