from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from interlock.sdk.workspace import Workspace


@pytest.fixture
def document(client: TestClient) -> dict[str, Any]:
    return client.get("/api/v1/openapi.json").json()


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if "$ref" in value else set()
        return own.union(*(references(item) for item in value.values()))
    return set().union(*(references(item) for item in value)) if isinstance(value, list) else set()


def test_every_operation_is_described(document: dict[str, Any], workspace: Workspace) -> None:
    assert document["openapi"] == "3.1.0"
    for name, operation in workspace.catalog.operations("notes").items():
        described = document["paths"][f"/api/v1/notes/{name}"]["post"]
        assert described["summary"] == operation.summary
        assert described["x-interlock-permission"] == operation.permission
        assert described["x-interlock-emits"] == list(operation.emits)
        body = described["requestBody"]["content"]["application/json"]["schema"]
        assert list(body["properties"]) == [parameter.name for parameter in operation.parameters]
        assert body["required"] == [parameter.name for parameter in operation.parameters if parameter.required]
        assert body["additionalProperties"] is False
        assert {"200", "403", "422", "500", "503"} <= described["responses"].keys()


def test_an_operation_in_full(document: dict[str, Any]) -> None:
    add = document["paths"]["/api/v1/notes/add"]["post"]
    properties = add["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert properties["stars"] == {
        "type": "integer",
        "default": 3,
        "description": "how good it is, from 1 to 5.",
    }
    assert properties["files"]["items"] == {"$ref": "#/components/schemas/StoredFile"}
    assert properties["mood"]["enum"] == ["bad", "good"]
    result = add["responses"]["200"]["content"]["application/json"]["schema"]
    assert result == {"$ref": "#/components/schemas/Note"}
    assert add["responses"]["409"]["description"] == "Conflict: there is a note of this title."
    assert "stars are not 1 to 5" in add["responses"]["422"]["description"]
    assert "NotFound" in add["responses"]["404"]["description"]
    assert {"400", "405", "413", "415", "421"} <= add["responses"].keys()
    problem = add["responses"]["409"]["content"]["application/problem+json"]["schema"]
    assert problem == {"$ref": "#/components/schemas/Problem"}


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) <= known


def test_answers_have_the_members_that_are_described(document: dict[str, Any], client: TestClient) -> None:
    answer = client.post("/api/v1/notes/get", content='{"title":"x"}', headers={"Content-Type": "application/json"})
    assert answer.json().keys() == document["components"]["schemas"]["Problem"]["properties"].keys()
