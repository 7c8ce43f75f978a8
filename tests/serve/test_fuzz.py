"""Whatever is sent, a server answers: below 500, in JSON, and goes on."""

from __future__ import annotations

import contextlib
import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.core.bundles import Column
from interlock.core.errors import Invalid
from interlock.serve.vertex import _read

FUZZ = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
ROW = {"city": "Oslo", "age": 21, "spend": 150.5}

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=6)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(["city", "age", "spend", "subject", "occurred_at", "x", ""])
records = st.lists(st.dictionaries(names, values, max_size=5), max_size=3)
split = st.fixed_dictionaries(
    {"columns": st.lists(names, max_size=4), "data": st.lists(st.lists(values, max_size=4), max_size=3)}
)
params = st.fixed_dictionaries({}, optional=dict.fromkeys(("subjects", "occurred_at", "request_id", "x"), values))
bodies = st.fixed_dictionaries(
    {},
    optional={
        "dataframe_records": records,
        "instances": records | values,
        "inputs": st.dictionaries(names, st.lists(values, max_size=3) | values, max_size=4),
        "dataframe_split": split,
        "params": params,
    },
)
tensors = st.fixed_dictionaries(
    {
        "name": names,
        "shape": st.lists(st.integers(-2, 3), max_size=3) | values,
        "datatype": st.sampled_from(["INT64", "FP64", "BYTES", "BOOL", "FP16", "UINT8", "X"]),
    },
    optional={"data": st.lists(values, max_size=4) | values, "parameters": values | st.just({"binary_data_size": 3})},
)
requests = st.fixed_dictionaries(
    {"inputs": st.lists(tensors, max_size=4) | values},
    optional={
        "id": values,
        "parameters": values,
        "outputs": st.lists(st.fixed_dictionaries({"name": st.text(max_size=4)}), max_size=2),
    },
)


def check(response):
    assert response.status_code < 500, response.text
    if response.status_code != 200:
        assert json.loads(response.content)


def send(live, path, content, **headers):
    return live.client.post(path, content=content, headers=headers)


@FUZZ
@given(bodies)
def test_invocations_with_strange_json(live, body):
    check(send(live, "/invocations", json.dumps(body).encode()))


@FUZZ
@given(requests)
def test_infer_with_strange_json(live, body):
    check(send(live, "/v2/models/shop/infer", json.dumps(body).encode()))


@FUZZ
@given(
    st.binary(max_size=200),
    st.sampled_from(["application/json", "text/csv", "x/y", ";;"]),
    st.sampled_from(["", "gzip", "deflate"]),
)
def test_invocations_with_strange_bytes(live, content, kind, encoding):
    headers = {"content-type": kind, **({"content-encoding": encoding} if encoding else {})}
    check(live.client.post("/invocations", content=content, headers=headers))


@FUZZ
@given(st.data())
def test_sound_requests_with_damage(live, tools, data):
    sound = bytearray(json.dumps(tools.oip(**{name: [value] for name, value in ROW.items()})).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(sound) - 1))
        sound[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    length = data.draw(st.none() | st.integers(0, len(sound)))
    headers = {} if length is None else {"Inference-Header-Content-Length": str(length)}
    check(live.client.post("/v2/models/shop/infer", content=bytes(sound), headers=headers))


@FUZZ
@given(st.text(alphabet='ab,"\n\r0123456789.-eOsl;\t ', max_size=60))
def test_strange_csv(live, text):
    check(
        live.client.post(
            "/invocations", content=f"city,age,spend\n{text}".encode(), headers={"content-type": "text/csv"}
        )
    )


@FUZZ
@given(
    st.lists(
        st.sampled_from(["v2", "models", "shop", "infer", "..", "", "versions", "3", "%00", "%2F", "é"]), max_size=6
    )
)
def test_strange_paths(live, parts):
    url = live.said["url"] + "/" + "/".join(parts)
    check(live.client.get(url))
    check(live.client.post(url, content=b"{}"))


def test_afterwards_it_still_answers(live):
    assert live.invoke(ROW).status_code == 200
    assert live.client.get("/v2/health/ready").status_code == 200


@FUZZ
@given(st.fixed_dictionaries({}, optional={"model_name": values, "url": values, "x": values}) | values)
def test_models_with_strange_json(live, body):
    check(send(live, "/models", json.dumps(body).encode()))
    check(send(live, "/models/buyer/invoke", json.dumps(body).encode()))
    check(send(live, "/v2/repository/models/buyer/load", json.dumps(body).encode()))
    check(send(live, "/v2/repository/index", json.dumps(body).encode()))


@FUZZ
@given(st.lists(st.dictionaries(names, values, max_size=4) | st.lists(values, max_size=4) | values, max_size=3), params)
def test_instances_of_vertex_become_rows_or_a_refusal(instances, said):
    class View:
        columns = (Column("city", "string"), Column("age", "integer"))

    with contextlib.suppress(Invalid):
        ask, _ = _read(json.dumps({"instances": instances, "parameters": said}).encode(), View)
        assert all(len(values) == ask.rows for values in ask.columns.values())
