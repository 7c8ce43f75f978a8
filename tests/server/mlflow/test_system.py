from __future__ import annotations

from starlette.testclient import TestClient

from interlock.server.mlflow.system import is_known_elsewhere


def test_health_and_version_are_plain_text(client: TestClient) -> None:
    assert (client.get("/health").text, client.get("/health").headers["content-type"]) == (
        "OK",
        "text/plain; charset=utf-8",
    )
    assert client.get("/version").text.count(".") == 2


def test_the_server_says_what_it_is(client: TestClient) -> None:
    found = client.get("/api/3.0/mlflow/server-info").json()
    assert found["store_type"] == "SqlStore"
    assert found["workspaces_enabled"] is False


def test_parts_of_the_incumbent_are_known() -> None:
    assert is_known_elsewhere("/api/3.0/mlflow/gateway/endpoints/list")
    assert is_known_elsewhere("/ajax-api/2.0/mlflow/users/create")
    assert not is_known_elsewhere("/gateway")
    assert not is_known_elsewhere("/api/2.0/mlflow/nothing")
