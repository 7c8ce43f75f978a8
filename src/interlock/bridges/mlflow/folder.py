"""An MLflow store in a folder (`mlruns`), read without MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from interlock.bridges.mlflow.flat_yaml import read_flat
from interlock.bridges.mlflow.records import (
    DELETED,
    Point,
    TheirExperiment,
    TheirInput,
    TheirLoggedModel,
    TheirModel,
    TheirRun,
    TheirVersion,
)
from interlock.core.errors import Invalid, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interlock.bridges.mlflow.places import LocalPlaces

_META: Final = "meta.yaml"
_RUN_STATUS: Final = {"1": "RUNNING", "2": "SCHEDULED", "3": "FINISHED", "4": "FAILED", "5": "KILLED"}
_MODEL_STATUS: Final = {"1": "LOGGED_MODEL_PENDING", "2": "LOGGED_MODEL_READY", "3": "LOGGED_MODEL_UPLOAD_FAILED"}


class FolderSource:
    """A store in a folder, which is never written to.

    Args:
        root: the folder.
        places: reads its artifacts.

    Raises:
        NotFound: there is no such folder.
        Invalid: it holds no MLflow store.
    """

    def __init__(self, root: Path, places: LocalPlaces) -> None:
        if not root.is_dir():
            raise NotFound(f"There is no folder {str(root)!r}.", about="file")
        self._root, self._places = root, places
        if not any(root.glob(f"*/{_META}")) and not (root / "models").is_dir():
            raise Invalid(
                f"{root} holds no MLflow store.", about="import", hint="Name the folder with the experiments: mlruns."
            )

    def experiments(self) -> Iterator[TheirExperiment]:
        """Yield all experiments, those in the trash too."""
        for base, lifecycle in ((self._root, "active"), (self._root / ".trash", "deleted")):
            for folder in sorted(base.glob("*")):
                if (folder / _META).is_file() and folder.name != "models":
                    meta = _meta(folder)
                    ident = meta.get("experiment_id") or folder.name
                    found = meta.get("lifecycle_stage") or lifecycle
                    yield TheirExperiment(ident, meta.get("name", ident), found, _texts(folder / "tags"))

    def runs(self, experiment: str) -> Iterator[TheirRun]:
        """Yield the runs of an experiment."""
        place = self._experiment(experiment)
        for folder in sorted(place.glob("*")):
            if folder.name in {"models", "datasets", "tags", "traces"} or not (folder / _META).is_file():
                continue
            meta = _meta(folder)
            yield TheirRun(
                id=meta.get("run_id") or meta.get("run_uuid") or folder.name,
                experiment=experiment,
                name=meta.get("run_name") or meta.get("name", ""),
                user=meta.get("user_id", ""),
                status=_RUN_STATUS.get(meta.get("status", ""), "RUNNING"),
                lifecycle=meta.get("lifecycle_stage") or "active",
                started_ms=int(meta.get("start_time") or 0),
                ended_ms=int(meta["end_time"]) if meta.get("end_time") else None,
                artifacts=str(folder / "artifacts"),  # where they are now, should the store have been moved
                params=_texts(folder / "params"),
                tags=_texts(folder / "tags"),
                inputs=tuple(self._inputs(place, folder)),
                outputs=tuple(path.name for path in sorted((folder / "outputs").glob("m-*"))),
            )

    def metrics(self, run: TheirRun) -> Iterator[tuple[str, list[Point]]]:
        """Yield the metrics of a run with all their points."""
        folder = Path(run.artifacts).parent / "metrics"
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                name = path.relative_to(folder).as_posix()
                yield name, [_point(line, path) for line in path.read_text("utf-8").splitlines() if line.strip()]

    def logged_models(self, experiment: str) -> Iterator[TheirLoggedModel]:
        """Yield the logged models of an experiment."""
        for folder in sorted((self._experiment(experiment) / "models").glob("m-*")):
            meta = _meta(folder)
            yield TheirLoggedModel(
                id=folder.name,
                experiment=experiment,
                name=meta.get("name", folder.name),
                type=meta.get("model_type", ""),
                run=meta.get("source_run_id", ""),
                status=_MODEL_STATUS.get(meta.get("status", ""), "LOGGED_MODEL_READY"),
                lifecycle=meta.get("lifecycle_stage") or "active",
                artifacts=str(folder / "artifacts"),
                params=_texts(folder / "params"),
                tags=_texts(folder / "tags"),
            )

    def models(self) -> Iterator[tuple[TheirModel, list[TheirVersion]]]:
        """Yield the registered models with their versions."""
        for folder in sorted((self._root / "models").glob("*")):
            if not (folder / _META).is_file():
                continue
            meta = _meta(folder)
            aliases = {name: int(version) for name, version in _texts(folder / "aliases").items()}
            model = TheirModel(
                meta.get("name") or folder.name, meta.get("description", ""), _texts(folder / "tags"), aliases
            )
            found = [self._version(model.name, path) for path in folder.glob("version-*") if (path / _META).is_file()]
            live = [version for version in found if version.stage != DELETED]
            yield model, sorted(live, key=lambda version: version.version)

    def files(self, place: str) -> Iterator[tuple[str, BinaryIO]]:
        """Yield the files below a place."""
        return self._places.files(place)

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def _experiment(self, ident: str) -> Path:
        inside = self._root / ident
        return inside if inside.is_dir() else self._root / ".trash" / ident

    def _version(self, model: str, folder: Path) -> TheirVersion:
        meta = _meta(folder)
        return TheirVersion(
            model=model,
            version=int(meta.get("version") or folder.name.removeprefix("version-")),
            description=meta.get("description", ""),
            user=meta.get("user_id", ""),
            stage=meta.get("current_stage") or "None",
            source=meta.get("source", ""),
            artifacts=meta.get("storage_location") or meta.get("source", ""),
            run=meta.get("run_id", ""),
            status="READY",
            run_link=meta.get("run_link", ""),
            tags=_texts(folder / "tags"),
        )

    def _inputs(self, experiment: Path, run: Path) -> Iterator[TheirInput]:
        for folder in sorted((run / "inputs").glob("*")):
            meta = _meta(folder)
            dataset = experiment / "datasets" / meta.get("source_id", "")
            if (dataset / _META).is_file():
                held = _meta(dataset)
                yield TheirInput(
                    held.get("name", ""),
                    held.get("digest", ""),
                    held.get("source_type", ""),
                    held.get("source", ""),
                    held.get("schema") or None,
                    held.get("profile") or None,
                )


def _meta(folder: Path) -> dict[str, str]:
    path = folder / _META
    try:
        return read_flat(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{path} cannot be read: {error}.", about="import") from None
    except Invalid as error:
        raise Invalid(f"{path}: {error.message}", about="import") from None


def _texts(folder: Path) -> dict[str, str]:
    """Return the files below a folder: a name and its value each."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    return {path.relative_to(folder).as_posix(): path.read_text("utf-8", "replace") for path in paths}


def _point(line: str, path: Path) -> Point:
    parts = line.split(" ")
    try:
        return int(parts[2]) if len(parts) > 2 else 0, int(parts[0]), float(parts[1])
    except (IndexError, ValueError):
        raise Invalid(f"{path} has a line that is no point: {line[:80]!r}.", about="import") from None
