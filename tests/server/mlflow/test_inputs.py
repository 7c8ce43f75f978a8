from __future__ import annotations

from typing import Any

import pytest
from protocol_api import Api

from interlock.sdk.workspace import Workspace

PEOPLE = {"name": "people", "digest": "abc", "source_type": "local", "source": "{}", "schema": "{}", "profile": "{}"}


def tagged(context: str, **dataset: Any) -> dict[str, Any]:
    return {"dataset": {**PEOPLE, **dataset}, "tags": [{"key": "mlflow.data.context", "value": context}]}


def model(api: Api, run: str = "") -> str:
    return str(api.post("logged-models", experiment_id="0", name="m", source_run_id=run)["model"]["info"]["model_id"])


def test_inputs_and_outputs_are_shown_with_their_run(api: Api) -> None:
    run, read, made = api.new_run(), model(api), model(api)
    api.post("runs/log-inputs", run_id=run, datasets=[tagged("training")], models=[{"model_id": read}])
    api.post("runs/outputs", run_id=run, models=[{"model_id": made, "step": 3}])
    found = api.run(run)
    (dataset,) = found["inputs"]["dataset_inputs"]
    assert dataset["dataset"] == PEOPLE
    assert dataset["tags"] == [{"key": "mlflow.data.context", "value": "training"}]
    assert found["inputs"]["model_inputs"] == [{"model_id": read}]
    assert found["outputs"]["model_outputs"] == [{"model_id": made, "step": 3}]


def test_what_is_sent_again_changes_nothing(api: Api, workspace: Workspace) -> None:
    run = api.new_run()
    api.post("runs/log-inputs", run_id=run, datasets=[tagged("training"), tagged("training")])
    before, size = api.run(run), workspace.store.ledger.size()
    api.post("runs/log-inputs", run_id=run, datasets=[tagged("training", schema="other words, same digest")])
    assert (api.run(run), workspace.store.ledger.size()) == (before, size)
    assert len(before["inputs"]["dataset_inputs"]) == 1


@pytest.mark.parametrize("path", ["/api/2.0/mlflow", "/ajax-api/2.0/mlflow", "/api/2.0mlflow"])
def test_datasets_of_experiments(api: Api, path: str) -> None:
    for context in ("training", "training", "eval"):
        api.post("runs/log-inputs", run_id=api.new_run(), datasets=[tagged(context)])
    found = api.client.post(f"{path}/experiments/search-datasets", json={"experiment_ids": ["0"]}).json()
    shown = [(row["name"], row["digest"], row["context"]) for row in found["dataset_summaries"]]
    assert sorted(shown) == [("people", "abc", "eval"), ("people", "abc", "training")]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("runs/log-inputs", {"datasets": [tagged("x", name="n" * 501)]}, 400),
        ("runs/log-inputs", {"datasets": [tagged("x", digest="d" * 37)]}, 400),
        ("runs/log-inputs", {"datasets": [{"dataset": {"name": "a"}}]}, 400),
        ("runs/log-inputs", {"datasets": [{}]}, 400),
        ("runs/log-inputs", {"datasets": [tagged("x")] * 1001}, 400),
        ("runs/log-inputs", {"datasets": [tagged("x")], "models": [{"model_id": "m-nope"}]}, 404),
        ("runs/outputs", {"models": [{"model_id": "m-nope"}]}, 404),
        ("runs/outputs", {"models": [{"model_id": "m-nope", "step": 1 << 63}]}, 400),
        ("runs/outputs", {"models": [{}]}, 400),
    ],
)
def test_what_is_refused_changes_nothing(api: Api, workspace: Workspace, path: str, body: Any, status: int) -> None:
    run = api.new_run()
    size = workspace.store.ledger.size()
    assert api.refused(path, run_id=run, **body)[0] == status
    assert workspace.store.ledger.size() == size
    assert "dataset_inputs" not in api.run(run).get("inputs", {})
