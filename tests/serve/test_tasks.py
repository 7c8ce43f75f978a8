"""Values and named classes through every protocol, and into the prediction log."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from interlock.registry.flavors import build_bundle
from interlock.store.manifests import put_folder
from interlock.store.predictions import PredictionLog

FRAME = pl.DataFrame(np.random.default_rng(5).normal(size=(240, 3)).astype(np.float32), schema=["a", "b", "c"])
SUM = FRAME.to_numpy().sum(axis=1).astype(float)
NAMED = np.array(["low", "mid", "top"])[np.digitize(SUM, [-1, 1])]
ROW = {"a": 2.0, "b": 1.0, "c": 0.5}


@pytest.mark.parametrize(
    ("model", "truth", "answer", "code", "kind"),
    [(Ridge(), SUM, 3.5, 0, "FP64"), (LogisticRegression(C=100), NAMED, "top", 2, "BYTES")],
    ids=["values", "names"],
)
def test_other_targets_than_two_classes_are_served_and_logged(
    shop, serve, tools, tmp_path, model, truth, answer, code, kind
) -> None:
    evaluation = FRAME.with_columns(y=pl.Series(truth))
    build_bundle(model.fit(FRAME, truth), inputs=FRAME, target="y", evaluation=evaluation, folder=tmp_path / "b")
    shop.deploy(tools.route(put_folder(shop.store.objects, tmp_path / "b")))
    server = serve()
    (said,) = server.invoke(ROW).json()["predictions"]
    assert set(said) == {"y", "prediction_id"} | ({"probability"} if code else set())
    assert said["y"] == (answer if code else pytest.approx(answer, rel=0.05))
    outputs = {tensor["name"]: tensor for tensor in server.infer(**{n: [v] for n, v in ROW.items()}).json()["outputs"]}
    assert outputs["y"]["datatype"] == kind
    assert outputs["y"]["data"] == [said["y"]]
    assert ("probability" in outputs) is bool(code)
    metadata = server.client.get("/v2/models/shop").json()
    assert metadata["outputs"][0]["datatype"] == kind
    assert [route["engine"] for route in server.status()["routes"]] == ["linear"]
    explained = server.client.post("/explain", json={"dataframe_records": [ROW]})
    assert explained.status_code == 200
    (why,) = explained.json()["explanation"]["rows"]
    assert why["base_value"] + sum(why["contributions"].values()) == pytest.approx(why["raw"])
    assert server.client.post("/explain", content=b"{").status_code == 400
    assert server.stop() == 0
    logged = PredictionLog(shop.root / "predictions").get(said["prediction_id"])
    assert (logged.label, logged.score) == (code, pytest.approx(said.get("probability", said["y"])))


def test_values_and_names_do_not_answer_side_by_side(shop, serve, tools, tmp_path) -> None:
    digests = []
    for model, truth in ((Ridge(), SUM), (LogisticRegression(), NAMED)):
        folder = tmp_path / type(model).__name__
        evaluation = FRAME.with_columns(y=pl.Series(truth))
        build_bundle(model.fit(FRAME, truth), inputs=FRAME, target="y", evaluation=evaluation, folder=folder)
        digests.append(put_folder(shop.store.objects, folder))
    shop.deploy(tools.route(digests[0], "model:m@1"))
    server = serve()
    both = [tools.route(digest, f"model:m@{place}", 0.5) for place, digest in enumerate(digests, 1)]
    shop.deploy(*both, revision=2)
    refused = server.client.post("/-/reload")
    assert refused.status_code == 409
    assert "different kinds" in str(refused.json()["errors"])
    assert server.invoke(ROW).status_code == 200, "the revision before it goes on answering"
