"""Boosted trees as an ONNX graph: one TreeEnsembleRegressor that sums leaves, a link, and the outputs that we serve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec

from interlock.core.errors import Invalid
from interlock.registry.flavors.frames import MATRIX

Link = Literal["identity", "sigmoid", "softmax", "exp"]
OPSETS: Final = {"": 18, "ai.onnx.ml": 3}
_ML: Final = "ai.onnx.ml"


class Tree(msgspec.Struct, frozen=True):
    """One tree, node by node, the root first.

    Attributes:
        target: which of the sums its leaves belong to.
        features: the feature that a node asks for; -1 in a leaf.
        values: the threshold of a node, or the value of a leaf.
        left: where a row goes whose value is below the threshold.
        right: where others go.
        missing_left: whether a row without a value goes to the left.
    """

    target: int
    features: Sequence[int]
    values: Sequence[float]
    left: Sequence[int]
    right: Sequence[int]
    missing_left: Sequence[bool]


class Ensemble(msgspec.Struct, frozen=True):
    """Trees whose leaves are summed.

    Attributes:
        features: how many columns a row has.
        mode: BRANCH_LT when a row goes left below the threshold, BRANCH_LEQ when also at it.
        trees: the trees.
        base: what each sum begins with.
        link: what makes an answer of the sums.
        scale: what the sums are multiplied by before that.
    """

    features: int
    mode: Literal["BRANCH_LT", "BRANCH_LEQ"]
    trees: Sequence[Tree]
    base: Sequence[float]
    link: Link
    scale: float = 1.0


def to_onnx(ensemble: Ensemble, classes: Sequence[int] | Sequence[str] | None) -> bytes:
    """Return the bytes of a graph: outputs `label` and `probabilities`, or `variable` where there are no classes.

    Args:
        ensemble: the trees.
        classes: the labels in the model's order, or None for a regression.

    Raises:
        Invalid: sums and classes do not fit together.
    """
    from onnx import TensorProto, helper

    sums = len(ensemble.base)
    wanted = {"sigmoid": 1, "softmax": len(classes or ())}.get(ensemble.link, 1)
    if (classes is not None and ensemble.link not in {"sigmoid", "softmax"}) or sums != wanted:
        raise Invalid(f"{sums} sums under a {ensemble.link} link are no such model.", about="model")
    graph = _Graph()
    raw = graph.node("TreeEnsembleRegressor", [MATRIX], domain=_ML, **_attributes(ensemble))
    if ensemble.scale != 1.0:
        raw = graph.node("Mul", [raw, graph.constant(TensorProto.FLOAT, [1], [ensemble.scale])])
    if classes is None:
        kind = {"identity": "Identity", "sigmoid": "Sigmoid", "exp": "Exp"}[ensemble.link]
        graph.node(kind, [raw], "variable")
        outputs = [helper.make_tensor_value_info("variable", TensorProto.FLOAT, [None, 1])]
    else:
        outputs = _classify(graph, raw, ensemble.link, classes)
    made = helper.make_graph(
        graph.nodes,
        "model",
        [helper.make_tensor_value_info(MATRIX, TensorProto.FLOAT, [None, ensemble.features])],
        outputs,
        graph.constants,
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
    model = helper.make_model(made, opset_imports=opsets, ir_version=8, producer_name="interlock")
    return bytes(model.SerializeToString(deterministic=True))


class _Graph:
    """Nodes and constants on their way into a graph."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, kind: str, inputs: list[str], output: str = "", *, domain: str = "", **attributes: Any) -> str:
        from onnx import helper

        output = output or f"{kind.lower()}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, domain=domain, **attributes))
        return output

    def constant(self, kind: int, shape: list[int], values: Any) -> str:
        from onnx import helper

        name = f"constant.{len(self.constants)}"
        self.constants.append(helper.make_tensor(name, kind, shape, values))
        return name


def _classify(graph: _Graph, raw: str, link: Link, classes: Sequence[int] | Sequence[str]) -> list[Any]:
    from onnx import TensorProto, helper

    texts = isinstance(classes[0], str)
    kind = TensorProto.STRING if texts else TensorProto.INT64
    labels = [str(label).encode() for label in classes] if texts else [int(label) for label in classes]
    if link == "sigmoid":
        positive = graph.node("Sigmoid", [raw])
        one = graph.constant(TensorProto.FLOAT, [1], [1.0])
        graph.node("Concat", [graph.node("Sub", [one, positive]), positive], "probabilities", axis=1)
        above = graph.node("Greater", [raw, graph.constant(TensorProto.FLOAT, [1], [0.0])])
        flat = graph.node("Reshape", [above, graph.constant(TensorProto.INT64, [1], [-1])])
        low, high = (graph.constant(kind, [1], [label]) for label in labels)
        graph.node("Where", [flat, high, low], "label")
    else:
        graph.node("Softmax", [raw], "probabilities", axis=1)
        best = graph.node("ArgMax", [raw], axis=1, keepdims=0)
        graph.node("Gather", [graph.constant(kind, [len(labels)], labels), best], "label", axis=0)
    return [
        helper.make_tensor_value_info("label", kind, [None]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, len(classes)]),
    ]


def _attributes(ensemble: Ensemble) -> dict[str, Any]:
    """Return the attributes of the node that sums the leaves."""
    lists: dict[str, list[Any]] = {name: [] for name in _LISTS}
    for number, tree in enumerate(ensemble.trees):
        count = len(tree.features)
        lists["nodes_treeids"] += [number] * count
        lists["nodes_nodeids"] += range(count)
        leaves = [feature < 0 for feature in tree.features]
        lists["nodes_featureids"] += [max(feature, 0) for feature in tree.features]
        lists["nodes_values"] += [0.0 if leaf else value for leaf, value in zip(leaves, tree.values, strict=True)]
        lists["nodes_modes"] += ["LEAF" if leaf else ensemble.mode for leaf in leaves]
        lists["nodes_truenodeids"] += [0 if leaf else to for leaf, to in zip(leaves, tree.left, strict=True)]
        lists["nodes_falsenodeids"] += [0 if leaf else to for leaf, to in zip(leaves, tree.right, strict=True)]
        lists["nodes_missing_value_tracks_true"] += [int(left) for left in tree.missing_left]
        for node, leaf in enumerate(leaves):
            if leaf:
                lists["target_treeids"].append(number)
                lists["target_nodeids"].append(node)
                lists["target_ids"].append(tree.target)
                lists["target_weights"].append(float(tree.values[node]))
    return {"n_targets": len(ensemble.base), "base_values": [float(value) for value in ensemble.base], **lists}


_LISTS: Final = (
    "nodes_treeids",
    "nodes_nodeids",
    "nodes_featureids",
    "nodes_values",
    "nodes_modes",
    "nodes_truenodeids",
    "nodes_falsenodeids",
    "nodes_missing_value_tracks_true",
    "target_treeids",
    "target_nodeids",
    "target_ids",
    "target_weights",
)


def without_form(why: str) -> Invalid:
    """Return the error that says why a booster has no ONNX form here."""
    return Invalid(f"The model has no ONNX form here: {why}.", about="model", hint="The original is kept.")
