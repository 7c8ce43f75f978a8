"""Folders that MLflow loads: `mlruns` with experiments, runs and registry, and a model folder for each version.

    mlruns/            a store (`MLFLOW_TRACKING_URI=file:...`, MLflow asks for MLFLOW_ALLOW_FILE_STORE=true)
    models/NAME/N/     a version's files, for `mlflow.pyfunc.load_model("models/NAME/N")`

A version of ours gets an `MLmodel` that names its original; one that a client of MLflow made has its own.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.core.clock import to_micros
from interlock.core.errors import Conflict
from interlock.core.refs import is_safe_path
from interlock.registry.catalogue import Catalogue
from interlock.store.manifests import read_manifest
from interlock.track.tracker import Tracker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from interlock.core.files import StoredFile
    from interlock.registry.records import ModelVersion
    from interlock.store import Store
    from interlock.track.logged_models import LoggedModelFacts
    from interlock.track.runs import RunFacts

_RUN_STATUS: Final = {"running": 1, "scheduled": 2, "finished": 3, "failed": 4, "killed": 5}
_MODEL_STATUS: Final = {"pending": 1, "ready": 2, "upload_failed": 3}
_LONGEST: Final = 255  # bytes in the name of a file
_LOCAL: Final = 4  # the number of the source type LOCAL


class Exporter:
    """Writes a workspace as a store of MLflow.

    Args:
        store: the workspace.
        target: the folder, which must not be there yet.
        progress: is told what is being written.

    Attributes:
        left: what could not be written, and why.

    Raises:
        Conflict: the folder is there.
    """

    def __init__(self, store: Store, target: Path, progress: Callable[[str], None] = lambda _: None) -> None:
        if target.exists():
            raise Conflict(f"{str(target)!r} is there already.", about="file", hint="Name another folder.")
        self._store, self._progress = store, progress
        self._target = target.absolute()
        self._runs = self._target / "mlruns"
        self._tracker, self._registry = Tracker(store), Catalogue(store)
        self._counts: Counter[str] = Counter()
        self.left: list[str] = []

    def run(self) -> dict[str, int]:
        """Write everything; return how many of each kind were written."""
        self._tracker.experiments.ensure_default()
        for row in self._store.database.all(
            "SELECT id FROM experiments WHERE lifecycle = 'active' ORDER BY created_at"
        ):
            self._experiment(row["id"])
        for row in self._store.database.all("SELECT name FROM models WHERE archived_at IS NULL ORDER BY name"):
            self._model(row["name"])
        return dict(self._counts)

    def _experiment(self, ident: str) -> None:
        facts = self._tracker.experiments.get(ident)
        self._progress(f"experiment {facts.name}")
        folder = self._runs / ident
        record = {
            "artifact_location": folder.as_uri(),
            "creation_time": facts.created_at // 1000,
            "experiment_id": ident,
            "last_update_time": facts.updated_at // 1000,
            "lifecycle_stage": "active",
            "name": facts.name,
        }
        _write_meta(folder, record)
        self._pairs(folder / "tags", facts.tags)
        self._counts["experiments"] += 1
        database = self._store.database
        where = "experiment = :id AND lifecycle = 'active'"
        rows = database.all(f"SELECT * FROM runs WHERE {where} ORDER BY started_at", {"id": ident})  # noqa: S608 - ours
        for run in self._tracker.runs.load(rows):
            self._run(folder / run.id, run)
        models = database.all(f"SELECT * FROM logged_models WHERE {where}", {"id": ident})  # noqa: S608 - ours
        for model in self._tracker.logged_models.load(models):
            self._logged_model(folder / "models" / model.id, model)

    def _run(self, folder: Path, run: RunFacts) -> None:
        record = {
            "artifact_uri": (folder / "artifacts").as_uri(),
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
        self._pairs(folder / "params", run.params)
        self._pairs(folder / "tags", {"mlflow.runName": run.name, **run.tags})
        for name in run.metrics:
            points = self._store.series.points(run.id, name)
            lines = [f"{at // 1000} {value!r} {step}\n" for step, at, value in points]
            self._pair(folder / "metrics", name, "".join(lines))
            self._counts["points"] += len(lines)
        self._files(folder / "artifacts", self._tracker.artifacts.all(run.id))
        self._counts["runs"] += 1

    def _logged_model(self, folder: Path, model: LoggedModelFacts) -> None:
        record = {
            "artifact_location": (folder / "artifacts").as_uri(),
            "creation_timestamp": model.created_at // 1000,
            "experiment_id": model.experiment,
            "last_updated_timestamp": model.updated_at // 1000,
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
        self._files(folder / "artifacts", self._tracker.artifacts.all(model.id))
        self._counts["logged models"] += 1

    def _model(self, name: str) -> None:
        self._progress(f"model {name}")
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
        place = self._target / "models" / version.model / str(version.version)
        if version.bundle:
            files = read_manifest(self._store.objects, version.bundle).files
            for entry in files:
                _fetch(self._store, place / entry.path, entry.digest)
            self._counts["files"] += len(files)
            self._describe(place, version)
        location = place.as_uri() if version.bundle else version.location
        record = {
            "creation_timestamp": to_micros(version.created_at) // 1000,
            "current_stage": version.label,
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


def _write_meta(folder: Path, record: Mapping[str, Any]) -> None:
    """Write a flat record; JSON's scalars are YAML's."""
    lines = [f"{name}: {msgspec.json.encode(value).decode()}\n" for name, value in sorted(record.items())]
    _write(folder / "meta.yaml", "".join(lines).encode())


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _fetch(store: Store, path: Path, digest: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    store.objects.fetch(digest, path)
