"""An MLflow store in a folder (`mlruns`), read without MLflow."""

from __future__ import annotations

import operator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from interlock.bridges.mlflow.careful import (
    LARGEST_RECORD,
    LARGEST_TEXT,
    checked,
    each,
    in_order,
    is_inside,
    pieces,
    read_bounded,
)
from interlock.bridges.mlflow.flat_yaml import read_below, read_flat
from interlock.bridges.mlflow.records import (
    DELETED,
    NO_STAGE,
    Overview,
    Point,
    TheirExperiment,
    TheirFile,
    TheirInput,
    TheirLoggedModel,
    TheirModel,
    TheirModelPoint,
    TheirOutput,
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
_NO_RUNS: Final = frozenset({"models", "datasets", "tags", "traces"})
_SMALL: Final = 8 << 20  # bytes of a metric that are sorted in memory without another thought
_LONGEST_LINE: Final = 4096


class FolderSource:
    """A store in a folder, which is never written to; links that leave it are not followed.

    Args:
        root: the folder.
        places: reads its artifacts.

    Attributes:
        left: what could not be read, and why; the rest is yielded.

    Raises:
        NotFound: there is no such folder.
        Invalid: it holds no MLflow store.
    """

    def __init__(self, root: Path, places: LocalPlaces) -> None:
        if not root.is_dir():
            raise NotFound(f"There is no folder {str(root)!r}.", about="file")
        self._root, self._places = root, places
        self._inside, self.left = root.resolve(), places.left
        if not any(root.glob(f"*/{_META}")) and not (root / "models").is_dir():
            raise Invalid(
                f"{root} holds no MLflow store.", about="import", hint="Name the folder with the experiments: mlruns."
            )

    def overview(self) -> Overview:
        """Return how many runs there are, and how many traces, which are not taken over."""
        folders = [folder for base in (self._root, self._root / ".trash") for folder in base.glob("*")]
        experiments = [folder for folder in folders if folder.name != "models" and is_inside(folder, self._inside)]
        runs = sum(path.parent.name not in _NO_RUNS for found in experiments for path in found.glob(f"*/{_META}"))
        traces = sum(1 for found in experiments for _ in found.glob("traces/*/"))
        return Overview(runs, {"traces": traces} if traces else {})

    def experiments(self) -> Iterator[TheirExperiment]:
        """Yield all experiments, those in the trash too."""
        for base, lifecycle in ((self._root, "active"), (self._root / ".trash", "deleted")):
            folders = [(f"experiment {f.name}", f) for f in self._records(base) if f.name != "models"]
            yield from each(folders, partial(self._read_experiment, lifecycle), self.left)

    def runs(self, experiment: str) -> Iterator[TheirRun]:
        """Yield the runs of an experiment."""
        found = self._records(self._experiment(experiment))
        folders = [(f"run {folder.name}", folder) for folder in found if folder.name not in _NO_RUNS]
        return each(folders, partial(self._run, experiment), self.left)

    def metrics(self, run: TheirRun) -> Iterator[tuple[str, list[Point]]]:
        """Yield the metrics of a run in pieces.

        Raises:
            Invalid: a metric cannot be read.

        Cost: constant memory where a large metric's points stand in order, as MLflow writes them.
        """
        for name, path in self._files(Path(run.artifacts).parent / "metrics"):
            if path.stat().st_size > _SMALL and _ascends(path):
                found = pieces(_points(path))
            else:
                found = pieces(in_order(list(_points(path))))
            for piece in found:
                yield name, piece

    def logged_models(self, experiment: str) -> Iterator[TheirLoggedModel]:
        """Yield the logged models of an experiment."""
        found = self._records(self._experiment(experiment) / "models", "m-*")
        folders = [(f"logged model {f.name}", f) for f in found]
        return each(folders, partial(self._logged_model, experiment), self.left)

    def model_points(self, model: TheirLoggedModel) -> Iterator[TheirModelPoint]:
        """Yield the points of a logged model's metrics.

        Raises:
            Invalid: a metric cannot be read.
        """
        for name, path in self._files(Path(model.artifacts).parent / "metrics"):
            for line in _lines(path):
                step, at, value = _point(line, path)
                run, *dataset = line.split(" ")[3:] or [""]
                yield TheirModelPoint(
                    name, step, at, value, run, " ".join(dataset[:-1]), dataset[-1] if dataset else ""
                )

    def models(self) -> Iterator[tuple[TheirModel, list[TheirVersion]]]:
        """Yield the registered models with their versions."""
        folders = [(f"model {f.name}", f) for f in self._records(self._root / "models")]
        return each(folders, self._model, self.left)

    def files(self, place: str) -> Iterator[TheirFile]:
        """Yield the files below a place."""
        return self._places.files(place)

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def _experiment(self, ident: str) -> Path:
        inside = self._root / ident
        found = inside if inside.is_dir() else self._root / ".trash" / ident
        if Path(ident).name != ident or not is_inside(found, self._inside):
            raise Invalid(f"{ident!r} leads out of the store.", about="import")
        return found

    def _read_experiment(self, lifecycle: str, folder: Path) -> TheirExperiment:
        meta = self._meta(folder)
        ident = meta.get("experiment_id") or folder.name
        found = meta.get("lifecycle_stage") or lifecycle
        return checked(TheirExperiment(ident, meta.get("name", ident), found, self._texts(folder / "tags")))

    def _run(self, experiment: str, folder: Path) -> TheirRun:
        meta = self._meta(folder)
        run = TheirRun(
            id=meta.get("run_id") or meta.get("run_uuid") or folder.name,
            experiment=experiment,
            name=meta.get("run_name") or meta.get("name", ""),
            user=meta.get("user_id", ""),
            status=_RUN_STATUS.get(meta.get("status", ""), "RUNNING"),
            lifecycle=meta.get("lifecycle_stage") or "active",
            started_ms=int(meta.get("start_time") or 0),
            ended_ms=int(meta["end_time"]) if meta.get("end_time") else None,
            artifacts=str(folder / "artifacts"),  # where they are now, should the store have been moved
            params=self._texts(folder / "params"),
            tags=self._texts(folder / "tags"),
            inputs=tuple(self._inputs(folder)),
            models=tuple(self._read_models(folder)),
            outputs=tuple(self._outputs(folder)),
        )
        return checked(run)

    def _logged_model(self, experiment: str, folder: Path) -> TheirLoggedModel:
        meta = self._meta(folder)
        model = TheirLoggedModel(
            id=folder.name,
            experiment=experiment,
            name=meta.get("name", folder.name),
            type=meta.get("model_type", ""),
            run=meta.get("source_run_id", ""),
            status=_MODEL_STATUS.get(meta.get("status", ""), "LOGGED_MODEL_READY"),
            lifecycle=meta.get("lifecycle_stage") or "active",
            artifacts=str(folder / "artifacts"),
            params=self._texts(folder / "params"),
            tags=self._texts(folder / "tags"),
        )
        return checked(model)

    def _model(self, folder: Path) -> tuple[TheirModel, list[TheirVersion]]:
        meta = self._meta(folder)
        name = meta.get("name") or folder.name
        texts = [(f"alias {alias} of {name}", (alias, text)) for alias, text in self._texts(folder / "aliases").items()]
        aliases = dict(each(texts, lambda pair: (pair[0], int(pair[1])), self.left))
        model = checked(TheirModel(name, meta.get("description", ""), self._texts(folder / "tags"), aliases))
        folders = [(f"{f.name} of model {name}", f) for f in self._records(folder, "version-*")]
        found = each(folders, partial(self._version, name), self.left)
        return model, sorted((v for v in found if v.stage != DELETED), key=lambda version: version.version)

    def _version(self, model: str, folder: Path) -> TheirVersion:
        meta = self._meta(folder)
        version = TheirVersion(
            model=model,
            version=int(meta.get("version") or folder.name.removeprefix("version-")),
            description=meta.get("description", ""),
            user=meta.get("user_id", ""),
            stage=meta.get("current_stage") or NO_STAGE,
            source=meta.get("source", ""),
            artifacts=meta.get("storage_location") or meta.get("source", ""),
            run=meta.get("run_id", ""),
            status=meta.get("status") or "READY",
            run_link=meta.get("run_link", ""),
            tags=self._texts(folder / "tags"),
        )
        return checked(version)

    def _inputs(self, run: Path) -> Iterator[TheirInput]:
        for folder, ident in self._linked(run / "inputs", "DATASET"):
            dataset = run.parent / "datasets" / ident
            if ident and (dataset / _META).is_file():
                held = self._meta(dataset)
                yield TheirInput(
                    held.get("name", ""),
                    held.get("digest", ""),
                    held.get("source_type", ""),
                    held.get("source", ""),
                    held.get("schema") or None,
                    held.get("profile") or None,
                    read_below(self._record(folder), "tags"),
                )

    def _read_models(self, run: Path) -> Iterator[str]:
        for _, ident in self._linked(run / "inputs", "MODEL"):
            yield ident

    def _outputs(self, run: Path) -> Iterator[TheirOutput]:
        for folder in self._records(run / "outputs", "m-*"):
            yield TheirOutput(folder.name, int(self._meta(folder).get("step") or 0))

    def _linked(self, folder: Path, kind: str) -> Iterator[tuple[Path, str]]:
        """Yield the links of a run to things of a kind, and the ids of these."""
        for path in self._listed(folder):
            meta = self._meta(path)
            ident = meta.get("source_id", "")
            if Path(ident).name != ident:
                raise Invalid(f"{path / _META} names what leads elsewhere: {ident!r}.", about="import")
            if meta.get("source_type", "DATASET") == kind:
                yield path, ident

    def _meta(self, folder: Path) -> dict[str, str]:
        text = self._record(folder)
        try:
            return read_flat(text)
        except Invalid as error:
            raise Invalid(f"{folder / _META}: {error.message}", about="import") from None

    def _record(self, folder: Path) -> str:
        path = folder / _META
        if not is_inside(path, self._inside):
            raise Invalid(f"{path} is a link that leaves the store.", about="import")
        try:
            return read_bounded(path, LARGEST_RECORD).decode("utf-8")
        except UnicodeDecodeError as error:
            raise Invalid(f"{path} cannot be read: {error}.", about="import") from None

    def _listed(self, folder: Path, pattern: str = "*") -> list[Path]:
        """Return what lies in a folder, in order; nothing if there is none or it is a link that leaves the store."""
        if not is_inside(folder, self._inside):
            self.left.append(f"{folder} is a link that leaves the store.")
            return []
        return sorted(folder.glob(pattern))

    def _records(self, folder: Path, pattern: str = "*") -> list[Path]:
        return [path for path in self._listed(folder, pattern) if (path / _META).is_file()]

    def _files(self, folder: Path) -> Iterator[tuple[str, Path]]:
        """Yield the files below a folder with their names."""
        for path in self._listed(folder, "**/*"):
            if not is_inside(path, self._inside):
                self.left.append(f"{path} is a link that leaves the store.")
            elif path.is_file():
                yield path.relative_to(folder).as_posix(), path

    def _texts(self, folder: Path) -> dict[str, str]:
        """Return the files below a folder: a name and its value each."""
        return {name: read_bounded(path, LARGEST_TEXT).decode("utf-8", "replace") for name, path in self._files(folder)}


def _ascends(path: Path) -> bool:
    """Return whether the points of a file stand in order, each once."""
    return all(map(operator.lt, _points(path), islice(_points(path), 1, None)))


def _points(path: Path) -> Iterator[Point]:
    return (_point(line, path) for line in _lines(path))


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines of a file that are not blank.

    Raises:
        Invalid: it cannot be read, or a line has no end.
    """
    try:
        with path.open(encoding="utf-8") as file:
            while line := file.readline(_LONGEST_LINE):
                if len(line) == _LONGEST_LINE:
                    raise Invalid(f"{path} has a line that is no point: {line[:80]!r}.", about="import")
                if line.strip():
                    yield line.rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{path} cannot be read: {error}.", about="import") from None


def _point(line: str, path: Path) -> Point:
    parts = line.split(" ")
    try:
        return int(parts[2]) if len(parts) > 2 else 0, int(parts[0]), float(parts[1])
    except (IndexError, ValueError):
        raise Invalid(f"{path} has a line that is no point: {line[:80]!r}.", about="import") from None
