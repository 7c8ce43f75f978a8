"""The front page of a model server: what it says can be sent as it stands."""

from __future__ import annotations

import json
import shlex

import pytest

from interlock.core.clock import SystemClock
from interlock.serve.http import Request
from interlock.serve.metadata import KEYS
from interlock.serve.model import LoadedModel
from interlock.serve.revision import LiveRoute, View
from interlock.serve.welcome import own_address, sample_of


@pytest.fixture(scope="module")
def page(live):
    response = live.client.get("/")
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    return response.json()


def test_it_names_deployment_models_columns_and_target(page):
    (model,) = page["models"]
    assert (page["deployment"], page["revision"]) == ("shop", 1)
    assert (model["model"], model["target"], model["classes"]) == ("model:buyer@3", "buys", [0, 1])
    assert [(c["name"], c["type"], c["takes"]) for c in model["inputs"]] == [
        ("city", "string", "text"),
        ("age", "integer", "whole numbers"),
        ("spend", "float", "numbers"),
    ]
    assert page["metadata"] == KEYS


@pytest.mark.parametrize("protocol", ["mlflow", "oip"])
def test_the_examples_are_answered_and_keep_the_metadata(live, page, protocol):
    line = shlex.split(page["ask"][protocol]["curl"])
    url, body = line[1], line[line.index("-d") + 1]
    assert url == live.said["url"] + page["ask"][protocol]["path"]
    assert json.loads(body) == page["ask"][protocol]["body"]
    response = live.client.post(url, content=body, headers={"content-type": "application/json"})
    assert response.status_code == 200, response.text
    found = response.json()
    if protocol == "mlflow":
        (key,) = (row["prediction_id"] for row in found["predictions"])
    else:
        (key,) = next(t["data"] for t in found["outputs"] if t["name"] == "prediction_id")
    row = live.shop.store.predictions.get(key)
    kind = live.shop.kinds["customers"]
    assert all(value in [one[name] for one in kind.rows] for name, value in row.inputs.items())
    assert row.inputs not in kind.rows  # it is about nobody
    assert (row.subject, row.request_id) == ("", "request-1")  # nobody who is made up comes into the log
    assert row.occurred_at % 1_000_000 == 0
    assert row.occurred_at <= row.at


def test_a_row_without_gaps_is_made_and_spelt_by_the_columns_types(shop, tools):
    rows = [{"age": 30, "hours": None, "income": 1.0}, {"age": 40.0, "hours": 2, "income": 1.5}]
    model = LoadedModel.load(shop.store.objects, shop.bundle("people", rows=rows, scores=[0.5, 0.5]))
    sample = sample_of("shop", View([LiveRoute(tools.route("x"), model)]), SystemClock().now())
    assert json.dumps(sample.row) == '{"age": 30, "hours": 2, "income": 1.0}'
    assert sample.occurred_at.endswith("Z")


@pytest.mark.parametrize(
    ("path", "method"), [("/no/such", "GET"), ("/v2/models/nobody/infer", "POST"), ("/v2/away", "GET")]
)
def test_what_is_not_found_points_to_it(live, path, method):
    response = live.client.request(method, path, json=None if method == "GET" else {"inputs": []})
    assert response.status_code == 404
    assert "GET /" in response.text


def test_a_strange_host_header_is_not_repeated():
    def address(host):
        return own_address(Request({"method": "GET", "path": "/", "headers": [(b"host", host)]}, "r"))

    assert address(b"my.org:8080") == "http://my.org:8080"
    assert address(b"[::1]:80") == "http://[::1]:80"
    assert address(b"x'; rm -r ~ #") == "http://localhost"
    assert address(b"") == "http://localhost"
