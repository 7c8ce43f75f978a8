"""The monitoring service: windows of predictions against the reference, and labels when they come."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from interlock.core.canonical import canonical, digest
from interlock.core.clock import from_micros, parse_instant, to_micros
from interlock.core.errors import Invalid, NotFound
from interlock.core.files import StoredFile
from interlock.core.operations import Permission, operation
from interlock.core.periods import parse_period
from interlock.core.ports import Row, Transaction
from interlock.core.refs import check_name
from interlock.monitor.evaluate import Subject, evaluate, severity_of
from interlock.monitor.labels import add_labels, with_labels
from interlock.monitor.records import LabelBatch, Monitor, MonitorPlan, Replay, WindowReport
from interlock.monitor.reference import Reference
from interlock.monitor.replay import Duel, duel, make_reference, replay
from interlock.monitor.verdict import Standard, Verdict, WindowFacts, decide
from interlock.registry.service import RegistryService
from interlock.store import Store
from interlock.store.predictions import Prediction

if TYPE_CHECKING:
    import polars as pl

Reports = list[WindowReport]
Monitors = list[Monitor]
_YEAR_S = 365 * 86_400


class _Episode(msgspec.Struct, frozen=True):
    """What was said last, so that an alarm is raised once."""

    action: str = "keep"
    since: str = ""
    reason: str = ""
    watched_from: int = 0


class MonitorService:
    """Monitors: windows, drift, quality, verdicts, labels, replays."""

    name = "monitor"

    def __init__(self, store: Store) -> None:
        self._store = store
        self._registry = RegistryService(store)

    @operation(Permission.MONITOR_WRITE, emits=("monitor.set",))
    def set(self, name: str, plan: MonitorPlan) -> MonitorPlan:
        """Set how a deployment is watched.

        Args:
            name: the monitor.
            plan: deployment, window, false alarms, quality.

        Raises:
            Invalid: the plan makes no sense.
        """
        check_name(name, "monitor")
        parse_period(plan.window)
        Standard(false_alarms=plan.false_alarms)
        stored = self._store.objects.put(msgspec.json.encode(plan))

        def change(tx: Transaction) -> None:
            row = tx.one("SELECT plan, reference FROM monitors WHERE name = :name", {"name": name})
            if row is not None and row["plan"] == stored:
                return
            tx.run(
                "INSERT INTO monitors (name, plan, reference, model, episode, set_at) VALUES (:name, :plan, '', '', :e, :at)"
                " ON CONFLICT (name) DO UPDATE SET plan = excluded.plan, set_at = excluded.set_at",
                {"name": name, "plan": stored, "e": _encode(_Episode()), "at": self._now()},
            )
            data = {"plan": stored, "reference": row["reference"] if row else ""}
            self._store.ledger.append(tx, "monitor.set", f"monitor:{name}", data)

        self._store.database.write(change)
        return plan

    @operation(Permission.MONITOR_WRITE, emits=("monitor.set",))
    def watch(self, name: str, model: str, since: str = "") -> Monitor:
        """Let a monitor watch a version, against the rows that its gates judged it on.

        Args:
            name: the monitor.
            model: the version.
            since: windows that start before this instant are not this version's.
        """
        version = self._registry.version(model)
        row = self._row(name)
        if row["model"] == version.ref:
            return self.show(name)
        reference = self._store.objects.put(msgspec.json.encode(make_reference(self._registry, version.bundle)))
        plan = self._plan(row)
        start = parse_period(plan.window).floor(parse_instant(since)) if since else from_micros(0)
        episode = _Episode(watched_from=to_micros(start))

        def change(tx: Transaction) -> None:
            values = {"name": name, "reference": reference, "model": version.ref, "episode": _encode(episode)}
            tx.run(
                "UPDATE monitors SET reference = :reference, model = :model, episode = :episode, set_at = :at"
                " WHERE name = :name",
                values | {"at": self._now()},
            )
            data = {"plan": row["plan"], "reference": reference}
            self._store.ledger.append(tx, "monitor.set", f"monitor:{name}", data)

        self._store.database.write(change)
        return self.show(name)

    @operation(Permission.MONITOR_WRITE, emits=("labels.joined",))
    def label(self, name: str, file: StoredFile) -> LabelBatch:
        """Add the truth about predictions: rows with the target and a prediction_id or subject.

        Args:
            name: the monitor.
            file: Parquet or CSV.

        Raises:
            Invalid: a column is missing or a label is neither 0 nor 1; nothing is kept.
        """
        return add_labels(self._store, name, self._plan(self._row(name)), file)

    @operation(Permission.MONITOR_WRITE, emits=("window.evaluated", "alarm.raised", "alarm.closed"))
    def look(self, name: str, until: str = "") -> Reports:
        """Evaluate the windows that are over, and those whose labels came since the last look.

        Args:
            name: the monitor.
            until: the instant (ISO 8601) that counts as now; empty: the present.

        Raises:
            NotFound: there is no such monitor, or it watches no version yet.
        """
        row = self._row(name)
        if not row["model"]:
            raise NotFound(
                f"Monitor {name!r} watches no version yet.", about="monitor", hint="Deploy an approved version first."
            )
        at = _instant(until) if until else self._store.clock.now()
        return self._look(name, row, at)

    @operation(Permission.MONITOR_READ)
    def show(self, name: str) -> Monitor:
        """Show a monitor and what it last said.

        Args:
            name: the monitor.

        Raises:
            NotFound: there is none.
        """
        row = self._row(name)
        said = msgspec.json.decode(row["episode"], type=_Episode)
        return Monitor(name, self._plan(row), row["model"], row["reference"], said.action, said.since, said.reason)

    @operation(Permission.MONITOR_READ)
    def monitors(self) -> Monitors:
        """List all monitors."""
        return [self.show(row["name"]) for row in self._store.database.all("SELECT name FROM monitors ORDER BY name")]

    @operation(Permission.MONITOR_READ)
    def windows(self, name: str) -> Reports:
        """List the newest report of every window, oldest first.

        Args:
            name: the monitor.
        """
        self._row(name)
        rows = self._store.database.all(
            "SELECT report FROM monitor_windows WHERE monitor = :name ORDER BY starts_at, model", {"name": name}
        )
        return [self.report(row["report"]) for row in rows]

    @operation(Permission.MONITOR_READ)
    def prediction(self, id: str) -> Prediction:
        """Show one prediction as it was logged.

        Args:
            id: its id.

        Raises:
            NotFound: the log has none of this id.
        """
        return self._store.predictions.get(id.removeprefix("prediction:"))

    @operation(Permission.MONITOR_READ)
    def replay(self, name: str, model: str, since: str = "", until: str = "") -> Replay:
        """Score logged requests again with another version, and compare with the answers that were given.

        Args:
            name: the monitor whose deployment's log is read.
            model: the version that scores.
            since: from this instant.
            until: before this instant.
        """
        version = self._registry.version(model)
        frame = self._labelled_frame(name, since, until)
        return replay(self._registry, version, frame, self._plan(self._row(name)).target, (since, until))

    def report(self, digest: str) -> WindowReport:
        """Return the report of this digest."""
        return msgspec.json.decode(self._store.objects.get(digest), type=WindowReport)

    def plan_of(self, name: str) -> MonitorPlan | None:
        """Return the plan of a monitor, or None when there is none."""
        row = self._store.database.one("SELECT * FROM monitors WHERE name = :name", {"name": name})
        return self._plan(row) if row else None

    def labelled(self, name: str) -> pl.DataFrame:
        """Return the inputs of all predictions whose label is known, with the label's columns and the subject's id."""
        import polars as pl

        plan = self._plan(self._row(name))
        frame = self._labelled_frame(name).filter(pl.col(plan.target).is_not_null())
        inputs = {column: column.removeprefix("inputs.") for column in frame.columns if column.startswith("inputs.")}
        meta = [
            c
            for c in ("at", "bundle", "deployment", "revision", "request_id", "row", "score", "label", "route", "exact")
        ]
        shaped = frame.drop(meta, strict=False).rename(inputs).rename({"subject": plan.id})
        return shaped.unique(subset=[plan.id], keep="last", maintain_order=True)

    def duel(self, deployment: str, challenger: str) -> Duel | None:
        """Return champion against challenger on the newest labelled window's rows that the challenger never saw, or None."""
        for row in self._store.database.all("SELECT name FROM monitors"):
            plan = self._plan(self._row(row["name"]))
            if plan.deployment == deployment:
                watched = self.show(row["name"]).model
                return duel(self._registry, self._labelled_frame(row["name"]), plan, (watched, challenger))
        return None

    def first_answer(self, deployment: str, model: str) -> datetime | None:
        """Return the event time of the first request that a version answered in a deployment, or None."""
        import polars as pl

        times = self._store.predictions.frame(deployment).filter(pl.col("model") == model)["occurred_at"]
        return from_micros(int(times.to_physical().min())) if len(times) else None  # type: ignore[arg-type]

    def _look(self, name: str, row: Row, until: datetime) -> Reports:
        import polars as pl

        plan, said = self._plan(row), msgspec.json.decode(row["episode"], type=_Episode)
        reference = msgspec.json.decode(self._store.objects.get(row["reference"]), type=Reference)
        subject = Subject(row["model"], plan, reference)
        frame = self._labelled_frame(name, until=until.isoformat()).filter(pl.col("model") == row["model"])
        held = {
            r["starts_at"]: r
            for r in self._store.database.all(
                "SELECT * FROM monitor_windows WHERE monitor = :name AND model = :model",
                {"name": name, "model": row["model"]},
            )
        }
        period = parse_period(plan.window)
        starts = sorted({period.floor(from_micros(at)) for at in frame["occurred_at"].to_physical().unique().to_list()})
        reports: Reports = []
        fresh: Reports = []
        for start in starts:
            end = period.after(start)
            if end > until or to_micros(start) < said.watched_from:
                continue
            times = pl.col("occurred_at").to_physical()
            rows = frame.filter((times >= to_micros(start)) & (times < to_micros(end)))
            known = held.get(to_micros(start))
            labels = rows.height - rows[plan.target].null_count()
            if known and (known["predictions"], known["labels"]) == (rows.height, labels):
                reports.append(self.report(known["report"]))
                continue
            report = evaluate(subject, rows, (start, end), period, (known["looks"] if known else 0) + 1)
            reports.append(report)
            fresh.append(report)
        if not fresh:
            return []
        verdict = decide([_facts(report) for report in reports], _standard(plan, reference))
        fresh[-1] = msgspec.structs.replace(fresh[-1], verdict=verdict)
        ids = {r.window: digest("\n".join(sorted(_ids(frame, r))).encode()) for r in fresh}
        self._store.database.write(lambda tx: self._record(tx, (name, row["model"]), fresh, ids, (said, verdict)))
        return fresh

    def _record(
        self,
        tx: Transaction,
        names: tuple[str, str],
        reports: Reports,
        ids: dict[str, str],
        verdicts: tuple[_Episode, Verdict],
    ) -> None:
        """Write the reports, what they decide, and the alarm that follows, all or nothing."""
        name, model = names
        said, verdict = verdicts
        subject, last = f"monitor:{name}", ""
        for report in reports:
            last = self._store.objects.put(msgspec.json.encode(report))
            tx.run(
                "INSERT INTO monitor_windows (monitor, starts_at, ends_at, model, predictions, labels, severity, verdict,"
                " report, looks, evaluated_at) VALUES (:monitor, :starts, :ends, :model, :predictions, :labels, :severity,"
                " :verdict, :report, :looks, :at) ON CONFLICT (monitor, starts_at, model) DO UPDATE SET"
                " predictions = excluded.predictions, labels = excluded.labels, severity = excluded.severity,"
                " verdict = excluded.verdict, report = excluded.report, looks = excluded.looks,"
                " evaluated_at = excluded.evaluated_at",
                {
                    "monitor": name,
                    "starts": to_micros(report.starts_at),
                    "ends": to_micros(report.ends_at),
                    "model": model,
                    "predictions": report.predictions,
                    "labels": report.labels,
                    "severity": report.severity,
                    "verdict": report.verdict.action,
                    "report": last,
                    "looks": report.looks,
                    "at": self._now(),
                },
            )
            data = {
                "window": report.window,
                "report": last,
                "verdict": report.verdict.action,
                "predictions": ids[report.window],
            }
            self._store.ledger.append(tx, "window.evaluated", subject, data)
        changed = (verdict.action, verdict.since) != (said.action, said.since)
        signal = "drift" if verdict.since else "quality"
        if changed and verdict.action != "keep":
            data = {
                "window": reports[-1].window,
                "signal": signal,
                "verdict": verdict.action,
                "report": last,
                "reason": verdict.reason,
            }
            self._store.ledger.append(tx, "alarm.raised", subject, data)
        elif changed and said.action != "keep":
            data = {"window": reports[-1].window, "reason": verdict.reason}
            self._store.ledger.append(tx, "alarm.closed", subject, data)
        episode = msgspec.structs.replace(said, action=verdict.action, since=verdict.since, reason=verdict.reason)
        tx.run("UPDATE monitors SET episode = :e WHERE name = :name", {"e": _encode(episode), "name": name})

    def _labelled_frame(self, name: str, since: str = "", until: str = "") -> pl.DataFrame:
        plan = self._plan(self._row(name))
        first = to_micros(_instant(since)) if since else None
        last = to_micros(_instant(until)) if until else None
        return with_labels(self._store, name, plan, self._store.predictions.frame(plan.deployment, first, last))

    def _row(self, name: str) -> Row:
        row = self._store.database.one("SELECT * FROM monitors WHERE name = :name", {"name": name})
        if row is None:
            known = (r["name"] for r in self._store.database.all("SELECT name FROM monitors"))
            raise NotFound.named("monitor", name, known)
        return row

    def _plan(self, row: Row) -> MonitorPlan:
        return msgspec.json.decode(self._store.objects.get(row["plan"]), type=MonitorPlan)

    def _now(self) -> int:
        return to_micros(self._store.clock.now())


def _facts(report: WindowReport) -> WindowFacts:
    worst = [drift for drift in report.drifts if drift.severity == report.severity]
    return WindowFacts(
        name=report.window,
        drift=severity_of(report.drifts),
        reason=worst[0].reason if worst and report.severity != "none" else "",
        labels=report.labels if report.realised else 0,
        auc=report.realised.value if report.realised else None,
        auc_se=report.realised.se if report.realised else 0.0,
    )


def _standard(plan: MonitorPlan, reference: Reference) -> Standard:
    period = parse_period(plan.window)
    seconds = period.seconds or period.months * _YEAR_S / 12
    return Standard(
        auc=reference.auc,
        auc_se=reference.auc_se,
        at_least=plan.at_least or None,
        false_alarms=plan.false_alarms,
        windows=max(1, round(_YEAR_S / seconds)),
    )


def _ids(frame: pl.DataFrame, report: WindowReport) -> list[str]:
    import polars as pl

    times = pl.col("occurred_at").to_physical()
    inside = (times >= to_micros(report.starts_at)) & (times < to_micros(report.ends_at))
    return [str(value) for value in frame.filter(inside)["id"].to_list()]


def _instant(text: str) -> datetime:
    try:
        return parse_instant(text)
    except ValueError:
        raise Invalid(f"{text!r} is no instant.", about="monitor", hint="Write for example 2017-02-01.") from None


def _encode(episode: _Episode) -> str:
    return canonical(episode).decode()
