"""The monitoring service: windows of predictions against the reference, and labels when they come."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec

from interlock.core.clock import from_micros, parse_instant, to_micros
from interlock.core.errors import Conflict, Invalid, NotFound
from interlock.core.files import StoredFile
from interlock.core.operations import Permission, operation
from interlock.core.periods import parse_period
from interlock.core.refs import check_name
from interlock.monitor.kinds import COLUMNS, Task, known_task, truths_as, with_truth_of
from interlock.monitor.labels import BY_PREDICTION, add_labels, truth_about, with_labels
from interlock.monitor.look import Episode, Watched, encode, look, read_report, shown_of
from interlock.monitor.records import (
    NO_VERDICT,
    LabelBatch,
    LoggedPrediction,
    Monitor,
    MonitorPlan,
    Replay,
    WindowReport,
)
from interlock.monitor.replay import Duel, duel, make_reference, replay
from interlock.monitor.sentences import before_watch
from interlock.monitor.verdict import Standard
from interlock.registry.service import RegistryService
from interlock.store.labels import PREDICTION, SUBJECT, KeptLabel, Labels

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    import polars as pl

    from interlock.core.ports import Row, Transaction
    from interlock.store import Store
    from interlock.store.predictions import Prediction

Reports = list[WindowReport]
Monitors = list[Monitor]
KeptLabels = list[KeptLabel]


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
                "INSERT INTO monitors (name, plan, reference, model, episode, set_at)"
                " VALUES (:name, :plan, '', '', :e, :at)"
                " ON CONFLICT (name) DO UPDATE SET plan = excluded.plan, set_at = excluded.set_at",
                {"name": name, "plan": stored, "e": encode(Episode()), "at": self._now()},
            )
            data = {"plan": stored, "reference": row["reference"] if row else ""}
            self._store.ledger.append(tx, "monitor.set", f"monitor:{name}", data)

        self._store.database.write(change)
        return plan

    @operation(Permission.MONITOR_WRITE, emits=("monitor.set",))
    def watch(self, name: str, model: str) -> Monitor:
        """Let a monitor watch a version from the next window on, against the rows that its gates judged it on.

        Args:
            name: the monitor.
            model: the version.
        """
        version = self._registry.version(model)
        row = self._row(name)
        if row["model"] == version.ref:
            return self.show(name)
        reference = self._store.objects.put(msgspec.json.encode(make_reference(self._registry, version.bundle)))
        plan = self._plan(row)
        period, newest = parse_period(plan.window), self._store.predictions.watermark(plan.deployment)
        newest = newest and min(newest, self._now())  # a row dated in the future must not blind the monitor until then
        start = 0 if newest is None else to_micros(period.after(period.floor(from_micros(newest))))
        episode = Episode(watched_from=start)

        def change(tx: Transaction) -> None:
            values = {"name": name, "reference": reference, "model": version.ref, "episode": encode(episode)}
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

        The target is 0 or 1; of a model of more than two classes one of them, of a regression a number.

        Raises:
            Invalid: a column is missing or a label is no truth of such a model; nothing is kept.
            Conflict: no model that answers there can be read here, so nothing says what a truth is.
        """
        row = self._row(name)
        plan = self._plan(row)
        return add_labels(self._store, name, plan, file, self._expected(row["model"], plan))

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
        plan = self._plan(row)
        frame = self._labelled_frame(name, until=at.isoformat())
        tasks = self._tasks({row["model"], *frame["model"].unique().to_list()}, frame)
        return look(self._store, Watched(name, row["model"], row["reference"], row["episode"], plan, tasks), frame, at)

    @operation(Permission.MONITOR_READ)
    def show(self, name: str) -> Monitor:
        """Show a monitor and what it last said.

        Args:
            name: the monitor.

        Raises:
            NotFound: there is none.

        Cost: where no window was evaluated yet, a look at the predictions of before it was watched.
        """
        shown, start = self._shown(name), msgspec.json.decode(self._row(name)["episode"], type=Episode).watched_from
        if not shown.model or shown.verdict != NO_VERDICT or not start:
            return shown
        before = self._store.predictions.frame(shown.plan.deployment, until=start).height
        return msgspec.structs.replace(shown, reason=shown.reason + before_watch(before))

    def _shown(self, name: str) -> Monitor:
        row = self._row(name)
        return shown_of(row, self._plan(row))

    @operation(Permission.MONITOR_READ)
    def monitors(self) -> Monitors:
        """List all monitors."""
        return [self._shown(row["name"]) for row in self._store.database.all("SELECT name FROM monitors ORDER BY name")]

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
    def prediction(self, id: str) -> LoggedPrediction:
        """Show one prediction as it was logged, and what labels say is true of it.

        Args:
            id: its id.

        Raises:
            NotFound: the log has none of this id.
        """
        row = self._store.predictions.get(id.removeprefix("prediction:"))
        found = msgspec.structs.asdict(row)
        instants = {name: from_micros(found[name]) for name in ("at", "occurred_at")}
        return LoggedPrediction(**found | instants, truth=truth_about(self._store, row))

    @operation(Permission.MONITOR_READ)
    def labels(self, about: str) -> KeptLabels:
        """List what was said to be true of a prediction or subject: each label and each correction, oldest first.

        Args:
            about: a prediction's id or a subject, as they stand or as prediction:ID and subject:TEXT.

        Raises:
            NotFound: there is no label of it.
        """
        book = Labels(self._store)
        named = about.startswith((PREDICTION, SUBJECT))
        found = [*(book.said(about) if named else ()), *book.said(PREDICTION + about), *book.said(SUBJECT + about)]
        if not found:
            raise NotFound(
                f"There is no label of {about!r}.", about="label", hint="Labels come by POST /labels of a model server."
            )
        return found

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
        return replay(self._registry, version, frame, (since, until))

    def is_watching(self, name: str) -> bool:
        """Return whether a monitor is set and watches a version."""
        row = self._store.database.one("SELECT model FROM monitors WHERE name = :name", {"name": name})
        return bool(row and row["model"])

    def report(self, digest: str) -> WindowReport:
        """Return the report of this digest."""
        return read_report(self._store, digest)

    def plan_of(self, name: str) -> MonitorPlan | None:
        """Return the plan of a monitor, or None when there is none."""
        row = self._store.database.one("SELECT * FROM monitors WHERE name = :name", {"name": name})
        return self._plan(row) if row else None

    def labelled(self, name: str, until: datetime | None = None) -> pl.DataFrame:
        """Return the inputs of predictions whose label is known, with the label's columns and both ids.

        The truth stands in the column of the target, as the models that answer there have it: 0 and 1, numbers, or
        classes. A subject that is there twice keeps its newest row; rows without a subject (null) are all kept. A
        plan without an id column has no subjects; `prediction_id` is always there.

        Args:
            name: the monitor.
            until: only predictions about what happened before this instant.
        """
        import polars as pl

        row = self._row(name)
        plan = self._plan(row)
        frame = self._labelled_frame(name, until=until.isoformat() if until else "")
        kind = self._expected(row["model"], plan).kind
        frame = with_truth_of(frame, kind)
        truth = truths_as(frame, kind).alias(plan.target)
        inputs = {column: column.removeprefix("inputs.") for column in frame.columns if column.startswith("inputs.")}
        meta = ["at", "bundle", "deployment", "revision", "request_id", "row", "score", "label", "route", "exact"]
        meta += ["caller", "latency_s", *COLUMNS]
        meta += {*inputs.values()} - {"id", "subject"}  # labels may have these columns too: what was scored counts
        shaped = frame.drop(meta, strict=False).rename(inputs | {"id": BY_PREDICTION}).with_columns(truth)
        if not plan.id:
            return shaped.drop("subject")
        shaped = shaped.filter((pl.col("subject") == "") | pl.col("subject").is_last_distinct())
        return shaped.with_columns(pl.col("subject").replace("", None)).rename({"subject": plan.id})

    def duel(self, deployment: str, challenger: str, until: datetime | None = None) -> Duel | None:
        """Return champion against challenger on the newest labelled rows that the challenger never saw, or None.

        Args:
            deployment: where the champion answers.
            challenger: the version on trial.
            until: only predictions about what happened before this instant.

        Raises:
            Invalid: the monitor has no id column, so nothing says which rows those are.
        """
        for row in self._store.database.all("SELECT name FROM monitors"):
            plan = self._plan(self._row(row["name"]))
            if plan.deployment == deployment:
                watched = self._shown(row["name"]).model
                frame = self._labelled_frame(row["name"], until=until.isoformat() if until else "")
                return duel(self._registry, frame, plan, (watched, challenger))
        return None

    def first_answer(self, deployment: str, model: str, until: datetime | None = None) -> datetime | None:
        """Return the event time of the first request before `until` that a version answered in a deployment, or None.

        Args:
            deployment: where it answers.
            model: the version.
            until: only predictions about what happened before this instant.
        """
        import polars as pl

        last = to_micros(until) if until else None
        times = self._store.predictions.frame(deployment, until=last).filter(pl.col("model") == model)["occurred_at"]
        return from_micros(int(times.to_physical().min())) if len(times) else None  # type: ignore[arg-type]

    def _labelled_frame(self, name: str, since: str = "", until: str = "") -> pl.DataFrame:
        plan = self._plan(self._row(name))
        first = to_micros(_instant(since)) if since else None
        last = to_micros(_instant(until)) if until else None
        return with_labels(self._store, name, plan, self._store.predictions.frame(plan.deployment, first, last))

    def _tasks(self, models: Collection[str], frame: pl.DataFrame) -> dict[str, Task]:
        """Return what the truths of versions are, where that is known; of one that has gone, by what it answered."""
        logged = dict(frame.select("model", "bundle").unique("model", keep="last").iter_rows())
        found = {model: self._task(model, logged.get(model, "")) for model in models}
        return {model: task for model, task in found.items() if task is not None}

    def _task(self, model: str, bundle: str = "") -> Task | None:
        """Return what the truths of a version are, or None where nothing says it.

        Args:
            model: the version; "" for none.
            bundle: its files, for a version that has gone; "" where these are not known.
        """
        if model:
            with contextlib.suppress(NotFound):
                bundle = self._registry.version(model).bundle or bundle
        return known_task(self._registry, self._store.objects, bundle) if bundle else None

    def _expected(self, model: str, plan: MonitorPlan) -> Task:
        """Return what the truths of a deployment are: those of the version that is watched, or that answered last.

        Before anything has answered they are those of two classes.

        Raises:
            Conflict: neither can be read here.
        """
        found = self._task(model)
        if found is not None:
            return found
        newest = self._newest(plan.deployment)
        if newest is None and not model:
            return Task()
        found = self._task("", newest.bundle) if newest is not None else None
        if found is None:
            raise Conflict(
                f"Nothing says what a truth of deployment:{plan.deployment} is: its model cannot be read here.",
                about="labels",
                hint="Send labels to POST /labels of the server that answers, or watch a version that is here.",
            )
        return found

    def _newest(self, deployment: str) -> Prediction | None:
        """Return the newest prediction of a deployment. Cost: the files and blocks of that instant."""
        log = self._store.predictions
        at = log.watermark(deployment)
        return None if at is None else max(log.rows(deployment, at), key=lambda row: row.id, default=None)

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


def _instant(text: str) -> datetime:
    try:
        return parse_instant(text)
    except ValueError:
        raise Invalid(f"{text!r} is no instant.", about="monitor", hint="Write for example 2017-02-01.") from None
