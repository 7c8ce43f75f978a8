"""The train service: run a pipeline of the project, and keep everything about it."""

from __future__ import annotations

import io
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from interlock.core.clock import to_micros
from interlock.core.errors import Error, NotFound
from interlock.core.files import StoredFile
from interlock.core.operations import Permission, operation
from interlock.data.service import DataService
from interlock.registry.flavors.build import build_bundle
from interlock.store.manifests import put_folder
from interlock.store.segments import pack
from interlock.store.workers import is_gone, this_worker
from interlock.track.environment import environment
from interlock.track.records import Run, Start, Status
from interlock.track.service import TrackService
from interlock.train.arguments import resolve_arguments
from interlock.train.capture import log_path
from interlock.train.code import snapshot
from interlock.train.engine import run_pipeline
from interlock.train.frames import to_polars
from interlock.train.journal import steps_of
from interlock.train.loader import describe, load_entry
from interlock.train.model import Model
from interlock.train.records import StepRecord
from interlock.train.told import told_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from interlock.store import Store
    from interlock.train.context import Scalar

Steps = list[StepRecord]
MADE = "interlock.bundle"
WORKER = "interlock.worker"
TRAINING = "training.parquet"


class TrainService:
    """Pipelines: plain functions of the project, run with everything they do on record."""

    name = "train"

    def __init__(self, store: Store) -> None:
        self._store = store
        self._track = TrackService(store)
        self._data = DataService(store)

    @operation(
        Permission.TRAIN_RUN,
        emits=("experiment.created", "run.started", "run.logged", "run.artifact_logged", "run.finished"),
    )
    def run(
        self,
        entry: str,
        args: dict[str, str | int | float | bool] | None = None,
        experiment: str = "",
        cause: str = "",
        tags: dict[str, str] | None = None,
    ) -> Run:
        """Run a pipeline of the project and keep its params, metrics, code, environment, data versions and log.

        Args:
            entry: the function, such as pipeline:train.
            args: its arguments; a table's is a reference such as data:people@2, and when left out the newest
                version of the dataset of the argument's name.
            experiment: where the run belongs; the function's name when left out.
            cause: the reference of what asked for it.
            tags: further marks on the run.

        Raises:
            NotFound: there is no such function or dataset.
            Invalid: an argument is wrong, or what the pipeline returned does not fit together.
        """
        function = load_entry(entry, self._store.project)
        values, inputs = resolve_arguments(describe(function), args or {}, self._data)
        start = Start(
            experiment=experiment or entry.rpartition(":")[2],
            params={name: str(value) for name, value in values.items() if isinstance(value, str | int | float | bool)},
            tags={**(tags or {}), "entry": entry, WORKER: this_worker()},
            inputs=tuple(inputs),
            cause=cause,
            code=snapshot(self._store.project, self._store.objects),
            environment=self._store.objects.put(msgspec.json.encode(environment())),
        )
        run = self._track.start(start)
        self._conduct(run.id, function, values)
        self._keep_log(run.id)
        return self._track.finish(run.id)

    def _conduct(self, run: str, function: Callable[..., Any], values: dict[str, Any]) -> None:
        """Run the pipeline and keep its model; a run that ends otherwise says so before the error goes on."""
        recorder = _Recorder(self, self._store, run)
        try:
            result = run_pipeline(function, values, store=self._store, run_id=run, recorder=recorder)
            if isinstance(result.value, Model):
                self._keep_model(run, result.value)
        except Error as error:
            self._end(run, "failed", str(error))
            raise
        except Exception as error:  # the border of the user's code
            told = told_error(error, self._store.project)
            self._end(run, "failed", told.message, traceback.format_exc())
            raise told from error
        except BaseException as error:
            self._end(run, "killed", type(error).__name__)
            raise

    @operation(Permission.TRACK_READ)
    def steps(self, run: str) -> Steps:
        """List the steps of a run: their keys, times, and which came from the cache and why.

        Args:
            run: the run.
        """
        return steps_of(self._store.database, self._track.run(run).id)

    def bury(self) -> list[str]:
        """Return the runs whose process is gone; each is ended as killed. What their steps made is in the journal."""
        gone = []
        for run in self._track.runs(status="running"):
            if is_gone(run.tags.get(WORKER, "")):
                self._keep_log(run.id)
                self._track.finish(run.id, "killed", "its process was gone")
                gone.append(run.ref)
        return gone

    def bundle(self, run: str) -> str:
        """Return the digest of the bundle that a run made.

        Raises:
            NotFound: the run made no model.
        """
        found = self._track.run(run)
        if MADE not in found.tags:
            raise NotFound(
                f"{found.ref} made no model.", about="bundle", hint="A pipeline that makes one returns interlock.Model."
            )
        return found.tags[MADE]

    def _keep_model(self, run: str, model: Model) -> None:
        """Store a pipeline's model as a bundle, and beside it the rows it was trained on, for audits."""
        evaluation, inputs = to_polars(model.evaluation), to_polars(model.inputs)
        with tempfile.TemporaryDirectory(prefix="interlock-") as name:
            folder = Path(name)
            build_bundle(model.estimator, inputs=inputs, target=model.target, evaluation=evaluation, folder=folder)
            bundle = put_folder(self._store.objects, folder)
            for path in sorted(folder.iterdir()):
                self._artifact(run, f"model/{path.name}", path.read_bytes())
        if model.training is not None:
            sink = io.BytesIO()
            to_polars(model.training).write_parquet(sink, compression="zstd")
            self._artifact(run, TRAINING, sink.getvalue())
        self._track.log(run, {name: str(value) for name, value in model.params.items()}, {MADE: bundle})
        if model.metrics:
            self._track.log_metrics(run, {name: float(value) for name, value in model.metrics.items()})

    def _end(self, run: str, status: Status, reason: str, trace: str = "") -> None:
        self._keep_log(run, trace)
        self._track.finish(run, status, reason)

    def _keep_log(self, run: str, trace: str = "") -> None:
        path = log_path(self._store.root, run)
        printed = path.read_bytes() if path.exists() else b""
        if printed or trace:
            self._track.set_log(run, printed + trace.encode())

    def _artifact(self, run: str, path: str, content: bytes) -> None:
        file = StoredFile(path, self._store.objects.put(content), len(content))
        self._track.log_artifact(run, path, file)


class _Recorder:
    """Where steps' params, metrics and artifacts go: into the run."""

    def __init__(self, service: TrainService, store: Store, run: str) -> None:
        self._service = service
        self._track = TrackService(store)
        self._clock = store.clock
        self._run = run

    def params(self, values: dict[str, Scalar]) -> None:
        """Record parameters by name."""
        self._track.log(self._run, {name: str(value) for name, value in values.items()})

    def metric(self, key: str, step: int, value: float) -> None:
        """Record one point of a metric."""
        self._track.log_segments(self._run, {key: pack([step], [to_micros(self._clock.now())], [value])})

    def artifact(self, path: str, content: bytes) -> None:
        """Record a file under a relative path."""
        self._service._artifact(self._run, path, content)  # noqa: SLF001 - the service's other half
