"""Taking over an MLflow store: everything in it, once, with a report that counts both sides.

Ids of runs and logged models stay, so that `runs:/` and `models:/` addresses go on to mean what they meant; numbers of
versions too (where the store has a gap, a version is made and put away). What is here already is left alone, so that an
import that broke off is simply started again.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

import msgspec

from interlock.bridges.mlflow.intake import Intake, Watch
from interlock.bridges.mlflow.taking_models import take_logged_model
from interlock.bridges.mlflow.taking_registry import take_model
from interlock.bridges.mlflow.taking_runs import take_run
from interlock.core.errors import Conflict

if TYPE_CHECKING:
    from interlock.bridges.mlflow.records import Source, TheirExperiment
    from interlock.core.ports import Row, Transaction
    from interlock.store import Store

_KINDS: Final = (
    "experiments",
    "experiment tags",
    "runs",
    "params",
    "tags",
    "metrics",
    "points",
    "inputs",
    "outputs",
    "artifacts",
    "logged models",
    "logged model params",
    "logged model tags",
    "logged model points",
    "models",
    "model tags",
    "versions",
    "version tags",
    "stages",
    "aliases",
    "descriptions",
)


class Count(msgspec.Struct, frozen=True):
    """How many of a kind there are in the store, and here now of these."""

    TABLE: ClassVar = ("what", "there", "here")

    what: str
    there: int
    here: int


class Report(msgspec.Struct, frozen=True):
    """What an import did.

    Attributes:
        counts: both sides of each kind: what was read there, and what the workspace's database holds of it afterwards.
        left: what could not be taken over, and why.
        others: how many of what the store holds are of kinds that are never taken over.
        complete: whether both sides are equal and nothing was left.
        dry: whether it only counted.
    """

    counts: tuple[Count, ...]
    left: tuple[str, ...]
    others: dict[str, int]
    complete: bool
    dry: bool = False


class Importer:
    """Takes a store over into a workspace.

    Args:
        store: the workspace.
        source: the store.
        watch: is told how it goes.
        dry: whether it only counts, and writes nothing.
    """

    def __init__(self, store: Store, source: Source, watch: Watch | None = None, *, dry: bool = False) -> None:
        self._intake = Intake(store, source, watch or Watch(), dry=dry)

    def run(self) -> Report:
        """Take everything over; return the report.

        Cost: constant memory beside a list of the ids of an experiment's runs; of servers, one metric's points.
        """
        intake = self._intake
        overview = intake.source.overview()
        intake.watch.expects(overview.runs)
        if not intake.dry:
            intake.tracker.experiments.ensure_default()  # theirs of this name is ours
        for theirs in intake.each("experiments", iter(intake.source.experiments())):
            intake.watch.began(f"experiment {theirs.name}")
            intake.guarded(f"experiment {theirs.name}", partial(self._experiment, theirs))
        for model, versions in intake.each("registered models", iter(intake.source.models())):
            what = f"model {model.name}"
            intake.watch.began(what)
            intake.guarded(what, partial(take_model, intake, model, versions))
        intake.watch.ended()
        counts = tuple(Count(kind, intake.there[kind], intake.here[kind]) for kind in _KINDS)
        left = intake.left()
        complete = not left and all(count.there == count.here for count in counts)
        return Report(counts, left, overview.others, complete, intake.dry)

    def _experiment(self, theirs: TheirExperiment) -> None:
        """Take an experiment with all in it over, into that of this name, made if there is none."""
        intake = self._intake
        intake.there["experiments"] += 1
        try:
            ident = self._made(theirs)
            intake.experiments[theirs.id] = ident
            self._contents(theirs, ident)
            if theirs.lifecycle == "deleted" and not intake.dry:
                change = intake.tracker.experiments.change
                intake.store.database.write(lambda tx: change(tx, ident, lifecycle="deleted"))
        finally:
            row = self._row(theirs.name)
            held = intake.tracker.experiments.load([row]) if row else []
            intake.here["experiments"] += bool(held and held[0].lifecycle == theirs.lifecycle)
            intake.tally("experiment tags", theirs.tags, held[0].tags if held else {})

    def _contents(self, theirs: TheirExperiment, ident: str) -> None:
        intake = self._intake
        for run in intake.each(f"runs of experiment {theirs.name}", iter(intake.source.runs(theirs.id))):
            intake.guarded(f"run {run.id}", partial(take_run, intake, run, ident))
            intake.watch.took(run.name)
        models = iter(intake.source.logged_models(theirs.id))
        for model in intake.each(f"logged models of experiment {theirs.name}", models):
            intake.guarded(f"logged model {model.id}", partial(take_logged_model, intake, model, ident))

    def _made(self, theirs: TheirExperiment) -> str:
        """Return the id of the experiment of this name; one that is here gets the tags that it lacks."""
        experiments = self._intake.tracker.experiments

        def change(tx: Transaction) -> str:
            row = tx.one("SELECT id, lifecycle FROM experiments WHERE name = :name", {"name": theirs.name})
            if row is None:
                return experiments.create(tx, theirs.name, theirs.tags)
            held = {
                tag["name"] for tag in tx.all("SELECT * FROM experiment_tags WHERE experiment = :id", {"id": row["id"]})
            }
            lacking = {name: value for name, value in theirs.tags.items() if name not in held}
            if lacking and row["lifecycle"] == "active":
                experiments.change(tx, row["id"], tags=lacking)
            return str(row["id"])

        row = self._row(theirs.name)
        if row is not None and row["lifecycle"] == "deleted" and theirs.lifecycle == "active":
            raise Conflict(
                "It is deleted here.", about="import", hint="Restore it, and start the import again; or let it go."
            )
        if self._intake.dry:
            return str(row["id"]) if row is not None else ""
        return self._intake.store.database.write(change)

    def _row(self, name: str) -> Row | None:
        return self._intake.store.database.one("SELECT * FROM experiments WHERE name = :name", {"name": name})
