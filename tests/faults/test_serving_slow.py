"""Slow clients, half-open connections, and ten times the load: all others are answered, and nothing hangs.

How much slower others are is measured by benchmarks/serving_faults.py.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from fuzz_watch import size_of
from serving_crowd import Crowd
from serving_load import Load
from serving_world import route, until

ROW = {"age": 40, "hours": 38.0, "income": 30.0}
MEMORY = 64 << 20
MORE_FILES = 8


@pytest.mark.slow
@pytest.mark.parametrize("durability", ["fsync", "1s"])
def test_whoever_asks_is_answered_beside_a_crowd_that_does_not(durability: str, shop: Any, predicting: Any) -> None:
    shop.deploy(route(shop.bundle("people")))
    server = predicting("shop", "--durability", durability)  # 256 places
    Load(server.said["url"], {"dataframe_records": [ROW]}, 4).stop()
    before = size_of(server.process.pid)
    many = json.dumps({"dataframe_records": [ROW] * 900}).encode()
    with Crowd(server.said["url"], idle=200, heads=60, bodies=300, deaf=10, body=many) as crowd:
        load = Load(server.said["url"], {"dataframe_records": [ROW]}, 4)
        load.wait(200)
        crowd.reset(50)
        load.wait(200)
        assert server.client.get("/v2/health/ready").status_code == 200
        assert server.client.get("/metrics").status_code == 200
        load.stop()
        among = size_of(server.process.pid)
    assert load.broken == []
    assert {got.status for got in load.answers} == {200}
    assert among.memory - before.memory < MEMORY, (before, among)
    assert among.threads - before.threads < MORE_FILES
    until(lambda: server.status()["under_way"] == 0)
    until(lambda: size_of(server.process.pid).files - before.files < MORE_FILES)
    assert server.invoke(ROW).status_code == 200
    assert server.stop() == 0
    assert "Traceback" not in server.errors.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("durability", ["fsync", "1s"])
def test_ten_times_the_load_is_answered_or_asked_to_come_back(durability: str, shop: Any, predicting: Any) -> None:
    shop.deploy(route(shop.bundle("people")))
    server = predicting("shop", "--durability", durability, "--max-concurrent", "8")
    rows = [ROW] * 20_000  # 80 of them take longer than anybody waits for a place
    load = Load(server.said["url"], {"dataframe_records": rows}, 80, pause_s=0.005)
    load.wait(150)
    light = Load(server.said["url"], {"dataframe_records": [ROW]}, 2)
    light.wait(100)
    light.stop()
    load.stop()
    assert load.broken == light.broken == []
    statuses = [got.status for got in load.answers]
    assert set(statuses) == {200, 429}
    assert all(got.headers["retry-after"] == "1" for got in load.answers if got.status == 429)
    assert all(len(got.ids()) == 20_000 for got in load.answers if got.status == 200)
    # Large bodies have half of the places, so that who asks little is answered even now.
    assert {got.status for got in light.answers} == {200}
    recorded = {row.id for row in shop.store.predictions.rows()}
    assert {one for got in [*load.answers, *light.answers] if got.status == 200 for one in got.ids()} == recorded
    assert server.status()["under_way"] == 0
