"""TreeSHAP values of ensembles of scikit-learn, by shap, on the original."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interlock.core.errors import Invalid, MissingExtra
from interlock.registry.flavors.frames import matrix, names_in, select
from interlock.registry.flavors.origins import origins

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray


def tree_contributions(model: Any, frame: pl.DataFrame) -> NDArray[np.float64]:
    """Return TreeSHAP values, (rows, sums, columns + 1); the last column is the base.

    Their sum is the raw answer: log-odds of gradient boosting, probability of a forest, value of a regression.

    Args:
        model: an ensemble of trees, or a pipeline that ends in one and before it makes of each column one or several:
            the shares of these are added up, which is exact.
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
    names = names_in(model, frame.columns)
    steps = getattr(model, "steps", None)
    if names is not None:
        frame = select(frame, names)
    rows: Any = frame if names is not None and steps else matrix(frame)
    places = list(range(frame.width))
    if steps:
        rows, places = _through(steps[:-1], rows, places)
        model = steps[-1][1]
    try:
        explainer = shap.TreeExplainer(model)
        values = np.asarray(explainer.shap_values(rows, check_additivity=False), dtype=np.float64)
    except Exception as error:  # border to shap, whose errors have no common class
        kind = type(model).__name__
        raise Invalid(f"{kind} is no ensemble of trees that shap explains.", about="model") from error
    base = np.ravel(np.asarray(explainer.expected_value, dtype=np.float64))
    table = values[:, None, :] if values.ndim == 2 else np.moveaxis(values, 2, 1)
    if places != list(range(frame.width)):
        whole = np.zeros((*table.shape[:2], frame.width))
        for made, place in enumerate(places):
            whole[:, :, place] += table[:, :, made]
        table = whole
    return np.concatenate([table, np.broadcast_to(base[None, :, None], (*table.shape[:2], 1))], axis=2)


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
