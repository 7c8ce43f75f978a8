"""`GET /openapi.json`: what is described is what is there, and nothing of anybody's rows stands in it."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from interlock.core.bundles import Range, Serving
from interlock.core.clock import SystemClock
from interlock.serve import labels, openapi
from interlock.serve.app import Application, Limits
from interlock.serve.deadlines import MOST_MS
from interlock.serve.engine import Engine
from interlock.serve.hands import Hands
from interlock.serve.http import Endpoint
from interlock.serve.metadata import LONGEST_SUBJECT
from interlock.serve.openapi_model import typical
from interlock.serve.openapi_scene import Scene
from interlock.serve.revision import load_revision
from interlock.serve.server import protocols
from interlock.serve.vertex import Vertex

PATHS = {"AIP_HEALTH_ROUTE": "/vertex/health", "AIP_PREDICT_ROUTE": "/vertex/predict"}


@pytest.fixture(scope="module")
def document(live):
    response = live.client.get("/openapi.json")
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    return response.json()


def resolved(document, schema):
    """Return what a reference leads to, or a schema itself."""
    while "$ref" in schema:
        found = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    return schema


def references(value):
    if isinstance(value, dict):
        yield from (text for key, text in value.items() if key == "$ref")
        value = list(value.values())
    for one in value if isinstance(value, list) else ():
        yield from references(one)


def operations(document):
    return [(path, verb, said) for path, item in document["paths"].items() for verb, said in item.items()]


def at(shop, *more, protocol=None):
    """Return documents of an application over a deployment, one before each of some changes and one after all."""

    async def scene():
        with ThreadPoolExecutor(1) as pool:
            engine = Engine("shop", None, SystemClock(), Hands(pool))
            source = shop.source()
            spoken = protocols() if protocol is None else [protocol]
            app = Application(engine, spoken, [Endpoint("GET", "/plain", None)], Limits())
            found = []
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost") as client:
                for change in (None, *more):
                    if change is not None:
                        change()
                        engine.adopt(load_revision(source, source.wanted(), {}))
                    found.append((await client.get("/openapi.json")).json())
            return found

    return asyncio.run(scene())


def test_every_route_is_described(document):
    undescribed = [(path, verb) for path, verb, said in operations(document) if not said["summary"]]
    assert undescribed == []
    paths = {"/invocations", "/ping", "/v2/models/{name}/infer", "/models/{name}/invoke", "/labels", "/explain"}
    assert paths | {"/", "/metrics", "/-/status", "/openapi.json", "/v2/repository/index"} <= document["paths"].keys()
    ids = [said["operationId"] for _, _, said in operations(document)]
    assert len(ids) == len(set(ids))


def test_vertex_routes_are_described_and_a_plugin_that_says_nothing_is_listed(shop, tools):
    *_, found = at(shop, lambda: shop.deploy(tools.route(shop.bundle())), protocol=Vertex(PATHS))
    assert all(found["paths"][path] for path in PATHS.values())
    body = found["paths"]["/vertex/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert {"instances", "parameters"} == body["properties"].keys()
    refused = resolved(found, found["paths"]["/vertex/predict"]["post"]["responses"]["400"])
    assert refused["content"]["application/json"]["schema"]["properties"]["error"]["required"] == ["code", "message"]
    plain = found["paths"]["/plain"]["get"]
    assert (plain["summary"], plain["responses"]["200"]["content"]) == ("", {})


def test_every_reference_leads_somewhere(document):
    found = set(references(document))
    assert len(found) > 20
    for text in found:
        assert resolved(document, {"$ref": text})


def test_rows_have_the_models_columns(document):
    row = document["components"]["schemas"]["Row_buyer"]
    assert row["required"] == ["city", "age", "spend"]
    assert [row["properties"][name]["type"] for name in row["required"]] == ["string", "integer", ["number", "null"]]
    answer = document["components"]["schemas"]["Prediction_buyer"]
    assert answer["properties"]["buys"] == {"enum": [0, 1]}
    assert (answer["properties"]["probability"]["minimum"], answer["required"][-1]) == (0, "prediction_id")
    (name,) = (p for p in document["paths"]["/v2/models/{name}/infer"]["post"]["parameters"] if p["in"] == "path")
    assert name["schema"]["enum"] == ["buyer", "shop"]


def test_its_examples_are_answered_in_the_form_that_it_says(live, document):
    asked = 0
    for path, verb, said in operations(document):
        content = said.get("requestBody", {}).get("content", {}).get("application/json", {})
        for example in content.get("examples", {}).values():
            if path in {"/explain", "/labels"}:  # this model has no explanations; labels are answered in test_labels
                continue
            url = path.replace("{name}", "shop").replace("{version}", "3")
            response = live.client.request(verb, url, json=resolved(document, example)["value"])
            assert response.status_code == 200, (path, response.text)
            schema = resolved(document, said["responses"]["200"]["content"]["application/json"]["schema"])
            assert {*schema["required"]} <= response.json().keys() <= schema["properties"].keys()
            assert all(name in response.headers for name in said["responses"]["200"]["headers"] if "warn" not in name)
            asked += 1
    assert asked == 4


def test_nobodys_row_stands_in_it(live, document):
    text = json.dumps(document)
    rows = live.shop.kinds["customers"].rows
    assert not [row["city"] for row in rows if row["city"] in text]  # no categories were recorded, so it may be a name
    example = document["components"]["examples"]["records_buyer"]["value"]["dataframe_records"][0]
    assert example["spend"] not in [row["spend"] for row in rows]
    assert example["city"] == "text"
    ages = [row["age"] for row in rows]
    assert min(ages) < example["age"] < max(ages)


def test_a_number_tells_of_nobody():
    assert typical([31.4]) == typical([31.4, 31.5, 31.6, 31.7]) == 1.0
    assert typical([100.0, 200.0, 300.0, 400.0, 512.0]) == 300.0
    assert typical([2020.0, 2021.0, 2022.0, 2023.0, 2024.0]) == 2022.0
    assert typical([0.5] * 5) == 0.5
    assert typical([-1e308, 1e308, 0.0, 0.0, 0.0]) == 1.0


@pytest.mark.parametrize("out_of_range", ["block", "flag"])
def test_categories_are_told_and_are_all_where_others_are_refused(shop, tools, out_of_range):
    bundle = shop.bundle("customers", ranges={"city": Range(categories=("Lima", "Oslo"))})
    serving = Serving(out_of_range=out_of_range)
    *_, found = at(shop, lambda: shop.deploy(tools.route(bundle), serving=serving))
    city = found["components"]["schemas"]["Row_buyer"]["properties"]["city"]
    assert city.get("enum" if out_of_range == "block" else "examples") == ["Lima", "Oslo"]
    assert ("enum" in city) == (out_of_range == "block")
    assert found["components"]["examples"]["records_buyer"]["value"]["dataframe_records"][0]["city"] == "Lima"


@pytest.mark.parametrize(
    ("verb", "path", "route", "status", "media"),
    [
        ("POST", "/invocations", "/invocations", 400, "application/json"),
        ("POST", "/invocations", "/invocations", 415, "application/xml"),
        ("DELETE", "/invocations", "/invocations", 405, "application/json"),
        ("POST", "/v2/models/shop/infer", "/v2/models/{name}/infer", 400, "application/json"),
        ("POST", "/v2/models/nobody/infer", "/v2/models/{name}/infer", 404, "application/json"),
        ("PUT", "/v2/models/shop/infer", "/v2/models/{name}/infer", 405, "application/json"),
        ("POST", "/models/nobody/invoke", "/models/{name}/invoke", 404, "application/json"),
        ("POST", "/labels", "/labels", 400, "application/json"),
        ("POST", "/labels", "/labels", 415, "application/xml"),
        ("POST", "/explain?model=nobody", "/explain", 404, "application/json"),
        ("POST", "/-/reload", "/-/reload", 413, "application/json"),
    ],
)
def test_refusals_have_the_form_that_is_described(live, document, verb, path, route, status, media):
    body = b"x" * (5000 if status == 413 else 1)
    response = live.client.request(verb, path, content=body, headers={"content-type": media})
    assert response.status_code == status
    said = resolved(document, next(iter(document["paths"][route].values()))["responses"][str(status)])
    schema = said["content"][response.headers["content-type"]]["schema"]
    assert response.json().keys() == schema["properties"].keys()
    assert all(name in response.headers for name in said["headers"])


def test_it_follows_a_swap_and_is_made_once_a_revision(shop, tools, monkeypatch):
    made = []
    describe = openapi.describe
    monkeypatch.setattr(openapi, "describe", lambda *given: made.append(1) or describe(*given))
    first = shop.bundle("people")

    def swap(revision, bundle):
        return lambda: shop.deploy(tools.route(bundle, f"model:buyer@{revision}"), revision=revision)

    none, one, again, two = at(shop, swap(1, first), swap(1, first), swap(2, shop.bundle("customers")))
    assert none["info"]["x-interlock-models"] == []
    assert none["paths"].keys() == two["paths"].keys()
    assert one == again
    assert len(made) == 3
    rows = [found["components"]["schemas"]["Row_buyer"]["required"] for found in (one, two)]
    assert rows == [["age", "hours", "income"], ["city", "age", "spend"]]
    assert [found["info"]["x-interlock-revision"] for found in (none, one, two)] == [None, 1, 2]


def test_all_models_of_a_server_are_described(house, shop, register):
    register("people", 1, shop.bundle("people"))
    register("customers", 1, shop.bundle("customers"))

    async def scene(home):
        found = []
        for name in ("people", "customers"):
            assert (await home.post(f"/v2/repository/models/{name}/load")).status_code == 200
            found.append((await home.client.get("/openapi.json")).json())
        assert (await home.post("/v2/repository/models/people/unload")).status_code == 200
        found.append((await home.client.get("/openapi.json")).json())
        return found

    one, both, other = house(scene)
    assert [
        sorted(key for key in found["components"]["schemas"] if key.startswith("Row_")) for found in (one, both, other)
    ] == [
        ["Row_people"],
        ["Row_customers", "Row_people"],
        ["Row_customers"],
    ]
    infer = both["paths"]["/v2/models/{name}/infer"]["post"]
    schema = infer["requestBody"]["content"]["application/json"]["schema"]
    assert [one["$ref"].rpartition("/")[2] for one in schema["anyOf"]] == ["Infer_people", "Infer_customers"]
    assert {"people", "customers"} <= {*infer["parameters"][0]["schema"]["enum"]}


def test_the_front_page_names_it(live):
    assert "/openapi.json" in live.client.get("/").json()["see"]


def test_bounds_are_those_that_are_kept(document):
    headers = {one["name"]: one["schema"] for one in document["paths"]["/invocations"]["post"]["parameters"]}
    assert headers["Interlock-Timeout-Ms"]["maximum"] == MOST_MS
    assert headers["Interlock-Subject"]["maxLength"] == LONGEST_SUBJECT


def test_bounds_of_labels_are_those_of_the_room_that_reads_them(monkeypatch):
    monkeypatch.setattr(labels, "_LONGEST", {"subject": 7, "label_id": 8})
    monkeypatch.setattr(labels, "_LONGEST_KEY", 9)
    scene = Scene("shop")
    (said,) = (one.describe(scene) for one in labels.Labels(None, None).routes() if one.method == "POST")
    by_key, by_subject = scene.schemas["Label"]["anyOf"]
    assert by_key["properties"]["label_id"]["maxLength"] == 8
    assert by_subject["properties"]["subject"]["maxLength"] == 7
    assert next(one for one in said.asks if one["name"] == "Idempotency-Key")["schema"]["maxLength"] == 9
