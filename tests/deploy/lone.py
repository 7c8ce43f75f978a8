"""Files of models that came without a bundle, as runs write them, and a client of their server."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import numpy as np
from onnx import TensorProto, helper


def graph(width: int = 2) -> bytes:
    """Return a graph that answers shares of two classes."""
    weights = helper.make_tensor("w", TensorProto.FLOAT, [width, 2], np.arange(2 * width) / 10)
    nodes = [helper.make_node("MatMul", ["X", "w"], ["z"]), helper.make_node("Softmax", ["z"], ["p"])]
    taken = helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, width])
    given = helper.make_tensor_value_info("p", TensorProto.FLOAT, [None, 2])
    made = helper.make_graph(nodes, "g", [taken], [given], [weights])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()


def beside(columns: dict[str, str], example: bool = True) -> dict[str, bytes]:
    """Return the records that our client writes beside a model: signature and example."""
    fields = [{"name": name, "type": kind} for name, kind in columns.items()]
    files = {"signature.json": json.dumps({"inputs": fields}).encode()}
    rows = [{name: place + row for place, name in enumerate(columns)} for row in range(2)]
    return files | ({"example.json": json.dumps(rows).encode()} if example else {})


def post(url: str, path: str, body: object) -> dict[str, Any]:
    """Return the JSON answer of a server; raises AssertionError with its text where it refuses."""
    request = urllib.request.Request(f"{url}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            found: dict[str, Any] = json.loads(answer.read())
            return found
    except urllib.error.HTTPError as error:
        raise AssertionError(error.read().decode()) from None
