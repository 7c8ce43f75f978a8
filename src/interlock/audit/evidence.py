"""Evidence: what gates judge, and what they answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import msgspec

from interlock.core.errors import Finding, Invalid
from interlock.registry.flavors.scoring import score_frame, score_table

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from interlock.core.bundles import Bundle
    from interlock.track.environment import Environment

Status = Literal["passed", "failed", "not applicable"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known about a model version when its gates run. Held in memory only, so no record.

    Attributes:
        bundle: the record of its bundle.
        evaluation: held-out rows: inputs, target, id and sensitive columns.
        scores: of a model of two classes, the probability of the positive class for each of them, (rows,), 0-1; empty
            for others.
        labels: of such a model, what came true, (rows,), 1 for the positive class and 0 for the other; empty for
            others.
        data: references of the data it was trained on.
        training: the rows it was trained on, or None when they cannot be had.
        training_scores: its scores of these, as `scores`; None where the rows are, or the model has not two classes.
        training_environment: what it was trained in, or None when no run recorded it.
        present_environment: what would serve it, or None.
        preflight: what a fresh process said about the golden requests: `ok`, `findings` and what else is known; None
            when it was not asked.
        answers: of a model that has not two classes, the probability of each class, (rows, classes), or the value,
            (rows, 1); None for two classes.
        outcomes: of such a model, what came true, (rows,): the place of the class, or the value; None for two classes.
    """

    bundle: Bundle
    evaluation: pl.DataFrame
    scores: NDArray[np.float64]
    labels: NDArray[np.int8]
    data: tuple[str, ...] = ()
    training: pl.DataFrame | None = None
    training_scores: NDArray[np.float64] | None = None
    training_environment: Environment | None = None
    present_environment: Environment | None = None
    preflight: dict[str, Any] | None = None
    answers: NDArray[np.float64] | None = None
    outcomes: NDArray[Any] | None = None

    @property
    def table(self) -> NDArray[np.float64]:
        """What the model answers, whatever its kind: as `answers`."""
        import numpy as np

        return np.column_stack([1 - self.scores, self.scores]) if self.answers is None else self.answers

    @property
    def truth(self) -> NDArray[Any]:
        """What came true, whatever the model's kind: as `outcomes`."""
        return self.labels if self.outcomes is None else self.outcomes


class GateResult(msgspec.Struct, frozen=True):
    """What one gate found.

    Attributes:
        gate: the gate's name.
        status: whether the version may pass it.
        findings: why it failed, one sentence with figures each; empty unless it failed.
        facts: every figure it rests on: rows, values, intervals, thresholds. Plain JSON.
        warnings: what a person should look at although it does not fail the gate.
        summary: one sentence that says how it came out.
    """

    TABLE: ClassVar = ("gate", "status", "summary", "warnings")

    gate: str
    status: Status
    findings: tuple[Finding, ...] = ()
    facts: dict[str, Any] = {}
    warnings: tuple[Finding, ...] = ()
    summary: str = ""


def gather(
    bundle: Bundle, serving: bytes, evaluation: pl.DataFrame, *, training: pl.DataFrame | None = None, **known: Any
) -> Evidence:
    """Return the evidence about a bundle: its evaluation rows (and training rows) scored, its labels read.

    Args:
        bundle: the bundle's record.
        serving: the bytes of its ONNX form.
        evaluation: its held-out rows.
        training: the rows it was trained on, with the inputs and the target.
        known: further attributes of `Evidence`.

    Raises:
        Invalid: there are no evaluation rows, rows lack inputs or truths, or the model gives some of them no score.

    Cost: scores all rows, some microseconds each.
    """
    import numpy as np

    two = bundle.task == "classification" and len(bundle.classes) == 2
    table = score_table(bundle, serving, evaluation)
    lost = int((~np.isfinite(table)).any(axis=1).sum())
    if lost or not len(table):
        raise Invalid(
            f"The model gives {lost} of {len(table)} evaluation rows no score." if lost else "No row to judge it on.",
            about="evidence",
            hint="Fill empty values inside the model, or hold out rows that it can score.",
        )
    if not two:
        truth = truth_of(bundle, evaluation)
        empty = np.empty(0)
        return Evidence(
            bundle, evaluation, empty, empty.astype(np.int8), training=training, answers=table, outcomes=truth, **known
        )
    return Evidence(
        bundle=bundle,
        evaluation=evaluation,
        scores=table[:, -1],
        labels=labels_of(bundle, evaluation),
        training=training,
        training_scores=None if training is None else score_frame(bundle, serving, training),
        **known,
    )


def labels_of(bundle: Bundle, frame: pl.DataFrame) -> NDArray[np.int8]:
    """Return the labels of rows, (rows,): 1 for the last of the bundle's two classes and 0 for the other.

    Raises:
        Invalid: the target is missing, or holds something else than the bundle's classes.
    """
    return truth_of(bundle, frame).astype("int8")


def truth_of(bundle: Bundle, frame: pl.DataFrame) -> NDArray[Any]:
    """Return what came true of rows, (rows,): the place of each one's class (int64), or its value (float64).

    Raises:
        Invalid: the target is missing, or holds something else than the bundle's classes, or than finite numbers.
    """
    import numpy as np
    import polars as pl

    if bundle.target not in frame.columns:
        raise Invalid(f"The rows lack the target {bundle.target!r}.", about="evidence", column=bundle.target)
    series = frame[bundle.target]
    if any(isinstance(label, str) for label in bundle.classes):
        texts = series.cast(pl.String).to_list()
        known = {str(label): place for place, label in enumerate(bundle.classes)}
        found: NDArray[Any] = np.array([known.get(text, -1) for text in texts], dtype=np.int64)
        wrong = int((found < 0).sum())
    else:
        found = series.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()
        wrong = int((~np.isfinite(found)).sum())
        if bundle.task == "classification":
            same = found[:, None] == np.array(bundle.classes, dtype=np.float64)
            found, wrong = same.argmax(axis=1), int((~same.any(axis=1)).sum())
    if wrong:
        what = "label of the model" if bundle.task == "classification" else "finite number"
        raise Invalid(
            f"{wrong} of {len(found)} rows have no {what} in {bundle.target!r}.",
            about="evidence",
            hint="Leave rows out whose truth is not known yet.",
        )
    return found


def sentences(findings: Iterable[Finding]) -> str:
    """Return the messages of findings one after the other, each ended by one full stop."""
    return " ".join(f"{found.message.rstrip('.')}." for found in findings)


def rows_text(rows: int) -> str:
    """Return a number of rows as people read it, such as `12,034 rows`."""
    return f"{rows:,} row{'s' if rows != 1 else ''}"
