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


def test_values_are_compared_by_their_spread() -> None:
    truth = np.array([[1e6], [2e6]])
    assert judge(truth, truth + 40, None).verdict == "agrees"
    assert judge(truth, truth + 500, None).verdict == "differs"
    assert judge(truth, truth.repeat(2, axis=1), None).verdict == "none"


@pytest.mark.parametrize(("offset", "size"), [(1e6, 20.0), (0.0, 1e-6), (-1e9, 1e3), (1e300, 1e299)])
def test_a_twin_that_always_answers_the_mean_does_not_agree(offset: float, size: float) -> None:
    truth = offset + size * DRAW.uniform(-1, 1, (200, 1))
    constant = np.full_like(truth, truth.mean())
    assert judge(truth, constant, None).verdict == "differs"
    assert judge(truth, truth + 1e-5 * size, None).verdict == "agrees"


def test_values_that_32_bits_cannot_tell_apart_say_so() -> None:
    truth = 1e6 + DRAW.uniform(-20, 20, (200, 1))
    twin = judge(truth, truth.astype(np.float32).astype(np.float64), None)
    assert twin.verdict == "differs"
    assert "32-bit floats of the size of these values are 0.119 apart" in twin.reason
    assert "32-bit" not in judge(truth - 1e6, truth - 1e6 + 5, None).reason
    wide = FRAME.cast(pl.Float64)  # of 32-bit columns, the original itself answers in 32 bits
    made, files = make_twin(LinearRegression().fit(wide, 1e7 + SUM), wide.head(4), wide)
    assert (made.verdict, set(files)) == ("differs", {RECORD_FILE})
    assert "32-bit" in made.reason


@pytest.mark.parametrize("constant", [0.0, 1e-9, 3.0, -1e6])
def test_a_constant_is_compared_by_the_steps_of_32_bit_floats(constant: float) -> None:
    truth = np.full((50, 1), constant)
    near = truth.astype(np.float32).astype(np.float64)
    assert judge(truth, near, None).verdict == "agrees"
    assert judge(truth, near + abs(constant) * 5e-7, None).verdict == "agrees"
    assert judge(truth, near + max(abs(constant) * 2e-6, 1e-30), None).verdict == "differs"
    assert judge(truth, truth + np.inf, None).verdict == "differs"
