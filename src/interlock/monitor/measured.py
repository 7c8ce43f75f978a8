"""How good answers were that are no probabilities: errors of a regression, accuracy of a model of several classes.

The measures and their intervals are those by which gates judge a version: see `interlock.registry.measures`.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

import msgspec

from interlock.monitor.kinds import CLASS, KIND, NUMBER, Task, with_truth_of
from interlock.registry.measures.confusion import share
from interlock.registry.measures.intervals import CONFIDENCE
from interlock.registry.measures.values import measure_values
from interlock.store.label_truths import class_text

if TYPE_CHECKING:
    import polars as pl

    from interlock.registry.measures.figure import Figure


class Measured(msgspec.Struct, frozen=True, omit_defaults=True):
    """What labels showed of a regression or of a model of more than two classes.

    Attributes:
        rows: the labels it rests on.
        mean_absolute_error: of a regression, in the unit of the target.
        rmse: of a regression, the root of the mean squared error.
        accuracy: of classes, the share (0-1) of rows whose class was right.
        low, high: the interval of the accuracy, or of the mean absolute error; None where rows are too few for one.
        rmse_low, rmse_high: that of the RMSE.
        confidence: of the intervals; reports of older releases had 95 %, of the accuracy alone.
    """

    rows: int
    mean_absolute_error: float | None = None
    rmse: float | None = None
    accuracy: float | None = None
    low: float | None = None
    high: float | None = None
    rmse_low: float | None = None
    rmse_high: float | None = None
    confidence: float = 0.95

    def __str__(self) -> str:
        if self.accuracy is not None:
            return f"accuracy {self.accuracy:.3f}{_between(self.low, self.high, '.2f')}"
        mean = f"MAE {self.mean_absolute_error:.4g}{_between(self.low, self.high, '.4g')}"
        return f"{mean}, RMSE {self.rmse:.4g}{_between(self.rmse_low, self.rmse_high, '.4g')}"


def _between(low: float | None, high: float | None, form: str) -> str:
    return "" if low is None or high is None else f" ({low:{form}}-{high:{form}})"


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
    truth, given = rows[NUMBER].to_numpy(), rows["score"].to_numpy()
    mean, root = measure_values("mae", truth, given), measure_values("rmse", truth, given)
    assert mean is not None  # noqa: S101 - for the type checker: errors are defined of any row
    assert root is not None  # noqa: S101
    (low, high), (rmse_low, rmse_high) = _ends(mean), _ends(root)
    return Measured(
        rows.height,
        mean_absolute_error=mean.value,
        rmse=root.value,
        low=low,
        high=high,
        rmse_low=rmse_low,
        rmse_high=rmse_high,
        confidence=CONFIDENCE,
    )


def _ends(figure: Figure) -> tuple[float, float] | tuple[None, None]:
    return (figure.low, figure.high) if math.isfinite(figure.high) else (None, None)


def _accuracy(rows: pl.DataFrame, task: Task) -> Measured | None:
    """Return the share of rows whose class was right."""
    if not task.classes:
        return None
    told = {task.code(place): class_text(label) for place, label in enumerate(task.classes)}
    right = sum(told.get(code) == truth for code, truth in rows.select("label", CLASS).iter_rows())
    found = share(right, rows.height)
    return Measured(rows.height, accuracy=found.value, low=found.low, high=found.high, confidence=CONFIDENCE)
