"""Runs through MlflowClient: life, tags, params, metrics, inputs, limits."""

from __future__ import annotations

import math
import time

import pytest
from errors import raises
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunStatus, RunTag


@pytest.mark.route("POST runs/create", "POST runs/update", "GET runs/get")
def test_the_life_of_a_run(client, experiment) -> None:
    run = client.create_run(experiment, start_time=1000, tags={"a": "1"}, run_name="first try")
    assert (run.info.status, run.info.start_time, run.info.end_time) == ("RUNNING", 1000, None)
    assert run.info.run_name == run.data.tags["mlflow.runName"] == "first try"
    client.set_terminated(run.info.run_id, "FAILED", end_time=2000)
    found = client.get_run(run.info.run_id)
    assert (found.info.status, found.info.end_time) == ("FAILED", 2000)
    assert found.data.tags["a"] == "1"
    client.update_run(run.info.run_id, status="RUNNING", name="second")
    found = client.get_run(run.info.run_id)
    assert (found.info.status, found.info.run_name, found.data.tags["mlflow.runName"]) == (
        "RUNNING",
        "second",
        "second",
    )
    for status in RunStatus.all_status():
        client.update_run(run.info.run_id, status=RunStatus.to_string(status))
        assert client.get_run(run.info.run_id).info.status == RunStatus.to_string(status)
    with raises("RESOURCE_DOES_NOT_EXIST"):
        client.set_terminated("f" * 32)


@pytest.mark.route("POST runs/create")
def test_the_name_of_a_run_may_come_as_a_tag(client, experiment) -> None:
    assert client.create_run(experiment, tags={"mlflow.runName": "tagged"}).info.run_name == "tagged"
    with raises("INVALID_PARAMETER_VALUE"):
        client.create_run(experiment, tags={"mlflow.runName": "tagged"}, run_name="other")


@pytest.mark.route("POST runs/delete", "POST runs/restore")
def test_a_deleted_run_takes_nothing_and_comes_back(client, run) -> None:
    client.log_param(run, "p", 1)
    client.delete_run(run)
    assert client.get_run(run).info.lifecycle_stage == "deleted"
    changes = [
        lambda: client.log_param(run, "q", 1),
        lambda: client.log_metric(run, "m", 1),
        lambda: client.set_tag(run, "t", 1),
        lambda: client.log_batch(run, metrics=[Metric("m", 1, 1, 1)]),
        lambda: client.update_run(run, status="FINISHED"),
        lambda: client.delete_tag(run, "mlflow.runName"),
    ]
    for change in changes:
        with raises("INVALID_PARAMETER_VALUE"):
            change()
    client.restore_run(run)
    assert client.get_run(run).info.lifecycle_stage == "active"
    client.log_param(run, "q", 1)
    assert client.get_run(run).data.params == {"p": "1", "q": "1"}
    for call in (client.delete_run, client.restore_run, client.get_run):
        with raises("RESOURCE_DOES_NOT_EXIST"):
            call("f" * 32)


@pytest.mark.route("POST runs/log-parameter", "POST runs/log-batch")
def test_a_param_is_written_once(client, run) -> None:
    client.log_param(run, "p", "1")
    client.log_param(run, "p", "1")
    client.log_batch(run, params=[Param("p", "1"), Param("q", "")])
    with raises("INVALID_PARAMETER_VALUE", "p"):
        client.log_param(run, "p", "2")
    with raises("INVALID_PARAMETER_VALUE"):
        client.log_batch(run, params=[Param("r", "1"), Param("r", "2")])
    assert client.get_run(run).data.params == {"p": "1", "q": ""}


@pytest.mark.route("POST runs/log-batch", "POST runs/log-parameter")
def test_keys_and_values_have_limits(client, wire, run) -> None:
    longest = "k" * 250
    client.log_batch(run, [Metric(longest, 1, 1, 1)], [Param(longest, "p" * 6000)], [RunTag(longest, "t" * 8000)])
    data = client.get_run(run).data
    assert (data.metrics[longest], len(data.params[longest]), len(data.tags[longest])) == (1, 6000, 8000)
    for key in ("k" * 251, "a/../b", "/a", "a//b", ".", "a\nb", "a;b"):
        for body, path in (
            ({"key": key, "value": 1, "timestamp": 1}, "log-metric"),
            ({"key": key, "value": "v"}, "log-parameter"),
            ({"key": key, "value": "v"}, "set-tag"),
        ):
            wire.refused("POST", f"runs/{path}", {"run_id": run, **body})
    for key in ("a b/c.d-e_f:g", "été", "中"):
        client.log_batch(run, [Metric(key, 1, 1, 1)], [Param(key, "p")], [RunTag(key, "t")])
        assert key in client.get_run(run).data.params
    wire.post("runs/log-parameter", {"run_id": run, "key": "long", "value": "v" * 6001})
    assert len(client.get_run(run).data.params["long"]) == 6000
    wire.post("runs/set-tag", {"run_id": run, "key": "long", "value": "v" * 8001})
    assert len(client.get_run(run).data.tags["long"]) == 8000


@pytest.mark.route("POST runs/set-tag", "POST runs/delete-tag")
def test_tags_are_overwritten_and_deleted(client, run) -> None:
    client.set_tag(run, "t", 1)
    client.set_tag(run, "t", "été\n\ttwo lines")
    assert client.get_run(run).data.tags["t"] == "été\n\ttwo lines"
    client.set_tag(run, "mlflow.runName", "by tag")
    assert client.get_run(run).info.run_name == "by tag"
    client.delete_tag(run, "t")
    assert "t" not in client.get_run(run).data.tags
    with raises("RESOURCE_DOES_NOT_EXIST"):
        client.delete_tag(run, "t")


@pytest.mark.route("POST runs/log-metric", "GET metrics/get-history", "GET runs/get")
def test_a_metric_keeps_every_point_in_order_of_steps(client, run) -> None:
    before = int(time.time() * 1000)
    client.log_metric(run, "now", 1)
    (now,) = client.get_metric_history(run, "now")
    assert before <= now.timestamp <= time.time() * 1000
    points = [(3, 0.3), (1, 0.1), (2, 0.2), (2, 0.25)]
    for at, (step, value) in enumerate(points):
        client.log_metric(run, "m", value, timestamp=1000 + at, step=step)
    history = client.get_metric_history(run, "m")
    assert sorted((p.step, p.value, p.timestamp) for p in history) == [
        (1, 0.1, 1001),
        (2, 0.2, 1002),
        (2, 0.25, 1003),
        (3, 0.3, 1000),
    ]
    assert client.get_run(run).data.metrics["m"] == 0.3
    assert client.get_metric_history(run, "never") == []


@pytest.mark.route("POST runs/log-batch", "GET metrics/get-history")
@pytest.mark.parametrize(
    "value",
    [
        0.1,
        5e-324,
        1.7976931348623157e308,
        2**53 + 1.0,
        -1e-17,
        pytest.param(-0.0, marks=pytest.mark.ours_only("a column of SQLite drops the sign")),
    ],
)
def test_a_float_comes_back_to_the_last_bit(client, run, value) -> None:
    client.log_batch(run, [Metric("m", value, 1, 1)])
    assert math.copysign(1, client.get_metric_history(run, "m")[0].value) == math.copysign(1, value)
    assert client.get_metric_history(run, "m")[0].value == value
    assert client.get_run(run).data.metrics["m"] == value


@pytest.mark.route("POST runs/log-metric", "GET metrics/get-history")
def test_nan_is_a_value(client, run) -> None:
    client.log_metric(run, "m", math.nan, step=1)
    client.log_metric(run, "m", 1.0, step=0)
    assert math.isnan(client.get_run(run).data.metrics["m"])
    assert sorted(map(str, (p.value for p in client.get_metric_history(run, "m")))) == ["1.0", "nan"]


@pytest.mark.route("GET metrics/get-history")
def test_a_long_history_comes_in_pages_of_the_client(client, run) -> None:
    for start in range(0, 30_000, 1000):
        client.log_batch(run, [Metric("m", step * 0.5, step, step) for step in range(start, start + 1000)])
    history = client.get_metric_history(run, "m")
    assert [p.step for p in history] == list(range(30_000))
    assert history[29_999].value == 14_999.5


@pytest.mark.route("POST runs/log-inputs", "GET runs/get")
def test_inputs_are_kept_once(client, run) -> None:
    dataset = Dataset("people", "abc123", "local", '{"uri": "x.csv"}', '{"columns": []}', '{"rows": 3}')
    entry = DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])
    for _ in range(2):
        client.log_inputs(run, [entry])
    client.log_inputs(run, [DatasetInput(Dataset("others", "d2", "local", "{}"), [])])
    inputs = client.get_run(run).inputs.dataset_inputs
    assert sorted(found.dataset.name for found in inputs) == ["others", "people"]
    (found,) = [found for found in inputs if found.dataset.name == "people"]
    assert found.dataset == dataset
    assert [(tag.key, tag.value) for tag in found.tags] == [("mlflow.data.context", "training")]


@pytest.mark.route("POST runs/log-inputs", "POST experiments/search-datasets")
def test_datasets_have_limits_and_are_listed(client, wire, run, experiment) -> None:
    for wrong in (
        Dataset("n" * 501, "d", "l", "{}"),
        Dataset("n", "d" * 37, "l", "{}"),
    ):
        with raises("INVALID_PARAMETER_VALUE"):
            client.log_inputs(run, [DatasetInput(wrong, [])])
    client.log_inputs(run, [DatasetInput(Dataset("n" * 500, "d" * 36, "l", "{}"), [])])
    wire_entry = DatasetInput(Dataset("seen", "d1", "local", "{}"), [InputTag("mlflow.data.context", "eval")])
    client.log_inputs(run, [wire_entry])
    listed = wire.post("/ajax-api/2.0/mlflow/experiments/search-datasets", {"experiment_ids": [experiment]})
    seen = {(s["name"], s["digest"], s.get("context")) for s in listed["dataset_summaries"]}
    assert seen == {("n" * 500, "d" * 36, None), ("seen", "d1", "eval")}


@pytest.mark.route("POST runs/log-metric", "POST runs/set-tag")
def test_a_finished_run_can_go_on(client, run) -> None:
    client.set_terminated(run)
    client.log_metric(run, "m", 1)
    client.set_tag(run, "late", "yes")
    assert client.get_run(run).data.metrics == {"m": 1}


@pytest.mark.route("POST runs/log-*")
def test_writing_to_a_run_that_is_not_there(client) -> None:
    nobody = "f" * 32
    for call in (
        lambda: client.log_metric(nobody, "m", 1),
        lambda: client.log_param(nobody, "p", 1),
        lambda: client.set_tag(nobody, "t", 1),
        lambda: client.log_batch(nobody, metrics=[Metric("m", 1, 1, 1)]),
    ):
        with raises("RESOURCE_DOES_NOT_EXIST"):
            call()


@pytest.mark.route("POST runs/log-batch")
def test_logging_in_the_background(client, run) -> None:
    waits = [client.log_metric(run, "m", step, step=step, synchronous=False) for step in range(30)]
    waits += [client.log_param(run, "p", 1, synchronous=False), client.set_tag(run, "t", 2, synchronous=False)]
    for wait in waits:
        wait.wait()
    assert [p.value for p in client.get_metric_history(run, "m")] == list(range(30))
    data = client.get_run(run).data
    assert (data.params["p"], data.tags["t"]) == ("1", "2")


@pytest.mark.route("POST runs/link-traces", "GET runs/get")
def test_a_parent_run(client, experiment, run) -> None:
    child = client.create_run(experiment, tags={"mlflow.parentRunId": run}).info.run_id
    assert client.get_parent_run(child).info.run_id == run
    assert client.get_parent_run(run) is None
