"""MLflow's scoring protocol, and what we do better: no rows in errors, 400 where it gives 500."""

from __future__ import annotations

import pytest

from interlock.core.bundles import Column
from interlock.serve.literals import without_nan

ROW = {"city": "Oslo", "age": 21, "spend": 150.5}
SPLIT = {"columns": ["spend", "city", "age"], "data": [[150.5, "Oslo", 21]]}
CSV = b"city,age,spend\nOslo,21,150.5\n"


def predictions(response):
    assert response.status_code == 200, response.text
    return response.json()["predictions"]


@pytest.fixture(scope="module")
def expected(live):
    return predictions(live.invoke(ROW))[0]["probability"]


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": SPLIT},
        {"dataframe_split": {**SPLIT, "index": [7]}},
        {"dataframe_records": [ROW]},
        {"instances": [ROW]},
        {"inputs": {name: [value] for name, value in ROW.items()}},
        {"inputs": ROW},
        {"inputs": [ROW]},
    ],
)
def test_the_json_forms_give_one_answer(live, expected, body):
    (found,) = predictions(live.client.post("/invocations", json=body))
    assert set(found) == {"buys", "probability", "prediction_id"}
    assert found["probability"] == expected
    assert found["buys"] == int(expected > 0.5)


def test_csv_is_read_by_the_types_of_the_model(live, expected):
    response = live.client.post("/invocations", content=CSV, headers={"content-type": "text/csv; charset=utf-8"})
    (found,) = predictions(response)
    assert found["probability"] == expected
    assert live.shop.store.predictions.get(found["prediction_id"]).inputs == ROW


def test_what_was_never_missing_in_training_is_refused_in_every_form(shop, serve, tools):
    inputs = (Column("city", "string", False), Column("age", "integer", False), Column("spend", "float", False))
    shop.deploy(tools.route(shop.bundle("customers", inputs=inputs)))
    server = serve()
    predictions(server.invoke(ROW))
    for column in ROW:
        cells = {name: "" if name == column else value for name, value in ROW.items()}
        csv = "city,age,spend\n" + ",".join(map(str, cells.values()))
        response = server.client.post("/invocations", content=csv, headers={"content-type": "text/csv"})
        for refused in (response, server.invoke({**ROW, column: None})):
            assert (refused.status_code, f"Column '{column}', row 0" in refused.text) == (400, True)
    nan = server.client.post(
        "/invocations", content="city,age,spend\nOslo,21,nan", headers={"content-type": "text/csv"}
    )
    assert (nan.status_code, "'spend', row 0: the value is missing" in nan.text) == (400, True)
    absent = server.infer(city=["Oslo"] * 2, age=[21, 22], spend=[1.5, None])
    assert (absent.status_code, "'spend'" in absent.text) == (400, True)


@pytest.mark.parametrize(
    "kind", [None, "application/json", "application/json; charset=UTF-8", 'APPLICATION/JSON; charset="utf-8"']
)
def test_json_is_read_under_every_name_it_has(live, kind):
    headers = {"content-type": kind} if kind else {}
    assert live.client.post("/invocations", content=b'{"inputs": {}}', headers=headers).status_code == 400
    request = live.client.build_request("POST", "/invocations", content=b'{"instances":[' + _json(ROW) + b"]}")
    request.headers.pop("content-type", None)
    request.headers.update(headers)
    predictions(live.client.send(request))


@pytest.mark.parametrize(
    "kind", ["application/xml", "text/csv; charset=latin-1", "application/json; format=pandas-split", ";", "text/plain"]
)
def test_other_content_types_are_415(live, kind):
    response = live.client.post("/invocations", content=CSV, headers={"content-type": kind})
    expected = 400 if kind == ";" else 415  # no type at all is JSON, which this is not
    assert response.status_code == expected
    assert set(response.json()) == {"error_code", "message"}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "0 data keys"),
        ({"params": {}}, "0 data keys"),
        ({"instances": [ROW], "inputs": {}}, "2 data keys"),
        ([ROW], "Expected `object`"),
        ({"dataframe_split": {**SPLIT, "extra": 1}}, "unknown field"),
        ({"dataframe_split": {"columns": ["a", "a"], "data": []}}, "twice"),
        ({"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], [1]]}}, "Row 1"),
        ({"dataframe_split": {"columns": ["city", "age", "spend"], "data": []}}, "no rows"),
        ({"dataframe_records": []}, "no rows"),
        ({"dataframe_records": [{}]}, "missing"),
        ({"dataframe_records": ["x"]}, "Expected `object`"),
        ({"instances": [[1, 2, 3]]}, "'instances' has rows that do not name their columns"),
        ({"instances": [1, 2, 3]}, "'instances' has rows that do not name their columns"),
        ({"instances": [ROW, [1, 2, 3]]}, "'instances' has rows that do not name their columns"),
        ({"inputs": [["Oslo", 21, 150.5]]}, "'inputs' has rows that do not name their columns"),
        ({"inputs": []}, "no rows"),
        ({"inputs": {}}, "missing"),
        ({"inputs": {"city": "Oslo", "age": [1], "spend": 1}}, "Some columns of 'inputs' are lists"),
        ({"inputs": {"city": ["Oslo"], "age": [1, 2], "spend": [1]}}, "different numbers of rows"),
        ({"messages": []}, "unknown field"),
        ({"instances": [ROW], "params": {"subjects": ["a", "b"]}}, "2 subjects for 1 rows"),
        ({"instances": [ROW], "params": {"subjects": [7]}}, "subjects"),
        ({"instances": [ROW], "params": {"subject": ["a"]}}, "Did you mean 'subjects'?"),
        ({"instances": [ROW], "params": {"Subject-ID": ["a"]}}, "Did you mean 'subjects'?"),
        ({"instances": [ROW], "params": {"timestamp": "2026-01-01"}}, "Did you mean 'occurred_at'?"),
        ({"instances": [ROW], "params": {"occured_at": "2026-01-01"}}, "Did you mean 'occurred_at'?"),
        ({"instances": [ROW], "params": {"requestId": "r"}}, "Did you mean 'request_id'?"),
        ({"instances": [ROW], "params": {"colour": 1}}, "Known: subjects, occurred_at, request_id."),
        ({"instances": [ROW], "subjects": ["a"]}, "GET / shows"),
        ({"instances": [{}]}, "3 columns are missing: 'city', 'age', 'spend'"),
        ({"instances": [ROW], "params": {"subjects": ["x" * 501]}}, "subject of row 0"),
        ({"instances": [ROW], "params": {"occurred_at": "yesterday"}}, "ISO 8601"),
        ({"instances": [ROW], "params": {"occurred_at": "0001-01-01T00:00:00+14:00"}}, "ISO 8601"),
        ({"instances": [ROW], "params": {"occurred_at": ["2026-01-01"] * 2}}, "2 instants"),
        ({"instances": [ROW], "params": {"request_id": "r" * 201}}, "200"),
        ({"instances": [{**ROW, "age": "21"}]}, "'age', row 0"),
        ({"instances": [ROW, {**ROW, "age": None}]}, "'age', row 1"),
        ({"instances": [ROW, {"city": "Oslo", "spend": 1}]}, "'age', row 1"),
        ({"instances": [{**ROW, "age": 2.5}]}, "'age', row 0"),
        ({"instances": [{**ROW, "spend": None}]}, "missing"),
        ({"instances": [{**ROW, "spend": [1]}]}, "'spend', row 0"),
    ],
)
def test_every_bad_input_is_400_with_a_code_and_a_sentence(live, body, says):
    response = live.client.post("/invocations", json=body)
    assert response.status_code == 400, response.text
    assert set(response.json()) == {"error_code", "message"}
    assert says in response.json()["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n",
        b"city,age\nOslo,21,3\n",
        b"city,city\na,b\n",
        b"city,age,spend\nOslo,21.5,1\n",
        b"city,age,spend\nOslo,x,1\n",
        b'city,age,spend\n"Oslo,21,1\n',
        b"\xff\xfe",
        b"city,age,spend\n",
    ],
)
def test_bad_csv_is_400(live, body):
    response = live.client.post("/invocations", content=body, headers={"content-type": "text/csv"})
    assert response.status_code == 400, response.text


def test_errors_repeat_neither_rows_nor_stack_traces(live):
    for row in ({**ROW, "age": "Secret-1"}, {"city": "Secret-1"}, {**ROW, "age": ["Secret-1"]}):
        text = live.invoke(row).text
        assert "Secret" not in text
        assert "Traceback" not in text


def test_a_wrong_value_is_an_invalid_parameter_and_a_wrong_shape_a_bad_request(live):
    assert live.invoke({**ROW, "age": "x"}).json()["error_code"] == "INVALID_PARAMETER_VALUE"
    assert live.client.post("/invocations", content=b"{").json()["error_code"] == "BAD_REQUEST"


def test_columns_that_no_model_knows_are_dropped_and_counted(live):
    def dropped():
        lines = live.client.get("/metrics").text.splitlines()
        found = [line for line in lines if line.startswith("interlock_dropped_columns_total")]
        return float(found[0].split()[1]) if found else 0.0  # before the first one there is no line

    before = dropped()
    (found,) = predictions(live.invoke({**ROW, "shoe": 43, "hat": None}))
    assert dropped() == before + 2
    assert live.shop.store.predictions.get(found["prediction_id"]).inputs == ROW


def test_subjects_instants_and_the_request_id_are_kept(live):
    response = live.invoke(ROW, ROW, subjects=["ann", None], occurred_at="2026-01-01T00:00:00Z", request_id="r-9")
    rows = [live.shop.store.predictions.get(p["prediction_id"]) for p in predictions(response)]
    assert [(row.subject, row.occurred_at, row.request_id, row.row) for row in rows] == [
        ("ann", 1767225600000000, "r-9", 0),
        ("", 1767225600000000, "r-9", 1),
    ]


def test_one_subject_may_stand_for_all_rows_and_a_request_id_come_as_a_header(live):
    body = {"instances": [ROW, ROW], "params": {"subjects": "ann"}}
    response = live.client.post("/invocations", json=body, headers={"X-Request-Id": "from-proxy"})
    rows = [live.shop.store.predictions.get(p["prediction_id"]) for p in predictions(response)]
    assert {(row.subject, row.request_id) for row in rows} == {("ann", "from-proxy")}
    assert response.headers["interlock-request-id"] == "from-proxy"


def test_the_answer_names_model_and_revision(live):
    response = live.invoke(ROW)
    assert response.headers["interlock-model"] == "model:buyer@3"
    assert response.headers["interlock-revision"] == "1"


def test_a_large_request_is_answered_in_order(live, expected):
    rows = [ROW if i % 2 else {**ROW, "city": "Lima"} for i in range(3000)]
    found = predictions(live.invoke(*rows))
    assert [p["probability"] for p in found[1::2]] == [expected] * 1500
    assert len({p["prediction_id"] for p in found}) == 3000
    assert [p["prediction_id"] for p in found] == sorted(p["prediction_id"] for p in found)


def test_too_many_rows_are_400(live):
    body = {"inputs": {"city": ["a"] * 100_001, "age": [1] * 100_001, "spend": [1] * 100_001}}
    response = live.client.post("/invocations", json=body)
    assert (response.status_code, "100000" in response.json()["message"]) == (400, True)


@pytest.mark.parametrize("path", ["/ping", "/health"])
def test_ping_answers_as_sagemaker_wants(live, path):
    response = live.client.get(path)
    assert (response.status_code, response.content) == (200, b"\n")


def test_version_is_bare_text(live):
    assert live.client.get("/version").text.count(".") >= 1


def test_another_method_is_405_in_the_protocols_words(live):
    response = live.client.get("/invocations")
    assert (response.status_code, set(response.json())) == (405, {"error_code", "message"})


def _json(row):
    import msgspec

    return msgspec.json.encode(row)


@pytest.mark.parametrize("path", ["/invocations", "/v2/models/shop/infer", "/explain"])
@pytest.mark.parametrize("body", [b'{"age":21,', b'{"dataframe_records": [{"age": 21', b"{"])
def test_half_a_document_is_called_that(live, path, body):
    response = live.client.post(path, content=body, headers={"content-type": "application/json"})
    assert (response.status_code, "no complete JSON" in response.text) == (400, True), response.text


def test_rows_may_be_lists_where_all_columns_are_numbers(shop, serve, tools):
    shop.deploy(tools.route(shop.bundle("people")))
    server = serve()
    rows = [[40, 38.0, 30.0], [20.0, 30.5, 12]]
    named = [dict(zip(("age", "hours", "income"), row, strict=True)) for row in rows]
    wanted = [row["probability"] for row in predictions(server.invoke(*named))]
    for key in ("inputs", "instances"):
        found = predictions(server.client.post("/invocations", json={key: rows, "params": {"subjects": ["a", "b"]}}))
        assert [row["probability"] for row in found] == wanted
        for wrong, says in (
            ([[40, 38.0]], f"Row 0 of '{key}' has 2 values for 3 columns. A list has them in this order: age, hours"),
            ([[40, 38.0, 30.0], [40, "x", 30.0]], "'hours', row 1"),
            ([rows[0], named[1]], "do not name their columns"),
        ):
            refused = server.client.post("/invocations", json={key: wrong})
            assert (refused.status_code, says in refused.text) == (400, True), refused.text


def test_nan_is_a_missing_value_and_infinity_is_none(shop, serve, tools):
    inputs = (Column("city", "string", True), Column("age", "integer", False), Column("spend", "float", True))
    shop.deploy(tools.route(shop.bundle("customers", inputs=inputs)))
    server = serve()

    def post(body, path="/invocations"):
        return server.client.post(path, content=body, headers={"content-type": "application/json"})

    missing = server.invoke({**ROW, "spend": None})  # read as null: this model needs a value there, others do not
    assert (missing.status_code, "'spend', row 0: the value is missing" in missing.text) == (400, True)
    for body in (
        b'{"dataframe_records": [{"city": "Oslo", "age": 21, "spend": NaN}]}',
        b'{"inputs": {"spend": [NaN], "city": ["Oslo"], "age": [21]}}',
        b'{"dataframe_split": {"columns": ["city", "age", "spend"], "data": [["Oslo", 21, NaN]]}}',
    ):
        assert post(body).text == missing.text
    body = b'{"instances": [{"city": "NaN \\"NaN", "age": 21, "spend": 2.5, "more": NaN}]}'
    (found,) = predictions(post(body))
    assert shop.store.predictions.get(found["prediction_id"]).inputs == {"city": 'NaN "NaN', "age": 21, "spend": 2.5}
    for word, says in (
        (b"Infinity", "infinite number, at byte 59"),
        (b"-Infinity", "infinite number"),
        (b"NaNN", "malformed"),
    ):
        for path in ("/invocations", "/explain"):
            refused = post(b'{"dataframe_records": [{"city": "Oslo", "age": 21, "spend":' + word + b"}]}", path)
            assert (refused.status_code, says in refused.text) == (400, True), refused.text


@pytest.mark.parametrize("body", [b'"' + b'\\"' * 200_000 + b"NaN", b'"\\', b'"NaN', b"NaN\\", b'{"NaN": "\\\\"}'])
def test_words_within_texts_stay_and_no_body_takes_long(body):
    made = without_nan(body)
    assert made == (b"null\\" if body.startswith(b"N") else body)


def test_the_query_names_a_model_and_says_nothing_else(shop, serve, tools):
    shop.deploy(
        tools.route(shop.bundle("people"), "model:one@1", 0.999999),
        tools.route(shop.bundle("reversed"), "model:two@1", 0.000001, "challenger"),
    )
    server = serve()
    body = {"dataframe_records": [{"age": 40, "hours": 38.0, "income": 30.0}]}
    found = {
        query: predictions(server.client.post(f"/invocations{query}", json=body))[0]["probability"]
        for query in ("", "?", "?model=one", "?model=two", "?model=shop")
    }
    assert found["?model=one"] != found["?model=two"]
    assert {found[query] for query in ("", "?", "?model=shop")} <= {found["?model=one"], found["?model=two"]}
    assert "two" in server.client.post("/invocations?model=two", json=body).headers["interlock-model"]
    for query, status, says in (
        ("?model=three", 404, "three"),
        ("?models=one", 400, "more than 'model'"),
        ("?model=one&model=two", 400, "more than 'model'"),
        ("?model=one&deployment=shop", 400, "more than 'model'"),
        ("?%ff", 400, "cannot be read"),
    ):
        refused = server.client.post(f"/invocations{query}", json=body)
        assert (refused.status_code, says in refused.text) == (status, True), refused.text
