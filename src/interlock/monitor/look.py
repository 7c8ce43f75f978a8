"""A look: evaluate the windows that are over and those whose labels came, decide, and say what is new."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from interlock.core.canonical import canonical
from interlock.core.clock import from_micros, to_micros
from interlock.core.periods import parse_period
from interlock.monitor.digests import digest_predictions
from interlock.monitor.evaluate import Subject, evaluate, quality_of, severity_of, windows_a_year
from interlock.monitor.kinds import TWO, UNKNOWN, Task, left_out, with_truth_of
from interlock.monitor.measured import digest_of_truths, measure
from interlock.monitor.records import NO_VERDICT, Monitor, MonitorPlan, WindowReport
from interlock.monitor.reference import Reference
from interlock.monitor.verdict import Standard, Verdict, WindowFacts, decide

if TYPE_CHECKING:
    from datetime import datetime

    import polars as pl

    from interlock.core.ports import Row, Transaction
    from interlock.store import Store

_SAVE = (
    "INSERT INTO monitor_windows (monitor, starts_at, ends_at, model, predictions, labels, severity, verdict, report,"
    " looks, evaluated_at) VALUES (:monitor, :starts, :ends, :model, :predictions, :labels, :severity, :verdict,"
    " :report, :looks, :at) ON CONFLICT (monitor, starts_at, model) DO UPDATE SET predictions = excluded.predictions,"
    " labels = excluded.labels, severity = excluded.severity, verdict = excluded.verdict, report = excluded.report,"
    " looks = excluded.looks, evaluated_at = excluded.evaluated_at"
)


class Episode(msgspec.Struct, frozen=True):
    """What a monitor said last, so an alarm is raised once; windows before `watched_from` were another version's."""

    action: str = "keep"
    since: str = ""
    reason: str = ""
    watched_from: int = 0
    window: str = ""


class Watched(msgspec.Struct, frozen=True):
    """A monitor at the moment of a look: `episode` is its text, so that two looks at once do not both speak.

    `tasks` says what the truths of each version are, by its reference such as `model:happy@1`.
    """

    name: str
    model: str
    reference: str
    episode: str
    plan: MonitorPlan
    tasks: Mapping[str, Task] = {}

    def task(self, model: str) -> Task:
        """What the truths of a version are."""
        return self.tasks.get(model, UNKNOWN)


def look(store: Store, watched: Watched, frame: pl.DataFrame, until: datetime) -> list[WindowReport]:
    """Return the windows that were evaluated now, each on disk with its event; the newest carries the verdict.

    Args:
        store: the workspace.
        watched: the monitor.
        frame: the deployment's predictions before `until`, labels joined.
        until: the instant that counts as now.

    Cost: the rows of windows that are new or have new labels.
    """
    import polars as pl

    plan, task = watched.plan, watched.task(watched.model)
    said = msgspec.json.decode(watched.episode, type=Episode)
    reference = msgspec.json.decode(store.objects.get(watched.reference), type=Reference)
    if task == UNKNOWN and reference.auc is not None:
        task = Task()  # the model has gone, and its reference knows
    period = parse_period(plan.window)
    mine = frame.filter(pl.col("model") == watched.model)
    held = _held(store, watched.name)
    reports, fresh = [], []
    for start in sorted({period.floor(from_micros(at)) for at in mine["occurred_at"].to_physical().unique().to_list()}):
        end = period.after(start)
        if end > until or to_micros(start) < said.watched_from:
            continue
        rows = _between(mine, start, end)
        known = held.get((to_micros(start), watched.model))
        held_report = read_report(store, known["report"]) if known else None
        if held_report and _same(held_report, rows, task):
            reports.append(held_report)
            continue
        looks = (known["looks"] if known else 0) + 1
        fresh.append(evaluate(Subject(watched.model, plan, reference, task), rows, (start, end), period, looks))
        reports.append(fresh[-1])
    late = _late(store, frame, watched, [row for (_, model), row in held.items() if model != watched.model])
    verdict = None
    if fresh:
        verdict = decide([_facts(report) for report in reports], _standard(plan, reference, task))
        if fresh[-1].window >= verdict.since:  # a window before the episode keeps its peace
            fresh[-1] = msgspec.structs.replace(fresh[-1], verdict=verdict)
    if not late + fresh:
        return []
    digests = [_contents(store, plan, frame, report) for report in late + fresh]
    kept = store.database.write(
        lambda tx: _record(store, tx, watched, list(zip(late + fresh, digests, strict=True)), verdict)
    )
    return late + fresh if kept else []


def shown_of(row: Row, plan: MonitorPlan) -> Monitor:
    """Return a monitor as its row of the database says it."""
    said = msgspec.json.decode(row["episode"], type=Episode)
    action, reason = said.action, said.reason
    if not row["model"]:
        action, reason = NO_VERDICT, "no version is watched yet"
    elif not said.window:
        action, reason = NO_VERDICT, f"{row['model']} is watched from the next window on"
        reason += f", from {from_micros(said.watched_from):%Y-%m-%dT%H:%MZ}" if said.watched_from else ""
    return Monitor(row["name"], plan, row["model"], row["reference"], action, said.since, reason)


def read_report(store: Store, stored: str) -> WindowReport:
    """Return the report of this digest."""
    return msgspec.json.decode(store.objects.get(stored), type=WindowReport)


def encode(episode: Episode) -> str:
    """Return an episode as the text that the database keeps."""
    return canonical(episode).decode()


def _held(store: Store, name: str) -> dict[tuple[int, str], Row]:
    rows = store.database.all("SELECT * FROM monitor_windows WHERE monitor = :name", {"name": name})
    return {(row["starts_at"], row["model"]): row for row in rows}


def _late(store: Store, frame: pl.DataFrame, watched: Watched, rows: list[Row]) -> list[WindowReport]:
    """Return the windows of replaced versions that got labels since; they show quality, and decide nothing more."""
    import polars as pl

    found = []
    for row in rows:
        if row["labels"] == row["predictions"]:
            continue
        inside = _between(frame, from_micros(row["starts_at"]), from_micros(row["ends_at"]))
        mine, task = inside.filter(pl.col("model") == row["model"]), watched.task(row["model"])
        labelled = with_truth_of(mine, task.kind)
        if labelled.height > row["labels"]:
            report = read_report(store, row["report"])
            realised, loss = quality_of(labelled)
            changes: dict[str, Any] = {"labels": labelled.height, "looks": report.looks + 1}
            changes |= {"realised": realised, "brier": loss, "measured": measure(labelled, task)}
            changes |= {"left_out": left_out(mine, task), "truths": digest_of_truths(mine, task)}
            found.append(msgspec.structs.replace(report, **changes))
    return found


def _record(
    store: Store,
    tx: Transaction,
    watched: Watched,
    reports: list[tuple[WindowReport, str]],
    verdict: Verdict | None,
) -> bool:
    """Return whether this look was kept: reports, events, and the alarm that follows, all or nothing.

    A look that another one has overtaken meanwhile is dropped: that one saw the same and has spoken.
    """
    row = tx.one("SELECT episode, model FROM monitors WHERE name = :name", {"name": watched.name})
    if row is None or (row["episode"], row["model"]) != (watched.episode, watched.model):
        return False
    subject, stored, at = f"monitor:{watched.name}", "", to_micros(store.clock.now())
    for report, contents in reports:
        stored = store.objects.put(msgspec.json.encode(report))
        values = {
            "monitor": watched.name,
            "starts": to_micros(report.starts_at),
            "ends": to_micros(report.ends_at),
            "model": report.model,
            "predictions": report.predictions,
            "labels": report.labels,
            "severity": report.severity,
            "verdict": report.verdict.action,
            "report": stored,
            "looks": report.looks,
            "at": at,
        }
        tx.run(_SAVE, values)
        data = {"window": report.window, "report": stored, "verdict": report.verdict.action, "predictions": contents}
        store.ledger.append(tx, "window.evaluated", subject, data)
    if verdict is not None:
        _speak(store, tx, watched, (reports[-1][0].window, stored), verdict)
    return True


def _speak(store: Store, tx: Transaction, watched: Watched, newest: tuple[str, str], verdict: Verdict) -> None:
    """Raise an alarm, or close it, when the verdict says something new."""
    said = msgspec.json.decode(watched.episode, type=Episode)
    window, report = newest
    again = verdict.action == "retrain" and window > said.window
    if again or (verdict.action, verdict.since) != (said.action, said.since):
        if verdict.action != "keep":
            signal = "drift" if verdict.since else "quality"
            data = {"window": window, "signal": signal, "verdict": verdict.action, "report": report}
            store.ledger.append(tx, "alarm.raised", f"monitor:{watched.name}", data | {"reason": verdict.reason})
        elif said.action != "keep":
            data = {"window": window, "reason": verdict.reason}
            store.ledger.append(tx, "alarm.closed", f"monitor:{watched.name}", data)
    changes = {
        "action": verdict.action,
        "since": verdict.since,
        "reason": verdict.reason,
        "window": max(window, said.window),
    }
    episode = msgspec.structs.replace(said, **changes)
    tx.run("UPDATE monitors SET episode = :e WHERE name = :name", {"e": encode(episode), "name": watched.name})


def _facts(report: WindowReport) -> WindowFacts:
    worst = [drift for drift in report.drifts if drift.severity == report.severity]
    realised, loss = report.realised, report.brier
    return WindowFacts(
        name=report.window,
        drift=severity_of(report.drifts),
        reason=worst[0].reason if worst and report.severity != "none" else "",
        labels=report.labels if realised else 0,
        auc=realised.value if realised else None,
        auc_se=realised.se if realised else 0.0,
        brier=loss.value if loss else None,
        brier_se=loss.se if loss else 0.0,
    )


def _standard(plan: MonitorPlan, reference: Reference, task: Task) -> Standard:
    if task.kind:  # a floor is one of ROC AUC, which such a model has not
        unjudged = f"this is {task}, whose quality is measured and not judged"
        return Standard(false_alarms=plan.false_alarms, windows=windows_a_year(plan.window), unjudged=unjudged)
    return Standard(
        auc=reference.auc,
        auc_se=reference.auc_se,
        at_least=plan.at_least or None,
        false_alarms=plan.false_alarms,
        windows=windows_a_year(plan.window),
        brier=reference.brier,
        brier_se=reference.brier_se,
    )


def _same(report: WindowReport, rows: pl.DataFrame, task: Task) -> bool:
    """Return whether a report was made of as many predictions, labels and positives as there are now.

    Of other kinds than two classes, of the same truths.
    """
    labels = with_truth_of(rows, task.kind)
    counts = (rows.height, labels.height, int(labels[TWO].sum()))
    told = (left_out(rows, task), digest_of_truths(rows, task))
    return (report.predictions, report.labels, report.positives) == counts and (report.left_out, report.truths) == told


def _between(frame: pl.DataFrame, start: datetime, end: datetime) -> pl.DataFrame:
    import polars as pl

    times = pl.col("occurred_at").to_physical()
    return frame.filter((times >= to_micros(start)) & (times < to_micros(end)))


def _contents(store: Store, plan: MonitorPlan, frame: pl.DataFrame, report: WindowReport) -> str:
    """Return the digest of the predictions that a report is about: what the ledger keeps of them."""
    import polars as pl

    start, end = report.starts_at, report.ends_at
    seen = set(_between(frame, start, end).filter(pl.col("model") == report.model)["id"].to_list())
    rows = store.predictions.rows(plan.deployment, to_micros(start), to_micros(end))
    return digest_predictions(row for row in rows if row.id in seen)
