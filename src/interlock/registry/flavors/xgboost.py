"""The flavor `xgboost`: its trees served as ONNX, kept as UBJSON. The conversion reads the file, not the library."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

from interlock.core.errors import Invalid
from interlock.registry.flavors.boosters import save_booster
from interlock.registry.flavors.ensembles import Ensemble, Link, Tree, to_onnx, without_form
from interlock.registry.flavors.sklearn import classes_of
from interlock.registry.formats import xgboost_model
from interlock.registry.formats.verdict import Broken

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

_LINKS: Final[dict[str, Link]] = {
    **dict.fromkeys(("binary:logistic", "reg:logistic"), "sigmoid"),
    "multi:softprob": "softmax",
    "multi:softmax": "softmax",
    **dict.fromkeys(("count:poisson", "reg:gamma", "reg:tweedie"), "exp"),
    **dict.fromkeys(
        ("reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror", "reg:quantileerror", "reg:linear"), "identity"
    ),
}


class Xgboost:
    """Writes fitted estimators of XGBoost as files that are read without running code."""

    name = "xgboost"

    def recognise(self, estimator: object) -> bool:
        """Return whether this is an estimator of XGBoost that follows scikit-learn."""
        return type(estimator).__module__.partition(".")[0] == "xgboost" and hasattr(estimator, "get_booster")

    def save(self, estimator: Any, sample: pl.DataFrame, folder: Path) -> Mapping[str, Any]:
        """Write `model.onnx` and `model.ubj` into a folder; return facts about them, as `Sklearn.save` does.

        Raises:
            Invalid: it is not fitted, or has no ONNX form; the error says why.
            MissingExtra: onnx is not installed.
        """
        classes = classes_of(estimator)
        original = bytes(estimator.get_booster().save_raw("ubj"))
        graph = to_onnx(read(original), classes or None)
        return save_booster(estimator, sample, folder, {"serving": graph, "original": original}, "model.ubj")

    def answers(self, model: Any, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what an estimator or booster answers: probabilities (rows, classes), or values (rows,).

        Args:
            model: the model.
            rows: its inputs in its order, (rows, columns).
        """
        import numpy as np

        booster = model.get_booster() if hasattr(model, "get_booster") else model
        best = booster.attributes().get("best_iteration")
        until = (0, int(best) + 1) if best is not None else (0, 0)
        found = booster.inplace_predict(rows.astype(np.float32), iteration_range=until, validate_features=False)
        if hasattr(model, "classes_") and found.ndim == 1:
            return np.column_stack([1 - found, found]).astype(np.float64)
        return np.asarray(found, dtype=np.float64)


def read(data: bytes) -> Ensemble:
    """Return the trees of a model of XGBoost.

    Args:
        data: its own format, JSON or UBJSON.

    Raises:
        Invalid: the bytes are no such model, or it has no ONNX form here; the error says why.
    """
    try:
        model = xgboost_model.parse(data)
    except Broken as error:
        raise Invalid(f"This is no model of XGBoost: {error}.", about="model") from None
    learner = model["learner"]
    objective = learner["objective"]["name"]
    booster = learner["gradient_booster"]
    if objective not in _LINKS:
        raise without_form(f"objective {objective!r} is not known here")
    if booster["name"] == "gblinear":
        raise without_form("a linear booster has no trees")
    drops = booster.get("weight_drop", [])
    inner = (booster["gbtree"] if booster["name"] == "dart" else booster)["model"]
    last = _last_tree(learner, inner)
    param = learner["learner_model_param"]
    sums = max(int(param.get("num_class", 0)), int(param.get("num_target", 1)), 1)
    trees = [
        _tree(tree, inner["tree_info"][place], drops[place] if drops else 1.0)
        for place, tree in enumerate(inner["trees"][:last])
    ]
    link = _LINKS[objective]
    return Ensemble(int(param["num_feature"]), "BRANCH_LT", trees, _base(param["base_score"], link, sums), link)


def _tree(tree: dict[str, Any], target: int, weight: float) -> Tree:
    if any(tree.get("split_type", ())):
        raise without_form("its trees split categories by themselves (enable_categorical)")
    if int(tree["tree_param"].get("size_leaf_vector", 1)) > 1:
        raise without_form("its leaves hold vectors")
    leaves = [left == -1 for left in tree["left_children"]]
    values = [value * weight if leaf else value for leaf, value in zip(leaves, tree["split_conditions"], strict=True)]
    return Tree(
        target=target,
        features=[-1 if leaf else feature for leaf, feature in zip(leaves, tree["split_indices"], strict=True)],
        values=values,
        left=tree["left_children"],
        right=tree["right_children"],
        missing_left=[bool(left) for left in tree["default_left"]],
    )


def _last_tree(learner: dict[str, Any], model: dict[str, Any]) -> int:
    """Return how many trees answer: those up to the best iteration, where training stopped early."""
    best = learner.get("attributes", {}).get("best_iteration")
    ends = model.get("iteration_indptr") or []
    if best is None or int(best) + 1 >= len(ends):
        return len(model["trees"])
    return int(ends[int(best) + 1])


def _base(text: str, link: Link, sums: int) -> list[float]:
    """Return what each sum begins with; the file has it as an answer, so the link is taken back."""
    found = json.loads(text)
    values = [float(value) for value in (found if isinstance(found, list) else [found])]
    if link == "sigmoid":
        values = [math.log(value / (1 - value)) for value in values]
    if link == "exp":
        values = [math.log(value) for value in values]
    return values * sums if len(values) == 1 else values
