"""An MLflow store in SQLite, read without MLflow; its tables are those of MLflow 2 and 3."""

from __future__ import annotations

import math
import operator
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, TypeVar

import apsw
import msgspec

from interlock.bridges.mlflow.careful import LARGEST_RECORD, checked, each, pieces
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
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from interlock.bridges.mlflow.places import LocalPlaces

_Found = TypeVar("_Found")
_NEEDED: Final = frozenset({"experiments", "runs", "metrics", "params", "tags"})
_STATUS: Final = {
    0: "UNSPECIFIED",
    1: "LOGGED_MODEL_PENDING",
    2: "LOGGED_MODEL_READY",
    3: "LOGGED_MODEL_UPLOAD_FAILED",
}
_OTHERS: Final = {
    "trace_info": "traces",
    "webhooks": "webhooks",
    "evaluation_datasets": "evaluation datasets",
    "scorers": "scorers",
    "endpoints": "gateway endpoints",
    "label_schemas": "label schemas",
    "review_queues": "review queues",
}
_LARGEST: Final = 1.7976931348623157e308  # how MLflow writes the infinities


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
            self._database.limit(apsw.SQLITE_LIMIT_LENGTH, LARGEST_RECORD)  # of one value
            rows = self._database.execute("PRAGMA main.table_list")
            names = {name for _, name, kind, *_ in rows if kind == "table"}  # a view may never come to its end
        except apsw.Error as error:
            raise Invalid(f"{path.name} is no SQLite database: {error}.", about="import") from None
        if not names >= _NEEDED:
            raise Invalid(f"{path.name} holds no MLflow store.", about="import", hint="Its tables are others.")
        self._tables = names

    def overview(self) -> Overview:
        """Return how many runs there are, and how many of what is not taken over."""
        counts = {
            what: next(self._all(f"SELECT count(*) AS n FROM {table}"))["n"]  # noqa: S608 - ours
            for table, what in {"runs": "runs", **_OTHERS}.items()
            if table in self._tables
        }
        return Overview(counts.pop("runs"), {what: count for what, count in counts.items() if count})

    def experiments(self) -> Iterator[TheirExperiment]:
        """Yield all experiments."""
        return self._each("experiments", self._experiment, "1 ORDER BY experiment_id")

    def runs(self, experiment: str) -> Iterator[TheirRun]:
        """Yield the runs of an experiment."""
        return self._each(
            "runs", partial(self._run, experiment), "experiment_id = ? ORDER BY start_time, run_uuid", experiment
        )

    def metrics(self, run: TheirRun) -> Iterator[tuple[str, list[Point]]]:
        """Yield the metrics of a run in pieces.

        Raises:
            Invalid: a point is none.
        """
        query = (
            "SELECT key, step, timestamp, value, is_nan FROM metrics WHERE run_uuid = ?"
            " ORDER BY key, step, timestamp, is_nan DESC, value"
        )
        for name, rows in groupby(self._database.cursor().execute(query, (run.id,)), operator.itemgetter(0)):
            if not isinstance(name, str):
                raise Invalid(f"A metric of run {run.id} has a name that is no text.", about="import")
            for piece in pieces(_point(row[1:], f"metric {name!r} of run {run.id}") for row in rows):
                yield name, piece

    def logged_models(self, experiment: str) -> Iterator[TheirLoggedModel]:
        """Yield the logged models of an experiment; stores of MLflow 2 have none."""
        return self._each("logged_models", partial(self._logged_model, experiment), "experiment_id = ?", experiment)

    def model_points(self, model: TheirLoggedModel) -> Iterator[TheirModelPoint]:
        """Yield the points of a logged model's metrics.

        MLflow writes no NaN there; whether a 0 is one is seen where the run's own metric has the same point.

        Raises:
            Invalid: a point is none.
        """
        if "logged_model_metrics" not in self._tables:
            return
        query = (
            "SELECT p.*, (SELECT max(m.is_nan) FROM metrics m WHERE m.run_uuid = p.run_id AND m.key = p.metric_name"
            " AND m.timestamp = p.metric_timestamp_ms AND m.step = p.metric_step) AS is_nan"
            " FROM logged_model_metrics p WHERE p.model_id = ?"
            " ORDER BY p.metric_name, p.metric_step, p.metric_timestamp_ms, p.run_id"
        )
        for row in self._all(query, (model.id,)):
            values = (row["metric_step"], row["metric_timestamp_ms"], row["metric_value"], row["is_nan"])
            step, at, value = _point(values, f"a metric of logged model {model.id}")
            dataset = (row["dataset_name"] or "", row["dataset_digest"] or "")
            yield checked(TheirModelPoint(row["metric_name"], step, at, value, row["run_id"] or "", *dataset))

    def models(self) -> Iterator[tuple[TheirModel, list[TheirVersion]]]:
        """Yield the registered models with their versions."""
        return self._each("registered_models", self._model, "1 ORDER BY creation_time, name")

    def files(self, place: str) -> Iterator[TheirFile]:
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
            models=tuple(row["destination_id"] for row in self._linked("RUN_INPUT", ident)),
            outputs=tuple(
                TheirOutput(row["destination_id"], row.get("step") or 0) for row in self._linked("RUN_OUTPUT", ident)
            ),
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
        named = {"name": name, **({"workspace": row["workspace"]} if "workspace" in row else {})}  # MLflow 3.10 and on
        found = self._own("registered_model_aliases", "", "alias", "version", **named)
        pairs = [(f"alias {alias} of {name}", (alias, version)) for alias, version in found.items()]
        aliases = dict(each(pairs, lambda pair: msgspec.convert(pair, tuple[str, int]), self.left))
        tags = self._own("registered_model_tags", **named)
        model = checked(TheirModel(name, row["description"] or "", tags, aliases))
        where = " AND ".join(f"{column} = ?" for column in named)
        versions = self._each(
            "model_versions", partial(self._version, named), f"{where} ORDER BY version", *named.values()
        )
        return model, [version for version in versions if version.stage != DELETED]

    def _version(self, named: dict[str, str], row: dict[str, Any]) -> TheirVersion:
        version = TheirVersion(
            model=named["name"],
            version=row["version"],
            description=row["description"] or "",
            user=row["user_id"] or "",
            stage=row["current_stage"] or NO_STAGE,
            source=row["source"] or "",
            artifacts=row.get("storage_location") or row["source"] or "",
            run=row["run_id"] or "",
            status=row["status"] or "READY",
            run_link=row["run_link"] or "",
            tags=self._own("model_version_tags", version=row["version"], **named),
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
                self._own("input_tags", "", "name", "value", input_uuid=row["input_uuid"]),
            )
            yield checked(found)

    def _linked(self, kind: str, run: str) -> Iterator[dict[str, Any]]:
        """Yield the links of a run to logged models; stores of MLflow 2 have none."""
        if not {"inputs", "logged_models"} <= self._tables:
            return iter(())
        return self._all(
            "SELECT * FROM inputs WHERE source_type = ? AND source_id = ? ORDER BY destination_id", (kind, run)
        )

    def _own(
        self, table: str, prefix: str = "", key: str = "key", value: str = "value", **owner: Any
    ) -> dict[str, Any]:
        """Return the names and values that a table has for an owner; none if there is no such table."""
        if table not in self._tables:
            return {}
        where = " AND ".join(f"{column} = ?" for column in owner)
        query = f"SELECT {prefix}{key} AS k, {prefix}{value} AS v FROM {table} WHERE {where} ORDER BY k"  # noqa: S608 - ours
        return {row["k"]: "" if row["v"] is None else row["v"] for row in self._all(query, tuple(owner.values()))}

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


def _point(row: tuple[Any, ...], what: str) -> Point:
    """Return a row's step, instant and value; MLflow writes the infinities as the largest numbers.

    Raises:
        Invalid: one is no number.
    """
    step, at, value, is_nan = row
    if is_nan:
        value = math.nan
    if type(step) is not int or type(at) is not int or type(value) not in {int, float}:
        raise Invalid(f"A point of {what} is none: {row!r:.80}.", about="import")
    return step, at, math.copysign(math.inf, value) if abs(value) == _LARGEST else float(value)
