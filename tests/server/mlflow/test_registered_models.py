from __future__ import annotations

from typing import Any

import pytest
from protocol_api import Api


def version(api: Api, name: str = "m") -> str:
    return str(api.post("model-versions/create", name=name, source="s3://bucket/x")["model_version"]["version"])


def test_a_model_lives(api: Api) -> None:
    made = api.post("registered-models/create", name="m", description="d", tags=[{"key": "t", "value": "1"}])
    assert made["registered_model"]["tags"] == [{"key": "t", "value": "1"}]
    assert api.refused("registered-models/create", name="m")[1].startswith("RESOURCE_ALREADY_EXISTS")
    api.post("registered-models/update", "PATCH", name="m", description="e")
    api.post("registered-models/set-tag", name="m", key="u", value="2")
    api.post("registered-models/delete-tag", "DELETE", name="m", key="t")
    found = api.get("registered-models/get", name="m")["registered_model"]
    assert (found["description"], found["tags"]) == ("e", [{"key": "u", "value": "2"}])
    api.post("registered-models/rename", name="m", new_name="n")
    assert api.refused("registered-models/get", "GET", name="m")[0] == 404
    api.post("registered-models/delete", "DELETE", name="n")
    assert api.refused("registered-models/get", "GET", name="n")[0] == 404


def test_numbers_of_versions_are_never_given_again(api: Api) -> None:
    api.post("registered-models/create", name="m")
    assert [version(api), version(api)] == ["1", "2"]
    api.post("model-versions/delete", "DELETE", name="m", version="2")
    assert version(api) == "3"


def test_aliases_point_at_versions(api: Api) -> None:
    api.post("registered-models/create", name="m")
    version(api), version(api)
    for number in ("1", "2", "2"):
        api.post("registered-models/alias", name="m", alias="best", version=number)
    assert api.get("registered-models/alias", name="m", alias="best")["model_version"]["version"] == "2"
    assert api.get("registered-models/get", name="m")["registered_model"]["aliases"] == [
        {"alias": "best", "version": "2"}
    ]
    api.post("registered-models/alias", "DELETE", name="m", alias="best")
    assert api.refused("registered-models/alias", "GET", name="m", alias="best")[0] in {400, 404}


def test_latest_versions_go_by_label(api: Api) -> None:
    api.post("registered-models/create", name="m")
    for _ in range(3):
        version(api)
    api.post("model-versions/transition-stage", name="m", version="1", stage="production")
    found = api.post("registered-models/get-latest-versions", name="m")["model_versions"]
    assert {(one["current_stage"], one["version"]) for one in found} == {("Production", "1"), ("None", "3")}
    only = api.get("registered-models/get-latest-versions", name="m", stages="Production")["model_versions"]
    assert [one["version"] for one in only] == ["1"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "create", {}),
        ("POST", "create", {"name": "a/b"}),
        ("POST", "create", {"name": "a\x00"}),
        ("POST", "create", {"name": "x" * 251}),
        ("POST", "rename", {"name": "m"}),
        ("POST", "rename", {"name": "m", "new_name": "a:b"}),
        ("POST", "set-tag", {"name": "m", "key": "", "value": ""}),
        ("POST", "set-tag", {"name": "m", "key": "k", "value": "x" * 100_001}),
        ("POST", "alias", {"name": "m", "alias": "v1", "version": "1"}),
        ("POST", "alias", {"name": "m", "alias": "latest", "version": "1"}),
        ("POST", "alias", {"name": "m", "alias": "a", "version": "one"}),
        ("POST", "alias", {"name": "m", "alias": "a", "version": "9" * 30}),
        ("POST", "alias", {"name": "m", "alias": "a", "version": "99"}),
        ("POST", "alias", {"name": "m", "alias": "", "version": "1"}),
        ("GET", "get", {}),
        ("GET", "get", {"name": "nope"}),
        ("DELETE", "delete", {"name": "nope"}),
        ("PATCH", "update", {"name": "nope"}),
    ],
)
def test_what_is_refused(api: Api, method: str, path: str, body: dict[str, Any]) -> None:
    api.post("registered-models/create", name="m")
    version(api)
    assert api.refused(f"registered-models/{path}", method, **body)[0] in {400, 404}
