"""Boosters as ONNX: files and answers recorded from XGBoost 3.2 and LightGBM 4.7, and the libraries where installed."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import onnxruntime
import polars as pl
import pytest

from interlock.core.errors import Invalid
from interlock.registry.flavors import lightgbm, xgboost
from interlock.registry.flavors.build import build_bundle
from interlock.registry.flavors.ensembles import to_onnx
from interlock.registry.flavors.twins import make_twin
from interlock.registry.formats import look_into

FILES = Path(__file__).parent / "files"
RECORD = json.loads((FILES / "answers.json").read_text())
ROWS = np.array(RECORD["rows"], dtype=np.float32)  # some values are missing


def read(name: str):
    return (lightgbm if name.endswith(".txt") else xgboost).read((FILES / name).read_bytes())


def answers(graph: bytes, rows: np.ndarray = ROWS) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(graph)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"inputs": rows}), strict=True))


@pytest.mark.parametrize("name", ["xgboost.json", "xgboost.ubj", "dart.ubj", "lightgbm.txt"])
def test_two_classes_answer_as_the_library_did(name: str, tmp_path: Path) -> None:
    graph, truth = to_onnx(read(name), (0, 1)), np.array(RECORD["answers"][name])
    found = answers(graph)
    assert found["probabilities"][:, 1] == pytest.approx(truth, abs=1e-6)
    assert found["label"].tolist() == (truth > 0.5).astype(int).tolist()
    path = tmp_path / "model"
    path.write_bytes(graph)
    with path.open("rb") as source:
        assert look_into(source, len(graph), "model").kind == "onnx"
    assert graph == to_onnx(read(name), (0, 1))


@pytest.mark.parametrize("name", ["classes.ubj", "classes.txt"])
def test_more_classes_answer_as_the_library_did(name: str) -> None:
    truth = np.array(RECORD["answers"][name])
    found = answers(to_onnx(read(name), ("low", "mid", "high")))
    assert found["probabilities"] == pytest.approx(truth, abs=1e-6)
    assert found["label"].tolist() == [("low", "mid", "high")[best] for best in truth.argmax(axis=1)]


@pytest.mark.parametrize("name", ["counts.json", "forest.txt"])
def test_regressions_answer_as_the_library_did(name: str) -> None:
    found = answers(to_onnx(read(name), None))["variable"][:, 0]
    assert found == pytest.approx(np.array(RECORD["answers"][name]), rel=1e-6)


@pytest.mark.parametrize(
    ("name", "why"),
    [("linear.json", "no trees"), ("categories.json", "split categories"), ("categories.txt", "split categories")],
)
def test_what_cannot_be_converted_says_why(name: str, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        read(name)


def test_other_objectives_and_other_files_say_so() -> None:
    text = (FILES / "lightgbm.txt").read_text()
    with pytest.raises(Invalid, match="objective 'custom' is not known"):
        lightgbm.read(text.replace("objective=binary sigmoid:1", "objective=custom").encode())
    with pytest.raises(Invalid, match="no model of LightGBM"):
        lightgbm.read(b"tree\nversion=v4\n")
    with pytest.raises(Invalid, match="no model of XGBoost"):
        xgboost.read(b"{}")
    with pytest.raises(Invalid, match="3 sums under a softmax link"):
        to_onnx(read("classes.ubj"), (0, 1))


def test_thresholds_are_rounded_down_to_float32() -> None:
    """A row of float32 goes the same way as under the threshold of float64, also right at it."""
    for threshold in (0.1, 1 / 3, -0.1, 1e-40, 16777217.0, 5.0):
        near = np.float32(lightgbm._not_above(threshold))
        for value in (near, np.nextafter(near, np.float32("inf")), np.nextafter(near, np.float32("-inf"))):
            assert (value <= near) == (float(value) <= threshold)


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    draw = np.random.default_rng(1)
    return pl.DataFrame(draw.normal(size=(400, 3)).astype(np.float32), schema=["a", "b", "c"])


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
@pytest.mark.filterwarnings("ignore")  # the libraries' own
def test_estimators_become_bundles_and_twins_where_the_library_is_installed(
    library: str, frame: pl.DataFrame, tmp_path: Path
) -> None:
    module = importlib.import_module(library)
    truth = (frame["a"].to_numpy() + frame["b"].to_numpy() > 0).astype(int)
    options = {"n_estimators": 5, "verbose": -1} if library == "lightgbm" else {"n_estimators": 5}
    kind = module.LGBMClassifier if library == "lightgbm" else module.XGBClassifier
    model = kind(**options).fit(frame.to_numpy(), truth)
    evaluation = frame.with_columns(y=pl.Series(truth))
    bundle = build_bundle(model, inputs=frame, target="y", evaluation=evaluation, folder=tmp_path)
    assert (bundle.flavor, bundle.layout, [column.name for column in bundle.inputs]) == (
        library,
        "matrix",
        ["a", "b", "c"],
    )
    assert bundle.agreement.max_difference < 1e-5
    with (tmp_path / bundle.files["original"]).open("rb") as source:
        assert look_into(source, (tmp_path / bundle.files["original"]).stat().st_size, "o").kind == library
    twin, files = make_twin(model, frame.head(3), frame)
    assert (twin.verdict, twin.rows, library in twin.versions) == ("agrees", 403, True)
    assert set(files) == {"twin.json", "model.onnx"}
