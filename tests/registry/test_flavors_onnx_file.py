"""ONNX graphs of estimators: they load, take what `tensors` gives, and answer as the original does."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import threadpool_limits

from interlock.core.bundles import Column
from interlock.core.errors import Invalid
from interlock.registry.flavors.frames import columns_of, for_estimator, layout_of, tensors
from interlock.registry.flavors.onnx_file import to_onnx
from interlock.registry.flavors.scoring import open_session

ROWS = 400
RNG = np.random.default_rng(0)
FRAME = pl.DataFrame(
    {
        "age": RNG.integers(18, 70, ROWS),
        "pay": RNG.normal(size=ROWS).astype(np.float32),
        "member": RNG.random(ROWS) < 0.5,
        "job": pl.Series(RNG.choice(["a", "b", "c"], ROWS), dtype=pl.Categorical),
    }
)
Y = ((FRAME["age"].to_numpy() > 40) ^ (RNG.random(ROWS) < 0.2)).astype(int)
NUMBERS = FRAME.drop("job")
ARRAY = NUMBERS.cast(pl.Float64).to_numpy()


@pytest.fixture(autouse=True)
def _one_thread():
    with threadpool_limits(1):  # boosting spins on busy machines
        yield


def probabilities(estimator, frame: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return both probabilities as ONNX and as the original give them."""
    columns = columns_of(frame)
    layout = layout_of(columns)
    data = to_onnx(estimator, columns, layout)
    assert data == to_onnx(estimator, columns, layout)
    session = open_session(data)
    assert [output.name for output in session.get_outputs()] == ["label", "probabilities"]
    label, scores = session.run(None, tensors(frame, columns, layout))
    original = estimator.predict_proba(for_estimator(estimator, frame))
    sure = np.abs(original[:, 1] - 0.5) > 1e-5
    np.testing.assert_array_equal(label[sure], estimator.predict(for_estimator(estimator, frame))[sure])
    return scores, original


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(max_iter=1000),
        make_pipeline(StandardScaler(), LogisticRegression()),
        DecisionTreeClassifier(max_depth=4, random_state=0),
        RandomForestClassifier(5, random_state=0),
        ExtraTreesClassifier(5, random_state=0),
        GradientBoostingClassifier(n_estimators=5, random_state=0),
        HistGradientBoostingClassifier(max_iter=5, random_state=0),
        GaussianNB(),
        CalibratedClassifierCV(LogisticRegression(max_iter=1000), cv=2),
    ],
    ids=lambda estimator: type(estimator[-1] if hasattr(estimator, "steps") else estimator).__name__,
)
@pytest.mark.parametrize("named", [True, False], ids=["frame", "array"])
def test_numbers_agree(estimator, named: bool) -> None:
    estimator = clone(estimator).fit(NUMBERS if named else ARRAY, Y)
    scores, original = probabilities(estimator, NUMBERS)
    np.testing.assert_allclose(scores, original, atol=2e-6)


@pytest.mark.parametrize(
    "transformer",
    [
        make_column_transformer((StandardScaler(), ["age", "pay"]), remainder="passthrough"),
        make_column_transformer((OneHotEncoder(), ["age", "member"]), remainder="passthrough"),
        make_column_transformer((SimpleImputer(), ["pay"])),
    ],
    ids=["scaled", "coded", "dropped"],
)
def test_columns_picked_by_name_still_take_one_matrix(transformer) -> None:
    estimator = make_pipeline(transformer, LogisticRegression(max_iter=1000)).fit(NUMBERS, Y)
    scores, original = probabilities(estimator, NUMBERS)
    np.testing.assert_allclose(scores, original, atol=2e-6)
    session = open_session(to_onnx(estimator, columns_of(NUMBERS), "matrix"))
    assert [(node.name, node.shape[1]) for node in session.get_inputs()] == [("inputs", 3)]


@pytest.mark.parametrize(
    "estimator",
    [
        make_pipeline(
            make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["job"]), remainder="passthrough"),
            LogisticRegression(max_iter=1000),
        ),
        make_pipeline(
            make_column_transformer((OrdinalEncoder(), ["job"]), remainder="passthrough"),
            HistGradientBoostingClassifier(max_iter=5, random_state=0),
        ),
        make_pipeline(
            make_column_transformer((OneHotEncoder(), ["job"]), (StandardScaler(), ["age"])), LogisticRegression()
        ),
    ],
    ids=["one-hot", "ordinal", "dropping"],
)
def test_texts_agree_and_every_input_is_declared(estimator) -> None:
    estimator.fit(FRAME, Y)
    scores, original = probabilities(estimator, FRAME)
    np.testing.assert_allclose(scores, original, atol=2e-6)
    session = open_session(to_onnx(estimator, columns_of(FRAME), "columns"))
    assert [(node.name, node.type) for node in session.get_inputs()] == [
        ("age", "tensor(float)"),
        ("pay", "tensor(float)"),
        ("member", "tensor(float)"),
        ("job", "tensor(string)"),
    ]


def test_fitted_on_pandas_is_scored_from_polars() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"age": FRAME["age"].to_list(), "job": FRAME["job"].to_list()})
    estimator = make_pipeline(
        make_column_transformer((OneHotEncoder(), ["job"]), remainder="passthrough"), LogisticRegression(max_iter=1000)
    ).fit(frame, Y)
    scores, original = probabilities(estimator, FRAME.select("age", "job"))
    np.testing.assert_allclose(scores, original, atol=2e-6)
    np.testing.assert_allclose(original, estimator.predict_proba(frame))


def test_boosting_knows_where_empty_values_go() -> None:
    frame = NUMBERS.with_columns(pay=pl.when(pl.col("age") % 3 > 0).then("pay"))
    estimator = HistGradientBoostingClassifier(max_iter=20, random_state=0).fit(frame, Y)
    scores, original = probabilities(estimator, frame)
    np.testing.assert_allclose(scores, original, atol=2e-6)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_boosting_meets_its_thresholds_exactly(kind) -> None:
    rng = np.random.default_rng(3)
    frame = pl.DataFrame(rng.normal(size=(3000, 4)).astype(kind), schema=list("abcd"))
    labels = (frame["a"] * frame["b"] + rng.normal(size=3000) > 0).to_numpy().astype(int)
    estimator = HistGradientBoostingClassifier(max_iter=30, random_state=0).fit(frame, labels)
    scores, original = probabilities(estimator, frame)
    np.testing.assert_allclose(scores, original, atol=2e-6)


def test_boosting_with_labels_other_than_0_and_1() -> None:
    estimator = HistGradientBoostingClassifier(max_iter=3, random_state=0).fit(ARRAY, Y + 4)
    session = open_session(to_onnx(estimator, columns_of(NUMBERS), "matrix"))
    (label,) = session.run(["label"], tensors(NUMBERS, columns_of(NUMBERS), "matrix"))
    assert label.tolist() == estimator.predict(ARRAY).tolist()


def test_boosting_that_splits_categories_is_refused() -> None:
    estimator = HistGradientBoostingClassifier(categorical_features=[0], max_iter=3).fit(ARRAY % 50, Y)
    with pytest.raises(Invalid, match="trees split categories") as caught:
        to_onnx(estimator, columns_of(NUMBERS), "matrix")
    assert "OrdinalEncoder" in caught.value.hint


class Doubler(TransformerMixin, BaseEstimator):
    """A transformer of the user's own."""

    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return X * 2


def test_a_part_without_an_onnx_form_is_named() -> None:
    estimator = make_pipeline(Doubler(), LogisticRegression(max_iter=1000)).fit(ARRAY, Y)
    with pytest.raises(Invalid, match=r"no ONNX form.*Doubler") as caught:
        to_onnx(estimator, [Column(name, "float") for name in NUMBERS.columns], "matrix")
    assert "step before the model" in caught.value.hint
