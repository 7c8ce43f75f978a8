"""The reference: what a model's inputs, scores and quality looked like when somebody last judged it good.

It is a small record of counts, stored with the model version. Build it from rows the model was not fitted on;
in-sample scores are too good, and every later window would look worse than it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from interlock.core.errors import Invalid
from interlock.monitor.auc import auc_interval, block_auc
from interlock.monitor.bins import Categorical, Numeric, bin_numbers, bin_values, is_categorical
from interlock.monitor.brier import brier_score

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

SCORE: Final = "model score"


class Block(msgspec.Struct, frozen=True):
    """One step of the calibration curve.

    Attributes:
        upper: the largest score of the step.
        rows: labelled reference rows in it.
        positives: those whose label is 1; positives/rows ascends from step to step.
    """

    upper: float
    rows: int
    positives: int


class Reference(msgspec.Struct, frozen=True):
    """What windows are compared with; JSON-serialisable by msgspec.

    Attributes:
        rows: reference rows.
        columns: the inputs, counted.
        score: the model's score, counted like a numeric column, or None.
        labels: rows whose label is known.
        positives: those whose label is 1.
        auc: ROC AUC of the score on the labelled rows in 0-1, or None when it cannot be computed.
        auc_se: its standard error (DeLong), 0.0 when there is no AUC.
        block_auc: ROC AUC that the calibration steps alone give; what estimates are measured against.
        blocks: the calibration curve, ascending; empty when there is no AUC.
        brier: mean squared error of the score as a probability, or None without labels.
        brier_se: its standard error.
    """

    rows: int
    columns: tuple[Numeric | Categorical, ...]
    score: Numeric | None = None
    labels: int = 0
    positives: int = 0
    auc: float | None = None
    auc_se: float = 0.0
    block_auc: float = 0.0
    blocks: tuple[Block, ...] = ()
    brier: float | None = None
    brier_se: float = 0.0

    @property
    def label_rate(self) -> float | None:
        """The share (0-1) of labelled rows whose label is 1, or None without labels."""
        return self.positives / self.labels if self.labels else None


def build_reference(
    frame: pl.DataFrame,
    *,
    columns: Sequence[str],
    score: NDArray[np.float64] | None = None,
    labels: NDArray[np.float64] | None = None,
) -> Reference:
    """Return the reference made of these rows.

    Args:
        frame: the rows, at least one.
        columns: names of the inputs to watch. Texts, categories, booleans and integers of at most 30 distinct
            values are compared value by value, all others by order.
        score: float (rows,), the model's score of each row; larger means label 1 is likelier.
        labels: (rows,), 0 or 1, NaN where not known; only used together with `score`.

    Returns:
        The record; about 256 counts a numeric column and 50 a categorical one, independent of the rows.

    Raises:
        Invalid: `reference.invalid`, no rows, an unknown column, an array of another length, a score that is not a
            number, a label that is neither 0 nor 1; `column.invalid`, a column of lists, records or bytes.

    Cost: O(rows log rows) per column, once per model version; memory of one column.
    Source: the notes' default set: quantile bins, top 50 values, isotonic calibration (Zadrozny and Elkan 2002).
    """
    import polars as pl

    missing = [name for name in columns if name not in frame.columns]
    if missing or not frame.height:
        raise Invalid(
            f"The reference lacks {', '.join(missing) or 'rows'}.",
            about="reference",
            hint=f"The frame has {frame.height} rows and the columns {', '.join(frame.columns)}.",
        )
    picked = [frame[name] for name in columns]
    counted = tuple(bin_values(series) if is_categorical(series) else bin_numbers(series) for series in picked)
    if score is None:
        return Reference(frame.height, counted)
    scores, known = _check(frame.height, score, labels)
    plain = Reference(frame.height, counted, bin_numbers(pl.Series(SCORE, scores)))
    return plain if known is None else _with_quality(plain, scores, known)


def _check(
    rows: int, score: NDArray[np.float64], labels: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    import numpy as np

    scores = np.asarray(score, dtype=np.float64)
    known = None if labels is None else np.asarray(labels, dtype=np.float64)
    fault = ""
    if scores.shape != (rows,) or (known is not None and known.shape != (rows,)):
        fault = f"Scores and labels must have the frame's {rows} rows"
    elif not np.isfinite(scores).all():
        fault = "Scores must be finite numbers"
    elif known is not None and not np.isin(known[~np.isnan(known)], (0.0, 1.0)).all():
        fault = "Labels must be 0 or 1, or NaN where not known"
    if fault:
        raise Invalid(f"{fault}.", about="reference", hint="Give one value a row, in the order of the frame.")
    return scores, known


def _with_quality(plain: Reference, scores: NDArray[np.float64], labels: NDArray[np.float64]) -> Reference:
    import numpy as np

    known = ~np.isnan(labels)
    scores, labels = scores[known], labels[known]
    judged = auc_interval(labels, scores)
    counted = msgspec.structs.replace(plain, labels=int(labels.size), positives=int(labels.sum()))
    if judged is None or plain.score is None:
        return counted
    blocks = _calibrate(plain.score.uppers, scores, labels)
    rows, positives = np.array([b.rows for b in blocks]), np.array([b.positives for b in blocks])
    within = float(block_auc(rows[None, :] - positives[None, :], positives[None, :])[0])
    loss = brier_score(labels, scores)
    return msgspec.structs.replace(
        counted, auc=judged.value, auc_se=judged.se, block_auc=within, blocks=blocks, brier=loss.value, brier_se=loss.se
    )


def _calibrate(uppers: Sequence[float], scores: NDArray[np.float64], labels: NDArray[np.float64]) -> tuple[Block, ...]:
    """Return the isotonic fit on the score's bins: neighbours that descend are pooled until none do."""
    import numpy as np

    places = np.searchsorted(np.asarray(uppers), scores, side="left")
    rows = np.bincount(places, minlength=len(uppers))
    positives = np.bincount(places, weights=labels, minlength=len(uppers)).astype(int)
    pooled: list[Block] = []
    for upper, n, k in zip(uppers, rows.tolist(), positives.tolist(), strict=True):
        if not n:
            continue
        pooled.append(Block(upper, n, k))
        while len(pooled) > 1 and pooled[-2].positives * pooled[-1].rows >= pooled[-1].positives * pooled[-2].rows:
            last = pooled.pop()
            pooled[-1] = Block(last.upper, pooled[-1].rows + last.rows, pooled[-1].positives + last.positives)
    return tuple(pooled)
