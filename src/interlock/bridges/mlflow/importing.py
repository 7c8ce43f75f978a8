"""Taking over an MLflow store: everything in it, once, with a report that counts both sides.

Ids of runs and logged models stay, so that `runs:/` and `models:/` addresses go on to mean what they meant; numbers of
versions too (where the store has a gap, a version is made and put away). What is here already is left alone, so that an
import that broke off is simply started again.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec

from interlock.bridges.mlflow.careful import why
from interlock.core.clock import from_micros
from interlock.core.errors import Conflict, Error, Invalid
from interlock.core.files import StoredFile
from interlock.core.refs import is_safe_path
from interlock.registry.catalogue import Catalogue
from interlock.store.inbox import distinct
from interlock.store.manifests import Entry, put_entries
from interlock.store.segments import MAX_POINTS, pack
from interlock.track.links import Dataset, Link
from interlock.track.logged_models import ModelChange, ModelDraft, ModelStatus
from interlock.track.records import ENDED, Start, Status
from interlock.track.tracker import Tracker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from interlock.bridges.mlflow.records import Source, TheirExperiment, TheirLoggedModel, TheirModel, TheirRun
    from interlock.bridges.mlflow.records import TheirVersion as Version
    from interlock.core.ports import Transaction
    from interlock.store import Store
    from interlock.track.artifacts import Kind

_KINDS: Final = (
    "experiments",
    "runs",
    "params",
    "tags",
    "metrics",
    "points",
    "artifacts",
    "logged models",
    "models",
    "versions",
    "aliases",
)
_MAX_GAPS: Final = 10_000  # numbers of deleted versions to give out again; a store that asks for more is a trap
_MODEL_STATUS: Final[dict[str, ModelStatus]] = {
    "LOGGED_MODEL_READY": "ready",
    "LOGGED_MODEL_PENDING": "pending",
    "LOGGED_MODEL_UPLOAD_FAILED": "upload_failed",
}


class Count(msgspec.Struct, frozen=True):
    """How many of a kind there are in the store, and here now of these."""

    TABLE: ClassVar = ("what", "there", "here")

    what: str
    there: int
    here: int


class Report(msgspec.Struct, frozen=True):
    """What an import did.

    Attributes:
        counts: both sides of each kind.
        left: what could not be taken over, and why.
        complete: whether both sides are equal and nothing was left.
    """

    counts: tuple[Count, ...]
    left: tuple[str, ...]
    complete: bool


class Importer:
    """Takes a store over into a workspace.

    Args:
        store: the workspace.
        source: the store.
        progress: is told what is being taken over.
    """

    def __init__(self, store: Store, source: Source, progress: Callable[[str], None] = lambda _: None) -> None:
        self._store, self._source, self._progress = store, source, progress
        self._tracker, self._registry = Tracker(store), Catalogue(store)
        self._there: Counter[str] = Counter()
        self._here: Counter[str] = Counter()
        self._gaps: Counter[str] = Counter()
        self._left: list[str] = []

    def run(self) -> Report:
        """Take everything over; return the report."""
        self._tracker.experiments.ensure_default()  # theirs of this name is ours
        self._guarded("experiments", self._experiments)
        self._guarded("models", self._models)
        counts = tuple(Count(kind, self._there[kind], self._here[kind]) for kind in _KINDS)
        equal = all(count.there == count.here for count in counts)
        left = self._all_left()
        return Report(counts, left, equal and not left)

    def _all_left(self) -> tuple[str, ...]:
        """Return what was left here and by the source, each once; names of files that are no text are made one."""
        told: list[str] = getattr(self._source, "left", [])  # sources on disk go on after a bad record
        lines = dict.fromkeys(line.encode("utf-8", "replace").decode() for line in [*self._left, *told])
        told.clear()
        return tuple(lines)

    def _experiments(self) -> None:
        for theirs in self._source.experiments():
            self._there["experiments"] += 1
            self._progress(f"experiment {theirs.name}")
            self._guarded(f"experiment {theirs.name}", partial(self._experiment, theirs))

    def _models(self) -> None:
        for registered, versions in self._source.models():
            self._progress(f"model {registered.name}")
            self._guarded(f"model {registered.name}", partial(self._model, registered, versions))

    def _guarded(self, what: str, work: Callable[[], None]) -> None:
        """Do a part; what it cannot take over is told in the report and stops nothing else."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 - the border to a store that anyone may have made
            self._left.append(f"{what}: {why(error)}")

    def _experiment(self, theirs: TheirExperiment) -> None:
        """Take an experiment with all in it over, into that of this name, made if there is none."""
        experiments = self._tracker.experiments

        def change(tx: Transaction) -> str:
            held = tx.one("SELECT id FROM experiments WHERE name = :name", {"name": theirs.name})
            return str(held["id"]) if held else experiments.create(tx, theirs.name, theirs.tags)

        ident = self._store.database.write(change)
        for run in self._source.runs(theirs.id):
            self._guarded(f"run {run.id}", partial(self._run, run, ident))
        for model in self._source.logged_models(theirs.id):
            self._guarded(f"logged model {model.id}", partial(self._logged_model, model, ident))
        if theirs.lifecycle == "deleted":
            self._store.database.write(lambda tx: experiments.change(tx, ident, lifecycle="deleted"))
        self._here["experiments"] += self._tracker.experiments.named(theirs.name).lifecycle == theirs.lifecycle

    def _run(self, theirs: TheirRun, experiment: str) -> None:
        there = Counter(runs=1, params=len(theirs.params), tags=len(theirs.tags))
        self._there += there
        if self._missing("runs", theirs.id):
            metrics = {name: points for name, points in self._source.metrics(theirs) if points}
            self._store.database.write(lambda tx: self._write_run(tx, theirs, experiment, metrics))
        held = self._store.series.latest(theirs.id)
        for name, points in self._source.metrics(theirs):
            self._there.update(metrics=1, points=len(distinct(points)))
            if name in held:
                self._here.update(metrics=1, points=len(self._store.series.points(theirs.id, name)))
        self._files("run", theirs.id, theirs.artifacts)
        self._here += self._held_run(theirs)
        if theirs.lifecycle == "deleted":
            self._store.database.write(lambda tx: self._tracker.runs.move(tx, theirs.id, "deleted"))

    def _write_run(
        self, tx: Transaction, theirs: TheirRun, experiment: str, metrics: dict[str, list[tuple[int, int, float]]]
    ) -> None:
        started_at = from_micros(theirs.started_ms * 1000)
        start = Start("", theirs.name, theirs.params, theirs.tags, id=theirs.id, started_at=started_at)
        self._tracker.runs.create(tx, start, experiment, theirs.user)
        row = self._tracker.metrics.active_row(tx, theirs.id)
        for name, points in metrics.items():
            points = sorted(points, key=lambda point: point[:2])  # noqa: PLW2901 - in order from here on
            for first in range(0, len(points), MAX_POINTS):
                steps, ats, values = zip(*points[first : first + MAX_POINTS], strict=True)
                self._tracker.metrics.append(tx, row, {name: pack(steps, [at * 1000 for at in ats], values)})
        links = [
            Link(
                "dataset",
                d.name,
                d.digest,
                tags=d.tags,
                dataset=Dataset(d.name, d.digest, d.source_type, d.source, d.schema, d.profile),
            )
            for d in theirs.inputs
        ]
        self._tracker.links.add(tx, theirs.id, experiment, [*links, *(Link("output", m) for m in theirs.outputs)])
        status: Status = msgspec.convert(theirs.status.lower(), Status)
        if status in ENDED:
            ended_ms = theirs.ended_ms if theirs.ended_ms is not None else theirs.started_ms
            self._tracker.finish(tx, theirs.id, status, "", ended_ms * 1000)
        elif status != "running":
            self._tracker.runs.change(tx, theirs.id, status=status)

    def _held_run(self, theirs: TheirRun) -> Counter[str]:
        row = self._store.database.one("SELECT * FROM runs WHERE id = :id", {"id": theirs.id})
        if row is None:
            return Counter()
        (facts,) = self._tracker.runs.load([row])
        params = sum(facts.params.get(name) == value for name, value in theirs.params.items())
        tags = sum(facts.tags.get(name) == value for name, value in theirs.tags.items())
        return Counter(runs=1, params=params, tags=tags)

    def _logged_model(self, theirs: TheirLoggedModel, experiment: str) -> None:
        self._there["logged models"] += 1
        if self._missing("logged_models", theirs.id):

            def change(tx: Transaction) -> None:
                draft = ModelDraft(
                    experiment, theirs.name, theirs.type, theirs.run, theirs.params, theirs.tags, theirs.id
                )
                self._tracker.logged_models.create(tx, draft)
                self._tracker.logged_models.change(tx, theirs.id, ModelChange(_MODEL_STATUS.get(theirs.status)))
                if theirs.lifecycle == "deleted":
                    self._tracker.logged_models.change(tx, theirs.id, ModelChange(lifecycle="deleted"))

            self._store.database.write(change)
        self._files("logged_model", theirs.id, theirs.artifacts)
        self._here["logged models"] += 1

    def _files(self, kind: Kind, owner: str, place: str) -> None:
        """Take the files of a run or logged model over; those that are here are left alone."""
        held = {file.name: file.digest for file in self._tracker.artifacts.all(owner)}
        try:
            for path, file in self._source.files(place):
                self._there["artifacts"] += 1
                if path not in held:
                    digest = self._store.objects.put(file)
                    self._put(kind, owner, StoredFile(path, digest, self._store.objects.size(digest) or 0))
                self._here["artifacts"] += 1
        except (Error, OSError, ValueError) as error:
            self._left.append(f"files of {kind.replace('_', ' ')} {owner}: {why(error)}")

    def _put(self, kind: Kind, owner: str, file: StoredFile) -> None:
        self._store.database.write(lambda tx: self._tracker.artifacts.put(tx, kind, owner, file))

    def _model(self, theirs: TheirModel, versions: list[Version]) -> None:
        self._there.update({"models": 1, "aliases": len(theirs.aliases)})
        models = self._registry.models

        def change(tx: Transaction) -> None:
            models.create(tx, theirs.name, description=theirs.description, tags=theirs.tags)

        if not models.named(self._store.database, [theirs.name]):
            self._store.database.write(change)
        self._here["models"] += 1
        for version in versions:
            self._there["versions"] += 1
            self._guarded(f"version {version.version} of model {theirs.name}", partial(self._version, version))
        for alias, number in theirs.aliases.items():
            self._guarded(f"alias {alias} of {theirs.name}", partial(self._alias, theirs.name, alias, number))

    def _alias(self, model: str, alias: str, number: int) -> None:
        self._store.database.write(lambda tx: self._registry.aliases.set(tx, model, alias, number))
        self._here["aliases"] += 1

    def _version(self, theirs: Version) -> None:
        last = self._registry.models.get(self._store.database, theirs.model).last
        if last >= theirs.version:
            held = self._registry.versions.get(self._store.database, theirs.model, theirs.version, archived=True)
            if held.source != theirs.source:
                raise Conflict(f"model:{theirs.model}@{theirs.version} is here and is another one.", about="import")
            self._here["versions"] += 1
            return
        self._gaps[theirs.model] += theirs.version - last - 1
        if self._gaps[theirs.model] > _MAX_GAPS:
            self._gaps[theirs.model] -= theirs.version - last - 1
            raise Invalid(f"More than {_MAX_GAPS:,} numbers before it are missing.", about="import")
        for number in range(last + 1, theirs.version):
            self._gap(theirs.model, number)
        draft = self._registry.versions.draft(
            theirs.model,
            bundle=self._pinned(theirs),
            run=theirs.run if theirs.run and not self._missing("runs", theirs.run) else "",
            source=theirs.source,
            location=theirs.artifacts,
            run_link=theirs.run_link,
            description=theirs.description,
            owner=theirs.user,
            tags=theirs.tags,
            origin=theirs.source.removeprefix("models:/") if theirs.source.startswith("models:/m-") else "",
        )

        def change(tx: Transaction) -> None:
            made = self._registry.versions.create(tx, draft)
            if theirs.stage != "None":
                self._registry.versions.label(tx, theirs.model, made.version, theirs.stage)

        self._store.database.write(change)
        self._here["versions"] += 1

    def _gap(self, model: str, number: int) -> None:
        """Give a number that the store no longer has to a version that is put away at once."""
        draft = self._registry.versions.draft(model, description="deleted before the import")

        def change(tx: Transaction) -> None:
            self._registry.versions.create(tx, draft)
            self._registry.versions.archive(tx, model, number, "deleted before the import")

        self._store.database.write(change)

    def _pinned(self, theirs: Version) -> str:
        """Return the digest of the manifest of a version's files; "" where they cannot be read."""
        entries = []
        try:
            for path, file in self._all_files(theirs.artifacts):
                digest = self._store.objects.put(file)
                entries.append(Entry(path, self._store.objects.size(digest) or 0, digest))
        except (Error, OSError, ValueError) as error:
            self._left.append(f"files of model:{theirs.model}@{theirs.version}: {why(error)}")
            return ""
        return put_entries(self._store.objects, entries) if entries else ""

    def _all_files(self, place: str) -> Iterator[tuple[str, Any]]:
        return ((path, file) for path, file in self._source.files(place) if is_safe_path(path))

    def _missing(self, table: str, ident: str) -> bool:
        return self._store.database.one(f"SELECT id FROM {table} WHERE id = :id", {"id": ident}) is None  # noqa: S608 - ours
