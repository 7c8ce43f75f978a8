from __future__ import annotations

from typing import Any

import pytest
from protocol_api import Api

from interlock.sdk.workspace import Workspace


def new(api: Api, **more: Any) -> Any:
    return api.post("logged-models", experiment_id="0", **{"name": "m", **more})["model"]


def test_a_model_is_pending_until_it_is_ready(api: Api) -> None:
    run = api.new_run()
    made = new(api, source_run_id=run, model_type="sklearn", params=[{"key": "p", "value": "1"}])
    ident = made["info"]["model_id"]
    assert made["info"]["status"] == "LOGGED_MODEL_PENDING"
    assert made["info"]["artifact_uri"] == f"mlflow-artifacts:/0/models/{ident}/artifacts"
    assert made["data"]["params"] == [{"key": "p", "value": "1"}]
    done = api.post(f"logged-models/{ident}", "PATCH", model_id=ident, status="LOGGED_MODEL_READY")
    assert done["model"]["info"]["status"] == "LOGGED_MODEL_READY"
    assert api.get(f"logged-models/{ident}")["model"] == done["model"]


def test_tags_come_and_go(api: Api, workspace: Workspace) -> None:
    ident = new(api)["info"]["model_id"]
    for _ in range(2):
        api.post(f"logged-models/{ident}/tags", "PATCH", tags=[{"key": "a", "value": "1"}])
        size = workspace.store.ledger.size()
    assert workspace.store.ledger.size() == size
    assert api.get(f"logged-models/{ident}")["model"]["info"]["tags"] == [{"key": "a", "value": "1"}]
    api.post(f"logged-models/{ident}/tags/a", "DELETE")
    assert api.refused(f"logged-models/{ident}/tags/a", "DELETE")[0] == 404
    assert "tags" not in api.get(f"logged-models/{ident}")["model"]["info"]


def test_params_never_change(api: Api) -> None:
    ident = new(api)["info"]["model_id"]
    for _ in range(2):
        api.post(f"logged-models/{ident}/params", params=[{"key": "a", "value": "1"}])
    assert api.refused(f"logged-models/{ident}/params", params=[{"key": "a", "value": "2"}])[0] == 400


def test_a_deleted_one_is_not_there(api: Api) -> None:
    ident = new(api)["info"]["model_id"]
    api.post(f"logged-models/{ident}", "DELETE")
    for method in ("GET", "DELETE"):
        assert api.refused(f"logged-models/{ident}", method)[0] == 404
    assert api.refused(f"logged-models/{ident}", "PATCH", status="LOGGED_MODEL_READY")[0] in {400, 404}
    path = f"/api/2.0/mlflow-artifacts/artifacts/0/models/{ident}/artifacts/x"
    assert api.client.put(path, content=b"x").status_code == 400


def test_files_lie_under_it(api: Api) -> None:
    ident = new(api)["info"]["model_id"]
    base = f"/api/2.0/mlflow-artifacts/artifacts/0/models/{ident}/artifacts"
    assert api.client.put(f"{base}/a/MLmodel", content=b"flavors: {}").status_code == 200
    found = api.get(f"logged-models/{ident}/artifacts/directories", artifact_directory_path="a")
    assert found["files"] == [{"path": "a/MLmodel", "is_dir": False, "file_size": 11}]
    files = f"/ajax-api/2.0/mlflow/logged-models/{ident}/artifacts/files"
    response = api.client.get(files, params={"artifact_file_path": "a/MLmodel"})
    assert (response.content, response.headers["content-type"]) == (b"flavors: {}", "text/plain; charset=utf-8")
    assert api.client.get(files, params={"artifact_file_path": "../a"}).status_code == 400
    assert api.client.get(files).status_code == 404


def test_metrics_of_runs_are_its_own_too(api: Api) -> None:
    run = api.new_run()
    ident = new(api, source_run_id=run)["info"]["model_id"]
    body = {"key": "auc", "value": "NaN", "timestamp": 1, "model_id": ident, "dataset_name": "d", "dataset_digest": "1"}
    for _ in range(2):
        api.post("runs/log-batch", run_id=run, metrics=[body])
    (metric,) = api.get(f"logged-models/{ident}")["model"]["data"]["metrics"]
    assert (metric["value"], metric["model_id"], metric["run_id"], metric["dataset_name"]) == ("NaN", ident, run, "d")


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "", {"experiment_id": ""}, 400),
        ("POST", "", {}, 400),
        ("POST", "", {"experiment_id": "nope"}, 404),
        ("POST", "", {"experiment_id": "0", "name": "a/b"}, 400),
        ("POST", "", {"experiment_id": "0", "source_run_id": "nope"}, 404),
        ("GET", "/m-nope", {}, 404),
        ("PATCH", "/m-nope", {"status": "LOGGED_MODEL_READY"}, 404),
        ("PATCH", "/m-nope", {"status": "DONE"}, 400),
        ("PATCH", "/m-nope", {}, 400),
        ("PATCH", "/m-nope/tags", {"tags": [{"key": "a/../b", "value": ""}]}, 400),
        ("GET", "/m-nope/artifacts/directories", {}, 404),
    ],
)
def test_what_is_refused(api: Api, method: str, path: str, body: dict[str, Any], status: int) -> None:
    assert api.refused(f"logged-models{path}", method, **body)[0] == status
