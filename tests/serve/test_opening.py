"""Models that came without a bundle: twins, lone graphs, boosters; and what is refused, with the reason."""

from __future__ import annotations

import io
import pickle
import zipfile

import msgspec
import numpy as np
import polars as pl
import pytest
from onnx import TensorProto, helper
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from interlock.core.errors import Corrupt, Denied, Invalid
from interlock.sdk.recording.models import files_of, write_model
from interlock.serve.golden import check_golden
from interlock.serve.model import LoadedModel
from interlock.store.manifests import put_folder

DRAW = np.random.default_rng(6)
FRAME = pl.DataFrame(DRAW.normal(size=(120, 3)).astype(np.float32), schema=["a", "b", "c"])
SUM = FRAME.to_numpy().sum(axis=1).astype(float)
TWO = (SUM > 0).astype(int)
NAMED = np.array(["low", "mid", "top"])[np.digitize(SUM, [-1, 1])]
TOWNS = FRAME.select("a").with_columns(town=pl.Series(["Oslo", "Lima"] * 60))


@pytest.fixture
def opened(shop, tmp_path):
    """Return what keeps files as a folder and opens it."""
    made = []

    def open_files(files: dict[str, bytes], **options) -> LoadedModel:
        folder = tmp_path / f"folder-{len(made)}"
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        made.append(None)
        made[-1] = LoadedModel.open(shop.store.objects, put_folder(shop.store.objects, folder), **options)
        return made[-1]

    yield open_files
    for model in made:
        if model is not None:
            model.close()


def columns(frame=FRAME) -> dict[str, list]:
    return {name: frame[name].to_list() for name in frame.columns}


@pytest.mark.parametrize("truth", [TWO, NAMED, SUM], ids=["two", "named", "values"])
def test_a_twin_answers_as_its_original(opened, truth) -> None:
    kind = RandomForestRegressor if truth is SUM else RandomForestClassifier
    model = kind(5, random_state=0).fit(FRAME, truth)
    found = opened(write_model(model, "m", {"example": FRAME.head(4), "training": FRAME}))
    assert (found.engine.name, found.parts.source) == ("onnx", "example")
    assert len(found.golden.rows) == 4
    assert check_golden(found, found.golden) == []
    assert found.bundle.agreement.rows == 124
    scores = found.run(found.prepare(columns()))
    if truth is SUM:
        np.testing.assert_allclose(scores.scores, model.predict(FRAME), rtol=1e-4, atol=1e-5)
    else:
        assert found.bundle.classes == tuple(model.classes_.tolist())
        assert scores.labels == model.predict(FRAME).tolist()


def test_columns_go_to_a_model_in_its_order_not_in_that_of_the_example(opened) -> None:
    model = RandomForestClassifier(5, random_state=0).fit(FRAME, TWO)
    files, why = files_of(model, FRAME.select("c", "a", "b"), FRAME)
    assert why == ""
    found = opened(files)
    assert found.inputs.names == ("a", "b", "c")
    np.testing.assert_allclose(found.scores(columns()), model.predict_proba(FRAME)[:, 1], atol=1e-5)


def test_a_twin_that_takes_text_has_one_input_a_column(opened) -> None:
    parts = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["town"]), (StandardScaler(), ["a"]))
    model = make_pipeline(parts, LogisticRegression()).fit(TOWNS, TWO)
    found = opened(write_model(model, "m", {"example": TOWNS.head(4)}))
    assert found.bundle.layout == "columns"
    np.testing.assert_allclose(found.scores(columns(TOWNS)), model.predict_proba(TOWNS)[:, 1], atol=1e-5)


def test_a_twin_with_coefficients_answers_by_them(opened) -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(FRAME, NAMED)
    files = write_model(model, "m", {"example": FRAME.head(4), "training": FRAME})
    found = opened(files)
    assert found.engine.name == "linear"
    assert check_golden(found, found.golden) == []
    np.testing.assert_allclose(
        found.run(found.prepare(columns())).probabilities, model.predict_proba(FRAME), atol=1e-12
    )
    del files["linear.json"]
    assert opened(files).engine.name == "onnx"


def test_a_bundle_is_opened_as_one(shop) -> None:
    found = LoadedModel.open(shop.store.objects, shop.bundle("people"))
    assert found.parts.source == "training"


def graph(width=3, kind=TensorProto.FLOAT, outputs=2, tensors=(), name="p", dims=None) -> bytes:
    """Return a graph that answers shares by a softmax, or sums where there is one output."""
    weights = helper.make_tensor("w", TensorProto.FLOAT, [3, outputs], np.arange(3 * outputs) / 10)
    nodes = [helper.make_node("MatMul", ["X", "w"], ["z"])]
    nodes += [helper.make_node("Softmax" if outputs > 1 else "Identity", ["z"], [name])]
    taken = helper.make_tensor_value_info("X", kind, dims or [None, width])
    given = helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, outputs])
    made = helper.make_graph(nodes, "g", [taken], [given], list(tensors) or [weights])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()


def test_a_lone_graph_answers_rows_of_numbers(opened) -> None:
    found = opened({"net.onnx": graph()})
    assert found.inputs.names == ("x0", "x1", "x2")
    assert (found.bundle.task, found.bundle.classes, found.parts.source) == ("classification", (0, 1), "zeros")
    assert check_golden(found, found.golden) == []
    assert found.scores({"x0": [0.0], "x1": [0.0], "x2": [0.0]}).tolist() == [0.5]
    values = opened({"net.onnx": graph(outputs=1), "example.json": b'[{"a": 1.0, "b": 2, "c": 3.5}]'})
    assert values.inputs.names == ("a", "b", "c")
    assert (values.bundle.task, values.parts.source) == ("regression", "example")
    assert values.scores({"a": [1.0], "b": [1.0], "c": [1.0]}) == pytest.approx([0.3])


def test_a_lone_graph_tells_its_own_labels(opened) -> None:
    from skl2onnx import to_onnx

    model = LogisticRegression().fit(FRAME.to_numpy(), NAMED)
    converted = to_onnx(model, FRAME.to_numpy()[:1], options={"zipmap": False}).SerializeToString()
    found = opened({"net.onnx": converted})
    assert found.bundle.classes == ("low", "mid", "top")
    answers = found.run(found.prepare({f"x{i}": FRAME[name].to_list() for i, name in enumerate("abc")}))
    assert answers.labels == model.predict(FRAME.to_numpy()).tolist()


def test_a_lone_graph_of_one_input_a_column(opened) -> None:
    nodes = [helper.make_node("Add", ["a", "b"], ["s"])]
    taken = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None]) for name in "ab"]
    given = [helper.make_tensor_value_info("s", TensorProto.FLOAT, [None])]
    made = helper.make_model(
        helper.make_graph(nodes, "g", taken, given), opset_imports=[helper.make_opsetid("", 18)], ir_version=10
    )
    found = opened({"net.onnx": made.SerializeToString()})
    assert found.inputs.names == ("a", "b")
    assert found.scores({"a": [1.0, 2.0], "b": [3.0, 4.0]}).tolist() == [4.0, 6.0]


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
@pytest.mark.parametrize("regression", [False, True])
def test_a_booster_answers_from_its_own_file(opened, library, regression) -> None:
    import lightgbm
    import xgboost

    kinds = {
        "xgboost": (xgboost.XGBClassifier, xgboost.XGBRegressor, {}),
        "lightgbm": (lightgbm.LGBMClassifier, lightgbm.LGBMRegressor, {"verbose": -1}),
    }[library]
    model = kinds[regression](n_estimators=4, n_jobs=1, **kinds[2]).fit(FRAME.to_numpy(), SUM if regression else TWO)
    name = "model.ubj" if library == "xgboost" else "model.txt"
    own = (
        bytes(model.get_booster().save_raw("ubj"))
        if library == "xgboost"
        else model.booster_.model_to_string().encode()
    )
    found = opened({name: own})
    assert found.engine.name == library
    assert found.parts.source == "zeros"
    assert check_golden(found, found.golden) == []
    rows = {name: FRAME[column].to_list() for name, column in zip(found.inputs.names, "abc", strict=True)}
    wanted = model.predict(FRAME.to_numpy()) if regression else model.predict_proba(FRAME.to_numpy())[:, 1]
    np.testing.assert_allclose(found.scores(rows), wanted, rtol=1e-5, atol=1e-5)
    with pytest.raises(Corrupt, match="booster"):
        opened({name: own[: len(own) // 3]})


def test_an_original_alone_is_a_matter_of_policy(opened) -> None:
    model = RandomForestClassifier(5, random_state=0).fit(FRAME, NAMED)
    files = write_model(model, "m", {"example": FRAME.head(4)})
    alone = {name: files[name] for name in ("model.skops", "signature.json", "example.json")}
    with pytest.raises(Denied, match="policy of this project"):
        opened(alone)
    found = opened(alone, code_models=True)
    assert found.engine.name == "worker"
    assert found.run(found.prepare(columns())).labels == model.predict(FRAME).tolist()


def external() -> bytes:
    """Return a graph whose weights lie in a file."""
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3, 2], data_location=TensorProto.EXTERNAL)
    weights.external_data.add(key="location", value="weights.bin")
    return graph(tensors=[weights])


def zipped() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("data.pkl", pickle.dumps(1))
    return target.getvalue()


@pytest.mark.parametrize(
    ("files", "kind", "why"),
    [
        ({"model.pkl": pickle.dumps({"a": 1})}, Invalid, "only model here is a pickle"),
        ({"model.bin": pickle.dumps({"a": 1})}, Invalid, "only model here is a pickle"),
        ({"model.pkl": pickle.dumps({"a": 1}, 0)}, Invalid, "only model here is a pickle"),
        ({"net.pt": zipped()}, Invalid, "only model here is a pickle"),
        ({"model.onnx": external(), "weights.bin": bytes(24)}, Corrupt, "weights in other files"),
        ({"model.onnx": graph()[:-9]}, Corrupt, "does not load"),
        ({"model.onnx": graph().replace(b"MatMul", b"MatMud")}, Corrupt, "does not load"),
        ({"model.onnx": pickle.dumps({"a": 1})}, Corrupt, "not what its name says: it is a pickle file"),
        ({"model.ubj": graph()}, Corrupt, "not what its name says"),
        ({"model.skops": b"tree\nversion=v4\n"}, Corrupt, "not what its name says: it is a booster file"),
        ({"model.onnx": b""}, Corrupt, "not what its name says"),
        ({"a.onnx": graph(), "b.onnx": graph()}, Invalid, "2 files that could answer"),
        ({"notes.txt": b"words"}, Invalid, "No file of this version can answer"),
        ({"model.onnx": graph(dims=[None, 3, 3])}, Invalid, "3 dimensions"),
        ({"model.onnx": graph(dims=[None, None])}, Invalid, "unknown number of columns"),
        ({"model.onnx": graph(), "example.json": b"{"}, Corrupt, "example.json does not hold"),
        ({"model.onnx": graph(), "twin.json": b'{"verdict":"agrees","digest":"0"}'}, Corrupt, "not the file that"),
        ({"model.onnx": graph(), "twin.json": b'{"verdict":"differs","reason":"far"}'}, Invalid, "does not agree"),
        ({"model.ubj": b"{L" + b"\0" * 40 + b"learner"}, Corrupt, "XGBoost does not read"),
    ],
)
def test_what_is_refused_with_the_reason(opened, files, kind, why) -> None:
    with pytest.raises(kind, match=why):
        opened(files)


def test_a_graph_whose_labels_are_not_those_of_its_shares_lies(opened) -> None:
    nodes = [
        helper.make_node("Softmax", ["X"], ["probabilities"]),
        helper.make_node("ArgMin", ["X"], ["label"], axis=1, keepdims=0),
    ]
    taken = helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, 2])
    given = [
        helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2]),
    ]
    made = helper.make_model(
        helper.make_graph(nodes, "g", [taken], given), opset_imports=[helper.make_opsetid("", 18)], ir_version=10
    )
    with pytest.raises(Corrupt, match="labels are not those of its probabilities"):
        opened({"net.onnx": made.SerializeToString(), "example.json": b'[{"a": 1, "b": 2}]'})


def test_an_example_that_the_model_cannot_answer_is_corrupt(opened) -> None:
    rows = msgspec.json.encode([{"a": "text", "b": 1, "c": 2}])
    with pytest.raises(Corrupt, match="does not answer the example"):
        opened({"net.onnx": graph(), "example.json": rows})
