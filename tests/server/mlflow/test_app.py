from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from interlock.sdk.workspace import Workspace
from interlock.server.mlflow import app as app_module

CREATE = "/api/2.0/mlflow/runs/create"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/2.0/mlflow/nothing", 404),
        ("POST", "/ajax-api/2.0/nothing", 404),
        ("GET", CREATE, 404),
        ("DELETE", "/api/2.0/mlflow/runs/get", 404),
        ("POST", "/api/3.0/mlflow/scorers/register", 501),
        ("GET", "/api/2.0/mlflow/users/get", 501),
        ("PUT", "/get-artifact", 404),
    ],
)
def test_unknown_paths_are_errors_of_the_protocol(client: TestClient, method: str, path: str, status: int) -> None:
    response = client.request(method, path)
    assert response.status_code == status
    assert response.json()["error_code"] == {404: "ENDPOINT_NOT_FOUND", 501: "NOT_IMPLEMENTED"}[status]
    assert response.headers["content-type"] == "application/json"


def test_others_answer_their_own_paths(client: TestClient) -> None:
    assert client.get("/nothing").json()["code"] == "route.not_found"
    assert client.get("/api/v1/openapi.json").status_code == 200


def test_head_answers_what_get_does_without_the_body(client: TestClient) -> None:
    path = "/api/2.0/mlflow/experiments/get?experiment_id=0"
    head, get = client.head(path), client.get(path)
    assert head.content == b""
    assert head.headers["content-length"] == get.headers["content-length"] == str(len(get.content))
    missing = client.head("/api/2.0/mlflow/experiments/get?experiment_id=1")
    assert (missing.status_code, missing.content) == (404, b"")


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-8"]
)
def test_a_body_is_json_whatever_it_says_it_is(api: Any, client: TestClient, kind: str) -> None:
    response = client.post(CREATE, content=json.dumps({"experiment_id": "0"}), headers={"content-type": kind})
    assert response.status_code == 200


def test_posts_may_bring_their_parameters_in_the_query(api: Any, client: TestClient) -> None:
    assert client.post(f"{CREATE}?experiment_id=0").status_code == 200


def test_a_body_over_the_limit_is_refused(api: Any, client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "_LARGEST", 1000)
    run = api.new_run()
    status, text = api.refused("runs/set-tag", run_id=run, key="t", value="x" * 2000)
    assert (status, text) == (400, "BAD_REQUEST: The body is larger than 1000 bytes.")
    assert "t" not in {tag["key"] for tag in api.run(run)["data"]["tags"]}


def test_bodies_of_more_than_a_megabyte_are_taken(api: Any) -> None:
    """The incumbent refuses a log-batch above one megabyte; counts and lengths bound ours."""
    run = api.new_run()
    api.post("runs/log-batch", run_id=run, params=[{"key": f"p{n}", "value": "x" * 20_000} for n in range(100)])
    assert {len(param["value"]) for param in api.run(run)["data"]["params"]} == {6000}


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_request_that_breaks_off_changes_nothing(
    api: Any, workspace: Workspace, client: TestClient, method: str
) -> None:
    import asyncio

    file = f"/api/2.0/mlflow-artifacts/artifacts/0/{api.new_run()}/artifacts/x"
    assert client.put(file, content=b"x").status_code == 200
    sent: list[Any] = []
    messages = [{"type": "http.request", "body": b'{"experiment_id"', "more_body": True}, {"type": "http.disconnect"}]
    scope = {
        "type": "http",
        "method": method,
        "path": CREATE if method == "POST" else file,
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1:8230")],
        "server": ("127.0.0.1", 8230),
        "client": ("127.0.0.1", 1),
    }

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    size = workspace.store.ledger.size()
    asyncio.run(client.app(scope, receive, send))  # type: ignore[arg-type]
    assert sent[0]["status"] == 400
    assert workspace.store.ledger.size() == size


def test_who_acts_is_told_by_the_header(api: Any, client: TestClient, workspace: Workspace) -> None:
    client.post(CREATE, json={"experiment_id": "0"}, headers={"Interlock-Actor": "user:ann"})
    (event,) = workspace.store.ledger.events(kinds=["run.started"])
    assert event.actor == "user:ann"
    assert client.post(CREATE, json={"experiment_id": "0"}, headers={"Interlock-Actor": "ann"}).status_code == 400


def test_faults_are_logged_and_told_to_nobody(
    api: Any, client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("interlock.server.mlflow.experiments.shown", lambda _: 1 / 0)
    response = client.get("/api/2.0/mlflow/experiments/get?experiment_id=0")
    assert response.status_code == 500
    assert "division" not in response.text
    assert "ZeroDivisionError" in caplog.text
    assert response.headers["interlock-request-id"] in response.text
