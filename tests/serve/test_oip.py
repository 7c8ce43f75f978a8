"""The Open Inference Protocol as its specification, and the column "we should" of our notes on servers, have it."""

from __future__ import annotations

import json
import struct

import pytest

GOOD = {"city": ["Oslo", "Lima"], "age": [21, 44], "spend": [10.0, 150.5]}
INFER = "/v2/models/shop/infer"


@pytest.fixture
def body(tools):
    """A sound request, to be spoilt."""
    return tools.oip(**GOOD)


def tensor(body, name):
    return next(t for t in body["inputs"] if t["name"] == name)


def outputs(response):
    assert response.status_code == 200, response.text
    return {t["name"]: t for t in response.json()["outputs"]}


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/v2/models", {"models": ["buyer", "shop"]}),
        ("/v2/models/shop/ready", {"name": "shop", "ready": True}),
        ("/v2/models/buyer/versions/3/ready", {"name": "buyer", "ready": True}),
    ],
)
def test_health_answers_with_a_status_and_json(live, path, answer):
    response = live.client.get(path)
    assert (response.status_code, response.json()) == (200, answer)
    assert response.headers["content-type"] == "application/json"
    assert live.client.head(path).status_code == 200


def test_server_metadata_name_the_extensions(live):
    found = live.client.get("/v2").json()
    assert live.client.get("/v2/").json() == found
    assert found["name"] == "interlock"
    assert found["version"]
    assert "binary_tensor_data" in found["extensions"]


@pytest.mark.parametrize("path", ["/v2/models/shop", "/v2/models/buyer", "/v2/models/buyer/versions/3"])
def test_model_metadata_describe_inputs_and_outputs(live, path):
    found = live.client.get(path).json()
    assert found["name"] in path
    assert found["versions"] == ["3"]
    assert found["platform"] == "interlock_onnx"
    assert found["inputs"] == [
        {"name": "city", "datatype": "BYTES", "shape": [-1]},
        {"name": "age", "datatype": "INT64", "shape": [-1]},
        {"name": "spend", "datatype": "FP64", "shape": [-1]},
    ]
    assert [(o["name"], o["datatype"]) for o in found["outputs"]] == [
        ("buys", "INT64"),
        ("probability", "FP64"),
        ("prediction_id", "BYTES"),
        ("probabilities", "FP64"),
    ]
    assert found["outputs"][-1]["shape"] == [-1, 2]
    assert found["outputs"][-1]["parameters"] == {"classes": "[0,1]"}


def test_an_answer_has_label_probability_and_id(live, body):
    body["id"] = "call-7"
    response = live.client.post(INFER, json=body)
    found, said = outputs(response), response.json()
    assert (said["id"], said["model_name"], said["model_version"]) == ("call-7", "shop", "3")
    assert (found["buys"]["datatype"], found["buys"]["shape"]) == ("INT64", [2])
    assert all(0 <= p <= 1 for p in found["probability"]["data"])
    assert found["buys"]["data"] == [int(p > 0.5) for p in found["probability"]["data"]]
    assert len(set(found["prediction_id"]["data"])) == 2
    assert response.headers["interlock-model"] == "model:buyer@3"
    assert response.headers["interlock-revision"] == "1"


def test_an_id_is_made_when_none_was_given(live, body):
    assert live.client.post(INFER, json=body).json()["id"]


def test_the_golden_rows_get_the_scores_of_training(live, kinds, tools):
    kind = kinds["customers"]
    columns = {name: [row[name] for row in kind.rows] for name, _ in kind.columns}
    found = outputs(live.client.post(INFER, json=tools.oip(**columns)))
    assert found["probability"]["data"] == pytest.approx(kind.scores, abs=1e-5)


def test_shape_n_by_1_flat_or_nested_is_the_same_column(live, body):
    first = outputs(live.client.post(INFER, json=body))["probability"]["data"]
    for t in body["inputs"]:
        t["shape"] = [2, 1]
    assert outputs(live.client.post(INFER, json=body))["probability"]["data"] == first
    for t in body["inputs"]:
        t["data"] = [[value] for value in t["data"]]
    assert outputs(live.client.post(INFER, json=body))["probability"]["data"] == first


@pytest.mark.parametrize("datatype", ["FP32", "INT8", "UINT16", "INT32"])
def test_numbers_may_come_in_any_numeric_datatype_that_holds_them(live, body, datatype):
    tensor(body, "age")["datatype"] = datatype
    outputs(live.client.post(INFER, json=body))


def test_only_the_wanted_outputs_come_back(live, body):
    body["outputs"] = [{"name": "probability"}]
    assert set(outputs(live.client.post(INFER, json=body))) == {"probability"}


def _no_inputs(body):
    del body["inputs"]


def _empty(body):
    body["inputs"] = []


def _set(name, /, **fields):
    def spoil(body):
        tensor(body, name).update(fields)

    return spoil


def _add(**fields):
    def spoil(body):
        body["inputs"].append({"name": "city", "shape": [2], "datatype": "BYTES", "data": ["a", "b"], **fields})

    return spoil


def _drop(name):
    def spoil(body):
        body["inputs"].remove(tensor(body, name))

    return spoil


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_no_inputs, "inputs"),
        (_empty, "no inputs"),
        (_set("age", datatype="INT128"), "datatype"),
        (_set("age", datatype=7), "datatype"),
        (_set("age", data=[1, 2, 3]), "3 elements"),
        (_set("age", shape=[3]), "2 elements"),
        (_set("age", data=[1]), "1 element, its"),
        (_set("age", shape=[1, 2]), "shape"),
        (_set("age", shape=[2, 2], data=[[1, 2], [3, 4]]), "shape"),
        (_set("age", shape=[-2]), "shape"),
        (_set("age", shape=[]), "shape"),
        (_set("age", shape=[2, 1], data=[[1], [2, 3]]), "nesting"),
        (_set("age", data="ab"), "data"),
        (_set("spend", data=["x", 1.0]), "element 0 is no FP64"),
        (_set("spend", data=[None, 1.0]), "element 0 is no FP64"),
        (_set("spend", data=[True, 1.0]), "element 0 is no FP64"),
        (_set("spend", datatype="FP16"), "FP16"),
        (_set("spend", datatype="BYTES", data=["1.5", "2"]), "'spend', row 0"),
        (_set("age", datatype="INT8", data=[1, 200]), "element 1 does not fit into INT8"),
        (_set("age", datatype="UINT8", data=[-1, 2]), "element 0 does not fit into UINT8"),
        (_set("age", datatype="FP64", data=[21.5, 2]), "'age', row 0"),
        (_set("age", datatype="BYTES", data=["21", "22"]), "'age', row 0"),
        (_set("age", data=[[[1]], [[2]]], shape=[2, 1]), "element 0"),
        (_set("city", name="town"), "'town'"),
        (_drop("city"), "'city' is missing"),
        (_add(name="hat"), "'hat'"),
        (_add(), "twice"),
        (_add(name="subject", shape=[1], data=["a"]), "1 rows"),
        (_add(name="subject", datatype="INT64", data=[1, 2]), "subject"),
        (_add(name="occurred_at", data=["2026-01-01", "soon"]), "row 1 is not ISO 8601"),
        (_add(name="x", parameters={"binary_data_size": 4}), "binary_data_size"),
        (lambda body: body.update(outputs=[{"name": "logits"}]), "'logits'"),
        (_add(name="subjects", data=["a", "b"]), "input tensor 'subject'"),
        (_add(name="timestamp", data=["a", "b"]), "input tensor 'occurred_at'"),
        (lambda body: body.update(parameters={"subject": "ann"}), "input tensor 'subject'"),
        (lambda body: body.update(parameters={"occured_at": "2026-01-01"}), "input tensor 'occurred_at'"),
        (lambda body: body.update(parameters={"request_id": "r"}), "X-Request-Id"),
        (lambda body: body.update(subject="ann"), "input tensor 'subject'"),
        (lambda body: body.update(params={"subjects": "ann"}), "Interlock-Subject"),
        (lambda body: body.update(id=7), "id"),
        (lambda body: body.update(id="x" * 201), "200"),
        (lambda body: body.update(parameters={"a": {}}), "parameters"),
    ],
)
def test_every_bad_input_is_400_with_an_error_sentence(live, body, spoil, says):
    spoil(body)
    response = live.client.post(INFER, json=body)
    assert response.status_code == 400, response.text
    assert set(response.json()) == {"error"}
    assert says in response.json()["error"]


def test_parameters_of_the_protocol_and_of_others_are_let_be(live, body):
    body["parameters"] = {"sequence_id": 7, "timeout": 9, "versions": "x", "object": "y", "my_flag": True}
    outputs(live.client.post(INFER, json=body))


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"inputs": 1}', b"[" * 5000])
def test_malformed_json_is_400(live, raw):
    response = live.client.post(INFER, content=raw)
    assert response.status_code == 400
    assert response.json()["error"]


@pytest.mark.parametrize(
    "path",
    ["/v2/models/nobody/infer", "/v2/models/buyer/versions/4/infer", "/v2/models/nobody/versions/3/infer"],
)
def test_an_unknown_model_is_404(live, body, path):
    response = live.client.post(path, json=body)
    assert (response.status_code, set(response.json())) == (404, {"error"})
    assert live.client.get(path.removesuffix("/infer")).status_code == 404
    assert live.client.get(path.removesuffix("infer") + "ready").status_code == 404


def test_an_unknown_path_is_404_and_a_wrong_method_405_in_the_protocols_words(live):
    away, wrong = live.client.get("/v2/nothing/here"), live.client.get(INFER)
    assert (away.status_code, set(away.json())) == (404, {"error"})
    assert (wrong.status_code, set(wrong.json()), wrong.headers["allow"]) == (405, {"error"}, "POST")


def test_subjects_and_instants_are_kept_with_the_prediction(live, tools):
    response = live.client.post(
        INFER, json=tools.oip(**GOOD, subject=["ann", "bob"], occurred_at=["2026-01-01", "2026-01-01T01:00:00+01:00"])
    )
    rows = [live.shop.store.predictions.get(i) for i in outputs(response)["prediction_id"]["data"]]
    assert [row.subject for row in rows] == ["ann", "bob"]
    assert [row.occurred_at for row in rows] == [1767225600000000] * 2
    assert [row.inputs["city"] for row in rows] == ["Oslo", "Lima"]
    assert [row.row for row in rows] == [0, 1]
    assert {row.request_id for row in rows} == {response.json()["id"]}


def test_headers_speak_for_all_rows(live, body):
    said = {"Interlock-Subject": "zoë".encode(), "Interlock-Occurred-At": "2026-01-01T00:00:00Z"}
    response = live.client.post(INFER, json=body, headers=said)
    rows = [live.shop.store.predictions.get(i) for i in outputs(response)["prediction_id"]["data"]]
    assert {(row.subject, row.occurred_at) for row in rows} == {("zoë", 1767225600000000)}
    assert live.client.post(INFER, json=body, headers={"Interlock-Occurred-At": "x"}).status_code == 400
    assert live.client.post(INFER, json=body, headers={"Interlock-Subject": b"\xff"}).status_code == 400


def binary_request(**changes):
    texts = b"".join(struct.pack("<I", len(t)) + t for t in (b"Oslo", b"Lima"))
    parts = {
        "city": ("BYTES", texts),
        "age": ("INT64", struct.pack("<2q", 21, 44)),
        "spend": ("FP64", struct.pack("<2d", 10.0, 150.5)),
        **changes,
    }
    inputs = [
        {"name": name, "shape": [2], "datatype": kind, "parameters": {"binary_data_size": len(raw)}}
        for name, (kind, raw) in parts.items()
    ]
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    return head + b"".join(raw for _, raw in parts.values()), {"Inference-Header-Content-Length": str(len(head))}


def test_binary_tensors_go_both_ways(live, body):
    wanted = outputs(live.client.post(INFER, json=body))
    content, headers = binary_request()
    response = live.client.post(INFER, content=content, headers=headers)
    length = int(response.headers["inference-header-content-length"])
    head, raw = json.loads(response.content[:length]), response.content[length:]
    found = {}
    for t in head["outputs"]:
        size = t["parameters"]["binary_data_size"]
        found[t["name"]], raw = raw[:size], raw[size:]
        assert "data" not in t
    assert raw == b""
    assert list(struct.unpack("<2q", found["buys"])) == wanted["buys"]["data"]
    assert list(struct.unpack("<2d", found["probability"])) == wanted["probability"]["data"]
    assert len(found["prediction_id"]) == 2 * (4 + 26)


def test_one_output_may_be_binary_and_the_others_not(live, body):
    body["outputs"] = [{"name": "probability", "parameters": {"binary_data": True}}, {"name": "buys"}]
    response = live.client.post(INFER, json=body)
    length = int(response.headers["inference-header-content-length"])
    by_name = {t["name"]: t for t in json.loads(response.content[:length])["outputs"]}
    assert "data" not in by_name["probability"]
    assert len(by_name["buys"]["data"]) == 2
    assert len(response.content) == length + 16


def test_small_floats_and_half_floats_come_binary(live):
    for kind, code in (("FP16", "<2e"), ("FP32", "<2f")):
        content, headers = binary_request(spend=(kind, struct.pack(code, 10.0, 150.5)))
        assert live.client.post(INFER, content=content, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"age": ("INT64", b"1234567")},
        {"age": ("INT64", b"1" * 24)},
        {"city": ("BYTES", b"\x04\x00\x00\x00Oslo")},
        {"city": ("BYTES", b"\xff\xff\xff\xffOslo")},
        {"city": ("BYTES", b"\x01\x00\x00\x00\xff\x00\x00\x00\x00")},
        {"city": ("BYTES", b"\x00\x00")},
        {"spend": ("FP64", struct.pack("<2d", float("inf"), 1.0))},
    ],
)
def test_binary_data_that_do_not_fit_are_400(live, changes):
    content, headers = binary_request(**changes)
    response = live.client.post(INFER, content=content, headers=headers)
    assert (response.status_code, set(response.json())) == (400, {"error"})


@pytest.mark.parametrize("length", ["x", "-1", "1000000", ""])
def test_a_wrong_header_length_is_400(live, length):
    content, _ = binary_request()
    headers = {"Inference-Header-Content-Length": length}
    assert live.client.post(INFER, content=content, headers=headers).status_code == 400


def test_binary_data_of_no_input_are_400(live):
    content, headers = binary_request()
    assert live.client.post(INFER, content=content + b"rest", headers=headers).status_code == 400


def test_a_missing_float_is_400_when_the_model_cannot_do_without(live):
    content, headers = binary_request(spend=("FP64", struct.pack("<2d", float("nan"), 1.0)))
    response = live.client.post(INFER, content=content, headers=headers)
    assert (response.status_code, "missing" in response.json()["error"]) == (400, True)


def test_the_repository_is_listed_and_changed_by_deployments_only(live):
    listed = live.client.post("/v2/repository/index", json={}).json()
    assert listed == [{"name": "buyer", "version": "3", "state": "READY", "reason": ""}]
    for change in ("load", "unload"):
        response = live.client.post(f"/v2/repository/models/buyer/{change}")
        assert (response.status_code, set(response.json())) == (400, {"error"})


def test_statistics_count_rows_and_requests(live, body):
    def stats(path="/v2/models/buyer/stats"):
        return live.client.get(path).json()["model_stats"][0]

    before = stats()
    outputs(live.client.post(INFER, json=body))
    after = stats()
    assert after["inference_count"] - before["inference_count"] == 2
    assert after["execution_count"] - before["execution_count"] == 1
    assert after["inference_stats"]["success"]["ns"] > before["inference_stats"]["success"]["ns"]
    assert stats("/v2/models/stats") == after


def _table(data, *, name="dense", shape=None, datatype="FP32"):
    return {"inputs": [{"name": name, "shape": shape or [len(data), 3], "datatype": datatype, "data": data}]}


def test_a_table_of_all_columns_is_one_tensor(shop, serve, tools):
    shop.deploy(tools.route(shop.bundle("people")))
    server = serve()
    rows = [[40, 38.0, 30.0], [20, 30.5, 12.25]]
    names = ["age", "hours", "income"]
    expected = server.invoke(*[dict(zip(names, row, strict=True)) for row in rows]).json()["predictions"]
    wanted = [row["probability"] for row in expected]

    def scores(body, **more):
        found = server.client.post("/v2/models/shop/infer", **({"json": body} if body else {}), **more)
        assert found.status_code == 200, found.text
        return next(t["data"] for t in found.json()["outputs"] if t["name"] == "probability")

    for datatype in ("FP32", "FP64"):
        assert scores(_table(rows, datatype=datatype)) == wanted
        assert scores(_table([*rows[0], *rows[1]], shape=[2, 3], datatype=datatype)) == wanted
    raw = struct.pack("<6d", *rows[0], *rows[1])
    body = _table(rows, datatype="FP64")
    del body["inputs"][0]["data"]
    body["inputs"][0]["parameters"] = {"binary_data_size": len(raw)}
    head = json.dumps(body).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    assert scores(None, content=head + raw, headers=headers) == wanted
    about = _table(rows)
    about["inputs"].append({"name": "subject", "shape": [2], "datatype": "BYTES", "data": ["a", "b"]})
    assert scores(about) == wanted
    beside = _table(rows)
    beside["inputs"].append({"name": "age", "shape": [2], "datatype": "INT64", "data": [40, 20]})
    for wrong, says in (
        (_table([[40, 38.0]], shape=[1, 2]), "2 columns, the model takes 3"),
        (_table(rows, name="age"), "shape"),
        (_table(rows, name="subject"), "shape"),
        (_table([[40.5, 38.0, 30.0]]), "'age', row 0"),
        ({"inputs": beside["inputs"][::-1]}, "beside it"),
        (beside, "is there twice"),
    ):
        refused = server.client.post("/v2/models/shop/infer", json=wrong)
        assert (refused.status_code, says in refused.text) == (400, True), refused.text


def test_no_table_where_a_column_is_text(live):
    refused = live.client.post("/v2/models/shop/infer", json=_table([[1, 2, 3]]))
    assert (refused.status_code, "Each column is one input" in refused.text) == (400, True)
