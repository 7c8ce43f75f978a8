"""One window: drift of every column, quality expected without labels, quality seen with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from interlock.core.periods import Period, parse_period
from interlock.monitor.auc import Interval, auc_interval
from interlock.monitor.brier import Brier, brier_score
from interlock.monitor.drift import ColumnDrift, Severity, drift
from interlock.monitor.kinds import TWO, Task, left_out, with_truth_of
from interlock.monitor.measured import digest_of_truths, measure
from interlock.monitor.quality import estimable, estimated_auc
from interlock.monitor.records import MonitorPlan, WindowReport
from interlock.monitor.reference import Reference
from interlock.monitor.verdict import Verdict, drift_alpha
from interlock.store.predictions import inputs_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import polars as pl

_YEAR_S = 365 * 86_400
_RANK = {"none": 0, "warn": 1, "alarm": 2}


class Subject(msgspec.Struct, frozen=True):
    """What is watched: the version, how, what it is compared with, and what its truths are."""

    model: str
    plan: MonitorPlan
    reference: Reference
    task: Task = Task()


def evaluate(
    subject: Subject, rows: pl.DataFrame, bounds: tuple[datetime, datetime], period: Period, looks: int
) -> WindowReport:
    """Return the report of one window, its verdict still open.

    Args:
        subject: what is watched.
        rows: the window's predictions, with the truth where it is known.
        bounds: start and end of the window.
        period: how windows are called.
        looks: how often it has been evaluated, this time included.
    """
    plan, reference, task = subject.plan, subject.reference, subject.task
    scores = rows["score"].to_numpy()
    alpha = drift_alpha(plan.false_alarms, windows_a_year(plan.window))
    drifts = drift(reference, inputs_of(rows), scores, alpha=alpha)
    labelled = with_truth_of(rows, task.kind)
    realised, loss = quality_of(labelled)
    return WindowReport(
        window=period.label(bounds[0]),
        starts_at=bounds[0],
        ends_at=bounds[1],
        model=subject.model,
        predictions=rows.height,
        labels=labelled.height,
        positives=int(labelled[TWO].sum()),
        severity=severity_of(drifts),
        drifts=tuple(drifts),
        estimated=estimated_auc(reference, scores),
        distrust=f"This is {task}; quality before labels is estimated for two classes only."
        if task.kind
        else estimable(reference, drifts),
        realised=realised,
        brier=loss,
        measured=measure(labelled, task),
        left_out=left_out(rows, task),
        truths=digest_of_truths(rows, task),
        looks=looks,
        verdict=Verdict("keep", ""),
    )


def quality_of(labelled: pl.DataFrame) -> tuple[Interval | None, Brier | None]:
    """Return ROC AUC and Brier score of labelled predictions; None where they cannot be computed.

    Truths of other kinds than two classes do not count.
    """
    two = with_truth_of(labelled, "")
    if not two.height:
        return None, None
    labels, scores = two[TWO].to_numpy(), two["score"].to_numpy()
    return auc_interval(labels, scores), brier_score(labels, scores)


def severity_of(drifts: Sequence[ColumnDrift]) -> Severity:
    """Return the worst severity of some columns."""
    return max((found.severity for found in drifts), key=_RANK.__getitem__, default="none")


def windows_a_year(window: str) -> int:
    """Return how many windows of this length a year has, at least one."""
    period = parse_period(window)
    return max(1, round(_YEAR_S / (period.seconds or period.months * _YEAR_S / 12)))
