"""Experiments on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from interlock.core.errors import NotFound
from interlock.core.operations import Permission
from interlock.server.mlflow import checks
from interlock.server.mlflow.adapter import ROOT, Adapter, millis, present, tag_list
from interlock.server.mlflow.routing import route
from interlock.server.mlflow.wire import Int64, Refused, invalid
from interlock.track.experiments import Lifecycle, experiment_row

if TYPE_CHECKING:
    from interlock.core.ports import Transaction
    from interlock.track.experiments import ExperimentFacts

READ, WRITE = Permission.TRACK_READ, Permission.TRACK_WRITE
ViewType = Literal["ACTIVE_ONLY", "DELETED_ONLY", "ALL"]


class Tag(msgspec.Struct):
    """A name and its value."""

    key: str
    value: str = ""


class CreateExperiment(msgspec.Struct):
    """`artifact_location` is not followed: the server owns all places."""

    name: str
    artifact_location: str = ""
    tags: list[Tag] = []


class ExperimentId(msgspec.Struct):
    """Names an experiment."""

    experiment_id: str


class ExperimentName(msgspec.Struct):
    """Names an experiment by its name."""

    experiment_name: str


class UpdateExperiment(msgspec.Struct):
    """A new name."""

    experiment_id: str
    new_name: str = ""


class ExperimentTag(msgspec.Struct):
    """A tag of an experiment."""

    experiment_id: str
    key: str
    value: str = ""


class SearchExperiments(msgspec.Struct):
    """A search."""

    max_results: Int64 = 1000
    page_token: str = ""
    filter: str = ""
    order_by: list[str] = []
    view_type: ViewType = "ACTIVE_ONLY"


@route("POST", "experiments/create", WRITE)
def create(adapter: Adapter, ask: CreateExperiment) -> dict[str, Any]:
    """Make an experiment."""
    checks.required(name=ask.name)
    tags = {tag.key: _checked(tag.key, tag.value) for tag in ask.tags}
    return {"experiment_id": adapter.database.write(lambda tx: adapter.tracker.experiments.create(tx, ask.name, tags))}


@route("GET", "experiments/get", READ)
def get(adapter: Adapter, ask: ExperimentId) -> dict[str, Any]:
    """Show an experiment."""
    checks.required(experiment_id=ask.experiment_id)
    return {"experiment": shown(adapter.tracker.experiments.get(ask.experiment_id))}


@route("GET", "experiments/get-by-name", READ)
def get_by_name(adapter: Adapter, ask: ExperimentName) -> dict[str, Any]:
    """Show an experiment by its name."""
    checks.required(experiment_name=ask.experiment_name)
    try:
        return {"experiment": shown(adapter.tracker.experiments.named(ask.experiment_name))}
    except NotFound:
        message = f"Could not find experiment with name '{ask.experiment_name}'"  # clients make one when they read this
        raise Refused("RESOURCE_DOES_NOT_EXIST", message) from None


@route("POST", "experiments/update", WRITE)
def update(adapter: Adapter, ask: UpdateExperiment) -> None:
    """Rename an experiment."""
    checks.required(experiment_id=ask.experiment_id)
    adapter.database.write(lambda tx: adapter.tracker.experiments.change(tx, ask.experiment_id, name=ask.new_name))


@route("POST", "experiments/delete", WRITE)
def delete(adapter: Adapter, ask: ExperimentId) -> None:
    """Delete an experiment and its runs; both can be restored."""
    _move(adapter, ask.experiment_id, "active", "deleted")


@route("POST", "experiments/restore", WRITE)
def restore(adapter: Adapter, ask: ExperimentId) -> None:
    """Restore an experiment that was deleted."""
    _move(adapter, ask.experiment_id, "deleted", "active")


@route("POST", "experiments/set-experiment-tag", WRITE)
def set_tag(adapter: Adapter, ask: ExperimentTag) -> None:
    """Tag an experiment."""
    tags = {ask.key: _checked(ask.key, ask.value)}
    adapter.database.write(lambda tx: adapter.tracker.experiments.change(tx, ask.experiment_id, tags=tags))


@route("POST", "experiments/delete-experiment-tag", WRITE)
def delete_tag(adapter: Adapter, ask: ExperimentTag) -> None:
    """Take a tag of an experiment away."""
    adapter.database.write(lambda tx: adapter.tracker.experiments.change(tx, ask.experiment_id, untag=[ask.key]))


def _move(adapter: Adapter, ident: str, origin: Lifecycle, lifecycle: Lifecycle) -> None:
    """Delete or restore an experiment; for the protocol one that is not at the origin is not there."""
    checks.required(experiment_id=ident)

    def change(tx: Transaction) -> None:
        if experiment_row(tx, ident)["lifecycle"] != origin:
            raise NotFound(f"There is no {origin} experiment {ident!r}.", about="experiment")
        adapter.tracker.experiments.change(tx, ident, lifecycle=lifecycle)

    adapter.database.write(change)


def _checked(key: str, value: str) -> str:
    """Return the value of a tag that may be one."""
    checks.key(key, "Tag")
    if len(value) > checks.EXPERIMENT_TAG_VALUE:
        raise invalid(f"'value' exceeds {checks.EXPERIMENT_TAG_VALUE} characters.")
    return value


def shown(facts: ExperimentFacts) -> dict[str, Any]:
    """Return an experiment as the protocol has it."""
    return present(
        experiment_id=facts.id,
        name=facts.name,
        artifact_location=f"{ROOT}/{facts.id}",
        lifecycle_stage=facts.lifecycle,
        creation_time=millis(facts.created_at),
        last_update_time=millis(facts.updated_at),
        tags=tag_list(facts.tags),
    )
