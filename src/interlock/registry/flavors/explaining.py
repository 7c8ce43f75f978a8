"""TreeSHAP values of ensembles of scikit-learn, by shap, on the original."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interlock.core.errors import Invalid, MissingExtra
from interlock.registry.flavors.frames import matrix, select

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray


def tree_contributions(model: Any, frame: pl.DataFrame) -> NDArray[np.float64]:
    """Return TreeSHAP values, (rows, sums, columns + 1); the last column is the base.

    Their sum is the raw answer: log-odds of gradient boosting, probability of a forest, value of a regression.

    Args:
        model: an ensemble of trees, or a pipeline that ends in one and before it changes each column by itself.
        frame: rows of its inputs, in its order.

    Raises:
        Invalid: it is something else.
        MissingExtra: shap is not installed.

    Source: Lundberg, Erion, Lee: Consistent individualized feature attribution for tree ensembles (2018).
    """
    import numpy as np

    try:
        import shap
    except ImportError:
        raise MissingExtra.named("explain", "shap") from None
    names = getattr(model, "feature_names_in_", None)
    rows: Any = matrix(frame if names is None else select(frame, [str(name) for name in names]))
    steps = getattr(model, "steps", None)
    if steps:
        rows, model = _through(steps[:-1], frame if names is not None else rows, rows.shape[1]), steps[-1][1]
    try:
        explainer = shap.TreeExplainer(model)
        values = np.asarray(explainer.shap_values(rows, check_additivity=False), dtype=np.float64)
    except Exception as error:  # border to shap, whose errors have no common class
        kind = type(model).__name__
        raise Invalid(f"{kind} is no ensemble of trees that shap explains.", about="model") from error
    base = np.ravel(np.asarray(explainer.expected_value, dtype=np.float64))
    table = values[:, None, :] if values.ndim == 2 else np.moveaxis(values, 2, 1)
    return np.concatenate([table, np.broadcast_to(base[None, :, None], (*table.shape[:2], 1))], axis=2)


def _through(steps: list[tuple[str, Any]], rows: Any, width: int) -> Any:
    import numpy as np

    for _, step in steps:
        rows = step.transform(rows)
        if type(step).__name__ not in _ONE_TO_ONE or rows.shape[1] != width:
            raise Invalid(
                f"{type(step).__name__} mixes columns, so that shares of the inputs cannot be told.", about="model"
            )
    return np.asarray(rows, dtype=np.float64)


_ONE_TO_ONE = frozenset(
    {"StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler", "SimpleImputer", "PowerTransformer"}
)
