"""What a route of the protocol changes is an operation of ours too, and both ask for the same permission.

Nobody signs in yet, so nothing is enforced; this keeps what is declared true until then. That routes which only ask for
a permission to read change nothing is watched in all tests of this folder (conftest.py).
"""

from __future__ import annotations

import pytest

from interlock.core.operations import Operation
from interlock.sdk.catalog import Catalog
from interlock.sdk.services import SERVICES
from interlock.server.mlflow import app as _app  # noqa: F401 - the routes say themselves when it is imported
from interlock.server.mlflow.routing import Route, Table

ASKING = {  # by POST, since what they ask is long, or since the protocol has it so
    "search",
    "search-datasets",
    "batchGetInfos",
    "get-latest-versions",
    "presigned-download-url",
    "metrics",
    "calculate-filter-correlation",
}
# Which operation does what a function of the adapter does; several do a part of one.
SAME = {
    "experiments.create": "experiments.create",
    "experiments.update": "experiments.rename",
    "experiments.delete": "experiments.delete",
    "experiments.restore": "experiments.restore",
    "experiments.set_tag": "experiments.tag",
    "experiments.delete_tag": "experiments.tag",
    "runs.create": "track.start",
    "runs.update": "track.finish",
    "runs.delete": "track.delete",
    "runs.restore": "track.restore",
    "runs.log_param": "track.log",
    "runs.set_tag": "track.log",
    "runs.log_model": "track.log",
    "metrics.log_metric": "track.log_metrics",
    "metrics.log_batch": "track.deliver",
    "inputs.log_inputs": "track.deliver",
    "artifacts.put_file": "track.log_artifact",
    "artifacts.put_run_file": "track.log_artifact",
    "multipart.begin": "track.log_artifact",
    "multipart.complete": "track.log_artifact",
    "multipart.abort": "track.log_artifact",
    "presigned.for_upload": "track.log_artifact",
    "logged_models.set_tags": "logged_models.tag",
    "logged_models.delete_tag": "logged_models.tag",
    "logged_models.delete": "logged_models.delete",
    "traces.delete": "traces.delete",
    "traces.set_tag": "traces.tag",
    "traces.delete_tag": "traces.tag",
    "registered_models.create": "registry.publish",
    "registered_models.rename": "registry.rename",
    "registered_models.describe": "registry.describe",
    "registered_models.delete": "registry.archive",
    "registered_models.set_tag": "registry.tag",
    "registered_models.delete_tag": "registry.tag",
    "registered_models.set_alias": "registry.alias",
    "registered_models.delete_alias": "registry.alias",
    "versions.create": "registry.publish",
    "versions.describe": "registry.describe",
    "versions.delete": "registry.archive",
    "versions.set_tag": "registry.tag",
    "versions.delete_tag": "registry.tag",
    "webhooks.create": "webhooks.create",
    "webhooks.change": "webhooks.change",
    "webhooks.delete": "webhooks.delete",
    "webhooks.test": "webhooks.test",
    "webhooks.retry": "webhooks.redeliver",
}
# What only clients of MLflow and of OpenTelemetry do, and an operation beside which it stands.
ALONE = {
    "runs.delete_tag": "track.log",
    "artifacts.delete_file": "track.log_artifact",
    "inputs.log_outputs": "track.deliver",
    "logged_models.create": "logged_models.tag",
    "logged_models.finalize": "logged_models.tag",
    "logged_models.log_params": "logged_models.tag",
    "otlp.take": "traces.tag",
    "traces.start": "traces.tag",
    "traces.link_to_run": "traces.tag",
    "traces.link_prompts": "traces.tag",
    "traces_v2.begin": "traces.tag",
    "traces_v2.end": "traces.tag",
    "assessments.create": "traces.tag",
    "assessments.update": "traces.tag",
    "assessments.delete": "traces.tag",
    "versions.transition": "registry.move",
}


@pytest.fixture(scope="module")
def operations() -> dict[str, Operation]:
    catalog = Catalog(SERVICES)
    return {f"{name}.{key}": found for name in catalog.names for key, found in catalog.operations(name).items()}


def changing() -> list[Route]:
    return [route for route in Table() if route.permission is not None and not route.permission.reads_only]


def name(route: Route) -> str:
    return f"{route.function.__module__.rpartition('.')[2]}.{route.function.__name__}"


def test_what_changes_something_asks_for_what_the_operation_asks_for(operations: dict[str, Operation]) -> None:
    beside = {**SAME, **ALONE}
    assert sorted({name(route) for route in changing()} ^ set(beside)) == [], "say here which operation does the same"
    assert sorted(set(beside.values()) - set(operations)) == [], "these operations are no more"
    wrong = {
        f"{route.method} {route.path}": route.permission
        for route in changing()
        if route.permission != operations[beside[name(route)]].permission
    }
    assert wrong == {}


def test_only_what_asks_is_sent_without_a_permission_to_write() -> None:
    reading = [route for route in Table() if route.permission is not None and route.permission.reads_only]
    sent = {route.path.rpartition("/")[2] for route in reading if route.method != "GET"}
    assert sent == ASKING
