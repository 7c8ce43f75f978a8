"""The server's own pages, and the counters behind them."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from interlock.core.bundles import Range, Serving
from interlock.core.clock import SystemClock
from interlock.core.errors import Denied
from interlock.serve.control import Control
from interlock.serve.engine import Engine
from interlock.serve.guard import CONSTANT_ROWS
from interlock.serve.hands import Hands
from interlock.serve.http import Request
from interlock.serve.journal import Journal
from interlock.serve.metrics import Metrics
from interlock.serve.watch import Watcher
from interlock.store.predictions import PredictionWriter

ROW = {"city": "Oslo", "age": 21, "spend": 150.5}


def samples(live) -> dict[str, float]:
    """Return all samples of a server's metrics."""
    lines = live.client.get("/metrics").text.splitlines()
    return {name: float(value) for name, _, value in (x.rpartition(" ") for x in lines if not x.startswith("#"))}


def test_metrics_count_requests_by_endpoint_model_and_status(live):
    good = 'interlock_requests_total{endpoint="/invocations",model="model:buyer@3",status="200"}'
    bad = 'interlock_requests_total{endpoint="/invocations",model="",status="400"}'
    seconds = 'interlock_request_seconds_count{endpoint="/invocations"}'
    rows = 'interlock_rows_total{model="model:buyer@3"}'
    live.invoke(ROW)
    live.invoke({})
    before = samples(live)
    live.invoke(ROW, ROW)
    live.invoke({})
    after = samples(live)
    assert [after[k] - before[k] for k in (good, bad, seconds, rows)] == [1, 1, 2, 2]
    assert after["interlock_log_rows"] - before["interlock_log_rows"] == 2
    assert after["interlock_log_queue_rows"] == 0
    assert after["interlock_ready"] == 1
    assert after["interlock_revision"] == 1


def test_prometheus_itself_can_read_the_metrics(live):
    from prometheus_client.parser import text_string_to_metric_families

    response = live.client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    names = {family.name for family in text_string_to_metric_families(response.text)}
    assert {
        "interlock_requests",
        "interlock_request_seconds",
        "interlock_garbage",
        "interlock_dropped_columns",
    } <= names


def test_latencies_fall_into_cumulated_buckets():
    metrics = Metrics()
    for seconds in (0.0004, 0.0005, 0.003, 99.0):
        metrics.count("/x", "m", 200, seconds)
    family = next(f for f in metrics.families() if f.name == "interlock_request_seconds")
    buckets = {s.labels["le"]: s.value for s in family.samples if s.name.endswith("_bucket")}
    assert (buckets["0.0005"], buckets["0.0025"], buckets["0.005"], buckets["10.0"], buckets["+Inf"]) == (2, 2, 3, 3, 4)
    assert next(s.value for s in family.samples if s.name.endswith("_sum")) == pytest.approx(99.0039)


def test_status_says_what_is_served_and_with_what(live):
    found = live.status()
    (route,) = found["routes"]
    assert (found["deployment"], found["ready"], found["revision"], found["wanted_revision"]) == ("shop", True, 1, 1)
    assert (route["model"], route["weight"], route["role"]) == ("model:buyer@3", 1.0, "champion")
    assert route["load_s"] > 0
    assert found["pid"] == live.said["pid"]
    assert found["errors"] == []
    assert found["log"]["error"] == ""
    assert found["started_at"].endswith("Z")


def test_only_this_machine_may_ask_for_a_reload(shop):
    shop.deploy()
    scope = {"method": "POST", "path": "/-/reload", "headers": [], "client": ("192.0.2.7", 1)}

    async def scene():
        with ThreadPoolExecutor(1) as pool:
            journal = Journal(lambda: PredictionWriter(shop.store.predictions.folder))
            engine = Engine("shop", journal, SystemClock(), Hands(pool))
            control = Control(engine, Watcher(engine, shop.source()), SystemClock().now())
            (reload,) = (e for e in control.routes() if e.path == "/-/reload")
            with pytest.raises(Denied):
                await reload.handler(Request(scope, "r"))
            answer = await reload.handler(Request({**scope, "client": ("127.0.0.1", 1)}, "r"))
            await journal.close()
        return answer, await control.status()

    answer, status = asyncio.run(scene())
    assert answer.status == 409  # the spec has no routes
    assert (status.ready, status.revision, status.wanted_revision) == (False, None, 1)
    assert "with routes" in status.errors[0]


def test_warnings_ages_and_one_score_for_all_are_told(shop, serve, register, tools):
    register("buyer", 3, "b")
    seen = {"age": Range(50, 90)}
    shop.deploy(tools.route(shop.bundle("people", ranges=seen), "model:buyer@3"), serving=Serving(stale_after_s=60))
    server = serve()
    answer = server.invoke({"age": 20, "hours": 1.0, "income": 2.0})
    days = int(answer.headers.get_list("interlock-warning")[0].partition("age-days=")[2].partition(",")[0])
    assert days > 20_000  # made in 1970
    assert answer.headers["interlock-warning"] == f'stale-model; age-days={days}, out-of-range; columns="age"'
    found = samples(server)
    assert found['interlock_model_age_seconds{model="model:buyer@3"}'] // 86_400 == days
    assert found['interlock_out_of_range_rows_total{column="age",model="model:buyer@3"}'] == 1
    assert found['interlock_warnings_total{model="model:buyer@3",warning="out-of-range"}'] == 1
    assert found['interlock_constant_output{model="model:buyer@3"}'] == 0
    status = server.status()
    assert status["warnings"] == [f"model:buyer@3 is {days} days old."]
    assert status["serving"]["stale_after_s"] == 60
    zeros = [{"age": 1000 + i, "hours": 1e6, "income": 1e6} for i in range(CONSTANT_ROWS)]
    answer = server.invoke(*zeros)
    assert answer.headers["interlock-warning"].endswith("constant-output")
    assert "same score" in server.status()["warnings"][0]
    assert samples(server)['interlock_constant_output{model="model:buyer@3"}'] == 1


def test_every_figure_of_metrics_is_in_the_reference(live):
    text = live.client.get("/metrics").text
    names = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}
    told = (Path(__file__).parents[2] / "docs/reference/predictions.md").read_text("utf-8")
    assert sorted(name for name in names if f"`{name}" not in told) == []
    assert len(names) > 15
