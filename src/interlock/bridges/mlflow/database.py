"""An MLflow store in SQLite, read without MLflow; its tables are those of MLflow 2 and 3."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, BinaryIO

import apsw

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
    from pathlib import Path

    from interlock.bridges.mlflow.places import LocalPlaces

_STATUS = {0: "UNSPECIFIED", 1: "LOGGED_MODEL_PENDING", 2: "LOGGED_MODEL_READY", 3: "LOGGED_MODEL_UPLOAD_FAILED"}


class DatabaseSource:
    """A store in a database file, which is never written to.

    Args:
        path: the file.
        places: reads its artifacts.

    Raises:
        NotFound: there is no such file.
        Invalid: it holds no MLflow store.
    """

    def __init__(self, path: Path, places: LocalPlaces) -> None:
        if not path.is_file():
            raise NotFound(f"There is no file {str(path)!r}.", about="file")
        self._places = places
        try:
            self._database = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
            names = {row[0] for row in self._database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        except apsw.Error as error:
            raise Invalid(f"{path.name} is no SQLite database: {error}.", about="import") from None
        if not {"experiments", "runs", "metrics"} <= names:
            raise Invalid(f"{path.name} holds no MLflow store.", about="import", hint="Its tables are others.")
        self._tables = names

    def experiments(self) -> Iterator[TheirExperiment]:
        """Yield all experiments."""
        tags = self._pairs("experiment_tags", "experiment_id", "key", "value")
        for row in self._all("SELECT experiment_id, name, lifecycle_stage FROM experiments ORDER BY experiment_id"):
            ident = str(row["experiment_id"])
            yield TheirExperiment(ident, row["name"], row["lifecycle_stage"], tags.get(ident, {}))

    def runs(self, experiment: str) -> Iterator[TheirRun]:
        """Yield the runs of an experiment."""
        inputs, outputs = self._inputs(experiment), self._outputs(experiment)
        query = "SELECT * FROM runs WHERE experiment_id = ? ORDER BY start_time, run_uuid"
        for row in list(self._all(query, (experiment,))):
            ident = row["run_uuid"]
            yield TheirRun(
                id=ident,
                experiment=experiment,
                name=row["name"] or "",
                user=row["user_id"] or "",
                status=row["status"] or "RUNNING",
                lifecycle=row["lifecycle_stage"] or "active",
                started_ms=row["start_time"] or 0,
                ended_ms=row["end_time"],
                artifacts=row["artifact_uri"] or "",
                params=self._own("params", "run_uuid", ident),
                tags=self._own("tags", "run_uuid", ident),
                inputs=tuple(inputs.get(ident, ())),
                outputs=tuple(outputs.get(ident, ())),
            )

    def metrics(self, run: TheirRun) -> Iterator[tuple[str, list[Point]]]:
        """Yield the metrics of a run with all their points."""
        query = "SELECT key, step, timestamp, value, is_nan FROM metrics WHERE run_uuid = ? ORDER BY key"
        held, points = "", list[Point]()
        for row in self._all(query, (run.id,)):
            if row["key"] != held:
                if points:
                    yield held, points
                held, points = row["key"], []
            value = math.nan if row["is_nan"] else _infinite(row["value"])
            points.append((row["step"], row["timestamp"], value))
        if points:
            yield held, points

    def logged_models(self, experiment: str) -> Iterator[TheirLoggedModel]:
        """Yield the logged models of an experiment; stores of MLflow 2 have none."""
        if "logged_models" not in self._tables:
            return
        for row in list(self._all("SELECT * FROM logged_models WHERE experiment_id = ?", (experiment,))):
            ident = row["model_id"]
            params = self._all(
                "SELECT param_key AS key, param_value AS value FROM logged_model_params WHERE model_id = ?", (ident,)
            )
            tags = self._all(
                "SELECT tag_key AS key, tag_value AS value FROM logged_model_tags WHERE model_id = ?", (ident,)
            )
            yield TheirLoggedModel(
                id=ident,
                experiment=experiment,
                name=row["name"],
                type=row["model_type"] or "",
                run=row["source_run_id"] or "",
                status=_STATUS.get(row["status"], "UNSPECIFIED"),
                lifecycle=row["lifecycle_stage"],
                artifacts=row["artifact_location"],
                params={pair["key"]: pair["value"] for pair in params},
                tags={pair["key"]: pair["value"] for pair in tags},
            )

    def models(self) -> Iterator[tuple[TheirModel, list[TheirVersion]]]:
        """Yield the registered models with their versions."""
        if "registered_models" not in self._tables:
            return
        aliased = "registered_model_aliases" in self._tables
        for row in list(self._all("SELECT * FROM registered_models ORDER BY creation_time, name")):
            name = row["name"]
            query = "SELECT alias, version FROM registered_model_aliases WHERE name = ?"
            aliases = {found["alias"]: found["version"] for found in self._all(query, (name,))} if aliased else {}
            tags = self._own("registered_model_tags", "name", name)
            yield TheirModel(name, row["description"] or "", tags, aliases), list(self._versions(name))

    def files(self, place: str) -> Iterator[tuple[str, BinaryIO]]:
        """Yield the files below a place."""
        return self._places.files(place)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _versions(self, model: str) -> Iterator[TheirVersion]:
        for row in list(self._all("SELECT * FROM model_versions WHERE name = ? ORDER BY version", (model,))):
            if row["current_stage"] == DELETED:
                continue
            query = "SELECT key, value FROM model_version_tags WHERE name = ? AND version = ?"
            tags = {pair["key"]: pair["value"] for pair in self._all(query, (model, row["version"]))}
            yield TheirVersion(
                model=model,
                version=row["version"],
                description=row["description"] or "",
                user=row["user_id"] or "",
                stage=row["current_stage"] or "None",
                source=row["source"] or "",
                artifacts=row.get("storage_location") or row["source"] or "",
                run=row["run_id"] or "",
                status=row["status"] or "READY",
                run_link=row["run_link"] or "",
                tags=tags,
            )

    def _inputs(self, experiment: str) -> dict[str, list[TheirInput]]:
        if not {"inputs", "datasets", "input_tags"} <= self._tables:
            return {}
        tags: dict[str, dict[str, str]] = {}
        for row in self._all("SELECT input_uuid, name, value FROM input_tags"):
            tags.setdefault(row["input_uuid"], {})[row["name"]] = row["value"]
        query = (
            "SELECT i.input_uuid, i.destination_id, d.* FROM inputs i JOIN datasets d ON d.dataset_uuid = i.source_id"
            " WHERE i.source_type = 'DATASET' AND i.destination_type = 'RUN' AND d.experiment_id = ?"
        )
        found: dict[str, list[TheirInput]] = {}
        for row in self._all(query, (experiment,)):
            found.setdefault(row["destination_id"], []).append(
                TheirInput(
                    row["name"],
                    row["digest"],
                    row["dataset_source_type"],
                    row["dataset_source"],
                    row["dataset_schema"],
                    row["dataset_profile"],
                    tags.get(row["input_uuid"], {}),
                )
            )
        return found

    def _outputs(self, experiment: str) -> dict[str, list[str]]:
        if not {"inputs", "logged_models"} <= self._tables:
            return {}
        query = (
            "SELECT i.source_id AS run, i.destination_id AS model FROM inputs i JOIN runs r ON r.run_uuid = i.source_id"
            " WHERE i.source_type = 'RUN_OUTPUT' AND r.experiment_id = ?"
        )
        found: dict[str, list[str]] = {}
        for row in self._all(query, (experiment,)):
            found.setdefault(row["run"], []).append(row["model"])
        return found

    def _own(self, table: str, owner: str, ident: str) -> dict[str, str]:
        query = f"SELECT key, value FROM {table} WHERE {owner} = ? ORDER BY key"  # noqa: S608 - the tables' names are ours
        return {row["key"]: row["value"] or "" for row in self._all(query, (ident,))}

    def _pairs(self, table: str, owner: str, key: str, value: str) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        if table in self._tables:
            for row in self._all(f"SELECT {owner} AS o, {key} AS k, {value} AS v FROM {table}"):  # noqa: S608 - ours
                found.setdefault(str(row["o"]), {})[row["k"]] = row["v"] or ""
        return found

    def _all(self, query: str, values: tuple[Any, ...] = ()) -> Iterator[dict[str, Any]]:
        cursor = self._database.cursor()
        cursor.execute(query, values)
        names: list[str] = []
        for row in cursor:
            names = names or [column[0] for column in cursor.getdescription()]
            yield dict(zip(names, row, strict=True))


_LARGEST = 1.7976931348623157e308


def _infinite(value: float) -> float:
    """Return a value; MLflow writes the infinities as the largest numbers."""
    return math.copysign(math.inf, value) if abs(value) == _LARGEST else value
