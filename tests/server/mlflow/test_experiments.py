from __future__ import annotations

from typing import Any

import pytest
from protocol_api import Api


def test_an_experiment_lives(api: Api) -> None:
    ident = api.post("experiments/create", name="a/b", tags=[{"key": "t", "value": "1"}])["experiment_id"]
    found = api.get("experiments/get", experiment_id=ident)["experiment"]
    assert (found["name"], found["lifecycle_stage"], found["tags"]) == ("a/b", "active", [{"key": "t", "value": "1"}])
    assert found["artifact_location"] == f"mlflow-artifacts:/{ident}"
    assert api.get("experiments/get-by-name", experiment_name="a/b")["experiment"] == found
    api.post("experiments/update", experiment_id=ident, new_name="c")
    api.post("experiments/set-experiment-tag", experiment_id=ident, key="u", value="2")
    api.post("experiments/delete-experiment-tag", experiment_id=ident, key="t")
    found = api.get("experiments/get", experiment_id=ident)["experiment"]
    assert (found["name"], found["tags"]) == ("c", [{"key": "u", "value": "2"}])


def test_the_default_one_is_there(api: Api) -> None:
    assert api.get("experiments/get", experiment_id="0")["experiment"]["name"] == "Default"
    api.post("experiments/delete", experiment_id="0")
    assert api.refused("runs/create", experiment_id="0") == (
        400,
        "INVALID_PARAMETER_VALUE: Experiment '0' is deleted. Restore it first.",
    )
    api.post("experiments/restore", experiment_id="0")
    api.new_run()


def test_a_deleted_one_is_there_to_be_restored(api: Api) -> None:
    ident = api.post("experiments/create", name="a")["experiment_id"]
    run = api.new_run(ident)
    api.post("experiments/delete", experiment_id=ident)
    assert api.get("experiments/get-by-name", experiment_name="a")["experiment"]["lifecycle_stage"] == "deleted"
    assert api.run(run)["info"]["lifecycle_stage"] == "deleted"
    for path, body in (
        ("experiments/update", {"new_name": "b"}),
        ("experiments/set-experiment-tag", {"key": "t", "value": "1"}),
        ("runs/create", {}),
    ):
        assert api.refused(path, experiment_id=ident, **body)[0] == 400
    status, text = api.refused("experiments/create", name="a")
    assert (status, text.partition(":")[0]) == (400, "RESOURCE_ALREADY_EXISTS")
    api.post("experiments/restore", experiment_id=ident)
    assert api.run(run)["info"]["lifecycle_stage"] == "active"


@pytest.mark.parametrize("name", ["", " ", "a\x00b", "a\nb", "x" * 501, 5, ["a"]])
def test_names_that_cannot_be(api: Api, name: Any) -> None:
    assert api.refused("experiments/create", name=name)[0] == 400


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "experiments/get", {"experiment_id": "99"}, 404),
        ("GET", "experiments/get", {}, 400),
        ("GET", "experiments/get-by-name", {"experiment_name": "no"}, 404),
        ("GET", "experiments/get-by-name", {}, 400),
        ("POST", "experiments/update", {"experiment_id": "99", "new_name": "x"}, 404),
        ("POST", "experiments/delete", {"experiment_id": "99"}, 404),
        ("POST", "experiments/delete-experiment-tag", {"experiment_id": "0", "key": "no"}, 404),
        ("POST", "experiments/set-experiment-tag", {"experiment_id": "0", "key": "a/../b", "value": ""}, 400),
        ("POST", "experiments/set-experiment-tag", {"experiment_id": "0", "key": "a", "value": "x" * 20_001}, 400),
        ("POST", "experiments/create", {"name": "n", "tags": [{"key": "k" * 251, "value": ""}]}, 400),
        ("POST", "experiments/create", {"name": "n", "tags": [{"key": "k", "value": "x" * 20_001}]}, 400),
    ],
)
def test_what_is_refused(api: Api, method: str, path: str, body: dict[str, Any], status: int) -> None:
    assert api.refused(path, method, **body)[0] == status
