"""The flavor `lightgbm`: its trees served as ONNX, kept as its own text. The conversion reads the file only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from interlock.core.errors import Invalid
from interlock.registry.flavors.boosters import save_booster
from interlock.registry.flavors.ensembles import Ensemble, Link, Tree, to_onnx, without_form
from interlock.registry.flavors.sklearn import classes_of
from interlock.registry.formats import lightgbm_text
from interlock.registry.formats.verdict import Broken

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

_LINKS: Final[dict[str, Link]] = {
    **dict.fromkeys(("binary", "cross_entropy"), "sigmoid"),
    "multiclass": "softmax",
    **dict.fromkeys(("poisson", "gamma", "tweedie"), "exp"),
    **dict.fromkeys(("regression", "regression_l1", "huber", "fair", "quantile", "mape"), "identity"),
}
_CATEGORY, _LEFT = 1, 2  # bits of decision_type; the two above them say what counts as missing
_NONE, _ZERO, _NAN = 0, 1, 2


class Lightgbm:
    """Writes fitted estimators of LightGBM as files that are read without running code."""

    name = "lightgbm"

    def recognise(self, estimator: object) -> bool:
        """Return whether this is an estimator of LightGBM that follows scikit-learn."""
        return type(estimator).__module__.partition(".")[0] == "lightgbm" and hasattr(estimator, "get_params")

    def save(self, estimator: Any, sample: pl.DataFrame, folder: Path) -> Mapping[str, Any]:
        """Write `model.onnx` and `model.txt` into a folder; return facts about them, as `Sklearn.save` does.

        Raises:
            Invalid: it is not fitted, or has no ONNX form; the error says why.
            MissingExtra: onnx is not installed.
        """
        classes = classes_of(estimator)
        original = estimator.booster_.model_to_string().encode()
        graph = to_onnx(read(original), classes or None)
        return save_booster(estimator, sample, folder, {"serving": graph, "original": original}, "model.txt")

    def answers(self, model: Any, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what an estimator or booster answers: probabilities (rows, classes), or values (rows,).

        Args:
            model: the model.
            rows: its inputs in its order, (rows, columns).
        """
        import numpy as np

        found = np.asarray(getattr(model, "booster_", model).predict(rows), dtype=np.float64)
        if hasattr(model, "classes_") and found.ndim == 1:
            return np.column_stack([1 - found, found])
        return found


def read(data: bytes) -> Ensemble:
    """Return the trees of a model of LightGBM.

    Args:
        data: its own text.

    Raises:
        Invalid: the bytes are no such model, or it has no ONNX form here; the error says why.
    """
    try:
        header, trees = lightgbm_text.parse(data)
    except Broken as error:
        raise Invalid(f"This is no model of LightGBM: {error}.", about="model") from None
    words = header.get("objective", "").split(" ")
    options = dict(word.split(":", 1) for word in words[1:] if ":" in word)
    if words[0] not in _LINKS or "sqrt" in words:
        raise without_form(f"objective {header.get('objective', 'custom')!r} is not known here")
    sums = int(header["num_tree_per_iteration"])
    share = sums / len(trees) if "average_output" in header and trees else 1.0
    return Ensemble(
        features=int(header["max_feature_idx"]) + 1,
        mode="BRANCH_LEQ",
        trees=[_tree(tree, place % sums, share) for place, tree in enumerate(trees)],
        base=[0.0] * sums,
        link=_LINKS[words[0]],
        scale=float(options.get("sigmoid", 1.0)),
    )


def _tree(tree: dict[str, str], target: int, share: float) -> Tree:
    """Return a tree whose splits come first and whose leaves follow them."""
    if tree.get("is_linear", "0") != "0":
        raise without_form("its leaves hold linear models")
    leaves = [float(value) * share for value in tree["leaf_value"].split()]
    if int(tree["num_leaves"]) == 1:
        return Tree(target, [-1], leaves, [0], [0], [False])
    kinds = [int(kind) for kind in tree["decision_type"].split()]
    if any(kind & _CATEGORY for kind in kinds):
        raise without_form("its trees split categories by themselves (categorical_feature)")
    if any(kind >> 2 & 3 == _ZERO for kind in kinds):
        raise without_form("it takes zeros for missing values (zero_as_missing)")
    splits, thresholds = len(kinds), [float(value) for value in tree["threshold"].split()]
    ends = [[int(to) for to in tree[name].split()] for name in ("left_child", "right_child")]
    left, right = ([to if to >= 0 else splits + ~to for to in side] for side in ends)
    return Tree(
        target=target,
        features=[int(feature) for feature in tree["split_feature"].split()] + [-1] * len(leaves),
        values=[*map(_not_above, thresholds), *leaves],
        left=left + [0] * len(leaves),
        right=right + [0] * len(leaves),
        missing_left=[
            # Where nothing counts as missing, NaN is read as 0.
            threshold >= 0.0 if kind >> 2 & 3 == _NONE else bool(kind & _LEFT)
            for kind, threshold in zip(kinds, thresholds, strict=True)
        ]
        + [False] * len(leaves),
    )


def _not_above(threshold: float) -> float:
    """Return the largest float32 that is not above a threshold: for rows of float32 both split alike."""
    import numpy as np

    near = np.float32(threshold)
    return float(near if float(near) <= threshold else np.nextafter(near, np.float32("-inf")))
