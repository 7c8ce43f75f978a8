"""`Model`: what a pipeline returns so that it can be registered, judged and served."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from interlock.core.errors import Finding, Invalid
from interlock.train.frames import to_polars

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from interlock.train.context import Scalar


@dataclass(frozen=True, eq=False)
class Model:
    """An estimator with all that others need to judge and serve it.

    Attributes:
        estimator: what predicts; it is fitted.
        inputs: training rows with exactly the columns that it takes, in its order.
        target: the column it predicts.
        evaluation: rows that training never saw: inputs and target, and the id and sensitive columns for the audit.
        params: what it was trained with.
        metrics: how good it is on `evaluation`, as far as the pipeline measured it.
        training: the rows it was trained on, with id and target, for audits of leakage; None when they cannot be had.

    Raises:
        Invalid: a part does not fit the others; `findings` lists everything that is wrong.
    """

    estimator: Any
    inputs: Any
    target: str
    evaluation: Any
    params: dict[str, Scalar] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    training: Any = None

    def __post_init__(self) -> None:
        inputs, evaluation = to_polars(self.inputs), to_polars(self.evaluation)
        findings = [*_check_shape(inputs, evaluation, self.target), *_check_numbers(self.metrics)]
        if not callable(getattr(self.estimator, "predict", None)):
            message = f"A {type(self.estimator).__name__} has no method predict."
            findings.append(Finding("no_predict", message))
        if findings:
            raise Invalid(
                f"The model does not fit together: {findings[0].message}",
                about="model",
                hint="Give Model(estimator, inputs, target, evaluation) as its docstring says.",
                findings=findings,
            )

    @property
    def columns(self) -> list[str]:
        """The names of its inputs, in the estimator's order."""
        return [str(name) for name in self.inputs.columns]


def _check_shape(inputs: pl.DataFrame, evaluation: pl.DataFrame, target: str) -> Iterator[Finding]:
    for name, frame in (("inputs", inputs), ("evaluation", evaluation)):
        if frame.height == 0:
            yield Finding("empty", f"{name} has no rows.")
    if not inputs.columns:
        yield Finding("empty", "inputs has no columns.")
    if target in inputs.columns:
        yield Finding("target_in_inputs", f"The target {target!r} is among the inputs.", column=target)
    for column in inputs.columns:
        if column not in evaluation.columns:
            message = f"Input column {column!r} is missing from evaluation."
            yield Finding("missing_column", message, column=column)
        elif inputs.schema[column].is_numeric() != evaluation.schema[column].is_numeric():
            types = f"{inputs.schema[column]} in inputs and {evaluation.schema[column]} in evaluation"
            yield Finding("type", f"Column {column!r} is {types}.", column=column)
    if target not in evaluation.columns:
        yield Finding("missing_column", f"The target {target!r} is missing from evaluation.", column=target)
        return
    truth = evaluation[target]
    gone = truth.is_null() | truth.is_nan() if truth.dtype.is_float() else truth.is_null()
    if gone.any():
        rows = tuple(gone.arg_true().head(10))
        message = f"The target {target!r} is missing in {gone.sum()} evaluation rows."
        yield Finding("null_target", message, column=target, rows=rows, count=int(gone.sum()))


def _check_numbers(metrics: dict[str, float]) -> Iterator[Finding]:
    for name, value in metrics.items():
        try:
            float(value)
        except (TypeError, ValueError):
            yield Finding("metric", f"Metric {name!r} is {value!r}, which is no number.", column=str(name))
