"""Inputs and outputs of runs on the wire: datasets that they read, models that they read or made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.core.operations import Permission
from interlock.server.mlflow.adapter import Adapter, present
from interlock.server.mlflow.experiments import Tag
from interlock.server.mlflow.routing import PREFIXES, route
from interlock.server.mlflow.runs import RunId
from interlock.server.mlflow.wire import Int64, invalid
from interlock.track.links import Dataset, Link
from interlock.track.logged_models import model_row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.core.ports import Transaction

_MOST: Final = 1000
_LENGTHS: Final = {"name": 500, "digest": 36, "source": 65_535, "schema": 1_048_575, "profile": 16_777_215}


class DatasetInput(msgspec.Struct):
    """A dataset that a run read."""

    dataset: Dataset
    tags: list[Tag] = []


class ModelInput(msgspec.Struct):
    """A logged model that a run read."""

    model_id: str


class ModelOutput(msgspec.Struct):
    """A logged model that a run made."""

    model_id: str
    step: Int64 = 0


class LogInputs(RunId):
    """What a run read."""

    datasets: list[DatasetInput] = []
    models: list[ModelInput] = []


class LogOutputs(RunId):
    """What a run made."""

    models: list[ModelOutput] = []


class SearchDatasets(msgspec.Struct):
    """Asks for the datasets of experiments."""

    experiment_ids: list[str] = []


@route("POST", "runs/log-inputs", Permission.TRACK_WRITE)
def log_inputs(adapter: Adapter, ask: LogInputs) -> None:
    """Add to what a run read."""
    if len(ask.datasets) > _MOST:
        raise invalid(f"At most {_MOST} datasets can be logged at once. Got {len(ask.datasets)}.")
    links = []
    for given in ask.datasets:
        _check(given.dataset)
        tags = {tag.key: tag.value for tag in given.tags}
        links.append(Link("dataset", given.dataset.name, given.dataset.digest, tags=tags, dataset=given.dataset))
    _add(adapter, ask.run, [*links, *(Link("model", model.model_id) for model in ask.models)])


@route("POST", "runs/outputs", Permission.TRACK_WRITE)
def log_outputs(adapter: Adapter, ask: LogOutputs) -> None:
    """Add to what a run made."""
    _add(adapter, ask.run, [Link("output", model.model_id, step=model.step) for model in ask.models])


def search_datasets(adapter: Adapter, ask: SearchDatasets) -> dict[str, Any]:
    """List the datasets that runs of experiments read."""
    found = adapter.tracker.links.seen(ask.experiment_ids, _MOST)
    return {
        "dataset_summaries": [
            present(experiment_id=experiment, name=name, digest=digest, context=context)
            for experiment, name, digest, context in found
        ]
    }


route("POST", "experiments/search-datasets", Permission.TRACK_READ)(search_datasets)
for _prefix in PREFIXES:  # clients leave a slash out here
    route("POST", f"/{_prefix}/2.0mlflow/experiments/search-datasets", Permission.TRACK_READ)(search_datasets)


def _add(adapter: Adapter, run: str, links: Sequence[Link]) -> None:
    def change(tx: Transaction) -> None:
        row = adapter.tracker.metrics.active_row(tx, run)
        for link in links:
            if link.kind != "dataset":
                model_row(tx, link.name)
        adapter.tracker.links.add(tx, run, row["experiment"], links)

    adapter.database.write(change)


def _check(dataset: Dataset) -> None:
    for name, most in _LENGTHS.items():
        if len(getattr(dataset, name) or "") > most:
            raise invalid(f"Dataset {name} exceeds the maximum length of {most}.")
