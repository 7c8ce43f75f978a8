"""Estimators that are linear in their inputs, as one set of coefficients: scalers before them are folded in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.core.bundles import Linear
from interlock.registry.flavors.frames import matrix

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from interlock.core.bundles import Column

LINEAR: Final = "linear"
LINEAR_FILE: Final = "linear.json"
_REGRESSORS: Final = frozenset(
    {
        *("ARDRegression", "BayesianRidge", "ElasticNet", "ElasticNetCV", "HuberRegressor", "Lars", "LarsCV", "Lasso"),
        *("LassoCV", "LassoLars", "LassoLarsCV", "LassoLarsIC", "LinearRegression", "LinearSVR"),
        *("OrthogonalMatchingPursuit", "OrthogonalMatchingPursuitCV", "QuantileRegressor", "Ridge", "RidgeCV"),
        *("SGDRegressor", "TheilSenRegressor"),
    }
)
_EXPONENTIAL: Final = frozenset({"GammaRegressor", "PoissonRegressor"})
_MULTINOMIAL: Final = frozenset({"LogisticRegression", "LogisticRegressionCV"})


def linear_of(estimator: Any, columns: Sequence[Column], inputs: pl.DataFrame) -> Linear | None:
    """Return the coefficients of an estimator; None of one that is not linear in its inputs.

    Args:
        estimator: a fitted estimator of scikit-learn, or a pipeline of scalers and one.
        columns: its inputs, in its order.
        inputs: training rows, for the mean of each column.
    """
    import numpy as np

    if type(estimator).__module__.partition(".")[0] != "sklearn" or any(c.type == "string" for c in columns):
        return None
    steps = [step for _, step in getattr(estimator, "steps", [("", estimator)]) if step not in ("passthrough", None)]
    link = _link(steps[-1]) if steps else None
    shift, factor = np.zeros(len(columns)), np.ones(len(columns))
    for step in steps[:-1]:
        found = _scaler(step, len(columns))
        if found is None:
            return None
        # Rows become (row - shift) * factor; one more scaler moves and stretches what the ones before it made.
        shift, factor = shift + found[0] / factor, factor * found[1]
    if link is None or not np.isfinite(factor).all() or not np.isfinite(shift).all():
        return None
    weights = np.atleast_2d(np.asarray(steps[-1].coef_, dtype=np.float64))
    start = np.broadcast_to(np.asarray(steps[-1].intercept_, dtype=np.float64).reshape(-1), (len(weights),))
    if weights.shape[1] != len(columns):
        return None
    weights = weights * factor
    rows = matrix(inputs.select([column.name for column in columns]))
    means = np.nanmean(rows, axis=0) if len(rows) and not np.isnan(rows).all(axis=0).any() else np.empty(0)
    return Linear(
        columns=tuple(column.name for column in columns),
        coefficients=tuple(tuple(row) for row in weights.tolist()),
        intercepts=tuple((start - weights @ shift).tolist()),
        link=link,
        means=tuple(means.tolist()) if np.isfinite(means).all() else (),
    )


def linear_bytes(form: Linear) -> bytes:
    """Return the file of coefficients."""
    return msgspec.json.format(msgspec.json.encode(form), indent=2) + b"\n"


def linear_answers(form: Linear, frame: pl.DataFrame) -> NDArray[np.float64]:
    """Return what coefficients answer for rows: (rows, classes), of a regression (rows, 1).

    Args:
        form: the coefficients.
        frame: rows with its columns.
    """
    import numpy as np

    rows = matrix(frame.select(form.columns))
    sums = rows @ np.array(form.coefficients).T + np.array(form.intercepts)
    if form.link == "identity":
        return np.asarray(sums)
    if form.link == "exp":
        return np.asarray(np.exp(sums))
    if form.link == "softmax":
        shares = np.exp(sums - sums.max(axis=1, keepdims=True))
        return np.asarray(shares / shares.sum(axis=1, keepdims=True))
    positive = 0.5 * np.tanh(sums / 2) + 0.5
    if form.link == "sigmoid":
        return np.concatenate([1 - positive, positive], axis=1)
    return np.asarray(positive / positive.sum(axis=1, keepdims=True))


def _link(estimator: Any) -> Any:
    """Return the link of a linear estimator; None of one that is not linear, or has another one."""
    kind = type(estimator).__name__
    if not hasattr(estimator, "coef_") or not type(estimator).__module__.startswith(("sklearn.linear_model", _SVM)):
        return None
    if kind in _REGRESSORS or kind in _EXPONENTIAL:
        one = getattr(estimator.coef_, "ndim", 1) == 1 or len(estimator.coef_) == 1
        return ("identity" if kind in _REGRESSORS else "exp") if one else None
    classes = len(getattr(estimator, "classes_", ()))
    if kind in _MULTINOMIAL:
        # liblinear trains one model a class against the rest; two classes have one sum either way.
        return "sigmoid" if classes == 2 else "shares" if estimator.solver == "liblinear" else "softmax"
    if kind == "SGDClassifier" and estimator.loss == "log_loss":
        return "sigmoid" if classes == 2 else "shares"
    return None


_SVM: Final = "sklearn.svm"


def _scaler(step: Any, width: int) -> tuple[Any, Any] | None:
    """Return what a step takes off each column and multiplies it by; None of a step that does more."""
    import numpy as np

    kind = type(step).__name__
    zero, one = np.zeros(width), np.ones(width)
    if not type(step).__module__.startswith("sklearn.preprocessing") or getattr(step, "n_features_in_", width) != width:
        return None
    if kind == "StandardScaler":
        return (step.mean_ if step.with_mean else zero, one if step.scale_ is None else 1 / step.scale_)
    if kind == "MinMaxScaler" and not step.clip:
        return -step.min_ / step.scale_, step.scale_
    if kind == "MaxAbsScaler" and not getattr(step, "clip", False):
        return zero, 1 / step.scale_
    if kind == "RobustScaler":
        return (zero if step.center_ is None else step.center_, one if step.scale_ is None else 1 / step.scale_)
    return None
