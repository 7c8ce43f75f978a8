"""Coefficients of estimators that are linear in their inputs."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import (
    Lasso,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    TweedieRegressor,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, PolynomialFeatures, RobustScaler, StandardScaler

from interlock.core.bundles import Linear
from interlock.registry.flavors.frames import columns_of
from interlock.registry.flavors.linear import linear_answers, linear_of

FRAME = pl.DataFrame(np.random.default_rng(3).normal(3, 2, size=(200, 3)), schema=["a", "b", "c"])
SUM = FRAME.to_numpy().sum(axis=1)
TWO = (SUM > 9).astype(int)
THREE = np.digitize(SUM, [7, 11])


@pytest.mark.parametrize(
    ("estimator", "truth"),
    [
        (LogisticRegression(), TWO),
        (LogisticRegression(fit_intercept=False), TWO),
        (LogisticRegression(solver="liblinear"), TWO),
        (LogisticRegression(), THREE),
        (SGDClassifier(loss="log_loss", random_state=0), TWO),
        (make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss", random_state=0)), THREE),
        (LinearRegression(), SUM),
        (LinearRegression(), SUM.reshape(-1, 1)),
        (Lasso(alpha=0.5), SUM),
        (PoissonRegressor(), np.abs(SUM)),
        (make_pipeline(StandardScaler(), MinMaxScaler(), Ridge()), SUM),
        (make_pipeline(MinMaxScaler((-1, 2)), StandardScaler(with_std=False), LogisticRegression()), TWO),
        (make_pipeline(RobustScaler(), MaxAbsScaler(), StandardScaler(with_mean=False), LogisticRegression()), THREE),
    ],
    ids=str,
)
def test_coefficients_answer_as_the_original(estimator, truth) -> None:
    estimator.fit(FRAME, truth)
    form = linear_of(estimator, columns_of(FRAME), FRAME)
    assert form is not None
    assert form.means == pytest.approx(FRAME.mean().row(0))
    wanted = estimator.predict_proba(FRAME) if hasattr(estimator, "classes_") else estimator.predict(FRAME)
    np.testing.assert_allclose(linear_answers(form, FRAME), np.asarray(wanted).reshape(200, -1), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("estimator", "truth"),
    [
        (RandomForestClassifier(2), TWO),
        (RidgeClassifier(), TWO),
        (SGDClassifier(loss="modified_huber"), TWO),
        (TweedieRegressor(link="identity"), SUM),
        (LinearRegression(), np.column_stack([SUM, SUM])),
        (make_pipeline(PolynomialFeatures(), LogisticRegression()), TWO),
        (make_pipeline(MinMaxScaler(clip=True), LogisticRegression()), TWO),
    ],
    ids=str,
)
def test_what_is_not_linear_in_its_inputs_has_none(estimator, truth) -> None:
    assert linear_of(estimator.fit(FRAME, truth), columns_of(FRAME), FRAME) is None


def test_a_constant_column_and_missing_values() -> None:
    frame = FRAME.with_columns(c=pl.lit(1.0))
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame, TWO)
    form = linear_of(model, columns_of(frame), frame.with_columns(a=pl.lit(None, pl.Float64)))
    assert form.means == (), "a column without values has no mean"
    np.testing.assert_allclose(linear_answers(form, frame), model.predict_proba(frame), atol=1e-12)


def test_large_sums_neither_overflow_nor_warn() -> None:
    form = Linear(("a",), ((1e3,),), (0.0,), "sigmoid")
    rows = pl.DataFrame({"a": [-1e3, 0.0, 1e3]})
    assert linear_answers(form, rows).tolist() == [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]
