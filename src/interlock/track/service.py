"""The tracking service: runs, and what they leave behind."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from interlock.core.clock import from_micros, to_micros
from interlock.core.errors import Invalid, NotFound
from interlock.core.files import StoredFile
from interlock.core.operations import Permission, operation
from interlock.core.refs import parse
from interlock.store.segments import pack
from interlock.track.artifacts import check_place
from interlock.track.compare import Comparison, compare
from interlock.track.instants import instant
from interlock.track.metrics import sealed
from interlock.track.records import Delivery, Metric, Run, RunPage, Start, Status
from interlock.track.runs import may_end, rows_of, run_row
from interlock.track.search import Query, search_runs
from interlock.track.tracker import Tracker

if TYPE_CHECKING:
    from interlock.core.ports import Row, Transaction
    from interlock.store import Store

Runs = list[Run]


class TrackService:
    """Runs: params, metrics, tags, artifacts and logs of every training."""

    name = "track"

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tracker = Tracker(store)

    @operation(Permission.TRACK_WRITE, emits=("run.started", "experiment.created"))
    def start(self, start: Start) -> Run:
        """Start a run; its experiment is made if it is new.

        Args:
            start: experiment, name, params, tags, inputs, cause, code and environment digests.

        Raises:
            Conflict: the experiment is deleted.
        """
        return self.run(self._store.database.write(lambda tx: self._tracker.runs.create(tx, start)))

    @operation(Permission.TRACK_WRITE, emits=("run.logged",))
    def log(self, run: str, params: dict[str, str] | None = None, tags: dict[str, str] | None = None) -> Run:
        """Add params and tags to a run. A param keeps its first value; a tag takes the newest.

        Args:
            run: the run.
            params: values by name.
            tags: values by name.

        Raises:
            Conflict: a param is there already with another value.
        """
        ident = self._ident(run)

        def change(tx: Transaction) -> None:
            self._tracker.metrics.active_row(tx, ident)
            self._tracker.runs.log(tx, ident, params or {}, tags or {})

        self._store.database.write(change)
        return self.run(ident)

    @operation(Permission.TRACK_WRITE, emits=("run.logged",))
    def log_metrics(self, run: str, values: dict[str, float], step: int = 0) -> None:
        """Add one point to each of some metrics of a run.

        Args:
            run: the run.
            values: values by metric.
            step: the step they belong to.
        """
        at = to_micros(self._store.clock.now())
        self.log_segments(run, {name: pack([step], [at], [value]) for name, value in values.items()})

    @operation(Permission.TRACK_WRITE, emits=("run.logged", "run.linked"))
    def deliver(self, run: str, delivery: Delivery) -> int:
        """Take what a writer sends of a run; return its number. What comes a second time changes nothing.

        Args:
            run: the run.
            delivery: packed points, params, tags and printed text, numbered by their writer.

        Raises:
            Invalid: a segment is not whole.
            Conflict: a param is there already with another value.
        """
        ident = self._ident(run)
        self._tracker.deliver(ident, delivery)
        return delivery.number

    @operation(Permission.TRACK_WRITE, emits=("run.artifact_logged",))
    def log_artifact(self, run: str, path: str, file: StoredFile) -> StoredFile:
        """Add a file to a run; a file of the same path is replaced.

        Args:
            run: the run.
            path: where it lies among the run's artifacts, such as plots/roc.svg.
            file: the file.

        Raises:
            NotFound: there is no such run.
            Invalid: the path leaves the run's folder, or is a folder there.
        """
        ident = self.run(run).id
        check_place(self._store.database, ident, path)
        kept = self._tracker.keep(path, file)

        def change(tx: Transaction) -> None:
            self._tracker.metrics.active_row(tx, ident)
            self._tracker.artifacts.put(tx, "run", ident, kept)

        self._store.database.write(change)
        return kept

    @operation(Permission.TRACK_WRITE, emits=("run.finished", "run.logged", "run.artifact_logged"))
    def finish(self, run: str, status: Status = "finished", reason: str = "", ended_at: datetime | None = None) -> Run:
        """End a run; ending it twice in the same way is nothing new.

        Args:
            run: the run.
            status: finished, failed or killed.
            reason: why it did not finish.
            ended_at: when, if that was before now.

        Raises:
            Conflict: it has ended in another way already.
            Invalid: it goes on in this status.
        """
        ident, at = self._ident(run), to_micros(ended_at or self._store.clock.now())
        may_end(run_row(self._store.database, ident), status)
        self._tracker.end(ident, lambda tx, ending: self._tracker.finish(tx, ident, ending, status, reason, at))
        return self.run(ident)

    @operation(Permission.TRACK_WRITE, emits=("run.changed",))
    def resume(self, run: str) -> Run:
        """Let a run that has ended go on.

        Args:
            run: the run.

        Raises:
            Conflict: it is deleted.
        """
        ident = self._ident(run)
        self._store.database.write(lambda tx: self._tracker.runs.change(tx, ident, status="running"))
        return self.run(ident)

    @operation(Permission.TRACK_WRITE, emits=("run.changed",))
    def delete(self, run: str) -> Run:
        """Delete a run: lists leave it out, and it can be restored.

        Args:
            run: the run.
        """
        ident = self._ident(run)
        self._store.database.write(lambda tx: self._tracker.runs.move(tx, ident, "deleted"))
        return self.run(ident)

    @operation(Permission.TRACK_WRITE, emits=("run.changed",))
    def restore(self, run: str) -> Run:
        """Restore a run that was deleted.

        Args:
            run: the run.
        """
        ident = self._ident(run)
        self._store.database.write(lambda tx: self._tracker.runs.move(tx, ident, "active"))
        return self.run(ident)

    @operation(Permission.TRACK_READ)
    def run(self, run: str) -> Run:
        """Show one run.

        Args:
            run: its id or reference.

        Raises:
            NotFound: there is none.
        """
        row = run_row(self._store.database, self._ident(run))
        (found,) = self._records([row])
        return found

    @operation(Permission.TRACK_READ)
    def runs(self, experiment: str = "", status: str = "", limit: int = 100) -> Runs:
        """List runs, newest first.

        Args:
            experiment: only this experiment's.
            status: only running, finished, failed or killed ones.
            limit: at most so many.

        Raises:
            Invalid: the limit is below 1.
        """
        if limit < 1:
            raise Invalid("A list has at least one run.", about="limit", hint="Give a limit of 1 or more.")
        rows = self._store.database.all(
            "SELECT r.* FROM runs r JOIN experiments e ON e.id = r.experiment WHERE r.lifecycle = 'active'"
            " AND (:experiment = '' OR e.name = :experiment) AND (:status = '' OR r.status = :status)"
            " ORDER BY r.started_at DESC, r.id DESC LIMIT :limit",
            {"experiment": experiment, "status": status, "limit": limit},
        )
        return self._records(rows)

    @operation(Permission.TRACK_READ)
    def search(
        self,
        filter: str = "",
        experiments: list[str] | None = None,
        order_by: list[str] | None = None,
        limit: int = 100,
        page_token: str = "",
        deleted: bool = False,
    ) -> RunPage:
        """Find runs, page by page, in the grammar of docs/reference/search.md.

        Args:
            filter: such as "metrics.auc > 0.8 and (params.depth > 3 or tags.kind = 'tree')".
            experiments: their names or ids; without any, all active ones.
            order_by: such as "metrics.auc DESC"; newest first without it.
            limit: how many a page has at most.
            page_token: where the page begins: what the last page came with.
            deleted: deleted runs instead of active ones.

        Raises:
            NotFound: there is no such experiment.
            Invalid: the filter, the order or the token is not sound; the message points at the place.
        """
        database = self._store.database
        idents = self._tracker.experiments.idents(experiments)
        query = Query(filter, tuple(order_by or ()), "deleted" if deleted else "active", limit, page_token)
        page = search_runs(self._tracker, idents, query)
        rows = rows_of(database, [row["id"] for row in page.rows])
        return RunPage(tuple(self._records(rows)), page.next_token)

    @operation(Permission.TRACK_READ)
    def compare(self, runs: list[str], everything: bool = False) -> Comparison:
        """Show what differs between runs: params, newest metrics, tags, code, data, environment, files.

        Args:
            runs: two or more.
            everything: what is the same too.

        Raises:
            NotFound: there is no such run.
            Invalid: fewer than two are named.
        """
        if len(runs) < 2:
            raise Invalid("Name two runs or more.", about="run")
        return compare([self.run(run) for run in runs], everything=everything)

    @operation(Permission.TRACK_READ)
    def metric(self, run: str, name: str) -> Metric:
        """Show all points of one metric of a run.

        Args:
            run: the run.
            name: the metric.

        Raises:
            NotFound: the run has no such metric.
        """
        found = self.run(run)
        if name not in found.metrics:
            raise NotFound.named("metric", name, found.metrics)
        points = self._store.series.points(found.id, name)
        return Metric(name, tuple(points.steps), tuple(map(instant, points.ats)), tuple(points.values))

    @operation(Permission.TRACK_READ)
    def logs(self, run: str, contains: str = "") -> str:
        """Show what a run printed.

        Args:
            run: the run.
            contains: only lines that hold this text.
        """
        text = self._tracker.printed(self._store.database, self._ident(run))
        return "\n".join(line for line in text.splitlines() if contains in line)

    def tagged(self, name: str, value: str) -> Runs:
        """Return the runs with this tag, newest first."""
        rows = self._store.database.all(
            "SELECT r.* FROM run_tags t JOIN runs r ON r.id = t.run WHERE t.name = :name AND t.value = :value"
            " ORDER BY t.run DESC",
            {"name": name, "value": value},
        )
        return self._records(rows)

    def log_segments(self, run: str, segments: dict[str, bytes]) -> None:
        """Add packed points to a run's metrics; their digests go to the ledger, in one event.

        Raises:
            Invalid: a segment is not whole.
        """
        ident, metrics = self._ident(run), self._tracker.metrics
        ready = sealed(ident, segments)
        self._store.database.write(lambda tx: metrics.append(tx, metrics.active_row(tx, ident), ready))

    def set_log(self, run: str, text: bytes) -> None:
        """Keep what a run printed; the ledger has its digest, as of any file that a run leaves."""
        digest, ident = self._store.objects.put(text), self._ident(run)
        self._store.database.write(lambda tx: self._tracker.set_log(tx, ident, digest))

    def _ident(self, run: str) -> str:
        return parse(run, "run").name

    def _records(self, rows: list[Row]) -> Runs:
        """Return rows of the table as records, in the same order."""
        names = self._tracker.experiments.names()
        details = {row["id"]: row for row in rows}
        return [
            Run(
                ref=f"run:{facts.id}",
                id=facts.id,
                experiment=names[facts.experiment],
                name=facts.name,
                status=msgspec.convert(facts.status, Status),
                reason=details[facts.id]["reason"],
                cause=details[facts.id]["cause"],
                code=details[facts.id]["code"],
                environment=details[facts.id]["environment"],
                inputs=tuple(filter(None, details[facts.id]["inputs"].split("\n"))),
                params=facts.params,
                metrics={name: point.value for name, point in facts.metrics.items()},
                tags=facts.tags,
                artifacts=tuple(self._tracker.artifacts.all(facts.id)),
                started_at=from_micros(facts.started_at),
                ended_at=from_micros(facts.ended_at) if facts.ended_at is not None else None,
                parent=details[facts.id]["parent"],
                lifecycle=facts.lifecycle,
            )
            for facts in self._tracker.runs.load(rows)
        ]
