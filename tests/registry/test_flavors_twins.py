from __future__ import annotations

import hashlib
import itertools

import msgspec
import numpy as np
import polars as pl
import pytest
from sklearn.cluster import KMeans
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from interlock.registry.flavors.frames import drawn
from interlock.registry.flavors.twins import RECORD_FILE, TOLERANCE, Twin, judge, make_twin

DRAW = np.random.default_rng(2)
FRAME = pl.DataFrame(DRAW.normal(size=(300, 3)).astype(np.float32), schema=["a", "b", "c"])
SUM = FRAME.to_numpy().sum(axis=1)
TWO = (SUM > 0).astype(int)
THREE = np.array(["low", "mid", "high"])[np.digitize(SUM, [-1, 1])]


@pytest.mark.parametrize(
    ("model", "truth", "compared"),
    [
        (LogisticRegression(), TWO, "probabilities"),
        (LogisticRegression(), THREE, "probabilities"),
        (make_pipeline(StandardScaler(), LogisticRegression()), THREE, "probabilities"),
        (RandomForestClassifier(5, random_state=0), THREE, "probabilities"),
        (GradientBoostingClassifier(n_estimators=5), TWO, "probabilities"),
        (HistGradientBoostingClassifier(max_iter=3), TWO, "probabilities"),
        (HistGradientBoostingClassifier(max_iter=3), THREE, "probabilities"),
        (HistGradientBoostingRegressor(max_iter=3), SUM, "values"),
        (HistGradientBoostingRegressor(max_iter=3, loss="poisson"), np.abs(SUM), "values"),
        (RandomForestRegressor(5, random_state=0), SUM * 1000, "values"),
        (LinearRegression(), SUM, "values"),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "fit") else "",
)
def test_models_of_scikit_learn_get_a_twin(model, truth, compared: str) -> None:
    twin, files = make_twin(model.fit(FRAME, truth), FRAME.head(4), FRAME)
    assert (twin.verdict, twin.answers, twin.rows, twin.reason) == ("agrees", compared, 304, "")
    assert twin.compared == {"example": 4, "training": 300}
    assert twin.max_difference <= TOLERANCE
    assert {"scikit-learn", "onnx", "onnxruntime"} <= set(twin.versions)
    assert twin.digest == hashlib.sha256(files["model.onnx"]).hexdigest()
    assert msgspec.json.decode(files[RECORD_FILE], type=Twin) == twin


@pytest.mark.parametrize(
    ("model", "truth", "why"),
    [
        (KMeans(n_clusters=2, n_init=1), None, "neither probabilities nor values"),
        (IsolationForest(n_estimators=5), None, "neither probabilities nor values"),
        (StandardScaler(), None, "neither probabilities nor values"),
        (make_pipeline(FunctionTransformer(np.abs, validate=True), LogisticRegression()), TWO, "no ONNX form"),
        (RandomForestClassifier(3), np.column_stack([TWO, TWO]), "2 questions at once"),
        (object(), None, "scikit-learn, XGBoost and LightGBM are converted"),
    ],
)
def test_a_model_without_a_twin_says_why(model, truth, why: str) -> None:
    if hasattr(model, "fit"):
        model.fit(FRAME, truth)
    twin, files = make_twin(model, FRAME.head(3))
    assert twin.verdict == "none"
    assert why in twin.reason
    assert set(files) == {RECORD_FILE}


def test_of_many_training_rows_the_same_sample_is_compared_always() -> None:
    long = pl.concat([FRAME] * 20)
    twin, _ = make_twin(LogisticRegression().fit(FRAME, TWO), FRAME.head(3), long)
    assert (twin.rows, twin.compared) == (2003, {"example": 3, "training": 2000})
    picked = drawn(6000)
    assert picked == drawn(6000) == sorted(set(picked))
    assert (len(picked), picked[0] < 30, picked[-1] > 5970) == (2000, True, True)
    steps = {after - before for before, after in itertools.pairwise(picked)}
    assert len(steps) > 5, "rows that repeat by a period do not fall through"
    assert drawn(7) == list(range(7))


def test_frames_without_the_models_columns_say_so() -> None:
    twin, _ = make_twin(LogisticRegression().fit(FRAME, TWO), FRAME.head(3).select("a", "b"))
    assert "lacks 1 of the model's 3 inputs" in twin.reason


def test_ties_are_told_from_flips() -> None:
    truth = np.array([[0.50001, 0.49999], [0.9, 0.1], [0.2, 0.8]])
    assert judge(truth, truth, ([0, 1], [1, 0, 1])) == Twin(
        "agrees", "", answers="probabilities", rows=3, max_difference=0.0, label_flips=0, ties=1
    )
    flipped = judge(truth, truth, ([0, 1], [0, 1, 1]))
    assert (flipped.verdict, flipped.label_flips, flipped.ties) == ("differs", 1, 0)


@pytest.mark.parametrize("wrong", [0.5, np.nan, np.inf])
def test_answers_that_differ_are_told_with_their_row(wrong: float) -> None:
    truth = np.array([[0.1, 0.9], [0.4, 0.6]])
    found = truth.copy()
    found[1, 1] = wrong
    twin = judge(truth, found, ([0, 1], [1, 1]))
    assert (twin.verdict, twin.label_flips) == ("differs", 0)
    assert "1 of 2 rows" in twin.reason
    assert "row 1" in twin.reason
    msgspec.json.encode(twin)


def test_values_are_compared_by_their_size() -> None:
    truth = np.array([[1e6], [2e6]])
    assert judge(truth, truth + 50, None).verdict == "agrees"
    assert judge(truth, truth + 500, None).verdict == "differs"
    assert judge(truth, truth.repeat(2, axis=1), None).verdict == "none"
