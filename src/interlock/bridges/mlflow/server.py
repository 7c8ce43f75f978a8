"""A running MLflow server, read through its protocol."""

from __future__ import annotations

import contextlib
import http.client
import tempfile
from typing import TYPE_CHECKING, Any, BinaryIO, Final
from urllib.parse import quote, unquote, urlencode, urlsplit

import msgspec

from interlock.bridges.mlflow.records import (
    Point,
    TheirExperiment,
    TheirInput,
    TheirLoggedModel,
    TheirModel,
    TheirRun,
    TheirVersion,
)
from interlock.core.errors import Invalid, NotFound, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

_API: Final = "/api/2.0/mlflow/"
_FILES: Final = "/api/2.0/mlflow-artifacts/artifacts"
_PAGE: Final = 1000
_POINTS: Final = 25_000
_IN_MEMORY: Final = 8 << 20
_WAIT_S: Final = 60.0


class ServerSource:
    """A store behind its server, which is only asked.

    Args:
        address: the server's.

    Raises:
        Unavailable: it does not answer.
    """

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=_WAIT_S)
        self._base = parts.path.rstrip("/")
        self._address = address
        self._ask("GET", f"{_API}experiments/search?max_results=1")

    def experiments(self) -> Iterator[TheirExperiment]:
        """Yield all experiments, deleted ones too."""
        for found in self._pages("POST", "experiments/search", "experiments", view_type="ALL", max_results=_PAGE):
            yield TheirExperiment(found["experiment_id"], found["name"], found["lifecycle_stage"], _pairs(found))

    def runs(self, experiment: str) -> Iterator[TheirRun]:
        """Yield the runs of an experiment, deleted ones too, oldest first."""
        asked = {"experiment_ids": [experiment], "run_view_type": "ALL", "order_by": ["attributes.start_time ASC"]}
        for found in self._pages("POST", "runs/search", "runs", max_results=_PAGE, **asked):
            info, data = found["info"], found.get("data", {})
            yield TheirRun(
                id=info["run_id"],
                experiment=experiment,
                name=info.get("run_name", ""),
                user=info.get("user_id", ""),
                status=info.get("status", "RUNNING"),
                lifecycle=info.get("lifecycle_stage", "active"),
                started_ms=int(info.get("start_time", 0)),
                ended_ms=int(info["end_time"]) if info.get("end_time") else None,
                artifacts=info.get("artifact_uri", ""),
                params=_pairs(data, "params"),
                tags=_pairs(data),
                inputs=tuple(_inputs(found)),
                outputs=tuple(model["model_id"] for model in found.get("outputs", {}).get("model_outputs", [])),
            )

    def metrics(self, run: TheirRun) -> Iterator[tuple[str, list[Point]]]:
        """Yield the metrics of a run with all their points."""
        found = self._ask("GET", f"{_API}runs/get?{urlencode({'run_id': run.id})}")
        for key in sorted({metric["key"] for metric in found["run"].get("data", {}).get("metrics", [])}):
            asked = {"run_id": run.id, "metric_key": key, "max_results": _POINTS}
            points = self._pages("GET", "metrics/get-history", "metrics", **asked)
            yield key, [(int(p.get("step", 0)), int(p["timestamp"]), float(p.get("value", 0.0))) for p in points]

    def logged_models(self, experiment: str) -> Iterator[TheirLoggedModel]:
        """Yield the logged models of an experiment; servers of MLflow 2 have none."""
        with contextlib.suppress(NotFound):
            for found in self._pages(
                "POST", "logged-models/search", "models", experiment_ids=[experiment], max_results=50
            ):
                info = found["info"]
                yield TheirLoggedModel(
                    id=info["model_id"],
                    experiment=experiment,
                    name=info.get("name", ""),
                    type=info.get("model_type", ""),
                    run=info.get("source_run_id", ""),
                    status=info.get("status", ""),
                    lifecycle="active",
                    artifacts=info.get("artifact_uri", ""),
                    params=_pairs(found.get("data", {}), "params"),
                    tags=_pairs(info),
                )

    def models(self) -> Iterator[tuple[TheirModel, list[TheirVersion]]]:
        """Yield the registered models with their versions."""
        prompts = "tags.`mlflow.prompt.is_prompt` = 'true'"
        for asked in ({}, {"filter": prompts}):
            for found in self._pages("GET", "registered-models/search", "registered_models", max_results=100, **asked):
                aliases = {alias["alias"]: int(alias["version"]) for alias in found.get("aliases", [])}
                model = TheirModel(found["name"], found.get("description", ""), _pairs(found), aliases)
                yield model, sorted(self._versions(model.name), key=lambda version: version.version)

    def files(self, place: str) -> Iterator[tuple[str, BinaryIO]]:
        """Yield the files below a place that the server serves."""
        parts = urlsplit(place)
        if parts.scheme != "mlflow-artifacts":
            raise Invalid(
                f"{place} is not served by {self._address}.",
                about="import",
                hint="Import from the store's database or folder, on the machine that has its files.",
            )
        root = unquote(parts.path).strip("/")
        yield from self._below(root, "")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _versions(self, model: str) -> Iterator[TheirVersion]:
        quoted = model.replace("'", "\\'")
        asked = {"filter": f"name = '{quoted}'", "max_results": _PAGE}
        for found in self._pages("GET", "model-versions/search", "model_versions", **asked):
            number = {"name": model, "version": found["version"]}
            uri = self._ask("GET", f"{_API}model-versions/get-download-uri?{urlencode(number)}")
            yield TheirVersion(
                model=model,
                version=int(found["version"]),
                description=found.get("description", ""),
                user=found.get("user_id", ""),
                stage=found.get("current_stage", "None"),
                source=found.get("source", ""),
                artifacts=uri.get("artifact_uri", ""),
                run=found.get("run_id", ""),
                status=found.get("status", "READY"),
                run_link=found.get("run_link", ""),
                tags=_pairs(found),
            )

    def _below(self, root: str, folder: str) -> Iterator[tuple[str, BinaryIO]]:
        listed = self._ask("GET", f"{_FILES}?{urlencode({'path': f'{root}/{folder}'.rstrip('/')})}")
        for entry in listed.get("files", []):
            path = f"{folder}/{entry['path']}".lstrip("/")
            if entry.get("is_dir"):
                yield from self._below(root, path)
            else:
                with tempfile.SpooledTemporaryFile(_IN_MEMORY) as file:
                    self._fetch(f"{_FILES}/{quote(f'{root}/{path}')}", file)
                    file.seek(0)
                    yield path, file  # type: ignore[misc]  # it reads as a binary file does

    def _pages(self, method: str, route: str, name: str, **asked: Any) -> Iterator[dict[str, Any]]:
        token = ""
        while True:
            words = {**asked, **({"page_token": token} if token else {})}
            path = f"{_API}{route}"
            found = (
                self._ask(method, f"{path}?{urlencode(words)}") if method == "GET" else self._ask(method, path, words)
            )
            yield from found.get(name, [])
            token = found.get("next_page_token", "")
            if not token:
                return

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = self._response(method, path, body)
        data = answer.read()
        if answer.status == http.client.NOT_FOUND:
            raise NotFound(f"{self._address} has nothing at {path}.", about="import")
        if answer.status != http.client.OK:
            raise Invalid(f"{self._address} answered {answer.status} to {path}: {data[:300]!r}.", about="import")
        found: dict[str, Any] = msgspec.json.decode(data)
        return found

    def _fetch(self, path: str, target: tempfile.SpooledTemporaryFile[bytes]) -> None:
        answer = self._response("GET", path, None)
        if answer.status != http.client.OK:
            raise Invalid(f"{self._address} answered {answer.status} to {path}.", about="import")
        while piece := answer.read(1 << 20):
            target.write(piece)

    def _response(self, method: str, path: str, body: dict[str, Any] | None) -> http.client.HTTPResponse:
        data = msgspec.json.encode(body) if body is not None else None
        headers = {"Content-Type": "application/json"} if data is not None else {}
        try:
            self._connection.request(method, self._base + path, data, headers)
            return self._connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Unavailable(f"{self._address} cannot be reached: {error}.", about="import") from None


def _pairs(record: dict[str, Any], name: str = "tags") -> dict[str, str]:
    return {pair["key"]: pair.get("value", "") for pair in record.get(name, [])}


def _inputs(found: dict[str, Any]) -> Iterator[TheirInput]:
    for given in found.get("inputs", {}).get("dataset_inputs", []):
        dataset = given["dataset"]
        yield TheirInput(
            dataset.get("name", ""),
            dataset.get("digest", ""),
            dataset.get("source_type", ""),
            dataset.get("source", ""),
            dataset.get("schema"),
            dataset.get("profile"),
            _pairs(given),
        )
