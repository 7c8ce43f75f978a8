"""A server of predictions is killed under load, again and again: what it acknowledged is on record, and once.

SERVING_KILLED_ROUNDS=20 goes on for longer.
"""

from __future__ import annotations

import os
import random
import time
from typing import Any

import pytest
from serving_load import Load
from serving_world import route

ROUNDS = int(os.environ.get("SERVING_KILLED_ROUNDS", "2"))
CALLERS = 16


@pytest.mark.slow
@pytest.mark.parametrize("durability", ["fsync", "1s"])
def test_what_was_acknowledged_is_on_record_once(durability: str, shop: Any, predicting: Any, kinds: Any) -> None:
    shop.deploy(route(shop.bundle("people")))
    chance = random.Random(durability)
    acknowledged: list[str] = []
    for number in range(ROUNDS):
        server = predicting("shop", "--durability", durability)
        rows = kinds["people"].rows[: chance.choice([1, 1, 20])]
        load = Load(server.said["url"], {"dataframe_records": rows}, CALLERS)
        load.wait(300)
        time.sleep(chance.random() / 4)
        killed_at = time.monotonic()
        server.process.kill()
        server.process.wait()
        load.stop()
        assert {got.status for got in load.answers} == {200}
        # Each caller has one request under way; its connection breaks with the process, and not before.
        assert len(load.broken) == CALLERS
        assert min(at for at, _ in load.broken) >= killed_at
        acknowledged += [one for got in load.answers for one in got.ids()]
        recorded = [row.id for row in shop.store.predictions.rows()]
        assert len(recorded) == len(set(recorded)), "a prediction is on record twice"
        lost = set(acknowledged) - set(recorded)
        assert not lost, f"round {number}: {len(lost)} of {len(acknowledged)} acknowledged predictions are lost"
        under_way = len(recorded) - len(acknowledged)
        assert under_way <= (number + 1) * CALLERS * 20
    assert len(acknowledged) == len(set(acknowledged))
    shop.store.predictions.compact()
    assert set(acknowledged) <= {row.id for row in shop.store.predictions.rows()}
