"""Logged models: what a run saves as a model, before anybody registers it."""

from __future__ import annotations

import math
import secrets
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from interlock.core.clock import to_micros
from interlock.core.errors import Conflict, Invalid, NotFound
from interlock.store.series import LatestValue
from interlock.track.experiments import (
    Lifecycle,
    among,
    check_active,
    drop_pair,
    experiment_row,
    held_pairs,
    pairs,
    set_pairs,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interlock.core.ports import Reader, Row, Transaction
    from interlock.store import Store

ModelStatus = Literal["pending", "ready", "upload_failed"]


class ModelMetric(msgspec.Struct, frozen=True):
    """A point of a metric of a logged model, on a dataset if it names one, logged by a run."""

    key: str
    point: LatestValue
    run: str = ""
    dataset_name: str = ""
    dataset_digest: str = ""


class LoggedModelFacts(msgspec.Struct, frozen=True):
    """A logged model as it is stored; instants in microseconds since 1970 UTC."""

    id: str
    experiment: str
    name: str
    type: str
    run: str
    status: ModelStatus
    status_message: str
    lifecycle: Lifecycle
    created_at: int
    updated_at: int
    params: dict[str, str]
    tags: dict[str, str]
    metrics: tuple[ModelMetric, ...]


class ModelDraft(msgspec.Struct, frozen=True):
    """A logged model to be made.

    Attributes:
        experiment: the id of its experiment.
        name: what it is called.
        type: what its maker says it is, such as a library.
        run: the id of the run that made it, or "".
        params: values by name.
        tags: values by name.
        id: the id it had elsewhere; "" for a new one.
    """

    experiment: str
    name: str
    type: str = ""
    run: str = ""
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    id: str = ""


class ModelChange(msgspec.Struct, frozen=True):
    """What shall change of a logged model; what is None or empty stays.

    Attributes:
        status: pending, ready or upload_failed.
        lifecycle: active or deleted.
        params: params to add.
        tags: tags to set.
        untag: names of tags to take away.
    """

    status: ModelStatus | None = None
    lifecycle: Lifecycle | None = None
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    untag: tuple[str, ...] = ()


class LoggedModels:
    """The logged models of a workspace.

    Args:
        store: what the workspace remembers.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(self, tx: Transaction, draft: ModelDraft) -> str:
        """Return the id of a new logged model, which is pending until it is finalized.

        Raises:
            NotFound: there is no such experiment.
            Conflict: the experiment is deleted.
            Invalid: the name cannot be one.
        """
        experiment, name, run = draft.experiment, draft.name, draft.run
        check_active(experiment_row(tx, experiment), "experiment", experiment)
        if not name or any(letter in name for letter in "/:.%\"'"):
            raise Invalid(
                f"{name!r} cannot be the name of a logged model.",
                about="logged_model",
                hint="Use a name without any of / : . % \" '.",
            )
        ident, at = draft.id or f"m-{secrets.token_hex(16)}", to_micros(self._store.clock.now())
        tx.run(
            "INSERT INTO logged_models (id, experiment, name, type, run, status, status_message, lifecycle, created_at,"
            " updated_at) VALUES (:id, :experiment, :name, :type, :run, 'pending', '', 'active', :at, :at)",
            {"id": ident, "experiment": experiment, "name": name, "type": draft.type, "run": run, "at": at},
        )
        set_pairs(tx, "logged_model_params", "model", ident, draft.params)
        set_pairs(tx, "logged_model_tags", "model", ident, draft.tags)
        data = {"experiment": experiment, "run": run, "name": name}
        self._store.ledger.append(tx, "logged_model.created", f"logged_model:{ident}", data)
        return ident

    def change(self, tx: Transaction, ident: str, wanted: ModelChange) -> None:
        """Finalize, tag, delete or restore a logged model, or add params to it.

        Raises:
            NotFound: there is none, or it has no such tag.
            Conflict: it is deleted, or a param is there with another value.
        """
        row = model_row(tx, ident)
        changes: dict[str, Any] = {}
        if wanted.lifecycle is None:
            check_active(row, "logged model", ident)
        elif wanted.lifecycle != row["lifecycle"]:
            tx.run("UPDATE logged_models SET lifecycle = :to WHERE id = :id", {"to": wanted.lifecycle, "id": ident})
            changes["lifecycle"] = wanted.lifecycle
        if wanted.status is not None and wanted.status != row["status"]:
            tx.run("UPDATE logged_models SET status = :to WHERE id = :id", {"to": wanted.status, "id": ident})
            changes["status"] = wanted.status
        if wanted.params and (added := self._add_params(tx, ident, wanted.params)):
            changes["params"] = added
        if wanted.tags and (fresh := set_pairs(tx, "logged_model_tags", "model", ident, wanted.tags)):
            changes["tags"] = fresh
        for tag in wanted.untag:
            drop_pair(tx, "logged_model_tags", "model", ident, tag)
            changes.setdefault("untag", []).append(tag)
        if changes:
            at = to_micros(self._store.clock.now())
            tx.run("UPDATE logged_models SET updated_at = :at WHERE id = :id", {"at": at, "id": ident})
            self._store.ledger.append(tx, "logged_model.changed", f"logged_model:{ident}", {"changes": changes})

    def log_metric(self, tx: Transaction, model: str, metric: ModelMetric) -> None:
        """Add a point to a metric of a logged model; of equal step and instant the newest value counts."""
        tx.run(
            _ADD,
            {
                "model": model,
                "key": metric.key,
                "dataset_name": metric.dataset_name,
                "dataset_digest": metric.dataset_digest,
                "run": metric.run,
                "step": metric.point.step,
                "at": metric.point.at,
                "value": None if math.isnan(metric.point.value) else metric.point.value,
            },
        )

    def get(self, ident: str) -> LoggedModelFacts:
        """Return a logged model.

        Raises:
            NotFound: there is none.
        """
        (found,) = self.load([model_row(self._store.database, ident)])
        return found

    def load(self, rows: list[Row]) -> list[LoggedModelFacts]:
        """Return rows of the table as logged models, in the same order."""
        database: Reader = self._store.database
        idents = [row["id"] for row in rows]
        params = pairs(database, "logged_model_params", "model", idents)
        tags = pairs(database, "logged_model_tags", "model", idents)
        metrics: dict[str, list[ModelMetric]] = {}
        for row in among(
            database,
            "SELECT * FROM logged_model_metrics WHERE model IN",
            idents,
            "ORDER BY model, key, dataset_name, dataset_digest, run, step, at",
        ):
            value = float("nan") if row["value"] is None else row["value"]
            point = LatestValue(row["step"], row["at"], value)
            metrics.setdefault(row["model"], []).append(
                ModelMetric(row["key"], point, row["run"], row["dataset_name"], row["dataset_digest"])
            )
        fields = (name for name in LoggedModelFacts.__struct_fields__ if name not in {"params", "tags", "metrics"})
        names = tuple(fields)
        return [
            LoggedModelFacts(
                **{name: row[name] for name in names},
                params=params.get(row["id"], {}),
                tags=tags.get(row["id"], {}),
                metrics=tuple(metrics.get(row["id"], ())),
            )
            for row in rows
        ]

    def _add_params(self, tx: Transaction, ident: str, params: Mapping[str, str]) -> dict[str, str]:
        held = held_pairs(tx, "logged_model_params", "model", ident, list(params))
        for name, value in params.items():
            if held.get(name, value) != value:
                raise Conflict(f"Param {name!r} of logged model {ident} is {held[name]!r} already.", about="param")
        return set_pairs(tx, "logged_model_params", "model", ident, params)


_ADD = (
    "INSERT INTO logged_model_metrics (model, key, dataset_name, dataset_digest, run, step, at, value)"
    " VALUES (:model, :key, :dataset_name, :dataset_digest, :run, :step, :at, :value)"
    " ON CONFLICT (model, key, dataset_name, dataset_digest, run, step, at) DO UPDATE SET value = excluded.value"
)


def model_row(reader: Reader, ident: str) -> Row:
    """Return a logged model's row.

    Raises:
        NotFound: there is none.
    """
    row = reader.one("SELECT * FROM logged_models WHERE id = :id", {"id": ident})
    if row is None:
        raise NotFound.named("logged_model", ident)
    return row
