"""The tracking service: experiments, runs, and what they leave behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from interlock.core.clock import from_micros, to_micros
from interlock.core.errors import Conflict, Invalid, NotFound
from interlock.core.files import StoredFile
from interlock.core.ids import new_id
from interlock.core.operations import Permission, operation
from interlock.core.refs import check_name, is_safe_path, parse
from interlock.store.segments import pack
from interlock.track.records import Experiment, Metric, Run, Start, Status

if TYPE_CHECKING:
    from interlock.core.ports import Reader, Row, Transaction
    from interlock.store import Store

Experiments = list[Experiment]
Runs = list[Run]


class TrackService:
    """Runs: params, metrics, tags, artifacts and logs of every training."""

    name = "track"

    def __init__(self, store: Store) -> None:
        self._store = store

    @operation(Permission.TRACK_WRITE, emits=("run.started", "experiment.created"))
    def start(self, start: Start) -> Run:
        """Start a run; its experiment is made if it is new.

        Args:
            start: experiment, name, params, tags, inputs, cause, code and environment digests.
        """
        check_name(start.experiment, "experiment")
        run, at = new_id(), to_micros(self._store.clock.now())

        def change(tx: Transaction) -> None:
            experiment = self._experiment(tx, start.experiment, at)
            tx.run(
                "INSERT INTO runs"
                " (id, experiment, name, status, reason, cause, code, environment, inputs, log, started_at)"
                " VALUES (:id, :experiment, :name, 'running', '', :cause, :code, :environment, :inputs, '', :at)",
                {
                    "id": run,
                    "experiment": experiment,
                    "name": start.name or f"{start.experiment}-{run[-6:].lower()}",
                    "cause": start.cause,
                    "code": start.code,
                    "environment": start.environment,
                    "inputs": "\n".join(start.inputs),
                    "at": at,
                },
            )
            _set(tx, "run_params", run, start.params)
            _set(tx, "run_tags", run, start.tags)
            data = {
                "experiment": start.experiment,
                "name": start.name,
                "params": start.params,
                "inputs": list(start.inputs),
                "code": start.code,
                "environment": start.environment,
            }
            self._store.ledger.append(tx, "run.started", f"run:{run}", data)

        self._store.database.write(change)
        return self.run(run)

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
            held = {row["name"]: row["value"] for row in _named(tx, "run_params", ident)}
            for name, value in (params or {}).items():
                if held.get(name, value) != value:
                    raise Conflict(
                        f"Param {name!r} of this run is {held[name]!r} already.",
                        about="param",
                        hint="Params never change; log a tag, or start another run.",
                    )
            _set(tx, "run_params", ident, params or {})
            _set(tx, "run_tags", ident, tags or {})
            data = {"params": params or {}, "tags": tags or {}, "segments": []}
            self._store.ledger.append(tx, "run.logged", f"run:{ident}", data)

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

    @operation(Permission.TRACK_WRITE, emits=("run.artifact_logged",))
    def log_artifact(self, run: str, path: str, file: StoredFile) -> StoredFile:
        """Add a file to a run; a file of the same path is replaced.

        Args:
            run: the run.
            path: where it lies among the run's artifacts, such as plots/roc.svg.
            file: the file.

        Raises:
            NotFound: there is no such run.
            Invalid: the path leaves the run's folder.
        """
        ident = self.run(run).id
        if not is_safe_path(path):
            raise Invalid(f"{path!r} is no path inside a run.", about="artifact", hint="Use plain relative parts.")
        self._store.uploads.keep([file.digest])
        size = file.size_bytes

        def change(tx: Transaction) -> None:
            tx.run(
                "INSERT INTO run_artifacts (run, path, digest, size_bytes) VALUES (:run, :path, :digest, :size)"
                " ON CONFLICT (run, path) DO UPDATE SET digest = excluded.digest, size_bytes = excluded.size_bytes",
                {"run": ident, "path": path, "digest": file.digest, "size": size},
            )
            self._store.ledger.append(tx, "run.artifact_logged", f"run:{ident}", {"path": path, "digest": file.digest})

        self._store.database.write(change)
        return StoredFile(path, file.digest, size)

    @operation(Permission.TRACK_WRITE, emits=("run.finished",))
    def finish(self, run: str, status: Status = "finished", reason: str = "") -> Run:
        """End a run; ending it twice in the same way is nothing new.

        Args:
            run: the run.
            status: finished, failed or killed.
            reason: why it did not finish.

        Raises:
            Conflict: it has ended in another way already.
        """
        ident = self._ident(run)

        def change(tx: Transaction) -> None:
            row = tx.one("SELECT status FROM runs WHERE id = :id", {"id": ident})
            if row is None or row["status"] == status:
                return
            if row["status"] != "running":
                raise Conflict(f"The run has ended already: {row['status']}.", about="run")
            tx.run(
                "UPDATE runs SET status = :status, reason = :reason, ended_at = :at WHERE id = :id",
                {"status": status, "reason": reason, "at": to_micros(self._store.clock.now()), "id": ident},
            )
            self._store.ledger.append(tx, "run.finished", f"run:{ident}", {"status": status, "reason": reason})

        self._store.database.write(change)
        return self.run(ident)

    @operation(Permission.TRACK_READ)
    def run(self, run: str) -> Run:
        """Show one run.

        Args:
            run: its id or reference.

        Raises:
            NotFound: there is none.
        """
        ident, database = self._ident(run), self._store.database
        row = database.one(
            "SELECT r.*, e.name AS experiment_name FROM runs r JOIN experiments e ON e.id = r.experiment"
            " WHERE r.id = :id",
            {"id": ident},
        )
        if row is None:
            raise NotFound.named("run", ident)
        return self._record(database, row)

    @operation(Permission.TRACK_READ)
    def runs(self, experiment: str = "", status: str = "", limit: int = 100) -> Runs:
        """List runs, newest first.

        Args:
            experiment: only this experiment's.
            status: only running, finished, failed or killed ones.
            limit: at most so many.
        """
        rows = self._store.database.all(
            "SELECT r.*, e.name AS experiment_name FROM runs r JOIN experiments e ON e.id = r.experiment"
            " WHERE (:experiment = '' OR e.name = :experiment) AND (:status = '' OR r.status = :status)"
            " ORDER BY r.started_at DESC, r.id DESC LIMIT :limit",
            {"experiment": experiment, "status": status, "limit": limit},
        )
        return [self._record(self._store.database, row) for row in rows]

    @operation(Permission.TRACK_READ)
    def experiments(self) -> Experiments:
        """List all experiments."""
        rows = self._store.database.all(
            "SELECT e.*, (SELECT count(*) FROM runs r WHERE r.experiment = e.id) AS runs"
            " FROM experiments e ORDER BY name"
        )
        return [Experiment(r["id"], r["name"], r["runs"], from_micros(r["created_at"])) for r in rows]

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
        return Metric(name, tuple(points.steps), tuple(from_micros(at) for at in points.ats), tuple(points.values))

    @operation(Permission.TRACK_READ)
    def logs(self, run: str, contains: str = "") -> str:
        """Show what a run printed.

        Args:
            run: the run.
            contains: only lines that hold this text.
        """
        row = self._store.database.one("SELECT log FROM runs WHERE id = :id", {"id": self.run(run).id})
        text = self._store.objects.get(row["log"]).decode("utf-8", "replace") if row and row["log"] else ""
        return "\n".join(line for line in text.splitlines() if contains in line)

    def tagged(self, name: str, value: str) -> Runs:
        """Return the runs with this tag, newest first."""
        rows = self._store.database.all(
            "SELECT t.run FROM run_tags t WHERE t.name = :name AND t.value = :value ORDER BY t.run DESC",
            {"name": name, "value": value},
        )
        return [self.run(row["run"]) for row in rows]

    def log_segments(self, run: str, segments: dict[str, bytes]) -> None:
        """Add packed points to a run's metrics; their digests go to the ledger, in one event.

        Raises:
            Corrupt: a segment is not whole.
        """
        ident = self.run(run).id

        def change(tx: Transaction) -> None:
            digests = [self._store.series.append(tx, ident, name, segment) for name, segment in segments.items()]
            self._store.ledger.append(tx, "run.logged", f"run:{ident}", {"params": {}, "tags": {}, "segments": digests})

        self._store.database.write(change)

    def set_log(self, run: str, text: bytes) -> None:
        """Keep what a run printed; the ledger has its digest, as of any file that a run leaves."""
        digest, ident = self._store.objects.put(text), self._ident(run)

        def change(tx: Transaction) -> None:
            tx.run("UPDATE runs SET log = :log WHERE id = :id", {"log": digest, "id": ident})
            data = {"path": "log.txt", "digest": digest}
            self._store.ledger.append(tx, "run.artifact_logged", f"run:{ident}", data)

        self._store.database.write(change)

    def _ident(self, run: str) -> str:
        return parse(run, "run").name

    def _experiment(self, tx: Transaction, name: str, at: int) -> str:
        row = tx.one("SELECT id FROM experiments WHERE name = :name", {"name": name})
        if row is not None:
            return str(row["id"])
        ident = new_id()
        tx.run(
            "INSERT INTO experiments (id, name, created_at) VALUES (:id, :name, :at)",
            {"id": ident, "name": name, "at": at},
        )
        self._store.ledger.append(tx, "experiment.created", f"experiment:{name}", {"name": name})
        return ident

    def _record(self, database: Reader, row: Row) -> Run:
        ident = row["id"]
        artifacts = database.all("SELECT * FROM run_artifacts WHERE run = :run ORDER BY path", {"run": ident})
        return Run(
            ref=f"run:{ident}",
            id=ident,
            experiment=row["experiment_name"],
            name=row["name"],
            status=msgspec.convert(row["status"], Status),
            reason=row["reason"],
            cause=row["cause"],
            code=row["code"],
            environment=row["environment"],
            inputs=tuple(filter(None, row["inputs"].split("\n"))),
            params={r["name"]: r["value"] for r in _named(database, "run_params", ident)},
            metrics={name: point.value for name, point in self._store.series.latest(ident).items()},
            tags={r["name"]: r["value"] for r in _named(database, "run_tags", ident)},
            artifacts=tuple(StoredFile(a["path"], a["digest"], a["size_bytes"]) for a in artifacts),
            started_at=from_micros(row["started_at"]),
            ended_at=from_micros(row["ended_at"]) if row["ended_at"] is not None else None,
        )


def _named(database: Reader, table: str, run: str) -> list[Row]:
    return database.all(f"SELECT name, value FROM {table} WHERE run = :run ORDER BY name", {"run": run})  # noqa: S608


def _set(tx: Transaction, table: str, run: str, values: dict[str, str]) -> None:
    tx.run_many(
        f"INSERT INTO {table} (run, name, value) VALUES (:run, :name, :value)"  # noqa: S608 - the table is ours
        " ON CONFLICT (run, name) DO UPDATE SET value = excluded.value",
        ({"run": run, "name": name, "value": value} for name, value in values.items()),
    )
