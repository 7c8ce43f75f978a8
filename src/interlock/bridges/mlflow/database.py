"""An MLflow store in SQLite, read without MLflow; its tables are those of MLflow 2 and 3."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import apsw
import msgspec

from interlock.bridges.mlflow.careful import checked, each
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
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from interlock.bridges.mlflow.places import LocalPlaces

_Found = TypeVar("_Found")
_NEEDED = frozenset({"experiments", "runs", "metrics", "params", "tags"})
_STATUS = {0: "UNSPECIFIED", 1: "LOGGED_MODEL_PENDING", 2: "LOGGED_MODEL_READY", 3: "LOGGED_MODEL_UPLOAD_FAILED"}


class DatabaseSource:
    """A store in a database file, which is never written to.

    Args:
        path: the file.
        places: reads its artifacts.

    Attributes:
        left: what could not be read, and why; the rest is yielded.

    Raises:
        NotFound: there is no such file.
        Invalid: it holds no MLflow store.
    """

    def __init__(self, path: Path, places: LocalPlaces) -> None:
        if not path.is_file():
            raise NotFound(f"There is no file {str(path)!r}.", about="file")
        self._places, self.left = places, places.left
        try:
            self._database = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
            self._database.execute("PRAGMA trusted_schema = OFF")
            rows = self._database.execute("PRAGMA main.table_list")
            names = {name for _, name, kind, *_ in rows if kind == "table"}  # a view may never come to its end
        except apsw.Error as error:
            raise Invalid(f"{path.name} is no SQLite database: {error}.", about="import") from None
        if not names >= _NEEDED:
            raise Invalid(f"{path.name} holds no MLflow store.", about="import", hint="Its tables are others.")
        self._tables = names

    def experiments(self) -> Iterator[TheirExperiment]:
        """Yield all experiments."""
        return self._each("experiments", self._experiment, "1 ORDER BY experiment_id")

    def runs(self, experiment: str) -> Iterator[TheirRun]:
        """Yield the runs of an experiment."""
        return self._each(
            "runs", partial(self._run, experiment), "experiment_id = ? ORDER BY start_time, run_uuid", experiment
        )

    def metrics(self, run: TheirRun) -> Iterator[tuple[str, list[Point]]]:
        """Yield the metrics of a run with all their points."""
        query = "SELECT key, step, timestamp, value, is_nan FROM metrics WHERE run_uuid = ? ORDER BY key"
        held, points = "", list[Point]()
        for row in self._all(query, (run.id,)):
            if not isinstance(row["key"], str):
                raise Invalid(f"A metric of run {run.id} has a name that is no text.", about="import")
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
        return self._each("logged_models", partial(self._logged_model, experiment), "experiment_id = ?", experiment)

    def models(self) -> Iterator[tuple[TheirModel, list[TheirVersion]]]:
        """Yield the registered models with their versions."""
        return self._each("registered_models", self._model, "1 ORDER BY creation_time, name")

    def files(self, place: str) -> Iterator[tuple[str, BinaryIO]]:
        """Yield the files below a place."""
        return self._places.files(place)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _experiment(self, row: dict[str, Any]) -> TheirExperiment:
        tags = self._own("experiment_tags", experiment_id=row["experiment_id"])
        return checked(
            TheirExperiment(str(row["experiment_id"]), row["name"], row["lifecycle_stage"] or "active", tags)
        )

    def _run(self, experiment: str, row: dict[str, Any]) -> TheirRun:
        ident = row["run_uuid"]
        run = TheirRun(
            id=ident,
            experiment=experiment,
            name=row["name"] or "",
            user=row["user_id"] or "",
            status=row["status"] or "RUNNING",
            lifecycle=row["lifecycle_stage"] or "active",
            started_ms=row["start_time"] or 0,
            ended_ms=row["end_time"],
            artifacts=row["artifact_uri"] or "",
            params=self._own("params", run_uuid=ident),
            tags=self._own("tags", run_uuid=ident),
            inputs=tuple(self._inputs(ident)),
            outputs=tuple(self._outputs(ident)),
        )
        return checked(run)

    def _logged_model(self, experiment: str, row: dict[str, Any]) -> TheirLoggedModel:
        ident = row["model_id"]
        model = TheirLoggedModel(
            id=ident,
            experiment=experiment,
            name=row["name"],
            type=row["model_type"] or "",
            run=row["source_run_id"] or "",
            status=_STATUS.get(row["status"], "UNSPECIFIED"),
            lifecycle=row["lifecycle_stage"] or "active",
            artifacts=row["artifact_location"] or "",
            params=self._own("logged_model_params", "param_", model_id=ident),
            tags=self._own("logged_model_tags", "tag_", model_id=ident),
        )
        return checked(model)

    def _model(self, row: dict[str, Any]) -> tuple[TheirModel, list[TheirVersion]]:
        name = row["name"]
        query = "SELECT alias, version FROM registered_model_aliases WHERE name = ?"
        aliased = self._all(query, (name,)) if "registered_model_aliases" in self._tables else iter(())
        pairs = [(f"alias {found['alias']} of {name}", (found["alias"], found["version"])) for found in aliased]
        aliases = dict(each(pairs, lambda pair: msgspec.convert(pair, tuple[str, int]), self.left))
        tags = self._own("registered_model_tags", name=name)
        model = checked(TheirModel(name, row["description"] or "", tags, aliases))
        found = self._each("model_versions", partial(self._version, name), "name = ? ORDER BY version", name)
        return model, [version for version in found if version.stage != DELETED]

    def _version(self, model: str, row: dict[str, Any]) -> TheirVersion:
        version = TheirVersion(
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
            tags=self._own("model_version_tags", name=model, version=row["version"]),
        )
        return checked(version)

    def _inputs(self, run: str) -> Iterator[TheirInput]:
        if not {"inputs", "datasets", "input_tags"} <= self._tables:
            return
        query = (
            "SELECT i.input_uuid, d.* FROM inputs i JOIN datasets d ON d.dataset_uuid = i.source_id"
            " WHERE i.source_type = 'DATASET' AND i.destination_type = 'RUN' AND i.destination_id = ?"
        )
        for row in list(self._all(query, (run,))):
            found = TheirInput(
                row["name"],
                row["digest"],
                row["dataset_source_type"],
                row["dataset_source"],
                row["dataset_schema"],
                row["dataset_profile"],
                {
                    tag["name"]: tag["value"] or ""
                    for tag in self._all(
                        "SELECT name, value FROM input_tags WHERE input_uuid = ?", (row["input_uuid"],)
                    )
                },
            )
            yield checked(found)

    def _outputs(self, run: str) -> Iterator[str]:
        if {"inputs", "logged_models"} <= self._tables:
            query = "SELECT destination_id FROM inputs WHERE source_type = 'RUN_OUTPUT' AND source_id = ?"
            for row in self._all(query, (run,)):
                yield row["destination_id"]

    def _own(self, table: str, prefix: str = "", **owner: Any) -> dict[str, str]:
        """Return the names and values that a table has for an owner; none if there is no such table."""
        if table not in self._tables:
            return {}
        where = " AND ".join(f"{column} = ?" for column in owner)
        query = f"SELECT {prefix}key AS k, {prefix}value AS v FROM {table} WHERE {where} ORDER BY k"  # noqa: S608 - ours
        return {row["k"]: row["v"] or "" for row in self._all(query, tuple(owner.values()))}

    def _each(self, table: str, read: Callable[[dict[str, Any]], _Found], where: str, *values: Any) -> Iterator[_Found]:
        """Yield what is read of each row; they are fetched one by one, as one that is no text would end them all."""
        if table not in self._tables:
            return iter(())
        rows = self._all(f"SELECT rowid AS row FROM {table} WHERE {where}", values)  # noqa: S608 - ours
        query = f"SELECT * FROM {table} WHERE rowid = ?"  # noqa: S608 - ours
        found = [(f"row {row['row']} of {table}", row["row"]) for row in rows]
        return each(found, lambda row: read(next(self._all(query, (row,)))), self.left)

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
