"""Metrics on the wire: log-batch and its rules, numbers that JSON cannot spell, the routes of MLflow's charts."""

from __future__ import annotations

import math

import pytest


def point(key: str, value: object, step: int = 0, timestamp: int = 1) -> dict[str, object]:
    return {"key": key, "value": value, "timestamp": timestamp, "step": step}


def history(wire, run: str, key: str) -> list[dict[str, object]]:
    return wire.get("metrics/get-history", {"run_id": run, "metric_key": key}).get("metrics", [])


@pytest.mark.route("POST runs/log-metric", "GET metrics/get-history")
def test_a_point_comes_back_as_numbers(wire, run) -> None:
    wire.post("runs/log-metric", {"run_id": run, "key": "m", "value": 0.1, "timestamp": "1700000000123", "step": "-3"})
    (found,) = history(wire, run, "m")
    assert (found["key"], found["value"], found["timestamp"], found["step"]) == ("m", 0.1, 1700000000123, -3)
    assert {type(found["timestamp"]), type(found["step"])} == {int}


@pytest.mark.route("POST runs/log-metric", "GET metrics/get-history", "GET runs/get")
def test_nan_travels_as_a_string(wire, run) -> None:
    wire.post("runs/log-metric", {"run_id": run, **point("m", "NaN")})
    assert history(wire, run, "m")[0]["value"] == "NaN"
    (latest,) = wire.get("runs/get", {"run_id": run})["run"]["data"]["metrics"]
    assert latest["value"] == "NaN"


@pytest.mark.route("POST runs/log-metric", "GET metrics/get-history", "GET runs/get")
@pytest.mark.ours_only("MLflow stores 1.797e308, and the fact that it was infinite is lost")
@pytest.mark.parametrize("value", ["Infinity", "-Infinity"])
def test_infinities_come_back_as_infinities(wire, run, client, value) -> None:
    wire.post("runs/log-metric", {"run_id": run, **point("m", value)})
    assert history(wire, run, "m")[0]["value"] == value
    assert client.get_run(run).data.metrics["m"] == float(value)
    assert client.get_metric_history(run, "m")[0].value == float(value)


@pytest.mark.route("POST runs/log-metric", "POST runs/log-batch")
@pytest.mark.ours_only("MLflow answers 200 {} and stores nothing, or 0.0 at time 0")
@pytest.mark.parametrize("value", [b"NaN", b"Infinity", b'"oops"', b"null", b"true", b"[1]"])
def test_a_value_that_is_no_number_is_400_and_nothing_is_stored(wire, run, value) -> None:
    code = "BAD_REQUEST" if value in {b"NaN", b"Infinity"} else "INVALID_PARAMETER_VALUE"
    bad = b'{"key": "m", "timestamp": 5, "step": 1, "value": ' + value + b"}"
    wire.refused("POST", "runs/log-metric", b'{"run_id": "' + run.encode() + b'", ' + bad[1:], code=code)
    wire.refused("POST", "runs/log-batch", b'{"run_id": "' + run.encode() + b'", "metrics": [' + bad + b"]}", code=code)
    assert "metrics" not in wire.get("runs/get", {"run_id": run})["run"]["data"]


@pytest.mark.route("POST runs/log-batch", "GET runs/get")
def test_a_batch_holds_everything(wire, run) -> None:
    body = {
        "run_id": run,
        "metrics": [point("a", 1.5, 1), point("a", 2.5, 2), point("b", -1)],
        "params": [{"key": "p", "value": "1"}],
        "tags": [{"key": "t", "value": ""}],
    }
    assert wire.post("runs/log-batch", body) == {}
    data = wire.get("runs/get", {"run_id": run})["run"]["data"]
    assert {m["key"]: (m["value"], m["step"]) for m in data["metrics"]} == {"a": (2.5, 2), "b": (-1, 0)}
    assert data["params"] == [{"key": "p", "value": "1"}]
    assert {"key": "t", "value": ""} in data["tags"]


@pytest.mark.route("POST runs/log-batch")
def test_a_batch_that_is_sent_again_changes_nothing(wire, run) -> None:
    metrics = [point("m", "NaN", 3), *(point("m", step / 3, step) for step in range(50)), point("m", 0.5, 7, 9)]
    body = {"run_id": run, "metrics": metrics, "params": [{"key": "p", "value": "1"}]}
    wire.post("runs/log-batch", body)
    first = wire.get("runs/get", {"run_id": run}), history(wire, run, "m")
    assert len(first[1]) == 52
    for _ in range(2):
        wire.post("runs/log-batch", body)
        assert (wire.get("runs/get", {"run_id": run}), history(wire, run, "m")) == first


@pytest.mark.route("POST runs/log-batch")
@pytest.mark.ours_only("MLflow stores params, metrics and tags in transactions of their own, the last one fails alone")
@pytest.mark.parametrize(
    "wrong",
    [
        {"tags": [{"key": "../up", "value": "x"}]},
        {"params": [{"key": "new", "value": "1"}, {"key": "p", "value": "another"}]},
        {"metrics": [point("fine", 1), point("k" * 251, 1)]},
        {"metrics": [point("fine", 1), point("late", "soon")]},
    ],
    ids=["tag", "param", "long key", "value"],
)
def test_a_batch_is_all_or_nothing(wire, run, wrong) -> None:
    wire.post("runs/log-batch", {"run_id": run, "params": [{"key": "p", "value": "1"}]})
    before = wire.get("runs/get", {"run_id": run})
    good = {
        "metrics": [point("m", 1)],
        "params": [{"key": "q", "value": "2"}],
        "tags": [{"key": "t", "value": "3"}],
    }
    wire.refused("POST", "runs/log-batch", {"run_id": run, **good, **wrong})
    assert wire.get("runs/get", {"run_id": run}) == before
    assert history(wire, run, "fine") == []


@pytest.mark.route("POST runs/log-batch")
@pytest.mark.parametrize(
    ("metrics", "params", "tags", "accepted"),
    [
        (1000, 0, 0, True),
        (1001, 0, 0, False),
        (0, 100, 0, True),
        (0, 101, 0, False),
        (0, 0, 100, True),
        (0, 0, 101, False),
        (800, 100, 100, True),
        (801, 100, 100, False),
    ],
)
def test_a_batch_has_limits(wire, run, metrics, params, tags, accepted) -> None:
    body = {
        "run_id": run,
        "metrics": [point(f"m{i}", i) for i in range(metrics)],
        "params": [{"key": f"p{i}", "value": "v"} for i in range(params)],
        "tags": [{"key": f"t{i}", "value": "v"} for i in range(tags)],
    }
    if accepted:
        wire.post("runs/log-batch", body)
    else:
        wire.refused("POST", "runs/log-batch", body)
        assert "params" not in wire.get("runs/get", {"run_id": run})["run"]["data"]


@pytest.mark.route("POST runs/log-batch")
def test_a_batch_of_the_longest_values_is_taken(wire, run) -> None:
    """MLflow names a limit of a megabyte, and compares it with the number of fields; so its clients may send more."""
    tags = [{"key": f"t{i}", "value": "v" * 8000} for i in range(100)]
    params = [{"key": f"p{i}", "value": "v" * 6000} for i in range(100)]
    wire.post("runs/log-batch", {"run_id": run, "tags": tags, "params": params})
    assert len(wire.get("runs/get", {"run_id": run})["run"]["data"]["params"]) == 100


@pytest.mark.route("GET metrics/get-history")
def test_a_history_has_pages(wire, run) -> None:
    points = [point("m", step, step, 10_000 + step) for step in range(25)]
    wire.post("runs/log-batch", {"run_id": run, "metrics": points})
    seen, token, pages = [], None, 0
    while pages == 0 or token:
        query = {"run_id": run, "metric_key": "m", "max_results": 10, **({"page_token": token} if token else {})}
        page = wire.get("metrics/get-history", query)
        seen += [entry["step"] for entry in page["metrics"]]
        token, pages = page.get("next_page_token"), pages + 1
    assert seen == list(range(25))
    assert pages == 3
    wire.refused("GET", "metrics/get-history", {"run_id": run, "metric_key": "m", "max_results": 5, "page_token": "x"})


@pytest.mark.route("GET metrics/get-history")
def test_without_a_size_a_history_is_whole(wire, run) -> None:
    wire.post("runs/log-batch", {"run_id": run, "metrics": [point("m", step, step) for step in range(1000)]})
    assert len(history(wire, run, "m")) == 1000
    assert history(wire, run, "never") == []


@pytest.mark.route("GET /ajax-api/2.0/mlflow/metrics/get-history-bulk")
def test_histories_in_bulk(wire, client, experiment) -> None:
    runs = [client.create_run(experiment).info.run_id for _ in range(2)]
    for run in runs:
        wire.post("runs/log-batch", {"run_id": run, "metrics": [point("m", 1.5, 0), point("m", 2.5, 1)]})
    query = [*(("run_id", run) for run in runs), ("metric_key", "m"), ("max_results", "100")]
    found = wire.call("GET", "/ajax-api/2.0/mlflow/metrics/get-history-bulk", query).json["metrics"]
    assert sorted((entry["run_id"], entry["step"], entry["value"]) for entry in found) == sorted(
        (run, step, value) for run in runs for step, value in ((0, 1.5), (1, 2.5))
    )
    path = "/ajax-api/2.0/mlflow/metrics/get-history-bulk"
    wire.refused("GET", path, [("metric_key", "m")])
    wire.refused("GET", path, [("run_id", run) for run in runs])
    wire.refused("GET", path, [*(("run_id", f"{i:032x}") for i in range(101)), ("metric_key", "m")])


@pytest.mark.route("GET metrics/get-history-bulk-interval")
@pytest.mark.parametrize("prefix", ["/api", "/ajax-api"])
def test_sampled_histories_keep_both_ends(wire, run, prefix) -> None:
    for start in (0, 1000):
        metrics = [point("m", math.sin(step), step, step) for step in range(start, start + 1000)]
        wire.post("runs/log-batch", {"run_id": run, "metrics": metrics})
    path = f"{prefix}/2.0/mlflow/metrics/get-history-bulk-interval"
    sampled = wire.get(path, {"run_ids": run, "metric_key": "m", "max_results": 100})["metrics"]
    steps = [entry["step"] for entry in sampled]
    assert (steps[0], steps[-1]) == (0, 1999)
    assert steps == sorted(steps)
    assert 50 <= len(steps) <= 110
    assert {entry["run_id"] for entry in sampled} == {run}
    assert all(entry["value"] == math.sin(entry["step"]) for entry in sampled)
    window = {"run_ids": run, "metric_key": "m", "max_results": 2000, "start_step": 100, "end_step": 109}
    assert [entry["step"] for entry in wire.get(path, window)["metrics"]] == list(range(100, 110))


@pytest.mark.route("GET metrics/get-history-bulk-interval")
def test_sampling_refuses_what_makes_no_sense(wire, run) -> None:
    path = "metrics/get-history-bulk-interval"
    good = {"run_ids": run, "metric_key": "m", "max_results": 10}
    for wrong in ({"max_results": 2501}, {"max_results": 0}, {"start_step": 5, "end_step": 1}, {"start_step": 5}):
        wire.refused("GET", path, {**good, **wrong})
    wire.refused("GET", path, [("metric_key", "m"), *(("run_ids", f"{i:032x}") for i in range(101))])
    wire.refused("GET", path, {"run_ids": run, "max_results": 10})


@pytest.mark.route("POST runs/log-metric", "GET runs/get")
def test_the_latest_is_of_the_highest_step_then_the_latest_time_then_the_highest_value(wire, run) -> None:
    points = [point("m", 9, 1, 99), point("m", 5, 2, 10), point("m", 7, 2, 10), point("m", 1, 2, 9)]
    for entry in points:
        wire.post("runs/log-metric", {"run_id": run, **entry})
    (latest,) = wire.get("runs/get", {"run_id": run})["run"]["data"]["metrics"]
    assert (latest["value"], latest["step"], latest["timestamp"]) == (7, 2, 10)
