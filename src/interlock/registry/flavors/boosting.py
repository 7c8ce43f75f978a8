"""Scikit-learn's histogram gradient boosting as an ONNX graph.

skl2onnx 1.20 has a converter too, but it writes Python booleans that onnx 1.23 refuses, and takes a categorical split
for a numeric one without a word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from interlock.core.errors import Invalid
from interlock.registry.flavors.ensembles import Ensemble, Link, Tree

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_ML: Final = "ai.onnx.ml"


def converters() -> dict[type, Any]:
    """Return the conversion functions of this module by estimator class, as skl2onnx takes them."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    return {HistGradientBoostingClassifier: _convert}


def read(model: Any) -> Ensemble:
    """Return the trees of a histogram gradient boosting model, of however many classes, or of a regression.

    Raises:
        Invalid: it splits categories by itself, or has a link that is not known here.
    """
    import numpy as np

    _refuse_categories(model)
    kind = type(model._loss.link).__name__  # noqa: SLF001 - no public way
    links: dict[str, Link] = {"IdentityLink": "identity", "LogLink": "exp", "LogitLink": "sigmoid"}
    links |= {"MultinomialLogit": "softmax", "HalfLogitLink": "sigmoid"}
    if kind not in links:
        raise Invalid(f"Its {kind} is not known here.", about="model")
    trees = []
    for iteration in model._predictors:  # noqa: SLF001
        for target, predictor in enumerate(iteration):
            nodes = predictor.nodes
            leaf = nodes["is_leaf"].astype(bool)
            values = np.where(leaf, nodes["value"], nodes["num_threshold"].astype(np.float32))
            features = np.where(leaf, -1, nodes["feature_idx"]).astype(int)
            left, right = (np.where(leaf, 0, nodes[side]).astype(int).tolist() for side in ("left", "right"))
            missing = nodes["missing_go_to_left"].astype(bool).tolist()
            trees.append(Tree(target, features.tolist(), values.tolist(), left, right, missing))
    base = np.ravel(model._baseline_prediction).tolist()  # noqa: SLF001
    return Ensemble(int(model.n_features_in_), "BRANCH_LEQ", trees, base, links[kind])


def _convert(scope: Any, operator: Any, container: Any) -> None:
    """Add the nodes of one model: summed leaves, logistic link, both probabilities, label."""
    import numpy as np
    from onnx import TensorProto

    model = operator.raw_operator
    _refuse_unsupported(model)
    label, probabilities = (output.full_name for output in operator.outputs)

    def node(kind: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        output = output or str(scope.get_unique_variable_name(kind.lower()))
        name = scope.get_unique_operator_name(kind)
        container.add_node(kind, inputs, [output], name=name, **attributes)
        return output

    def constant(kind: int, shape: list[int], values: list[float]) -> str:
        name = str(scope.get_unique_variable_name("constant"))
        container.add_initializer(name, kind, shape, values)
        return name

    trees = _tree_attributes([iteration[0].nodes for iteration in model._predictors])  # noqa: SLF001 - no public way
    trees["base_values"] = [float(np.ravel(model._baseline_prediction)[0])]  # noqa: SLF001
    rows = node("Cast", [operator.inputs[0].full_name], to=TensorProto.FLOAT)
    raw = node("TreeEnsembleRegressor", [rows], op_domain=_ML, op_version=3, **trees)
    positive = node("Sigmoid", [raw])
    negative = node("Sub", [constant(TensorProto.FLOAT, [1], [1.0]), positive])
    node("Concat", [negative, positive], probabilities, axis=1)
    above = node("Greater", [raw, constant(TensorProto.FLOAT, [1], [0.0])])
    flat = node("Reshape", [above, constant(TensorProto.INT64, [1], [-1])])
    low, high = (constant(TensorProto.INT64, [1], [int(value)]) for value in model.classes_)
    node("Where", [flat, high, low], label)


def _refuse_unsupported(model: Any) -> None:
    if len(model.classes_) != 2:
        raise Invalid(f"The model tells {len(model.classes_)} classes apart; Interlock serves two.", about="model")
    _refuse_categories(model)


def refuse_categories_within(estimator: Any) -> None:
    """Refuse an estimator that is, or ends in, a histogram gradient boosting model with categories of its own.

    Raises:
        Invalid: it is; skl2onnx says something else of it, or nothing.
    """
    last = estimator.steps[-1][1] if getattr(estimator, "steps", None) else estimator
    if type(last).__name__.startswith("HistGradientBoosting"):
        _refuse_categories(last)


def _refuse_categories(model: Any) -> None:
    if model.is_categorical_ is not None and model.is_categorical_.any():
        raise Invalid(
            "Its trees split categories by themselves (categorical_features), for which ONNX has no node.",
            about="model",
            hint="Put an OrdinalEncoder or a OneHotEncoder before the model and leave categorical_features out.",
        )


def _tree_attributes(trees: list[NDArray[np.void]]) -> dict[str, Any]:
    """Return the attributes of a TreeEnsembleRegressor that sums the leaves of trees."""
    import numpy as np

    nodes = np.concatenate(trees)
    leaf = nodes["is_leaf"].astype(bool)
    sizes = [len(tree) for tree in trees]
    tree_ids = np.repeat(np.arange(len(trees)), sizes)
    node_ids = np.concatenate([np.arange(size) for size in sizes])
    return {
        "n_targets": 1,
        "nodes_treeids": tree_ids.tolist(),
        "nodes_nodeids": node_ids.tolist(),
        "nodes_featureids": np.where(leaf, 0, nodes["feature_idx"]).tolist(),
        # To the nearest float32, as the rows are: thresholds are often values of the training rows themselves.
        "nodes_values": np.where(leaf, 0.0, nodes["num_threshold"]).astype(np.float32),
        "nodes_modes": np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
        "nodes_truenodeids": np.where(leaf, 0, nodes["left"]).tolist(),
        "nodes_falsenodeids": np.where(leaf, 0, nodes["right"]).tolist(),
        "nodes_missing_value_tracks_true": np.where(leaf, 0, nodes["missing_go_to_left"]).astype(int).tolist(),
        "target_treeids": tree_ids[leaf].tolist(),
        "target_nodeids": node_ids[leaf].tolist(),
        "target_ids": [0] * int(leaf.sum()),
        "target_weights": nodes["value"][leaf].astype(np.float32),
    }
