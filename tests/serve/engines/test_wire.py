"""The walk over a model's bytes: weights elsewhere are found wherever they hide, labels are read, noise is refused."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import AttributeProto, TensorProto, helper

from interlock.serve.engines import wire
from interlock.serve.engines.wire import Unreadable, class_labels, leads_out


def tensor(*, external: bool) -> TensorProto:
    if not external:
        return helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, 2.0])
    found = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    found.external_data.add(key="location", value="away.bin")
    return found


def constant(value: TensorProto):
    return helper.make_node("Constant", [], ["c"], value=value)


def model(nodes=(), tensors=(), functions=()) -> bytes:
    graph = helper.make_graph(list(nodes), "g", [], [], list(tensors))
    return helper.make_model(graph, functions=list(functions)).SerializeToString()


def inner(value: TensorProto):
    graph = helper.make_graph([constant(value)], "inner", [], [])
    return helper.make_node("If", ["x"], ["y"], then_branch=graph, else_branch=graph)


def function(value: TensorProto):
    return helper.make_function("own", "f", [], ["c"], [constant(value)], [helper.make_opsetid("", 18)])


@pytest.mark.parametrize("external", [False, True])
@pytest.mark.parametrize(
    "place",
    [
        lambda value: model(tensors=[value]),
        lambda value: model([constant(value)]),
        lambda value: model([inner(value)]),
        lambda value: model(functions=[function(value)]),
    ],
    ids=["initializer", "attribute", "branch", "function"],
)
def test_weights_elsewhere_are_found(place, external) -> None:
    assert leads_out(place(tensor(external=external))) is external


def test_either_sign_of_weights_elsewhere_is_enough() -> None:
    said = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    named = helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, 2.0])
    named.external_data.add(key="location", value="away.bin")
    assert leads_out(model(tensors=[said]))
    assert leads_out(model(tensors=[named]))


@pytest.mark.parametrize("labels", [[3, -1, 7], ["low", "töp"]])
def test_labels_of_a_classifier(labels) -> None:
    name = "classlabels_ints" if isinstance(labels[0], int) else "classlabels_strings"
    node = helper.make_node("LinearClassifier", ["x"], ["l", "p"], domain="ai.onnx.ml", coefficients=[1.0])
    node.attribute.append(helper.make_attribute(name, labels))
    assert class_labels(model([node])) == labels
    assert class_labels(model([constant(tensor(external=False))])) == []


def test_numbers_that_are_not_packed_are_read_too() -> None:
    attribute = AttributeProto(name="classlabels_ints", type=AttributeProto.INTS)
    name = attribute.SerializeToString()
    loose = name + b"\x40\x05\x40\x09"  # field 8, one number at a time
    assert class_labels(
        b"\x3a" + bytes([len(loose) + 4]) + b"\x0a" + bytes([len(loose) + 2]) + b"\x2a" + bytes([len(loose)]) + loose
    ) == [5, 9]


@pytest.mark.parametrize("cut", [1, 7, 20])
def test_a_model_that_ends_early_is_unreadable(cut) -> None:
    with pytest.raises(Unreadable):
        leads_out(model(tensors=[tensor(external=False)])[:-cut])


@given(st.binary(max_size=300))
def test_noise_ends_in_an_answer_or_in_unreadable(data) -> None:
    with contextlib.suppress(Unreadable):
        assert leads_out(data) in {True, False}
    with contextlib.suppress(Unreadable):
        assert isinstance(class_labels(data), list)


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_changed_byte_never_breaks_the_walk(place, value) -> None:
    data = bytearray(model([constant(tensor(external=True))], [helper.make_tensor("v", 1, [30], np.zeros(30))]))
    data[place % len(data)] = value
    with contextlib.suppress(Unreadable):
        leads_out(bytes(data))


def forest(*, external: bool) -> bytes:
    """Return a model whose attributes hold long lists, and weights behind them."""
    lists = {
        "nodes_modes": ["BRANCH_LEQ", "LEAF", "x" * 63, "y" * 64, "", "z" * 300] * 20,
        "nodes_values": [float(number) for number in range(200)],
        "nodes_ids": [0, -1, 2**40, *range(200)],
        "classlabels_strings": ["low", "high"],
    }
    node = helper.make_node("TreeEnsembleClassifier", ["x"], ["l", "p"], domain="ai.onnx.ml", **lists)
    values = TensorProto(name="v", data_type=TensorProto.STRING, dims=[3], string_data=[b"", b"a" * 63, b"b" * 64])
    return model([node, constant(tensor(external=external))], [values, tensor(external=False)])


@pytest.mark.parametrize("external", [False, True])
def test_long_lists_are_passed_over_and_what_is_behind_them_is_not(external) -> None:
    assert leads_out(forest(external=external)) is external
    assert class_labels(forest(external=external)) == ["low", "high"]


@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=3), st.integers(0, 5000))
def test_passing_over_lists_changes_no_verdict(changes, cut) -> None:
    """Each model, sound or damaged, is judged as it is without: also when a list seems to go on in what follows."""
    data = bytearray(forest(external=True))
    for place, value in changes:
        data[place % len(data)] = value
    shown = bytes(data[: max(cut, 1)] if cut < len(data) // 2 else data)
    with pytest.MonkeyPatch.context() as patch:
        quick = verdicts(shown)
        patch.setattr(wire, "_RUNS", {})
        assert quick == verdicts(shown)


def verdicts(data: bytes) -> list[object]:
    found: list[object] = []
    for ask in (leads_out, class_labels):
        try:
            found.append(ask(data))
        except Unreadable:
            found.append("unreadable")
    return found
