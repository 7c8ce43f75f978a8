from __future__ import annotations

import threading
from typing import Any

import pytest
from protocol_api import Api
from starlette.testclient import TestClient

from interlock.sdk.workspace import Workspace
from interlock.store import packing
from interlock.store.inbox import pack_batch


def tags(run: Any) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in run["data"].get("tags", [])}


def test_a_run_lives(api: Api) -> None:
    made = api.post("runs/create", experiment_id="0", user_id="ann", start_time=5, tags=[{"key": "t", "value": "1"}])
    run = made["run"]["info"]["run_id"]
    info = api.run(run)["info"]
    assert info["run_uuid"] == run
    assert (info["status"], info["start_time"], info["user_id"], info["lifecycle_stage"]) == (
        "RUNNING",
        5,
        "ann",
        "active",
    )
    assert "end_time" not in info
    assert info["run_name"] == tags(api.run(run))["mlflow.runName"]
    assert info["artifact_uri"] == f"mlflow-artifacts:/0/{run}/artifacts"
    api.post("runs/update", run_id=run, status="FINISHED", end_time=9, run_name="new")
    info = api.run(run)["info"]
    assert (info["status"], info["end_time"], info["run_name"]) == ("FINISHED", 9, "new")
    assert tags(api.run(run))["mlflow.runName"] == "new"


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"run_name": "a"}, "a"),
        ({"tags": [{"key": "mlflow.runName", "value": "b"}]}, "b"),
        ({"run_name": "c", "tags": [{"key": "mlflow.runName", "value": "c"}]}, "c"),
    ],
)
def test_names_come_by_parameter_or_tag(api: Api, given: dict[str, Any], named: str) -> None:
    run = api.run(api.new_run(**given))
    assert (run["info"]["run_name"], tags(run)["mlflow.runName"]) == (named, named)


def test_two_names_are_refused(api: Api) -> None:
    given = {"run_name": "a", "tags": [{"key": "mlflow.runName", "value": "b"}]}
    assert "different values" in api.refused("runs/create", experiment_id="0", **given)[1]


def test_the_tag_renames_and_nests(api: Api, workspace: Workspace) -> None:
    parent, child = api.new_run(), api.new_run()
    api.post("runs/set-tag", run_id=child, key="mlflow.runName", value="renamed")
    api.post("runs/set-tag", run_id=child, key="mlflow.parentRunId", value=parent)
    assert api.run(child)["info"]["run_name"] == "renamed"
    assert workspace.track.run(child).parent == parent
    nested = api.new_run(tags=[{"key": "mlflow.parentRunId", "value": parent}])
    assert workspace.track.run(nested).parent == parent


def test_a_run_that_ended_goes_on_and_ends_otherwise(api: Api) -> None:
    run = api.new_run()
    for status in ("FINISHED", "FAILED", "RUNNING", "KILLED", "SCHEDULED"):
        info = api.post("runs/update", run_id=run, status=status)["run_info"]
        assert info["status"] == status
        assert ("end_time" in info) == (status in {"FINISHED", "FAILED", "KILLED"})
    api.post("runs/log-metric", run_id=run, key="m", value=1, timestamp=1)  # ended or not


def test_a_deleted_run_takes_nothing(api: Api, client: TestClient) -> None:
    run = api.new_run()
    api.post("runs/delete", run_id=run)
    api.post("runs/delete", run_id=run)
    for path, body in (
        ("runs/update", {"status": "FINISHED"}),
        ("runs/log-metric", {"key": "a", "value": 1, "timestamp": 1}),
        ("runs/log-parameter", {"key": "a", "value": "1"}),
        ("runs/set-tag", {"key": "a", "value": "1"}),
        ("runs/delete-tag", {"key": "mlflow.runName"}),
        ("runs/log-batch", {"metrics": [{"key": "a", "value": 1}]}),
        ("runs/log-inputs", {"datasets": [{"dataset": {"name": "d", "digest": "1"}}]}),
        ("runs/log-model", {"model_json": "{}"}),
    ):
        status, text = api.refused(path, run_id=run, **body)
        assert status == 400, path
        assert "is deleted" in text
    assert "metrics" not in api.run(run)["data"]
    api.post("runs/restore", run_id=run)
    api.post("runs/log-metric", run_id=run, key="a", value=1, timestamp=1)


def test_params_keep_their_first_value(api: Api) -> None:
    run = api.new_run()
    for _ in range(2):
        api.post("runs/log-parameter", run_id=run, key="lr", value="0.1")
    status, text = api.refused("runs/log-parameter", run_id=run, key="lr", value="0.2")
    assert (status, text.partition(":")[0]) == (400, "INVALID_PARAMETER_VALUE")
    assert api.run(run)["data"]["params"] == [{"key": "lr", "value": "0.1"}]


@pytest.mark.parametrize("value", ["", "a\x00b", "\u2028\U0001f600", " '; DROP TABLE runs; -- ", "x" * 6000])
def test_values_are_any_text(api: Api, value: str) -> None:
    run = api.new_run()
    api.post("runs/log-parameter", run_id=run, key="p", value=value)
    api.post("runs/set-tag", run_id=run, key="t", value=value)
    found = api.run(run)
    assert found["data"]["params"] == [{"key": "p", "value": value}]
    assert tags(found)["t"] == value


def test_long_values_are_cut_and_may_come_again(api: Api) -> None:
    run = api.new_run()
    for _ in range(2):
        api.post("runs/log-parameter", run_id=run, key="p", value="x" * 7000)
        api.post("runs/set-tag", run_id=run, key="t", value="y" * 9000)
    found = api.run(run)
    assert len(found["data"]["params"][0]["value"]) == 6000
    assert len(tags(found)["t"]) == 8000


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("runs/create", {}, 400),
        ("runs/create", {"experiment_id": "nope"}, 404),
        ("runs/create", {"experiment_id": "0", "start_time": 9 * 10**15}, 400),
        ("runs/create", {"experiment_id": "0", "start_time": 1 << 63}, 400),
        ("runs/create", {"experiment_id": "0", "tags": [{"key": "a" * 251, "value": ""}]}, 400),
        ("runs/create", {"experiment_id": "0", "tags": {"a": "b"}}, 400),
        ("runs/update", {"run_id": "nope", "status": "FINISHED"}, 404),
        ("runs/update", {"run_id": "RUN", "status": "DONE"}, 400),
        ("runs/update", {"run_id": "RUN", "status": "FINISHED", "end_time": 9 * 10**15}, 400),
        ("runs/delete", {}, 400),
        ("runs/delete", {"run_id": "nope"}, 404),
        ("runs/set-tag", {"run_id": "RUN", "key": "", "value": ""}, 400),
        ("runs/set-tag", {"run_id": "RUN", "key": "a/../b", "value": ""}, 400),
        ("runs/set-tag", {"run_id": "RUN", "key": "a", "value": {}}, 400),
        ("runs/delete-tag", {"run_id": "RUN", "key": "no"}, 404),
        ("runs/delete-tag", {"run_id": "RUN"}, 400),
        ("runs/log-parameter", {"run_id": "RUN", "key": "a%b", "value": "1"}, 400),
        ("runs/log-model", {"run_id": "RUN", "model_json": "{"}, 400),
        ("runs/log-model", {"run_id": "RUN", "model_json": "[]"}, 400),
        ("runs/log-model", {"run_id": "RUN"}, 400),
    ],
)
def test_what_is_refused_changes_nothing(
    api: Api, workspace: Workspace, path: str, body: dict[str, Any], status: int
) -> None:
    run = api.new_run()
    size = workspace.store.ledger.size()
    body = {key: run if value == "RUN" else value for key, value in body.items()}
    assert api.refused(path, **body)[0] == status
    assert workspace.store.ledger.size() == size


def test_no_instant_that_a_client_sends_breaks_our_own_lists(api: Api, workspace: Workspace) -> None:
    run = api.new_run(start_time=-62_135_596_800_000)
    api.post("runs/update", run_id=run, status="FINISHED", end_time=253_402_300_799_999)
    api.post("runs/log-metric", run_id=run, key="m", value=1, timestamp=17 * 10**14)  # microseconds, by mistake
    api.post("runs/log-metric", run_id=run, key="m", value=2, timestamp=-(10**15), step=1)
    assert workspace.track.runs()[0].ended_at.year == 9999  # type: ignore[union-attr]
    assert [at.year for at in workspace.track.metric(run, "m").ats] == [9999, 1]
    points = api.get("metrics/get-history", run_id=run, metric_key="m")["metrics"]
    assert {point["timestamp"] for point in points} == {17 * 10**14, -(10**15)}


def test_models_of_old_clients_are_listed_in_a_tag(api: Api) -> None:
    run = api.new_run()
    for name in ("a", "b"):
        api.post("runs/log-model", run_id=run, model_json=f'{{"artifact_path":"{name}"}}')
    assert tags(api.run(run))["mlflow.log-model.history"] == '[{"artifact_path":"a"},{"artifact_path":"b"}]'
    api.post("runs/set-tag", run_id=run, key="mlflow.log-model.history", value="hello")
    assert "is no JSON list" in api.refused("runs/log-model", run_id=run, model_json="{}")[1]


def test_old_clients_name_runs_otherwise(api: Api) -> None:
    run = api.new_run()
    assert api.get("runs/get", run_uuid=run)["run"]["info"]["run_id"] == run
    assert api.refused("runs/get", "GET") == (
        400,
        "INVALID_PARAMETER_VALUE: Missing value for required parameter 'run_id'.",
    )
    assert api.refused("runs/get", "GET", run_id="nope")[0] == 404


@pytest.mark.parametrize("batches", [1, 30])
def test_the_end_of_a_long_run_does_not_hold_the_writer(
    api: Api, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, batches: int
) -> None:
    """What little there is, is packed where the run ends; what is more, in front."""
    run, store = api.new_run(), workspace.store
    for number in range(batches):
        batch = pack_batch(["m"] * 300, range(number * 300, number * 300 + 300), [0] * 300, [0.5] * 300)
        store.database.write(lambda tx, batch=batch: store.series.put(tx, run, batch))  # type: ignore[misc]
    threads: set[str] = set()
    plain = packing.pack

    def watched(*words: Any) -> bytes:
        threads.add(threading.current_thread().name)
        return plain(*words)

    monkeypatch.setattr(packing, "pack", watched)
    api.post("runs/update", run_id=run, status="FINISHED", end_time=9, run_name="over")
    assert (threads == {"interlock-writer"}) == (batches == 1)
    info = api.run(run)["info"]
    assert (info["status"], info["end_time"], info["run_name"]) == ("FINISHED", 9, "over")
    assert store.database.all("SELECT * FROM metric_inbox") == []
    assert len(store.series.points(run, "m")) == 300 * batches
    kinds = [event.kind for event in store.ledger.events(subject=f"run:{run}")]
    assert kinds == ["run.started", "run.changed", "run.logged", "run.finished"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("status = 'running'", True),
        ("NOT (status != 'RUNNING')", True),
        ("status = 'finished' OR status = 'failed'", False),
        ("start_time > '2001-01-01' AND status LIKE 'RUN%'", True),
        ("created > '2999-01-01'", False),
    ],
)
def test_a_status_in_small_letters_and_dates_are_understood(api: Api, text: str, found: bool) -> None:
    run = api.new_run(start_time=1_700_000_000_000)
    answer = api.post("runs/search", experiment_ids=["0"], filter=text)
    assert [one["info"]["run_id"] for one in answer.get("runs", [])] == [run] * found
