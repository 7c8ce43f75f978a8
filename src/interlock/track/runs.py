"""Runs: their rows, params, tags and life."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.core.clock import to_micros
from interlock.core.errors import Conflict, Invalid, NotFound
from interlock.core.ids import new_id
from interlock.store.series import LatestValue
from interlock.track.experiments import (
    Experiments,
    Lifecycle,
    among,
    check_active,
    drop_pair,
    experiment_row,
    held_pairs,
    pairs,
    set_pairs,
    write_pairs,
)
from interlock.track.names import new_name
from interlock.track.records import ENDED, Start, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from interlock.core.ports import Reader, Row, Transaction
    from interlock.store import Store

PARENT_TAG: Final = "mlflow.parentRunId"
NAME_TAG: Final = "mlflow.runName"
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,255}\Z")  # ULIDs of ours, ids of stores that were taken over


class RunFacts(msgspec.Struct, frozen=True):
    """A run as it is stored; instants in microseconds since 1970 UTC."""

    id: str
    experiment: str
    name: str
    status: Status
    lifecycle: Lifecycle
    owner: str
    started_at: int
    ended_at: int | None
    params: dict[str, str]
    tags: dict[str, str]
    metrics: dict[str, LatestValue]


class Runs:
    """The runs of a workspace.

    Args:
        store: what the workspace remembers.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._experiments = Experiments(store)

    def create(self, tx: Transaction, start: Start, experiment: str = "", owner: str = "") -> str:
        """Return the id of a new run; a start that names an id that is here already is nothing new.

        Args:
            tx: the transaction.
            start: what is known of it.
            experiment: the id of its experiment; "" for the one that `start` names, made when there is none.
            owner: who runs it, as its client says.

        Raises:
            NotFound: there is no such experiment.
            Conflict: the experiment is deleted, or another experiment has a run of this id.
            Invalid: a name is blank, or the id is none.
        """
        check_names(start.params, "param")
        check_names(start.tags, "tag")
        if experiment:
            check_active(experiment_row(tx, experiment), "experiment", experiment)
        else:
            experiment = self._experiments.wanted(tx, start.experiment)
        run = self._id(tx, start, experiment)
        if run is None:
            return start.id
        name = start.name or start.tags.get(NAME_TAG) or (new_name() if owner or NAME_TAG in start.tags else "")
        name = name or f"{start.experiment}-{run[-6:].lower()}"
        at = to_micros(start.started_at or self._store.clock.now())
        tx.run(
            "INSERT INTO runs (id, experiment, name, status, reason, cause, code, environment, inputs, log, started_at,"
            " lifecycle, owner, parent) VALUES (:id, :experiment, :name, 'running', '', :cause, :code, :environment,"
            " :inputs, '', :at, 'active', :owner, :parent)",
            {
                "id": run,
                "experiment": experiment,
                "name": name,
                "cause": start.cause,
                "code": start.code,
                "environment": start.environment,
                "inputs": "\n".join(start.inputs),
                "at": at,
                "owner": owner,
                "parent": start.parent or start.tags.get(PARENT_TAG, ""),
            },
        )
        nested = {PARENT_TAG: start.parent} if start.parent else {}
        set_pairs(tx, "run_params", "run", run, start.params)
        set_pairs(tx, "run_tags", "run", run, {**start.tags, **nested})
        self._tell(tx, run, msgspec.structs.replace(start, experiment=start.experiment or experiment, name=name))
        return run

    def _tell(self, tx: Transaction, run: str, start: Start) -> None:
        data = {
            "experiment": start.experiment,
            "name": start.name,
            "params": start.params,
            "inputs": list(start.inputs),
            "code": start.code,
            "environment": start.environment,
        }
        self._store.ledger.append(tx, "run.started", f"run:{run}", data)

    def log(self, tx: Transaction, run: str, params: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """Add params and tags to a run that is not deleted. A param keeps its first value; a tag takes the newest.

        Raises:
            Conflict: a param is there with another value, or the run is deleted.
            Invalid: a name is blank.
        """
        check_names(params, "param")
        check_names(tags, "tag")
        held = held_pairs(tx, "run_params", "run", run, list(params))
        for name, value in params.items():
            if held.get(name, value) != value:
                raise Conflict(
                    f"Param {name!r} of run {run} is {held[name]!r} already; {value!r} cannot replace it.",
                    about="param",
                    hint="Params never change; log a tag, or start another run.",
                )
        new_params = {name: value for name, value in params.items() if name not in held}
        write_pairs(tx, "run_params", "run", run, new_params)
        new_tags = set_pairs(tx, "run_tags", "run", run, tags)
        if name := new_tags.get(NAME_TAG, ""):
            tx.run("UPDATE runs SET name = :name WHERE id = :id", {"name": name, "id": run})
        if PARENT_TAG in new_tags:
            _set_parent(tx, run, new_tags[PARENT_TAG])
        if new_params or new_tags:
            data = {"params": new_params, "tags": new_tags, "segments": []}
            self._store.ledger.append(tx, "run.logged", f"run:{run}", data)

    def finish(self, tx: Transaction, run: str, status: Status, reason: str, ended_at: int) -> None:
        """End a run; ending it twice in the same way is nothing new.

        Raises:
            Conflict: it has ended in another way already.
            Invalid: it goes on in this status.
        """
        if not may_end(run_row(tx, run), status):
            return
        tx.run(
            "UPDATE runs SET status = :status, reason = :reason, ended_at = :at WHERE id = :id",
            {"status": status, "reason": reason, "at": ended_at, "id": run},
        )
        self._store.ledger.append(tx, "run.finished", f"run:{run}", {"status": status, "reason": reason})

    def change(
        self,
        tx: Transaction,
        run: str,
        *,
        name: str = "",
        status: Status | None = None,
        untag: str = "",
        ended_at: int | None = None,
    ) -> None:
        """Rename a run, set it running or scheduled again, say when it ended, or take a tag away.

        Raises:
            NotFound: there is no such run, or it has no such tag.
            Conflict: it is deleted.
        """
        row = run_row(tx, run)
        check_active(row, "run", run)
        changes: dict[str, Any] = {}
        if name and name != row["name"]:
            tx.run("UPDATE runs SET name = :name WHERE id = :id", {"name": name, "id": run})
            set_pairs(tx, "run_tags", "run", run, {NAME_TAG: name})
            changes["name"] = name
        if status and status != row["status"]:
            tx.run("UPDATE runs SET status = :status, ended_at = NULL WHERE id = :id", {"status": status, "id": run})
            changes["status"] = status
        if ended_at is not None and ended_at != row["ended_at"]:
            tx.run("UPDATE runs SET ended_at = :at WHERE id = :id", {"at": ended_at, "id": run})
            changes["ended_at"] = ended_at
        if untag:
            drop_pair(tx, "run_tags", "run", run, untag)
            if untag == PARENT_TAG:
                _set_parent(tx, run, "")
            changes["untag"] = [untag]
        if changes:
            self._store.ledger.append(tx, "run.changed", f"run:{run}", {"changes": changes})

    def move(self, tx: Transaction, run: str, lifecycle: Lifecycle) -> None:
        """Delete or restore a run; what it logged stays."""
        if run_row(tx, run)["lifecycle"] != lifecycle:
            tx.run("UPDATE runs SET lifecycle = :lifecycle WHERE id = :id", {"lifecycle": lifecycle, "id": run})
            changes = {"lifecycle": lifecycle}
            self._store.ledger.append(tx, "run.changed", f"run:{run}", {"changes": changes})

    def load(self, rows: list[Row]) -> list[RunFacts]:
        """Return rows of the table as runs with params, tags and latest metrics, in the same order.

        Cost: three queries, however many runs; one more for each run whose points are not packed yet.
        """
        database = self._store.database
        idents = [row["id"] for row in rows]
        params, tags = pairs(database, "run_params", "run", idents), pairs(database, "run_tags", "run", idents)
        metrics = self._store.series.latest_of(idents)
        return [
            RunFacts(
                id=row["id"],
                experiment=row["experiment"],
                name=row["name"],
                status=row["status"],
                lifecycle=row["lifecycle"],
                owner=row["owner"],
                started_at=row["started_at"],
                ended_at=row["ended_at"],
                params=params.get(row["id"], {}),
                tags=tags.get(row["id"], {}),
                metrics=metrics.get(row["id"], {}),
            )
            for row in rows
        ]

    def _id(self, tx: Transaction, start: Start, experiment: str) -> str | None:
        """Return the id of a run to be made; None when it is here already."""
        if not start.id:
            return new_id()
        if not _ID.match(start.id):
            raise Invalid(f"{start.id!r} is no id of a run: letters, digits, _ and - are.", about="run")
        held = tx.one("SELECT experiment FROM runs WHERE id = :id", {"id": start.id})
        if held is None:
            return start.id
        if held["experiment"] != experiment:
            raise Conflict(f"There is a run {start.id} in another experiment.", about="run")
        return None


def may_end(row: Row, status: Status) -> bool:
    """Return whether a run is still to end in a status, rather than has so already.

    Raises:
        Conflict: it has ended in another way already.
        Invalid: it goes on in this status.
    """
    if status not in ENDED:
        raise Invalid(f"A run does not end as {status}.", about="run", hint=f"Say {', '.join(sorted(ENDED))}.")
    if row["status"] == status and row["ended_at"] is not None:
        return False
    if row["status"] in ENDED:
        raise Conflict(f"The run has ended already: {row['status']}.", about="run")
    return True


def check_names(names: Iterable[str], what: str) -> None:
    """Accept names of params, tags or metrics.

    Raises:
        Invalid: one is blank.
    """
    if not all(name.strip() for name in names):
        raise Invalid(f"A {what} has no name.", about=what, hint="Names are texts that are not blank.")


def _set_parent(tx: Transaction, run: str, parent: str) -> None:
    tx.run("UPDATE runs SET parent = :parent WHERE id = :id", {"parent": parent, "id": run})


def run_row(reader: Reader, run: str) -> Row:
    """Return a run's row.

    Raises:
        NotFound: there is none.
    """
    row = reader.one("SELECT * FROM runs WHERE id = :id", {"id": run})
    if row is None:
        raise NotFound.named("run", run)
    return row


def rows_of(reader: Reader, runs: list[str]) -> list[Row]:
    """Return runs' rows in the order of their ids given; those that are not there are left out."""
    found = {row["id"]: row for row in among(reader, "SELECT * FROM runs WHERE id IN", runs)}
    return [found[run] for run in runs if run in found]
