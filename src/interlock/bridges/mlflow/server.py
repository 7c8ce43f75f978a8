"""A running MLflow server, read through its protocol."""

from __future__ import annotations

import contextlib
import http.client
import tempfile
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeVar, cast
from urllib.parse import quote, unquote, urlencode, urlsplit

import msgspec

from interlock.bridges.mlflow import answers
from interlock.bridges.mlflow.answers import pairs
from interlock.bridges.mlflow.careful import checked, each, in_order, pieces
from interlock.bridges.mlflow.records import (
    DELETED,
    Overview,
    Point,
    TheirExperiment,
    TheirFile,
    TheirLoggedModel,
    TheirModel,
    TheirModelPoint,
    TheirRun,
    TheirVersion,
)
from interlock.core.errors import Invalid, NotFound, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_Found = TypeVar("_Found")
_Record = TypeVar("_Record", bound=msgspec.Struct)
_API: Final = "/api/2.0/mlflow/"
_FILES: Final = "/api/2.0/mlflow-artifacts/artifacts"
_PROMPTS: Final = "tags.`mlflow.prompt.is_prompt` = 'true'"
_PAGE: Final = 200
_POINTS: Final = 25_000
_IN_MEMORY: Final = 8 << 20
_LARGEST: Final = 256 << 20  # of an answer: a page of runs with all that they may hold
_WAIT_S: Final = 60.0
_PAUSES_S: Final = (0.5, 3.0, 10.0)  # all is only asked for, so what failed may be asked again
_TRY_AGAIN: Final = frozenset({429, 500, 502, 503, 504})


class _Busy(Exception):
    """An answer that may be better a moment later."""


_PASSING: Final = (http.client.HTTPException, OSError, _Busy)


class ServerSource:
    """A store behind its server, which is only asked.

    Args:
        address: the server's.

    Attributes:
        left: what could not be read, and why; the rest is yielded.

    Raises:
        Unavailable: it does not answer.
    """

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=_WAIT_S)
        self._base = parts.path.rstrip("/")
        self._address = address
        self.left: list[str] = []
        self._metrics: tuple[str, list[str]] = "", []
        self._points: tuple[str, list[answers.Metric]] = "", []
        first = f"{_API}experiments/search?max_results=1"
        self._tried(first, lambda: self._answer("GET", first, None).read(_LARGEST), patient=False)

    def overview(self) -> Overview:
        """Return how many webhooks there are, which are not taken over; servers do not say how many runs they hold."""
        with contextlib.suppress(NotFound, Invalid):  # servers of MLflow 2
            found = sum(1 for _ in self._pages("GET", "webhooks", "webhooks", max_results=_PAGE))
            return Overview(others={"webhooks": found} if found else {})
        return Overview()

    def experiments(self) -> Iterator[TheirExperiment]:
        """Yield all experiments, deleted ones too."""
        found = self._pages("POST", "experiments/search", "experiments", view_type="ALL", max_results=_PAGE)
        return self._each("an experiment", found, self._experiment)

    def runs(self, experiment: str) -> Iterator[TheirRun]:
        """Yield the runs of an experiment, deleted ones too, oldest first."""
        asked = {"experiment_ids": [experiment], "run_view_type": "ALL", "order_by": ["attributes.start_time ASC"]}
        found = self._pages("POST", "runs/search", "runs", max_results=_PAGE, **asked)
        return self._each(f"a run of experiment {experiment}", found, partial(self._run, experiment))

    def metrics(self, run: TheirRun) -> Iterator[tuple[str, list[Point]]]:
        """Yield the metrics of a run in pieces.

        Cost: a metric's points are held together, as servers give them in another order.
        """
        for key in self._names(run.id):
            asked = {"run_id": run.id, "metric_key": key, "max_results": _POINTS}
            pages = self._pages("GET", "metrics/get-history", "metrics", **asked)
            points = [_point(_typed(found, answers.Metric)) for found in pages]
            for piece in pieces(in_order(points)):
                yield key, piece

    def logged_models(self, experiment: str) -> Iterator[TheirLoggedModel]:
        """Yield the logged models of an experiment that are not deleted; servers of MLflow 2 have none."""
        asked = {"experiment_ids": [experiment], "max_results": 50}
        found = self._pages("POST", "logged-models/search", "models", **asked)
        try:
            first = next(found, None)
        except NotFound:
            return
        if first is not None:
            name = f"a logged model of experiment {experiment}"
            yield from self._each(name, _and(first, found), partial(self._logged_model, experiment))

    def model_points(self, model: TheirLoggedModel) -> Iterator[TheirModelPoint]:
        """Yield the points of a logged model's metrics, which came with it."""
        ident, points = self._points
        if ident != model.id:
            raise Invalid(f"Logged model {model.id} is not the one that was read last.", about="import")
        for found in points:
            dataset = (found.dataset_name, found.dataset_digest)
            yield TheirModelPoint(found.key, found.step, found.timestamp, found.value, found.run_id, *dataset)

    def models(self) -> Iterator[tuple[TheirModel, list[TheirVersion]]]:
        """Yield the registered models with their versions, then the prompts."""
        for condition in ("", _PROMPTS):
            asked = {"filter": condition} if condition else {}
            found = self._pages("GET", "registered-models/search", "registered_models", max_results=100, **asked)
            yield from self._each("a registered model", found, partial(self._model, condition))

    def files(self, place: str) -> Iterator[TheirFile]:
        """Yield the files below a place that the server serves.

        Raises:
            Invalid: it does not serve the place.
        """
        parts = urlsplit(place)
        if parts.scheme != "mlflow-artifacts":
            raise Invalid(
                f"{place} is not served by {self._address}.",
                about="import",
                hint="Import from the store's database or folder, on the machine that has its files.",
            )
        yield from self._below(unquote(parts.path).strip("/"), "")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _experiment(self, raw: msgspec.Raw) -> TheirExperiment:
        found = _typed(raw, answers.Experiment)
        return checked(TheirExperiment(found.experiment_id, found.name, found.lifecycle_stage, pairs(found.tags)))

    def _run(self, experiment: str, raw: msgspec.Raw) -> TheirRun:
        ident = _typed(raw, answers.Run).info.run_id
        found = self._asked(f"runs/get?{urlencode({'run_id': ident})}", answers.OneRun).run  # searches leave things out
        info, data = found.info, found.data
        self._metrics = ident, sorted({metric.key for metric in data.metrics})
        run = TheirRun(
            id=ident,
            experiment=experiment,
            name=info.run_name,
            user=info.user_id,
            status=info.status,
            lifecycle=info.lifecycle_stage,
            started_ms=info.start_time,
            ended_ms=info.end_time or None,
            artifacts=info.artifact_uri,
            params=pairs(data.params),
            tags=pairs(data.tags),
            inputs=tuple(given.taken() for given in found.inputs.dataset_inputs),
            models=tuple(given.model_id for given in found.inputs.model_inputs),
            outputs=tuple(given.taken() for given in found.outputs.model_outputs),
        )
        return checked(run)

    def _names(self, run: str) -> list[str]:
        """Return the names of a run's metrics."""
        if self._metrics[0] != run:
            found = self._asked(f"runs/get?{urlencode({'run_id': run})}", answers.OneRun).run
            self._metrics = run, sorted({metric.key for metric in found.data.metrics})
        return self._metrics[1]

    def _logged_model(self, experiment: str, raw: msgspec.Raw) -> TheirLoggedModel:
        found = _typed(raw, answers.LoggedModel)
        info = found.info
        self._points = info.model_id, found.data.metrics
        model = TheirLoggedModel(
            id=info.model_id,
            experiment=experiment,
            name=info.name,
            type=info.model_type,
            run=info.source_run_id,
            status=info.status,
            lifecycle="active",
            artifacts=info.artifact_uri,
            params=pairs(found.data.params),
            tags=pairs(info.tags),
        )
        return checked(model)

    def _model(self, condition: str, raw: msgspec.Raw) -> tuple[TheirModel, list[TheirVersion]]:
        found = _typed(raw, answers.RegisteredModel)
        aliases = {alias.alias: alias.version for alias in found.aliases}
        model = checked(TheirModel(found.name, found.description, pairs(found.tags), aliases))
        quoted = found.name.replace("'", "\\'")
        asked = " AND ".join(filter(None, (f"name = '{quoted}'", condition)))  # prompts are found where asked for only
        pages = self._pages("GET", "model-versions/search", "model_versions", filter=asked, max_results=_PAGE)
        versions = list(self._each(f"a version of {model.name}", pages, partial(self._version, model.name)))
        kept = (version for version in versions if version.stage != DELETED)
        return model, sorted(kept, key=lambda version: version.version)

    def _version(self, model: str, raw: msgspec.Raw) -> TheirVersion:
        found = _typed(raw, answers.ModelVersion)
        number = urlencode({"name": model, "version": found.version})
        version = TheirVersion(
            model=model,
            version=found.version,
            description=found.description,
            user=found.user_id,
            stage=found.current_stage,
            source=found.source,
            artifacts=self._asked(f"model-versions/get-download-uri?{number}", answers.Place).artifact_uri,
            run=found.run_id,
            status=found.status,
            run_link=found.run_link,
            tags=pairs(found.tags),
        )
        return checked(version)

    def _below(self, root: str, folder: str) -> Iterator[TheirFile]:
        path = f"{_FILES}?{urlencode({'path': f'{root}/{folder}'.rstrip('/')})}"
        for entry in _typed(self._ask("GET", path), answers.Listing).files:
            below = f"{folder}/{entry.path}".lstrip("/")
            if entry.is_dir:
                yield from self._below(root, below)
            else:
                yield TheirFile(below, entry.file_size, partial(self._opened, f"{_FILES}/{quote(f'{root}/{below}')}"))

    @contextlib.contextmanager
    def _opened(self, path: str) -> Iterator[BinaryIO]:
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as file:
            self._tried(path, lambda: self._fetch(path, file))
            file.seek(0)
            yield cast("BinaryIO", file)  # it reads as one

    def _fetch(self, path: str, target: tempfile.SpooledTemporaryFile[bytes]) -> None:
        target.seek(0)
        target.truncate()
        answer = self._answer("GET", path, None)
        while piece := answer.read(1 << 20):
            target.write(piece)
        if answer.length:
            raise http.client.IncompleteRead(b"", answer.length)

    def _each(self, name: str, items: Iterator[msgspec.Raw], read: Callable[[msgspec.Raw], _Found]) -> Iterator[_Found]:
        return each(((name, item) for item in items), read, self.left)

    def _pages(self, method: str, route: str, name: str, **asked: Any) -> Iterator[msgspec.Raw]:
        token = ""
        while True:
            words = {**asked, **({"page_token": token} if token else {})}
            path = f"{_API}{route}"
            raw = self._ask(method, f"{path}?{urlencode(words)}") if method == "GET" else self._ask(method, path, words)
            page = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
            if name in page:
                yield from msgspec.json.decode(page[name], type=list[msgspec.Raw])
            held, token = token, msgspec.json.decode(page.get("next_page_token", b'""'), type=str)
            if token and token == held:
                raise Invalid(f"{self._address} gives the same page of {route} again and again.", about="import")
            if not token:
                return

    def _asked(self, route: str, kind: type[_Record]) -> _Record:
        return _typed(self._ask("GET", _API + route), kind)

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> bytes:
        data = self._tried(path, lambda: self._answer(method, path, body).read(_LARGEST + 1))
        if len(data) > _LARGEST:
            self._connection.close()
            raise Invalid(f"{self._address} answers {path} with more than {_LARGEST:,} bytes.", about="import")
        return data

    def _tried(self, path: str, work: Callable[[], _Found], *, patient: bool = True) -> _Found:
        """Return what a request gives; what may be better a moment later is asked again after each of the pauses."""
        for pause_s in _PAUSES_S if patient else ():
            with contextlib.suppress(*_PASSING):
                return work()
            self._connection.close()
            threading.Event().wait(pause_s)
        try:
            return work()
        except _PASSING as error:
            self._connection.close()
            raise Unavailable(
                f"{self._address} cannot be asked for {path}: {str(error) or type(error).__name__}.",
                about="import",
                hint="Start the import again when it is well: it goes on where it broke off.",
            ) from None

    def _answer(self, method: str, path: str, body: Mapping[str, Any] | None) -> http.client.HTTPResponse:
        data = msgspec.json.encode(body) if body is not None else None
        headers = {"Content-Type": "application/json"} if data is not None else {}
        self._connection.request(method, self._base + path, data, headers)
        answer = self._connection.getresponse()
        if answer.status == http.client.OK:
            return answer
        told = answer.read(300)
        self._connection.close()
        if answer.status in _TRY_AGAIN:
            raise _Busy(f"it answers {answer.status}: {told!r}")
        if answer.status == http.client.NOT_FOUND:
            raise NotFound(f"{self._address} has nothing at {path}.", about="import")
        raise Invalid(f"{self._address} answered {answer.status} to {path}: {told!r}.", about="import")


def _typed(raw: bytes | msgspec.Raw, kind: type[_Record]) -> _Record:
    """Return JSON as a record; protobuf's JSON writes some numbers as texts."""
    return msgspec.json.decode(raw, type=kind, strict=False)


def _point(metric: answers.Metric) -> Point:
    return metric.step, metric.timestamp, metric.value


def _and(first: _Found, rest: Iterator[_Found]) -> Iterator[_Found]:
    yield first
    yield from rest
