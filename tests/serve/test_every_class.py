"""The output `probabilities`: what the model's predict_proba says, of two classes and of more, on every way."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge

from interlock.registry.flavors import build_bundle
from interlock.serve.tensors import to_binary
from interlock.store.manifests import put_folder
from interlock.store.predictions import PredictionLog

NAMES = ["a", "b", "c"]
FRAME = pl.DataFrame(np.random.default_rng(5).normal(size=(240, 3)).astype(np.float32).astype(float), schema=NAMES)
SUM = FRAME.to_numpy().sum(axis=1)
PLACE = np.digitize(SUM, [-1, 1])
ASKED = FRAME[:7]
LENGTH = "inference-header-content-length"


@pytest.fixture
def put(shop, tmp_path):
    """Put the bundle of a model into the shop, and return its digest."""

    def put(model, truth, name="one"):
        evaluation = FRAME.with_columns(y=pl.Series(truth))
        build_bundle(
            model.fit(FRAME.to_numpy(), truth), inputs=FRAME, target="y", evaluation=evaluation, folder=tmp_path / name
        )
        return put_folder(shop.store.objects, tmp_path / name)

    return put


def asked(*outputs, binary=False, subjects=()):
    """Return the body of a request for some outputs."""
    inputs = [{"name": n, "shape": [ASKED.height], "datatype": "FP64", "data": ASKED[n].to_list()} for n in NAMES]
    if subjects:
        inputs.append({"name": "subject", "shape": [ASKED.height], "datatype": "BYTES", "data": list(subjects)})
    wanted = [{"name": name, "parameters": {"binary_data": binary}} for name in outputs]
    return {"inputs": inputs, "outputs": wanted}


def table(tensor):
    """Return a tensor of JSON as an array."""
    return np.array(tensor["data"]).reshape(tensor["shape"])


@pytest.mark.parametrize(
    ("model", "truth", "classes", "close"),
    [
        (LogisticRegression(C=9), (SUM > 0).astype(int), [0, 1], 1e-12),
        (
            RandomForestClassifier(5, random_state=1),
            np.array(["no", "yes"])[(SUM > 0).astype(int)],
            ["no", "yes"],
            1e-6,
        ),
        (LogisticRegression(C=9), np.array(["low", "mid", "top"])[PLACE], ["low", "mid", "top"], 1e-12),
        (RandomForestClassifier(5, random_state=1), PLACE * 10, [0, 10, 20], 1e-6),
    ],
    ids=["two", "two names", "three names", "three numbers"],
)
def test_it_is_what_predict_proba_says_in_json_and_binary(shop, serve, tools, put, model, truth, classes, close):
    shop.deploy(tools.route(put(model, truth)))
    server = serve()
    plain = server.client.post("/v2/models/shop/infer", json={"inputs": asked()["inputs"]}).json()["outputs"]
    assert [tensor["name"] for tensor in plain] == ["y", "probability", "prediction_id"]
    described = server.client.get("/v2/models/shop").json()["outputs"][-1]
    assert described["name"] == "probabilities"
    assert (described["datatype"], described["shape"]) == ("FP64", [-1, len(classes)])
    assert json.loads(described["parameters"]["classes"]) == classes

    label, chosen, ids, every = server.client.post(
        "/v2/models/shop/infer", json=asked("probabilities", "y", "probability", "prediction_id")
    ).json()["outputs"]
    wanted = model.predict_proba(ASKED.to_numpy())
    assert every["shape"] == [7, len(classes)]
    assert json.loads(every["parameters"]["classes"]) == classes
    np.testing.assert_allclose(table(every), wanted, rtol=0, atol=close)
    assert label["data"] == [classes[i] for i in table(every).argmax(axis=1)]
    picked = table(every)[:, 1] if len(classes) == 2 else table(every).max(axis=1)
    assert picked.tolist() == chosen["data"]

    response = server.client.post("/v2/models/shop/infer", json=asked("probabilities", binary=True))
    head = int(response.headers[LENGTH])
    (told,) = json.loads(response.content[:head])["outputs"]
    assert told["parameters"] == {
        "classes": json.dumps(classes, separators=(",", ":")),
        "binary_data_size": 56 * len(classes),
    }
    assert response.content[head:] == to_binary("FP64", every["data"])

    assert server.stop() == 0
    log = PredictionLog(shop.root / "predictions")
    assert [log.get(one).score for one in ids["data"]] == chosen["data"], "the log keeps what it always kept"


def test_versions_with_other_classes_answer_in_one_table(shop, serve, tools, put):
    names = np.array(["low", "mid", "top"])
    first, second = LogisticRegression(), LogisticRegression()
    digests = put(first, names[PLACE]), put(second, np.array(["low", "new", "top"])[PLACE], "two")
    shop.deploy(*(tools.route(digest, f"model:m@{n}", 0.5) for n, digest in enumerate(digests, 1)))
    server = serve()
    people = [f"person-{n}" for n in range(ASKED.height)]
    response = server.client.post("/v2/models/shop/infer", json=asked("y", "probabilities", subjects=people))
    label, every = response.json()["outputs"]
    classes = json.loads(every["parameters"]["classes"])
    assert classes == ["low", "mid", "top", "new"]
    found, rows = table(every), ASKED.to_numpy()
    by = {"mid": first.predict_proba(rows), "new": second.predict_proba(rows)}
    kinds = ["mid" if row[3] == 0 else "new" for row in found]
    assert set(kinds) == {"mid", "new"}, "both versions answered"
    for row, kind in enumerate(kinds):
        wanted = dict(zip(["low", kind, "top"], by[kind][row], strict=True))
        np.testing.assert_allclose(found[row], [wanted.get(name, 0.0) for name in classes], rtol=0, atol=1e-12)
    assert label["data"] == [classes[i] for i in found.argmax(axis=1)]
    assert server.client.get("/v2/models/m/versions/2").json()["outputs"][-1]["shape"] == [-1, 3]


def test_values_have_no_table(shop, serve, tools, put):
    shop.deploy(tools.route(put(Ridge(), SUM)))
    server = serve()
    refused = server.client.post("/v2/models/shop/infer", json=asked("probabilities"))
    assert refused.status_code == 400
    assert "no output 'probabilities'" in refused.json()["error"]
    outputs = server.client.get("/v2/models/shop").json()["outputs"]
    assert [tensor["name"] for tensor in outputs] == ["y", "prediction_id"]


def test_a_target_of_that_name_is_the_target(shop, serve, tools):
    shop.deploy(tools.route(shop.bundle(target="probabilities")))
    server = serve()
    one = {"age": [40], "hours": [38.0], "income": [30.0]}
    (label,) = server.client.post(
        "/v2/models/shop/infer", json={**tools.oip(**one), "outputs": [{"name": "probabilities"}]}
    ).json()["outputs"]
    assert (label["datatype"], label["shape"]) == ("INT64", [1])
