"""How good answers were that are no probabilities: errors of a regression, accuracy of a model of several classes."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import msgspec

from interlock.monitor.kinds import CLASS, KIND, NUMBER, Task, with_truth_of
from interlock.monitor.tails import binomial_lower, binomial_upper
from interlock.store.label_truths import class_text

if TYPE_CHECKING:
    import polars as pl

_EACH_SIDE: Final = 0.975


class Measured(msgspec.Struct, frozen=True, omit_defaults=True):
    """What labels showed of a regression or of a model of more than two classes.

    Attributes:
        rows: the labels it rests on.
        mean_absolute_error: of a regression, in the unit of the target.
        rmse: of a regression, the root of the mean squared error.
        accuracy: of classes, the share (0-1) of rows whose class was right.
        low, high: its 95 % interval (Clopper and Pearson).
    """

    rows: int
    mean_absolute_error: float | None = None
    rmse: float | None = None
    accuracy: float | None = None
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        if self.accuracy is not None:
            return f"accuracy {self.accuracy:.3f} ({self.low:.2f}-{self.high:.2f})"
        return f"MAE {self.mean_absolute_error:.4g}, RMSE {self.rmse:.4g}"


def measure(labelled: pl.DataFrame, task: Task) -> Measured | None:
    """Return how good answers were.

    Args:
        labelled: predictions; those whose truth is of another kind do not count.
        task: what the model is.

    Returns:
        The measures, or None: it has two classes, no truth came, or the log's classes cannot be told.

    Cost: O(rows).
    """
    rows = with_truth_of(labelled, task.kind)
    if not task.kind or not rows.height:
        return None
    return _errors(rows) if task.kind == "number" else _accuracy(rows, task)


def digest_of_truths(rows: pl.DataFrame, task: Task) -> str:
    """Return a digest of which prediction has which truth, by which a correction is seen; "" for two classes."""
    if not task.kind:
        return ""
    known = rows.filter(rows[KIND].is_not_null()).select("id", KIND, NUMBER, CLASS).sort("id")
    return hashlib.sha256(known.write_csv().encode()).hexdigest()


def _errors(rows: pl.DataFrame) -> Measured:
    import numpy as np

    with np.errstate(over="ignore"):
        errors = np.abs(rows[NUMBER].to_numpy() - rows["score"].to_numpy())
    errors = np.minimum(errors, np.finfo(np.float64).max)
    largest = float(errors.max())
    shares = errors / (largest or 1.0)  # so that sum and squares of large errors are numbers still
    mean, root = float(shares.mean()), float(np.sqrt(np.mean(shares**2)))
    return Measured(rows.height, mean_absolute_error=largest * mean, rmse=largest * root)


def _accuracy(rows: pl.DataFrame, task: Task) -> Measured | None:
    """Return the share of rows whose class was right."""
    if not task.classes:
        return None
    told = {task.code(place): class_text(label) for place, label in enumerate(task.classes)}
    right = sum(told.get(code) == truth for code, truth in rows.select("label", CLASS).iter_rows())
    low = binomial_lower(right, rows.height, _EACH_SIDE)
    return Measured(
        rows.height,
        accuracy=right / rows.height,
        low=low,
        high=binomial_upper(right, rows.height, _EACH_SIDE),
    )
