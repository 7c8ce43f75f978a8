"""Shares of columns in the answers of scikit-learn's originals: TreeSHAP values of ensembles, by shap; linear sums."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from interlock.core.errors import Invalid, MissingExtra
from interlock.registry.flavors.frames import matrix, names_in, select
from interlock.registry.flavors.origins import origins

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray


# Linear in what they are given, with a link that only follows: the raw answer is intercept plus sum.
_LINEAR: Final = frozenset(
    {"LogisticRegression", "LinearRegression", "Ridge", "Lasso", "ElasticNet", "RidgeCV", "LassoCV", "ElasticNetCV"}
    | {"LogisticRegressionCV", "SGDClassifier", "SGDRegressor", "BayesianRidge", "HuberRegressor"}
)


def contributions(model: Any, frame: pl.DataFrame) -> NDArray[np.float64]:
    """Return exact shares of columns, (rows, sums, columns + 1); the last column is the base.

    Their sum is the raw answer: log-odds or logits of a linear classifier and of gradient boosting, probability of a
    forest, value of a regression. The base of a linear model is its intercept, which it answers where all that it is
    given is zero: means of standardised columns, no category of encoded ones.

    Args:
        model: a linear model, an ensemble of trees, or a pipeline that ends in one and before it makes of each column
            one or several: the shares of these are added up, which is exact.
        frame: rows of its inputs, in its order.

    Raises:
        Invalid: it is something else.
        MissingExtra: it is an ensemble, and shap is not installed.

    Source: Lundberg, Erion, Lee: Consistent individualized feature attribution for tree ensembles (2018).
    """
    import numpy as np

    names = names_in(model, frame.columns)
    steps = getattr(model, "steps", None)
    if names is not None:
        frame = select(frame, names)
    rows: Any = frame if names is not None and steps else matrix(frame)
    places = list(range(frame.width))
    if steps:
        rows, places = _through(steps[:-1], rows, places)
        model = steps[-1][1]
    if type(model).__name__ in _LINEAR:
        base = np.ravel(np.asarray(model.intercept_, dtype=np.float64))
        table = np.asarray(rows, dtype=np.float64)[:, None, :] * np.atleast_2d(model.coef_)[None, :, :]
    else:
        table, base = _tree_shares(model, rows)
    if places != list(range(frame.width)):
        whole = np.zeros((*table.shape[:2], frame.width))
        for made, place in enumerate(places):
            whole[:, :, place] += table[:, :, made]
        table = whole
    return np.concatenate([table, np.broadcast_to(base[None, :, None], (*table.shape[:2], 1))], axis=2)


def _tree_shares(model: Any, rows: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return TreeSHAP values of an ensemble, (rows, sums, columns), and the bases."""
    import numpy as np

    try:
        import shap
    except ImportError:
        raise MissingExtra.named("explain", "shap") from None
    try:
        explainer = shap.TreeExplainer(model)
        values = np.asarray(explainer.shap_values(rows, check_additivity=False), dtype=np.float64)
    except Exception as error:  # border to shap, whose errors have no common class
        kind = type(model).__name__
        raise Invalid(f"{kind} is no ensemble of trees that shap explains.", about="model") from error
    base = np.ravel(np.asarray(explainer.expected_value, dtype=np.float64))
    table = values[:, None, :] if values.ndim == 2 else np.moveaxis(values, 2, 1)
    return table, base


def _through(steps: list[tuple[str, Any]], rows: Any, places: list[int]) -> tuple[Any, list[int]]:
    """Return the rows behind some steps of a pipeline, and of which input each of their columns is made."""
    import numpy as np

    for _, step in steps:
        made = origins(step, len(places))
        rows = step.transform(rows)
        if made is None or rows.shape[1] != len(made):
            raise Invalid(
                f"{type(step).__name__} mixes columns, so that shares of the inputs cannot be told.", about="model"
            )
        places = [places[place] for place in made]
    dense = rows.toarray() if hasattr(rows, "toarray") else rows
    return np.asarray(matrix(dense) if hasattr(dense, "to_numpy") else dense, dtype=np.float64), places
