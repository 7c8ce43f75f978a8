"""Versions come and go under load: no request fails, no answer is of neither version, and nothing of them stays."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import numpy as np
import pytest
from fuzz_watch import size_of
from serving_load import Load
from serving_world import Kind, route

SWAPS = 20
WIDE = 900  # as many megabytes as this squared, times four: what stays of 20 versions is seen
ROW = {"age": 40, "hours": 38.0, "income": 30.0}
MORE_FILES = 6
MORE_THREADS = 6


def large_graph(slope: float) -> bytes:
    """Return a graph with a great matrix that counts for nothing: the logistic function of `slope` times the age."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(1)
    tensors = {
        "in": np.zeros((3, WIDE)),
        "wide": rng.normal(size=(WIDE, WIDE)),
        "out": np.zeros((WIDE, 2)),
        "slope": np.array([[0.0, slope], [0.0, 0.0], [0.0, 0.0]]),
    }
    steps = [
        ("MatMul", ["X", "in"], "a"),
        ("MatMul", ["a", "wide"], "b"),
        ("MatMul", ["b", "out"], "c"),
        ("MatMul", ["X", "slope"], "d"),
        ("Add", ["c", "d"], "e"),
        ("Softmax", ["e"], "p"),
    ]
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, [output]) for kind, inputs, output in steps],
        "g",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, 3])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, [None, 2])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return model.SerializeToString()


def score(slope: float, age: float) -> float:
    return 1 / (1 + math.exp(-slope * age))


@pytest.mark.slow
@pytest.mark.parametrize("durability", ["fsync", "1s"])
def test_twenty_swaps_lose_no_request_and_leave_nothing(durability: str, shop: Any, predicting: Any) -> None:
    slopes = {"model:buyer@1": 0.01, "model:buyer@2": -0.02}
    columns = (("age", "integer"), ("hours", "float"), ("income", "float"))
    rows = [{**ROW, "age": age} for age in (20, 40, 60)]
    bundles = {}
    for model, slope in slopes.items():
        shop.kinds = {**shop.kinds, model: Kind(columns, "matrix", large_graph(slope), rows, [])}
        bundles[model] = shop.bundle(model, scores=[score(slope, row["age"]) for row in rows])
    shop.deploy(route(bundles["model:buyer@1"], "model:buyer@1"))
    server = predicting("shop", "--durability", durability)
    load = Load(server.said["url"], {"dataframe_records": [ROW]}, 4)
    sizes = []
    for number in range(2, SWAPS + 2):
        load.wait(20)
        model = f"model:buyer@{1 + number % 2}"
        shop.deploy(route(bundles[model], model), revision=number)
        if number % 2:
            assert server.client.post("/-/reload").json()["revision"] == number
        else:
            until = time.monotonic() + 30
            while server.status()["revision"] != number:
                assert time.monotonic() < until, server.status()
                time.sleep(0.02)
        sizes.append(size_of(server.process.pid))
    load.wait(20)
    load.stop()
    assert load.broken == []
    seen = set()
    for got in load.answers:
        assert got.status == 200, got.body
        model, revision = got.headers["interlock-model"], int(got.headers["interlock-revision"])
        assert model == f"model:buyer@{1 + revision % 2}" or revision == 1
        (found,) = json.loads(got.body)["predictions"]
        probability = next(value for key, value in found.items() if "probability" in key or "score" in key)
        assert probability == pytest.approx(score(slopes[model], ROW["age"]), abs=1e-4)
        seen.add(revision)
    assert len(seen) > SWAPS / 2
    print(len(load.answers), [size.memory >> 20 for size in sizes], sizes[-1])
    half, last = sizes[SWAPS // 2], sizes[-1]
    one = WIDE * WIDE * 4
    assert last.memory - half.memory < 4 * one, sizes  # ten versions more came, and went
    assert last.files - half.files < MORE_FILES, sizes
    assert last.threads - half.threads < MORE_THREADS, sizes
    recorded = [row.id for row in shop.store.predictions.rows()]
    acknowledged = [one for got in load.answers for one in got.ids()]
    assert len(recorded) == len(set(recorded))
    assert set(acknowledged) <= set(recorded)
