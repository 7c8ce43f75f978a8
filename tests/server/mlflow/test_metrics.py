from __future__ import annotations

import base64
import json
import math
import time
from typing import Any

import pytest
from protocol_api import Api

from interlock.sdk.workspace import Workspace

EDGES = [(1 << 63) - 1, -(1 << 63), 0]


def history(api: Api, run: str, key: str = "m", **more: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.get("metrics/get-history", run_id=run, metric_key=key, **more)["metrics"]
    return found


def batch(api: Api, run: str, *points: tuple[int, int, Any], key: str = "m") -> None:
    metrics = [{"key": key, "timestamp": at, "step": step, "value": value} for at, step, value in points]
    api.post("runs/log-batch", run_id=run, metrics=metrics)


def test_histories_go_by_instant_step_and_value(api: Api) -> None:
    run = api.new_run()
    batch(api, run, (2, 0, 1), (1, 5, 9), (1, 5, "NaN"), (1, 5, "-Infinity"), (1, -3, "Infinity"), (1, 5, 9))
    shown = [(point["timestamp"], point["step"], point["value"]) for point in history(api, run)]
    assert shown == [(1, -3, "Infinity"), (1, 5, "NaN"), (1, 5, "-Infinity"), (1, 5, 9.0), (2, 0, 1.0)]


@pytest.mark.parametrize("most", [1, 2, 3, 7, 100])
def test_pages_together_are_the_whole(api: Api, most: int) -> None:
    run = api.new_run()
    batch(api, run, *((at, step, value) for at in (0, 1) for step in (-1, 0) for value in (0.5, "NaN", "-Infinity")))
    whole, pages, token = history(api, run), [], ""
    while True:
        page = api.get("metrics/get-history", run_id=run, metric_key="m", max_results=most, page_token=token)
        assert 0 < len(page["metrics"]) <= most
        pages += page["metrics"]
        token = page.get("next_page_token", "")
        if not token:
            break
    assert pages == whole
    assert len(whole) == 12


def test_points_that_come_between_two_pages_move_nothing(api: Api) -> None:
    run = api.new_run()
    batch(api, run, *((at, 0, float(at)) for at in range(10, 20)))
    first = api.get("metrics/get-history", run_id=run, metric_key="m", max_results=5)
    batch(api, run, (1, 0, 1.0), (12, 3, 0.0), (99, 0, 99.0))
    rest = history(api, run, page_token=first["next_page_token"])
    assert [point["timestamp"] for point in rest] == [15, 16, 17, 18, 19, 99]


@pytest.mark.parametrize(
    "token",
    ["x", "\u00e9", "aDk5", "A" * 1000]
    + [
        base64.urlsafe_b64encode(json.dumps(value).encode()).decode()
        for value in (
            5,
            [],
            [1, 2],
            [1, 2, 3],
            [1, "2", "x"],
            [1, 2, "x"],
            ["a", 2, "1.0"],
            [1, 2, "1", 4],
            {"offset": 3},
        )
    ],
)
def test_tokens_that_are_none_of_ours(api: Api, token: str) -> None:
    run = api.new_run()
    batch(api, run, (1, 1, 1.0))
    assert "page token" in api.refused("metrics/get-history", "GET", run_id=run, metric_key="m", page_token=token)[1]


@pytest.mark.parametrize("place", [[1 << 200, 0, "1.0"], [-(1 << 70), 0, "nan"], [0, 0, "inf"]])
def test_a_token_that_somebody_made_up_only_moves_within_the_history(api: Api, place: list[Any]) -> None:
    run = api.new_run()
    batch(api, run, (1, 1, 1.0))
    token = base64.urlsafe_b64encode(json.dumps(place).encode()).decode()
    assert len(history(api, run, page_token=token)) in {0, 1}


@pytest.mark.parametrize("step", EDGES)
def test_steps_are_any_64_bits(api: Api, step: int) -> None:
    run = api.new_run()
    api.post("runs/log-metric", run_id=run, key="m", value=-0.0, timestamp=5, step=step)
    assert history(api, run) == [{"key": "m", "value": -0.0, "timestamp": 5, "step": step}]
    assert api.run(run)["data"]["metrics"][0]["step"] == step


def test_a_batch_sent_again_changes_nothing(api: Api, workspace: Workspace) -> None:
    run = api.new_run()
    body = {
        "run_id": run,
        "metrics": [{"key": "m", "value": "NaN", "timestamp": 1, "step": n} for n in range(50)],
        "params": [{"key": "p", "value": "1"}],
        "tags": [{"key": "t", "value": "1"}],
    }
    api.post("runs/log-batch", **body)
    before, size = api.run(run), workspace.store.ledger.size()
    for fold in (False, True, False):
        if fold:
            api.post("runs/update", run_id=run, status="FINISHED")
            before, size = api.run(run), workspace.store.ledger.size()
        api.post("runs/log-batch", **body)
        assert api.run(run) == before
        assert workspace.store.ledger.size() == size
        assert len(history(api, run)) == 50


@pytest.mark.parametrize(
    "wrong",
    [
        {"metrics": [{"key": "a", "value": 1, "timestamp": 1}, {"key": "b", "value": "oops", "timestamp": 1}]},
        {"metrics": [{"key": "a", "value": 1, "timestamp": 1}, {"key": "a/../b", "value": 1, "timestamp": 1}]},
        {"metrics": [{"key": "a", "value": 1, "timestamp": 1 << 62}]},
        {"metrics": [{"key": "a", "value": 1, "timestamp": 1, "step": 1 << 63}]},
        {"metrics": [{"key": "a", "value": 1, "timestamp": 1, "model_id": "m-nope"}]},
        {"metrics": [{"key": "a", "value": 1, "timestamp": 1}], "params": [{"key": "held", "value": "other"}]},
        {"metrics": [{"key": "a", "value": 1}], "params": [{"key": "p", "value": "1"}, {"key": "p", "value": "2"}]},
        {"metrics": [{"key": "a", "value": 1, "timestamp": 1}], "tags": [{"key": "", "value": "1"}]},
        {"metrics": [{"key": "a", "value": 1}] * 1001},
        {"params": [{"key": f"p{n}", "value": "1"} for n in range(101)]},
    ],
)
def test_all_of_a_batch_or_nothing(api: Api, workspace: Workspace, wrong: dict[str, Any]) -> None:
    run = api.new_run()
    api.post("runs/log-parameter", run_id=run, key="held", value="1")
    before, size = api.run(run), workspace.store.ledger.size()
    assert api.refused("runs/log-batch", run_id=run, **wrong)[0] in {400, 404}
    assert api.run(run) == before
    assert workspace.store.ledger.size() == size
    assert history(api, run, "a") == []


@pytest.mark.parametrize("lacks", ["key", "value", "timestamp"])
def test_a_metric_needs_its_parts(api: Api, lacks: str) -> None:
    body = {"run_id": api.new_run(), "key": "m", "value": 0, "timestamp": 0}
    api.post("runs/log-metric", **body)
    del body[lacks]
    assert f"'{lacks}'" in api.refused("runs/log-metric", **body)[1]


def test_latest_values_show_what_waits(api: Api) -> None:
    run = api.new_run()
    batch(api, run, (5, 1, 1.0), (4, 2, "Infinity"), (3, 2, 7.0))
    assert api.run(run)["data"]["metrics"] == [{"key": "m", "value": "Infinity", "timestamp": 4, "step": 2}]


def test_charts_get_some_points_with_the_extremes(api: Api) -> None:
    run, other = api.new_run(), api.new_run()
    batch(api, run, *((n, n, math.sin(n) if n != 500 else 99.0) for n in range(1000)))
    batch(api, other, (1, 1, "NaN"))
    query = {"run_ids": [run, other], "metric_key": "m", "max_results": 20}
    found = api.get("metrics/get-history-bulk-interval", **query)["metrics"]
    mine = [point for point in found if point["run_id"] == run]
    assert len(mine) <= 20
    assert {0, 500, 999} <= {point["step"] for point in mine}
    assert [point["value"] for point in found if point["run_id"] == other] == ["NaN"]
    some = api.get("metrics/get-history-bulk-interval", **query, start_step=10, end_step=12)["metrics"]
    assert [point["step"] for point in some] == [10, 11, 12]


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"metric_key": "m"},
        {"run_ids": ["a"]},
        {"run_ids": ["a"] * 101, "metric_key": "m"},
        {"run_ids": ["a"], "metric_key": "m", "max_results": 2501},
        {"run_ids": ["a"], "metric_key": "m", "max_results": -1},
        {"run_ids": ["a"], "metric_key": "m", "max_results": "x"},
        {"run_ids": ["a"], "metric_key": "m", "start_step": 1},
        {"run_ids": ["a"], "metric_key": "m", "start_step": 2, "end_step": 1},
        {"run_ids": ["a"], "metric_key": "m", "start_step": 0, "end_step": 1 << 63},
    ],
)
def test_charts_that_are_refused(api: Api, query: dict[str, Any]) -> None:
    assert api.refused("metrics/get-history-bulk-interval", "GET", **query)[0] == 400


def test_bulk_histories_are_bounded(api: Api) -> None:
    run, other = sorted([api.new_run(), api.new_run()])
    for ident in (other, run):
        batch(api, ident, (2, 0, 1.0), (1, 0, 2.0))
    found = api.get("metrics/get-history-bulk", run_id=[other, run], metric_key="m")["metrics"]
    assert [(p["run_id"], p["timestamp"]) for p in found] == [(run, 1), (run, 2), (other, 1), (other, 2)]
    assert len(api.get("metrics/get-history-bulk", run_id=[run], metric_key="m", max_results=1)["metrics"]) == 1
    assert api.refused("metrics/get-history-bulk", "GET", run_id=[run], metric_key="m", max_results=-1)[0] == 400


def test_unknown_runs_have_no_history(api: Api) -> None:
    assert api.refused("metrics/get-history", "GET", run_id="nope", metric_key="m")[0] == 404
    assert api.refused("metrics/get-history", "GET", run_id=api.new_run())[0] == 400
    assert history(api, api.new_run()) == []
    assert api.refused("metrics/get-history", "GET", run_id=api.new_run(), metric_key="m", max_results=-1)[0] == 400


def test_what_a_client_logs_is_packed_without_anybody_waiting(api: Api, workspace: Workspace) -> None:
    run = api.new_run()
    for number in range(64):
        metrics = [{"key": f"m{key}", "value": key, "timestamp": number, "step": number} for key in range(3)]
        api.post("runs/log-batch", run_id=run, metrics=metrics)
    left = 64
    for _ in range(500):
        left = len(workspace.store.database.all("SELECT 1 FROM metric_inbox WHERE run = :run", {"run": run}))
        if left == 0:
            break
        time.sleep(0.01)
    assert left == 0
    assert len(history(api, run, "m1")) == 64
