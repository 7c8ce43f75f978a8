"""A full disk under a server of predictions: what cannot be recorded is not answered; with room again, all goes on."""

from __future__ import annotations

import time
from typing import Any

import pytest
from serving_load import Load
from serving_world import Shop, route
from test_disk_full import fill
from test_disk_full import small as disk  # noqa: F401 - a fixture

ROW = {"age": 40, "hours": 38.0, "income": 30.0}


@pytest.fixture
def shop(disk: Any, kinds: Any) -> Any:  # noqa: F811
    """A workspace on a disk with little room."""
    made = Shop(disk / ".interlock", kinds)
    yield made
    made.close()


@pytest.mark.slow
@pytest.mark.parametrize("durability", ["fsync", "1s"])
def test_predictions_stop_while_the_disk_is_full_and_only_then(
    durability: str,
    shop: Any,
    disk: Any,  # noqa: F811
    predicting: Any,
) -> None:
    shop.deploy(route(shop.bundle("people")))
    server = predicting("shop", "--durability", durability)
    acknowledged: list[str] = []
    for _ in range(2):
        acknowledged += ask(server)
        filler = fill(disk)
        load = Load(server.said["url"], {"dataframe_records": [ROW] * 20}, 4)
        until = time.monotonic() + 60
        while not load.answers or load.answers[-1].status == 200:  # what is allotted to the log is used up first
            assert time.monotonic() < until
            time.sleep(0.01)
        load.wait(50)
        status = server.status()
        load.stop()
        assert load.broken == []
        assert {got.status for got in load.answers} <= {200, 503}
        refused = [got for got in load.answers if got.status == 503]
        assert all(b"could not be recorded" in got.body for got in refused)
        assert all(got.headers["retry-after"] == "1" for got in refused)
        assert status["log"]["error"]
        assert str(disk) not in refused[0].body.decode()
        acknowledged += [one for got in load.answers if got.status == 200 for one in got.ids()]
        assert server.client.get("/v2/health/live").status_code == 200
        filler.unlink()
        until = time.monotonic() + 30
        while server.invoke(ROW).status_code != 200:
            assert time.monotonic() < until, server.status()
            time.sleep(0.05)
        acknowledged += ask(server)
        assert server.status()["log"]["error"] == ""
    size = len(list(shop.store.predictions.folder.iterdir()))
    assert server.stop() == 0
    recorded = [row.id for row in shop.store.predictions.rows()]
    assert len(recorded) == len(set(recorded))
    assert set(acknowledged) <= set(recorded)
    assert size < 20, "each failure leaves a file"


def ask(server: Any) -> list[str]:
    """Return the ids of some predictions that are answered."""
    found = []
    for _ in range(5):
        answer = server.invoke(ROW)
        assert answer.status_code == 200, answer.text
        found += [one["prediction_id"] for one in answer.json()["predictions"]]
    return found
