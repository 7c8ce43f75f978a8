"""Vertex AI's contract: routes that variables name, instances in, predictions out."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from interlock.core.errors import Invalid
from interlock.serve.app import Application, Limits
from interlock.serve.vertex import Vertex

SET = {"AIP_HEALTH_ROUTE": "/v1/models/m:health", "AIP_PREDICT_ROUTE": "/v1/models/m:predict"}
ROW = {"age": 40, "hours": 38.0, "income": 30.0}


@pytest.fixture
def predict(shop, house, register):
    """Return a function that posts a body to the predict route."""
    register("credit", 1, shop.bundle("people"))

    def call(*bodies, **more):
        async def scene(home):
            await home.models.load("credit")
            app = Application(home.engine, [Vertex({**SET, **more})], [], Limits())
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost") as client:
                assert (await client.get(SET["AIP_HEALTH_ROUTE"])).status_code == 200
                return await asyncio.gather(*(client.post(SET["AIP_PREDICT_ROUTE"], json=body) for body in bodies))

        return house(scene)

    return call


def test_instances_are_objects_or_lists_in_the_order_of_the_columns(predict, shop):
    said = {"subjects": ["p1"], "occurred_at": "2026-03-01T12:00:00Z"}
    objects, lists = predict({"instances": [ROW], "parameters": said}, {"instances": [[40, 38.0, 30.0]]})
    assert (objects.status_code, lists.status_code) == (200, 200), objects.text
    first, second = objects.json(), lists.json()
    assert set(first) == {"predictions"}
    assert first["predictions"][0]["probability"] == second["predictions"][0]["probability"]
    row = shop.store.predictions.get(first["predictions"][0]["prediction_id"])
    assert (row.subject, row.inputs) == ("p1", ROW)


def test_the_deployed_model_is_named_where_the_platform_says_it(predict):
    (answer,) = predict({"instances": [ROW]}, AIP_DEPLOYED_MODEL_ID="778")
    assert answer.json()["deployedModelId"] == "778"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"instances": []},
        {"instances": {}},
        {"instances": [ROW, [1, 2, 3]]},
        {"instances": [[1, 2]]},
        {"instances": [[1, 2, 3], [1]]},
        {"instances": [7]},
        {"instances": [None]},
        {"instances": [{"age": "x"}]},
        {"instances": [ROW], "params": {}},
        {"instances": [ROW], "parameters": {"subject": "p1"}},
        [ROW],
    ],
)
def test_a_bad_body_is_a_400_in_googles_words(predict, body):
    (answer,) = predict(body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] == 400
    assert answer.json()["error"]["message"]


def test_without_variables_there_are_no_routes():
    assert Vertex({}).routes(None) == []


@pytest.mark.parametrize("route", ["predict", "/a b", "/{name}", "https://example.org/predict"])
def test_a_route_is_a_path(route):
    with pytest.raises(Invalid, match="AIP_PREDICT_ROUTE"):
        Vertex({"AIP_PREDICT_ROUTE": route})
