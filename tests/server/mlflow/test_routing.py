from __future__ import annotations

import pytest

from interlock.core.operations import Permission
from interlock.server.mlflow import app as _app  # noqa: F401 - the routes say themselves when it is imported
from interlock.server.mlflow.routing import Table

BOTH = ["/api/2.0/mlflow", "/ajax-api/2.0/mlflow"]


@pytest.fixture(scope="module")
def table() -> Table:
    return Table()


@pytest.mark.parametrize("prefix", BOTH)
def test_paths_are_found_under_both_prefixes(table: Table, prefix: str) -> None:
    assert table.find("POST", f"{prefix}/runs/create")
    found = table.find("GET", f"{prefix}/logged-models/m-1")
    assert found
    assert found[1] == {"model_id": "m-1"}
    assert table.find("GET", f"{prefix}/runs/create") is None
    assert table.methods(f"{prefix}/registered-models/alias") == ["GET", "POST", "DELETE"]
    assert table.methods(f"{prefix}/nothing") == []


@pytest.mark.parametrize("path", ["", "a", "a/b/c", "a//b", "/", "a\nb"])
def test_a_path_at_the_end_is_all_the_rest(table: Table, path: str) -> None:
    found = table.find("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{path}")
    assert found
    assert found[1] == {"path": path}


@pytest.mark.parametrize(
    "path",
    ["/api/2.0/mlflow/runs/create/", "/api/2.0/mlflow/runs", "/api/2.0/mlflow/", "/api/2.0/mlflow/logged-models/"],
)
def test_paths_are_exact(table: Table, path: str) -> None:
    assert table.methods(path) == []


def test_every_route_says_what_a_caller_must_be_allowed(table: Table) -> None:
    open_to_all = {route.path for route in table if route.permission is None}
    open_to_all -= {path for path in open_to_all if "/signed/{token}/" in path or "/mpu/part/{upload}/" in path}
    assert {path.rpartition("/")[2] for path in open_to_all} == {"health", "version", "server-info"}
    assert Permission.TRACK_WRITE in {route.permission for route in table}


def test_no_path_is_said_twice(table: Table) -> None:
    paths = [(route.method, route.path) for route in table]
    assert sorted(paths) == sorted(set(paths))
