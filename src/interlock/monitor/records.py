"""What monitoring remembers: plans, windows, labels, replays."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Final

import msgspec

from interlock.monitor.auc import Interval
from interlock.monitor.brier import Brier
from interlock.monitor.drift import ColumnDrift, Severity
from interlock.monitor.measured import Measured
from interlock.monitor.verdict import Verdict

NO_VERDICT: Final = "none yet"


class MonitorPlan(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a deployment is watched.

    Attributes:
        deployment: the deployment.
        id: the column of labels that names the subject.
        target: the column of labels that holds the truth.
        window: the length of a window, such as "1 month".
        false_alarms: chance (0-1) of any false alarm in a year.
        at_least: a floor (0-1) for the ROC AUC, or 0.
    """

    deployment: str
    id: str
    target: str
    window: str = "1 month"
    false_alarms: float = 0.01
    at_least: float = 0.0


class Monitor(msgspec.Struct, frozen=True):
    """A monitor: its plan, the version that it watches, and what it last said.

    Attributes:
        reference: the digest of the reference that windows are compared with.
        verdict: keep, retrain or wait for labels; "none yet" before a window of its version is over.
        since: the first window of the open drift episode, or "".
    """

    TABLE: ClassVar = ("name", "model", "verdict", "since", "reason")

    name: str
    plan: MonitorPlan
    model: str
    reference: str
    verdict: str
    since: str
    reason: str


class WindowReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one window of one model version showed.

    Attributes:
        window: its name, such as 2017-01.
        model: the version whose predictions these are.
        predictions: how many there are.
        labels: for how many of them the truth is known.
        positives: for how many of these it is 1.
        severity: the worst severity of its columns.
        drifts: every column, the score first.
        estimated: ROC AUC to expect, before labels.
        distrust: why the estimate is not to be trusted, or "".
        realised: ROC AUC on the labelled rows.
        brier: Brier score on the labelled rows.
        looks: how often it was evaluated; labels that come later make it new.
        verdict: what was decided at this look.
        measured: of a model that has not two classes, how good its answers were on the labelled rows.
        left_out: labels that say nothing about such a model, or "".
        truths: a digest of the labels of a model that has not two classes, or "".
    """

    TABLE: ClassVar = (
        "window",
        "model",
        "predictions",
        "labels",
        "drifts",
        "estimated",
        "distrust",
        "realised",
        "measured",
        "verdict",
    )

    window: str
    starts_at: datetime
    ends_at: datetime
    model: str
    predictions: int
    labels: int
    positives: int = 0
    severity: Severity
    drifts: tuple[ColumnDrift, ...]
    estimated: Interval | None
    distrust: str
    realised: Interval | None
    brier: Brier | None
    looks: int
    verdict: Verdict
    measured: Measured | None = None
    left_out: str = ""
    truths: str = ""


class LabelRefused(msgspec.Struct, frozen=True):
    """A row of labels that says nothing of this deployment: its number, from 1 behind the header, and why."""

    row: int
    reason: str


class LabelBatch(msgspec.Struct, frozen=True):
    """Labels that came in one file.

    Attributes:
        joined: how many belong to a prediction.
        unjoined: how many do not, or not yet.
        note: what to look at, when none belongs to any, or the file is not new.
        counts: how many rows have each status, as in the answer of `/labels`.
        refused: the first 20 rows that count for nothing, or name no prediction on record.
    """

    digest: str
    rows: int
    joined: int
    unjoined: int
    arrived_at: datetime
    note: str = ""
    counts: dict[str, int] = {}
    refused: tuple[LabelRefused, ...] = ()


class LoggedPrediction(msgspec.Struct, frozen=True, kw_only=True):
    """One answer of a deployment, with what it was made from.

    Attributes:
        at: when it was answered.
        occurred_at: when the event it is about happened.
        subject: whom it is about, or "".
        inputs: the value of each input column.
        score: the chance (0-1) of the positive label, of more than two classes of the chosen one; of a regression the
            value.
        label: the class it decided for, of classes that are texts its place among them; 0 of a regression.
        truth: what labels say of it now: 0 or 1, of more than two classes the class, of a regression the number; None
            where no label came.
        caller: who asked, or "" where that was not recorded.
        latency_s: how long the answer took, or 0.0 where that was not recorded.
    """

    id: str
    at: datetime
    occurred_at: datetime
    deployment: str
    model: str
    bundle: str
    revision: int
    request_id: str
    row: int
    subject: str
    inputs: dict[str, str | int | float | bool | None]
    score: float
    label: int
    route: str
    caller: str = ""
    latency_s: float = 0.0
    truth: int | float | str | None = None


class Replay(msgspec.Struct, frozen=True):
    """What another version says to the same requests.

    Attributes:
        rows: how many logged predictions were scored again.
        labels: for how many the truth is known.
        logged: ROC AUC of the answers that were given.
        replayed: ROC AUC of the other version's scores.
        largest_difference: the largest difference of a score between the two; 0-1, unless it is a regression.
        flips: rows whose label differs.
        logged_measured: of a model that has not two classes, how good the answers that were given are.
        replayed_measured: how good the other version's are.
        note: what was left out, and why, or "".
    """

    model: str
    since: str
    until: str
    rows: int
    labels: int
    logged: Interval | None
    replayed: Interval | None
    largest_difference: float
    flips: int
    logged_measured: Measured | None = None
    replayed_measured: Measured | None = None
    note: str = ""
