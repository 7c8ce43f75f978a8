"""Loops made by hand from the real records: empty, in full swing, and hostile."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from interlock.core.bundles import Route
from interlock.core.events import Event
from interlock.data.records import Dataset, Declaration
from interlock.deploy.service import Deployment
from interlock.loop.jobs import Job
from interlock.loop.status import Status
from interlock.monitor.auc import Interval
from interlock.monitor.brier import Brier
from interlock.monitor.drift import ColumnDrift
from interlock.monitor.records import Monitor, MonitorPlan, WindowReport
from interlock.monitor.verdict import Verdict
from interlock.registry.service import ModelVersion

NOW = datetime(2019, 1, 1, 8, 30, tzinfo=UTC)
COLUMNS = ("model score", "AGEP", "SCHL", "MAR", "RELP", "DIS", "ESP", "CIT", "MIG", "MIL", "ANC", "DREM")
CHANGED = range(14, 23)  # the windows in which older people came
TAKEOVER = 23  # the window from which the second version answers
LATE = 34  # the first window without labels


def at(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


def month(place: int) -> datetime:
    return datetime(2016 + place // 12, place % 12 + 1, 1, tzinfo=UTC)


def interval(value: float, half: float, rows: int) -> Interval:
    return Interval(round(value, 4), round(value - half, 4), round(value + half, 4), half / 1.96, rows)


def drift(column: str, place: int, number: int) -> ColumnDrift:
    noise = abs(math.sin(place * 7.3 + number * 3.1)) * 0.04
    bad = place in CHANGED and column in {"model score", "AGEP", "RELP", "ESP"}
    warned = not bad and (place * 5 + number * 3) % 41 == 0
    severity = "alarm" if bad else "warn" if warned else "none"
    effect = 0.31 - number * 0.03 if bad else 0.07 if warned else noise
    reason = {
        "alarm": f"{column}: 38% of rows outside the reference range 18..54",
        "warn": f"{column}: value 3 in 14% of rows, 9.1% in the reference",
        "none": f"{column}: no change beyond chance (KS {effect:.3f}; 0.04 would be seen)",
    }[severity]
    kind = "numeric" if column in {"model score", "AGEP"} else "categorical"
    return ColumnDrift(column, kind, severity, effect, 0.2, 0.1, 0.04, 5000, 10, 0.001, reason)


def window(place: int) -> WindowReport:
    changed, labelled = place in CHANGED, place < LATE
    true = 0.842 + 0.008 * math.sin(place * 1.7) - (0.075 if changed else 0.0) - (0.004 if place >= TAKEOVER else 0.0)
    verdict = Verdict("keep", f"No drift beyond chance; ROC AUC {true:.3f} on 5,700 labels.", limit=0.825)
    if changed:
        reason = "Drift since 2017-03 (AGEP: 38% of rows outside the reference range 18..54)"
        verdict = Verdict("wait for labels", f"{reason}; no labels of these windows yet.", since="2017-03", limit=0.825)
    if place == TAKEOVER - 1:
        verdict = Verdict(
            "retrain",
            f"{verdict.reason[:-1]}, and it does harm: ROC AUC 0.767 on 9,120 labels, at most 0.781, below 0.825.",
            since="2017-03",
            limit=0.825,
        )
    drifts = [drift(column, place, number) for number, column in enumerate(COLUMNS)]
    worst = max((d.severity for d in drifts), key=["none", "warn", "alarm"].index)
    return WindowReport(
        window=month(place).strftime("%Y-%m"),
        starts_at=month(place),
        ends_at=month(place + 1),
        model=f"model:employment@{2 if place >= TAKEOVER else 1}",
        predictions=5_700 + 37 * place,
        labels=5_690 + 37 * place if labelled else 0,
        severity=worst,
        drifts=tuple(drifts),
        estimated=interval(true + (0.045 if changed else 0.004), 0.011, 5_700),
        distrust="too many rows are unlike any that it learned from" if changed and place > 18 else "",
        realised=interval(true, 0.012, 5_690) if labelled else None,
        brier=Brier(0.163 if changed else 0.121, 0.002, 5_690) if labelled else None,
        looks=2 if labelled else 1,
        verdict=verdict,
    )


def version(number: int, stage: str, reason: str, *aliases: str) -> ModelVersion:
    return ModelVersion(
        ref=f"model:employment@{number}",
        model="employment",
        version=number,
        run=f"run:01JD8ZQ3V0{number}XK4T7M2W9RNBEA5",
        bundle=f"{number}" * 64,
        data=(f"data:people@{number}",),
        stage=stage,
        stage_reason=reason,
        stage_at=at(number * 100),
        aliases=aliases,
        created_at=at(number * 100 - 5),
    )


def job(number: int, kind: str, target: str, status: str, reason: str) -> Job:
    ident = f"01JD9000000000000000000{number:03d}"
    over = at(number * 10 + 4) if status not in {"queued", "running"} else None
    cause = f"event:{40 + number}"
    return Job(f"job:{ident}", ident, kind, target, cause, status, 1, reason, at(number * 10), over)


def event(index: int, kind: str, subject: str, data: dict | None, actor: str = "loop:turn") -> Event:
    return Event(index=index, at=at(index), actor=actor, kind=kind, subject=subject, data=data)


def events() -> tuple[Event, ...]:
    reason = "Drift since 2017-03 (AGEP: 38% of rows outside the reference range 18..54), and it does harm"
    found = [
        event(60, "window.evaluated", "monitor:employment", {"window": "2017-10", "verdict": "wait for labels"}),
        event(
            61, "labels.joined", "monitor:employment", {"digest": "a" * 64, "rows": 5700, "joined": 5690}, "user:ann"
        ),
        event(
            62,
            "alarm.raised",
            "monitor:employment",
            {"window": "2017-11", "signal": "drift", "verdict": "retrain", "report": "b" * 64, "reason": reason},
        ),
        event(
            63,
            "job.queued",
            "job:01JD9000000000000000000003",
            {"kind": "retrain", "cause": "event:62", "args": "train"},
        ),
        event(
            64,
            "dataset_version.created",
            "data:people@2",
            {"digest": "c" * 64, "rows": 81234, "sources": [], "contract": "d" * 64},
            "loop:retrain",
        ),
        event(
            65,
            "model_version.created",
            "model:employment@2",
            {"run": "run:01JD8ZQ3V02XK4T7M2W9RNBEA5", "bundle": "2" * 64, "data": ["data:people@2"]},
            "loop:retrain",
        ),
        event(66, "gate.passed", "model:employment@2", {"gate": "roc_auc", "policy": "", "report": ""}, "loop:retrain"),
        event(
            67,
            "gate.failed",
            "model:employment@2",
            {"gate": "selection_rate_ratio[SEX]", "policy": "", "report": "", "reason": "0.78 is below 0.8"},
            "loop:retrain",
        ),
        event(
            68,
            "approval.given",
            "model:employment@2",
            {"bundle": "", "report": "", "policy": "", "note": "on 5,690 held-out rows: ROC AUC 0.841 against 0.767"},
            "rule:better than champion",
        ),
        event(
            69,
            "deployment.changed",
            "deployment:employment",
            {"revision": 2, "spec": "", "reason": "model:employment@2 takes 10% of the traffic"},
            "loop:deploy",
        ),
        event(70, "run.logged", "run:01JD8ZQ3V02XK4T7M2W9RNBEA5", None),
    ]
    return tuple(reversed(found))


def empty() -> Status:
    return Status((), (), (), (), (), (), (), 0)


def closed(windows: int = 36) -> Status:
    """A loop that has come round once: drift, harm, a new version on trial."""
    routes = (
        Route("model:employment@1", "1" * 64, 0.9),
        Route("model:employment@2", "2" * 64, 0.1, "challenger"),
    )
    reports = tuple(window(place) for place in range(windows))
    last = reports[-1].verdict
    return Status(
        datasets=(Dataset("people", 2, 81_234, Declaration(id="person", target="employed"), at(0)),),
        versions=(
            version(1, "deployed", "model:employment@1 takes all the traffic", "champion"),
            version(2, "deployed", "model:employment@2 takes 10% of the traffic", "challenger"),
            version(3, "validated", "all gates passed"),
        ),
        deployments=(
            Deployment(
                "employment", 2, routes, "serving", live=True, url="http://127.0.0.1:40123", pid=77, changed_at=at(70)
            ),
        ),
        monitors=(
            Monitor(
                "employment",
                MonitorPlan("employment", "person", "employed", at_least=0.73),
                "model:employment@2",
                "e" * 64,
                last.action,
                last.since,
                last.reason,
            ),
        ),
        windows=reports,
        jobs=(
            job(4, "retrain", "train", "running", ""),
            job(3, "deploy", "employment", "done", "model:employment@2 takes 10% of deployment:employment"),
            job(2, "retrain", "train", "done", "model:employment@2 from 81,234 rows is validated: all gates passed"),
            job(1, "retrain", "train", "declined", "the verdict is 'wait for labels'"),
        ),
        events=events(),
        ledger_entries=71,
        runs=7,
    )
