"""Folders that MLflow loads: `mlruns` with experiments, runs and registry, and a model folder for each version.

    mlruns/            a store (`MLFLOW_TRACKING_URI=file:...`, MLflow asks for MLFLOW_ALLOW_FILE_STORE=true)
    models/NAME/N/     a version's files, for `mlflow.pyfunc.load_model("models/NAME/N")`

A version of ours gets an `MLmodel` that names its original; one that a client of MLflow made has its own.

All of it is written into a folder beside (`.NAME.export-*`) that gets its name at the end: half a store is none.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.bridges.mlflow.intake import Watch
from interlock.core.clock import to_micros
from interlock.core.errors import Conflict
from interlock.core.refs import is_safe_path
from interlock.registry.catalogue import Catalogue
from interlock.store.manifests import read_manifest
from interlock.track.tracker import Tracker

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from interlock.core.files import StoredFile
    from interlock.core.ports import Row
    from interlock.registry.records import ModelVersion
    from interlock.store import Store
    from interlock.track.links import Dataset, Link
    from interlock.track.logged_models import LoggedModelFacts, ModelMetric
    from interlock.track.runs import RunFacts

_RUN_STATUS: Final = {"running": 1, "scheduled": 2, "finished": 3, "failed": 4, "killed": 5}
_MODEL_STATUS: Final = {"pending": 1, "ready": 2, "upload_failed": 3}
_LONGEST: Final = 255  # bytes in the name of a file
_LOCAL: Final = 4  # the number of the source type LOCAL
_ENDS: Final = {"dataset": ("DATASET", "RUN"), "model": ("MODEL", "RUN"), "output": ("RUN_OUTPUT", "MODEL_OUTPUT")}
_PARTS: Final = ("artifacts", "metrics", "params", "tags")
_AT_ONCE: Final = 200  # runs or logged models that are held at a time
_RUNS: Final = (
    "SELECT * FROM runs WHERE experiment = :experiment AND lifecycle = 'active' AND id > :after ORDER BY id LIMIT :most"
)
_MODELS: Final = (
    "SELECT * FROM logged_models WHERE experiment = :experiment AND lifecycle = 'active' AND id > :after"
    " ORDER BY id LIMIT :most"
)
# What YAML's readers refuse to see unescaped, though JSON lets it stand.
_UNSEEN: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Exporter:
    """Writes a workspace as a store of MLflow.

    Args:
        store: the workspace.
        target: the folder, which must not be there yet.
        watch: is told how it goes.

    Attributes:
        left: what could not be written, and why.

    Raises:
        Conflict: the folder is there.
    """

    def __init__(self, store: Store, target: Path, watch: Watch | None = None) -> None:
        if target.exists():
            raise Conflict(f"{str(target)!r} is there already.", about="file", hint="Name another folder.")
        self._store, self._watch = store, watch or Watch()
        self._target = target.absolute()
        self._staged = self._target  # where it is written
        self._tracker, self._registry = Tracker(store), Catalogue(store)
        self._counts: Counter[str] = Counter()
        self.left: list[str] = []

    def run(self) -> dict[str, int]:
        """Write everything; return how many of each kind were written.

        Raises:
            Conflict: the folder is there by now.
        """
        self._target.parent.mkdir(parents=True, exist_ok=True)
        with _staging(self._target) as self._staged:
            self._write_all()
            try:
                self._staged.rename(self._target)
            except OSError as error:
                raise Conflict(f"{str(self._target)!r} cannot be made: {error.strerror}.", about="file") from None
        self._watch.ended()
        return dict(self._counts)

    def _write_all(self) -> None:
        self._tracker.experiments.ensure_default()
        counted = self._store.database.one("SELECT count(*) AS n FROM runs WHERE lifecycle = 'active'")
        self._watch.expects(counted["n"] if counted else 0)
        for row in self._store.database.all(
            "SELECT id FROM experiments WHERE lifecycle = 'active' ORDER BY created_at"
        ):
            self._experiment(row["id"])
        for row in self._store.database.all("SELECT name FROM models WHERE archived_at IS NULL ORDER BY name"):
            self._model(row["name"])

    @property
    def _runs(self) -> Path:
        return self._staged / "mlruns"

    def _uri(self, path: Path) -> str:
        """Return what something that is being written is called when all is there."""
        return (self._target / path.relative_to(self._staged)).as_uri()

    def _experiment(self, ident: str) -> None:
        facts = self._tracker.experiments.get(ident)
        self._watch.began(f"experiment {facts.name}")
        folder = self._runs / ident
        record = {
            "artifact_location": self._uri(folder),
            "creation_time": facts.created_at // 1000,
            "experiment_id": ident,
            "last_update_time": facts.updated_at // 1000,
            "lifecycle_stage": "active",
            "name": facts.name,
        }
        _write_meta(folder, record)
        self._pairs(folder / "tags", facts.tags)
        self._counts["experiments"] += 1
        for rows in self._pages(_RUNS, ident):
            links = self._tracker.links.of([row["id"] for row in rows])
            for run in self._tracker.runs.load(rows):
                self._run(folder / run.id, run)
                self._links(folder, run.id, links.get(run.id, []))
                self._watch.took(run.name)
        for rows in self._pages(_MODELS, ident):
            for model in self._tracker.logged_models.load(rows):
                self._logged_model(folder / "models" / model.id, model)

    def _pages(self, query: str, experiment: str) -> Iterator[list[Row]]:
        after = ""
        while rows := self._store.database.all(query, {"experiment": experiment, "after": after, "most": _AT_ONCE}):
            yield rows
            after = rows[-1]["id"]

    def _run(self, folder: Path, run: RunFacts) -> None:
        record = {
            "artifact_uri": self._uri(folder / "artifacts"),
            "end_time": None if run.ended_at is None else run.ended_at // 1000,
            "entry_point_name": "",
            "experiment_id": run.experiment,
            "lifecycle_stage": "active",
            "run_id": run.id,
            "run_name": run.name,
            "run_uuid": run.id,
            "source_name": "",
            "source_type": _LOCAL,
            "source_version": "",
            "start_time": run.started_at // 1000,
            "status": _RUN_STATUS[run.status],
            "user_id": run.owner,
        }
        _write_meta(folder, record)
        for part in _PARTS:  # without them MLflow takes it for no run
            (folder / part).mkdir(exist_ok=True)
        self._pairs(folder / "params", run.params)
        self._pairs(folder / "tags", {"mlflow.runName": run.name, **run.tags})
        for name in run.metrics:
            points = self._store.series.points(run.id, name)
            lines = [f"{at // 1000} {value!r} {step}\n" for step, at, value in points]
            self._pair(folder / "metrics", name, "".join(lines))
            self._counts["points"] += len(lines)
        self._files(folder / "artifacts", self._tracker.artifacts.all(run.id))
        self._counts["runs"] += 1

    def _links(self, experiment: Path, run: str, links: list[Link]) -> None:
        """Write what a run read and made; both ends are named as MLflow's reader looks for them."""
        for link in links:
            ident = link.name
            if link.dataset is not None:
                ident = _digest(link.name, link.digest)
                _write_meta(experiment / "datasets" / ident, _dataset(link.dataset))
            source, destination = _ENDS[link.kind]
            record: dict[str, Any] = {"source_type": source, "source_id": ident, "tags": link.tags}
            record |= {"destination_type": destination, "destination_id": ident}
            folder, place = "inputs", _digest(ident, run)
            if link.kind == "output":
                folder, place = "outputs", ident
                record["step"] = link.step
            if not is_safe_path(place) or "/" in place:
                self.left.append(f"run {run}: a link to {ident[:80]!r} cannot be the name of a folder")
                continue
            _write_meta(experiment / run / folder / place, record)
            self._counts[folder] += 1

    def _logged_model(self, folder: Path, model: LoggedModelFacts) -> None:
        record = {
            "artifact_location": self._uri(folder / "artifacts"),
            "creation_timestamp": model.created_at // 1000,
            "experiment_id": model.experiment,
            "last_updated_timestamp": model.updated_at // 1000,
            "lifecycle_stage": "active",
            "model_id": model.id,
            "model_type": model.type or None,
            "name": model.name,
            "source_run_id": model.run or None,
            "status": _MODEL_STATUS[model.status],
            "status_message": model.status_message or None,
        }
        _write_meta(folder, record)
        self._pairs(folder / "params", model.params)
        self._pairs(folder / "tags", model.tags)
        lines: dict[str, str] = {}
        for metric in model.metrics:
            lines[metric.key] = lines.get(metric.key, "") + _line(metric)
        self._pairs(folder / "metrics", lines)
        self._counts["logged model points"] += len(model.metrics)
        self._files(folder / "artifacts", self._tracker.artifacts.all(model.id))
        self._counts["logged models"] += 1

    def _model(self, name: str) -> None:
        self._watch.began(f"model {name}")
        model = self._registry.models.get(self._store.database, name)
        folder = self._runs / "models" / name
        record = {
            "creation_timestamp": to_micros(model.created_at) // 1000,
            "description": model.description or None,
            "last_updated_timestamp": to_micros(model.updated_at or model.created_at) // 1000,
            "name": name,
        }
        _write_meta(folder, record)
        self._pairs(folder / "tags", model.tags)
        self._pairs(folder / "aliases", {alias: str(version) for alias, version in model.aliases.items()})
        self._counts["models"] += 1
        for version in self._registry.versions.of(self._store.database, name):
            self._version(folder / f"version-{version.version}", version)

    def _version(self, folder: Path, version: ModelVersion) -> None:
        place = self._staged / "models" / version.model / str(version.version)
        if version.bundle:
            files = read_manifest(self._store.objects, version.bundle).files
            for entry in files:
                _fetch(self._store, place / entry.path, entry.digest)
            self._counts["files"] += len(files)
            self._describe(place, version)
        location = self._uri(place) if version.bundle else version.location
        record = {
            "creation_timestamp": to_micros(version.created_at) // 1000,
            "current_stage": version.mlflow_stage,
            "description": version.description or None,
            "last_updated_timestamp": to_micros(version.updated_at or version.created_at) // 1000,
            "name": version.model,
            "run_id": version.run.removeprefix("run:") or None,
            "run_link": version.run_link or None,
            "source": location,
            "status": version.status,
            "status_message": version.status_reason or None,
            "storage_location": location,
            "user_id": version.owner or None,
            "version": version.version,
        }
        _write_meta(folder, record)
        self._pairs(folder / "tags", version.tags)
        self._counts["versions"] += 1

    def _describe(self, place: Path, version: ModelVersion) -> None:
        """Write the `MLmodel` of a version of ours, by which MLflow loads its original."""
        if (place / "MLmodel").exists() or not (place / "bundle.json").exists():
            return
        from interlock.core.bundles import Bundle

        bundle = msgspec.json.decode((place / "bundle.json").read_bytes(), type=Bundle)
        original = bundle.files.get("original", "")
        _write(place / "MLmodel", _mlmodel(bundle.flavor, original, version).encode())

    def _pairs(self, folder: Path, values: Mapping[str, str]) -> None:
        for name, value in values.items():
            self._pair(folder, name, value)

    def _pair(self, folder: Path, name: str, value: str) -> None:
        """Write a name and its value, unless the name would lead elsewhere or its place is taken."""
        path = folder / name
        safe = is_safe_path(name) and max(len(part.encode()) for part in name.split("/")) <= _LONGEST
        if not safe or path.is_dir() or any(parent.is_file() for parent in path.parents):
            self.left.append(f"{folder.parent.name}: {folder.name} {name[:80]!r} cannot be the name of a file")
            return
        _write(path, value.encode())

    def _files(self, folder: Path, files: list[StoredFile]) -> None:
        for file in files:
            _fetch(self._store, folder / file.name, file.digest)
        self._counts["files"] += len(files)


@contextlib.contextmanager
def _staging(target: Path) -> Iterator[Path]:
    """Yield a new folder beside another; what is left in it goes, and so does what exports that were killed left.

    A lock tells their folders, which nobody holds any more, from one that another process is writing now.
    """
    prefix = f".{target.name}.export-"
    with contextlib.ExitStack() as opened:
        for former in [path for path in target.parent.iterdir() if path.name.startswith(prefix)]:
            with contextlib.suppress(OSError), _locked(former):
                shutil.rmtree(former)
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(dir=target.parent, prefix=prefix)))
        with contextlib.suppress(OSError):  # where there are no locks, nobody takes a folder for left
            opened.enter_context(_locked(folder))
        staged = folder / target.name
        staged.mkdir()
        yield staged


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(fd)


def _mlmodel(flavor: str, original: str, version: ModelVersion) -> str:
    """Return an MLmodel for a bundle of ours: the flavor's own loader where MLflow has one for the file, else ONNX."""
    loaders = {
        "sklearn": ("mlflow.sklearn", {"pickled_model": original, "serialization_format": "skops"}),
        "xgboost": ("mlflow.xgboost", {"data": original, "model_class": "xgboost.core.Booster"}),
        "lightgbm": ("mlflow.lightgbm", {"data": original, "model_class": "lightgbm.basic.Booster"}),
    }
    loader, facts = loaders.get(flavor, ("mlflow.onnx", {"data": "model.onnx"}))
    path = "data" if "data" in facts else "model_path"
    lines = [
        "flavors:",
        "  python_function:",
        f"    loader_module: {loader}",
        f"    {path}: {facts.get('data', original)}",
    ]
    lines += [f"  {loader.partition('.')[2]}:", *(f"    {name}: {value}" for name, value in facts.items())]
    lines += [f"model_uuid: {version.bundle[:32]}", f"run_id: {version.run.removeprefix('run:') or 'null'}"]
    return "\n".join(lines) + "\n"


def _dataset(dataset: Dataset) -> dict[str, Any]:
    names = ("name", "digest", "source_type", "source", "schema", "profile")
    return {name: getattr(dataset, name) for name in names}


def _digest(*parts: str) -> str:
    """Return the name of a folder as MLflow makes it: 32 hexadecimal digits of texts together."""
    return hashlib.md5("".join(parts).encode(), usedforsecurity=False).hexdigest()


def _line(metric: ModelMetric) -> str:
    """Return a point of a logged model as MLflow's folders have it: instant, value, step, run and, if any, dataset."""
    point = metric.point
    words = [f"{point.at // 1000}", repr(point.value), f"{point.step}", metric.run]
    if metric.dataset_name or metric.dataset_digest:
        words += [metric.dataset_name, metric.dataset_digest]
    return " ".join(words) + "\n"


def _write_meta(folder: Path, record: Mapping[str, Any]) -> None:
    """Write a record; JSON's scalars are YAML's, but for what YAML wants escaped."""
    lines = []
    for name, value in sorted(record.items()):
        if isinstance(value, dict) and value:
            lines += [f"{name}:\n", *(f"  {_scalar(key)}: {_scalar(inner)}\n" for key, inner in value.items())]
        else:
            lines.append(f"{name}: {_scalar(value)}\n")
    _write(folder / "meta.yaml", "".join(lines).encode())


def _scalar(value: Any) -> str:
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", msgspec.json.encode(value).decode())


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _fetch(store: Store, path: Path, digest: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    store.objects.fetch(digest, path)
