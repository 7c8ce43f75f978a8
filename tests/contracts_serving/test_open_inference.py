"""Plain HTTP against what the protocol's own OpenAPI file says of each answer, for right and for odd requests.

Source: open_inference_rest.yaml of github.com/kserve/open-inference-protocol: the required and typed fields of its
schemas. It knows no other error status than 400; ours are also 404, 413 and 415, as other servers' are.
"""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import requests

TENSOR = {"name": str, "datatype": str, "shape": [int]}
SERVER = {"name": str, "version": str, "extensions": [str]}
MODEL = {"name": str, "platform": str, "versions?": [str], "inputs?": [TENSOR], "outputs?": [TENSOR]}
OUTPUT = {**TENSOR, "parameters?": dict, "data": [(int, float, str, bool)]}
ANSWER = {"model_name": str, "model_version?": str, "id?": str, "parameters?": dict, "outputs": [OUTPUT]}
ERROR = {"error": str}
ODD = (None, True, -1, 2**70, 1.5, "", "x", [], [[]], {}, {"a": 1}, [None], ["x", 1], "FP64", "BYTES", [2], [-1, 2])


def fits(value: Any, schema: Any) -> bool:
    """Return whether a value has the fields of a schema, each of its type."""
    if isinstance(schema, list):
        return isinstance(value, list) and all(fits(one, schema[0]) for one in value)
    if isinstance(schema, dict):
        wanted = {name.rstrip("?"): (name[-1] != "?", kind) for name, kind in schema.items()}
        return isinstance(value, dict) and all(
            fits(value[name], kind) if name in value else not required for name, (required, kind) in wanted.items()
        )
    return isinstance(value, schema) and (schema is not int or not isinstance(value, bool))


def request(model, rows: int = 2) -> dict[str, Any]:
    inputs = [
        {"name": name, "shape": [rows], "datatype": datatype, "data": model.columns[name][:rows]}
        for name, datatype in model.datatypes.items()
    ]
    return {"id": "42", "inputs": inputs, "outputs": [{"name": "probability"}]}


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
def test_server_metadata(model, path) -> None:
    answer = requests.get(model.http + path, timeout=20)
    assert (answer.status_code, fits(answer.json(), SERVER)) == (200, True)


def test_model_metadata_and_readiness(model) -> None:
    for path in (f"/v2/models/{model.name}", f"/v2/models/{model.name}/versions/{model.version}"):
        answer = requests.get(model.http + path, timeout=20)
        assert (answer.status_code, fits(answer.json(), MODEL)) == (200, True)
        assert requests.get(f"{model.http}{path}/ready", timeout=20).status_code == 200
        answer = requests.post(f"{model.http}{path}/infer", json=request(model), timeout=20)
        assert (answer.status_code, fits(answer.json(), ANSWER)) == (200, True)
        assert answer.json()["outputs"][0]["data"] == pytest.approx(model.probability[:2], abs=1e-5)


def spoil(value: Any, numbers: random.Random) -> Any:
    """Return a value with one thing in it exchanged, left out or added."""
    if isinstance(value, dict) and value and numbers.random() < 0.9:
        name = numbers.choice(list(value))
        deed = numbers.randrange(6)
        if deed == 0:
            return {key: one for key, one in value.items() if key != name}
        if deed == 1:
            return {**value, numbers.choice(["parameters", "subject", "x", "data"]): numbers.choice(ODD)}
        return {**value, name: spoil(value[name], numbers)}
    if isinstance(value, list) and value and numbers.random() < 0.8:
        at = numbers.randrange(len(value))
        if numbers.random() < 0.2:
            return [*value, value[at]]
        return [spoil(one, numbers) if i == at else one for i, one in enumerate(value)]
    return numbers.choice(ODD)


def test_spoilt_requests_are_answered_or_refused_in_the_protocols_words(model) -> None:
    numbers, statuses = random.Random(model.name), set()
    whole = request(model)
    with requests.Session() as session:
        for _ in range(400):
            body = spoil(whole, numbers)
            answer = session.post(f"{model.http}/v2/models/{model.name}/infer", data=json.dumps(body), timeout=20)
            statuses.add(answer.status_code)
            assert fits(answer.json(), ANSWER if answer.ok else ERROR), (body, answer.text)
    assert statuses == {200, 400}
