"""Tensors as tritonclient makes them, the same for its two clients, and what their answers must be."""

from __future__ import annotations

from typing import Any

import numpy as np

NUMPY = {"FP64": np.float64, "FP32": np.float32, "INT64": np.int64, "BOOL": np.bool_, "BYTES": np.object_}


def tensor(client: Any, name: str, values: list[Any], datatype: str, shape: list[int] | None = None, **how: Any) -> Any:
    """Return one input, of shape `[rows]` unless another is wanted."""
    data = [value.encode() for value in values] if datatype == "BYTES" else values
    shape = shape or [len(values)]
    found = client.InferInput(name, shape, datatype)
    found.set_data_from_numpy(np.array(data, NUMPY[datatype]).reshape(shape), **how)
    return found


def inputs(client: Any, served: Any, shape: list[int] | None = None, **how: Any) -> list[Any]:
    """Return all inputs of a model's rows."""
    return [
        tensor(client, name, served.columns[name], datatype, shape, **how)
        for name, datatype in served.datatypes.items()
    ]


def check(found: Any, served: Any, target: str) -> None:
    """Hold an answer against scikit-learn's."""
    np.testing.assert_allclose(found.as_numpy("probability"), served.probability, rtol=0, atol=1e-5)
    assert found.as_numpy(target).tolist() == served.label
    assert found.as_numpy(target).dtype == np.int64
    ids = found.as_numpy("prediction_id")
    assert len(set(ids.tolist())) == served.rows
