"""Searches on the wire: runs, experiments, logged models, registered models, model versions."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from interlock.core.operations import Permission
from interlock.registry.finding import Wanted, page_of_models, page_of_versions
from interlock.server.mlflow import checks
from interlock.server.mlflow.adapter import Adapter, present
from interlock.server.mlflow.experiments import SearchExperiments, ViewType
from interlock.server.mlflow.experiments import shown as shown_experiment
from interlock.server.mlflow.logged_models import shown as shown_logged_models
from interlock.server.mlflow.registered_models import shown_models
from interlock.server.mlflow.routing import route
from interlock.server.mlflow.runs import shown_runs
from interlock.server.mlflow.versions import shown_version
from interlock.server.mlflow.wire import Int64, invalid
from interlock.track.experiments import among
from interlock.track.search import ModelOrder, Query, View, search_experiments, search_logged_models, search_runs

_VIEWS: Final[dict[str, View]] = {"ACTIVE_ONLY": "active", "DELETED_ONLY": "deleted", "ALL": "all"}
_MOST: Final = 50_000
_MOST_MODELS: Final = 1_000
_MOST_VERSIONS: Final = 200_000


class SearchRuns(msgspec.Struct):
    """A search of runs."""

    experiment_ids: list[str] = []
    filter: str = ""
    run_view_type: ViewType = "ACTIVE_ONLY"
    max_results: Int64 = 1000
    order_by: list[str] = []
    page_token: str = ""


class DatasetFilter(msgspec.Struct):
    """A dataset on which metrics count."""

    dataset_name: str = ""
    dataset_digest: str = ""


class SearchLoggedModels(msgspec.Struct):
    """A search of logged models."""

    experiment_ids: list[str] = []
    filter: str = ""
    datasets: list[DatasetFilter] = []
    max_results: Int64 = 50
    order_by: list[ModelOrder] = []
    page_token: str = ""


class SearchModels(msgspec.Struct):
    """A search of registered models."""

    filter: str = ""
    max_results: Int64 = 100
    order_by: list[str] = []
    page_token: str = ""


class SearchVersions(msgspec.Struct):
    """A search of model versions."""

    filter: str = ""
    max_results: Int64 = 10_000
    order_by: list[str] = []
    page_token: str = ""


@route("POST", "runs/search", Permission.TRACK_READ)
def find_runs(adapter: Adapter, ask: SearchRuns) -> dict[str, Any]:
    """Find runs of some experiments."""
    _check(ask.max_results, _MOST)
    if not ask.experiment_ids:
        return {}
    checks.many(ask.experiment_ids, "experiment_ids")
    query = Query(ask.filter, tuple(ask.order_by), _VIEWS[ask.run_view_type], ask.max_results or 1000, ask.page_token)
    page = search_runs(adapter.tracker, ask.experiment_ids, query)
    return present(runs=shown_runs(adapter, [row["id"] for row in page.rows]), next_page_token=page.next_token)


def find_experiments(adapter: Adapter, ask: SearchExperiments) -> dict[str, Any]:
    """Find experiments."""
    _check(ask.max_results, _MOST)
    query = Query(ask.filter, tuple(ask.order_by), _VIEWS[ask.view_type], ask.max_results or 1000, ask.page_token)
    page = search_experiments(adapter.tracker, query)
    idents = [row["id"] for row in page.rows]
    rows = {row["id"]: row for row in among(adapter.database, "SELECT * FROM experiments WHERE id IN", idents)}
    found = adapter.tracker.experiments.load([rows[ident] for ident in idents])
    return present(experiments=[shown_experiment(facts) for facts in found], next_page_token=page.next_token)


route("POST", "experiments/search", Permission.TRACK_READ)(find_experiments)
route("GET", "experiments/search", Permission.TRACK_READ)(find_experiments)


@route("POST", "logged-models/search", Permission.TRACK_READ)
def find_logged_models(adapter: Adapter, ask: SearchLoggedModels) -> dict[str, Any]:
    """Find logged models of some experiments."""
    _check(ask.max_results, _MOST)
    checks.required(experiment_ids=ask.experiment_ids)
    checks.many(ask.experiment_ids, "experiment_ids")
    for dataset in ask.datasets:
        checks.required(dataset_name=dataset.dataset_name)
    query = Query(filter=ask.filter, limit=ask.max_results or 50, page_token=ask.page_token)
    datasets = [(dataset.dataset_name, dataset.dataset_digest) for dataset in ask.datasets]
    page = search_logged_models(adapter.tracker, ask.experiment_ids, query, ask.order_by, datasets)
    models = shown_logged_models(adapter, [row["id"] for row in page.rows])
    return present(models=models, next_page_token=page.next_token)


@route("GET", "registered-models/search", Permission.REGISTRY_READ)
def find_models(adapter: Adapter, ask: SearchModels) -> dict[str, Any]:
    """Find registered models; prompts only where the filter asks for their tag."""
    _check(ask.max_results, _MOST_MODELS)
    page = page_of_models(adapter.store, Wanted(ask.filter, (*ask.order_by,), ask.max_results or 100, ask.page_token))
    models = adapter.registry.models.named(adapter.database, [row["name"] for row in page.rows])
    return present(registered_models=shown_models(adapter, models), next_page_token=page.next_token)


@route("GET", "model-versions/search", Permission.REGISTRY_READ)
def find_versions(adapter: Adapter, ask: SearchVersions) -> dict[str, Any]:
    """Find model versions; prompts' only where the filter asks for their tag."""
    _check(ask.max_results, _MOST_VERSIONS)
    wanted = Wanted(ask.filter, (*ask.order_by,), ask.max_results or 10_000, ask.page_token)
    page = page_of_versions(adapter.store, wanted)
    found = adapter.registry.versions.at(adapter.database, [(row["model"], row["version"]) for row in page.rows])
    return present(model_versions=[shown_version(version) for version in found], next_page_token=page.next_token)


def _check(limit: int, most: int) -> None:
    if not 0 <= limit <= most:
        raise invalid(f"Invalid value {limit} for parameter 'max_results': it must be at least 1 and at most {most}.")
