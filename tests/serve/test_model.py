from __future__ import annotations

import msgspec
import numpy as np
import pytest

from interlock.core.bundles import Column
from interlock.core.errors import Corrupt, Invalid, NotFound, Unavailable
from interlock.serve.model import LoadedModel
from interlock.store.manifests import put_entries, read_manifest


@pytest.fixture
def people(shop):
    return LoadedModel.load(shop.store.objects, shop.bundle("people"))


@pytest.mark.parametrize("kind", ["people", "customers"])
def test_scores_are_those_of_the_original(shop, kinds, kind):
    model = LoadedModel.load(shop.store.objects, shop.bundle(kind))
    columns = {name: [row[name] for row in kinds[kind].rows] for name, _ in kinds[kind].columns}
    scores = model.scores(columns)
    assert scores.dtype == np.float64
    assert scores == pytest.approx(kinds[kind].scores, abs=1e-5)
    assert model.load_s > 0
    assert model.call_s > 0


def test_a_label_is_the_likelier_class(shop):
    model = LoadedModel.load(shop.store.objects, shop.bundle("people", classes=(-1, 1)))
    found = model.run(model.prepare(model.golden_columns()))
    assert found.labels == found.codes == [1 if score > 0.5 else -1 for score in found.scores]
    assert set(found.labels) == {-1, 1}


def test_a_single_column_of_probabilities_is_the_positive_class(shop):
    from onnx import TensorProto, helper

    node = helper.make_node("ReduceMax", ["X"], ["p"], keepdims=1)
    axes = {"opset_imports": [helper.make_opsetid("", 17)], "ir_version": 8}
    node.attribute.append(helper.make_attribute("axes", [1]))
    taken = helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, 3])
    given = helper.make_tensor_value_info("p", TensorProto.FLOAT, [None, 1])
    graph = helper.make_model(helper.make_graph([node], "g", [taken], [given]), **axes).SerializeToString()
    model = LoadedModel.load(shop.store.objects, shop.bundle("people", graph=graph))
    columns = {"age": [0, 0], "hours": [0.75, 0.25], "income": [0.0, 0.0]}
    assert model.scores(columns).tolist() == [0.75, 0.25]
    assert model.run(model.prepare(columns)).labels == [1, 0]


@pytest.mark.parametrize("age", [-5, 400])
def test_an_answer_that_is_no_probability_is_never_given(shop, age):
    model = LoadedModel.load(shop.store.objects, shop.bundle("roots"))
    assert model.scores({"age": [25], "hours": [1.0], "income": [1.0]}).tolist() == [0.5]
    with pytest.raises(Unavailable, match="no probability"):
        model.scores({"age": [30, age], "hours": [1.0, 1.0], "income": [1.0, 1.0]})
    with pytest.raises(Unavailable, match="no probability"):
        model.scores({"age": [30] * 40 + [age], "hours": [1.0] * 41, "income": [1.0] * 41})


def test_a_missing_number_that_the_model_cannot_do_without_is_the_callers_fault(people):
    with pytest.raises(Invalid, match=r"'hours', row 1 \(and 1 more row\): the value is missing") as caught:
        people.scores({"age": [30] * 4, "hours": [1.0, None, 2.0, None], "income": [1.0] * 4})
    (found,) = caught.value.findings
    assert (found.column, found.rows, found.count) == ("hours", (1, 3), 2)


def test_a_category_that_the_graph_rejects_is_the_callers_fault(shop, kinds):
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import StringTensorType
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    cities = np.array([["Oslo"], ["Lima"]] * 10, dtype=object)
    fitted = make_pipeline(OneHotEncoder(handle_unknown="error"), LogisticRegression()).fit(cities, [0, 1] * 10)
    graph = to_onnx(
        fitted, initial_types=[("city", StringTensorType([None, 1]))], options={"zipmap": False}, target_opset=18
    ).SerializeToString()
    inputs = (Column("city", "string"),)
    digest = shop.bundle("customers", graph=graph, inputs=inputs, rows=[{"city": "Oslo"}])
    model = LoadedModel.load(shop.store.objects, digest)
    assert len(model.scores({"city": ["Oslo", "Lima"]})) == 2
    with pytest.raises(Invalid, match="'city', row 2 .*cannot work with") as caught:
        model.scores({"city": ["Oslo", "Lima", "Cairo", "Oslo", "Rome", "Cairo"]})
    assert caught.value.findings[0].rows == (2, 4, 5)
    assert "Cairo" not in str(caught.value.to_problem())


def test_a_graph_that_fails_on_its_golden_rows_too_is_at_fault_itself(shop, kinds):
    model = LoadedModel.load(shop.store.objects, shop.bundle("people"))
    model.engine = LoadedModel.load(shop.store.objects, shop.bundle("customers")).engine
    with pytest.raises(Unavailable, match="failed to answer"):
        model.scores(model.golden_columns())


def test_changed_bytes_are_not_loaded(shop):
    objects = shop.store.objects
    digest = shop.bundle("people")
    graph = read_manifest(objects, digest).find("model.onnx").digest
    path = objects.root / graph[:2] / graph[2:]
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(Corrupt, match="changed"):
        LoadedModel.load(objects, digest)


def test_a_bundle_that_is_not_there_is_not_found(shop):
    with pytest.raises(NotFound):
        LoadedModel.load(shop.store.objects, "0" * 64)


@pytest.mark.parametrize(
    "changes",
    [
        {"graph": b"no graph"},
        {"files": {"serving": "model.onnx"}},
        {"files": {"serving": "model.onnx", "golden": "away.json"}},
        {"layout": "columns"},
        {"classes": (0, 1, 2)},
        {"inputs": ()},
    ],
)
def test_a_bundle_that_does_not_hold_together_is_corrupt(shop, changes):
    digest = shop.bundle("people", **changes)
    with pytest.raises(Corrupt):
        LoadedModel.load(shop.store.objects, digest)


def test_a_graph_that_reads_files_is_corrupt(shop, tmp_path):
    from onnx import TensorProto, helper

    (tmp_path / "weights").write_bytes(bytes(24))
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3, 2], data_location=TensorProto.EXTERNAL)
    weights.external_data.add(key="location", value=str(tmp_path / "weights"))
    taken = helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, 3])
    given = helper.make_tensor_value_info("p", TensorProto.FLOAT, [None, 2])
    graph = helper.make_graph([helper.make_node("MatMul", ["X", "w"], ["p"])], "g", [taken], [given], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    digest = shop.bundle("people", graph=model.SerializeToString())
    with pytest.raises(Corrupt, match="keeps its weights in other files"):
        LoadedModel.load(shop.store.objects, digest)


def test_a_folder_without_a_bundle_record_is_corrupt(shop):
    objects = shop.store.objects
    whole = read_manifest(objects, shop.bundle("people"))
    rest = [entry for entry in whole.files if entry.path != "bundle.json"]
    with pytest.raises(Corrupt, match=r"bundle\.json"):
        LoadedModel.load(objects, put_entries(objects, rest))
    damaged = objects.put(msgspec.json.encode({"flavor": "sklearn"}))
    entries = [msgspec.structs.replace(e, digest=damaged) if e.path == "bundle.json" else e for e in whole.files]
    with pytest.raises(Corrupt, match=r"bundle\.json"):
        LoadedModel.load(objects, put_entries(objects, entries))


def test_a_graph_that_answers_fewer_rows_than_it_was_asked_answers_nothing(shop):
    from onnx import TensorProto, helper

    taken = helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, 3])
    given = helper.make_tensor_value_info("p", TensorProto.FLOAT, [None, 2])
    weights = helper.make_tensor("w", TensorProto.FLOAT, [3, 2], [0.001] * 6)
    nodes = [
        helper.make_node("MatMul", ["X", "w"], ["z"]),
        helper.make_node("ReduceMean", ["z"], ["p"], axes=[0], keepdims=1),
    ]
    graph = helper.make_graph(nodes, "g", [taken], [given], [weights])
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()
    model = LoadedModel.load(shop.store.objects, shop.bundle("people", graph=data))
    one = {"age": [40], "hours": [38.0], "income": [30.0]}
    assert len(model.run(model.prepare(one)).scores) == 1
    with pytest.raises(Unavailable):
        model.run(model.prepare({name: values * 3 for name, values in one.items()}))
