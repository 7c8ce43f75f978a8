"""The flavor for scikit-learn: what it recognises, what it writes, what it refuses."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.cluster import KMeans
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from interlock.core.bundles import Column
from interlock.core.errors import Invalid, MissingExtra
from interlock.registry.flavors.sklearn import Sklearn, classes_of

X = np.random.default_rng(0).normal(size=(60, 2))
Y = (X[:, 0] > 0).astype(int)
FRAME = pl.DataFrame(X, schema=["a", "b"])


class Foreign:
    """An estimator of another library."""

    def get_params(self):
        return {}


@pytest.mark.parametrize(
    ("estimator", "known"),
    [
        (LogisticRegression(), True),
        (make_pipeline(StandardScaler(), LogisticRegression()), True),
        (KMeans(), True),
        (Foreign(), False),
        (make_pipeline(StandardScaler(), Foreign()), False),
        ("text", False),
    ],
)
def test_recognises_what_scikit_learn_brings(estimator, known: bool) -> None:
    assert Sklearn().recognise(estimator) is known


def test_saves_both_forms_and_says_what_they_are(tmp_path) -> None:
    estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(FRAME.select("b", "a"), Y)
    facts = Sklearn().save(estimator, FRAME, tmp_path)
    assert facts["classes"] == (0, 1)
    assert facts["inputs"] == (Column("b", "float", nulls=False), Column("a", "float", nulls=False))
    assert facts["layout"] == "matrix"
    assert facts["untrusted"] == ()
    assert set(facts["versions"]) == {"scikit-learn", "skl2onnx", "onnx", "skops"}
    assert {path.name for path in tmp_path.iterdir()} == set(facts["files"].values())


@pytest.mark.parametrize(
    ("estimator", "labels", "message"),
    [
        (LogisticRegression(), None, "no fitted classifier or regressor"),
        (LinearRegression(), None, "no fitted classifier or regressor"),
        (KMeans(2), Y, "no fitted classifier or regressor"),
        (RandomForestClassifier(2), np.column_stack([Y, 1 - Y]), "answers 2 questions at once"),
        (RandomForestClassifier(2), Y * 0, "saw one class only"),
        (LinearSVC(), Y, "no probabilities"),
        (RandomForestClassifier(2), np.where(Y, "1999-01-01", "2000-01-01").astype("M8[D]"), "neither whole numbers"),
    ],
)
def test_refuses_what_cannot_be_served(estimator, labels, message: str, tmp_path) -> None:
    if labels is not None:
        estimator.fit(X, labels)
    with pytest.raises(Invalid, match=message) as caught:
        Sklearn().save(estimator, FRAME, tmp_path)
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("labels", [Y, Y.astype(bool), Y.astype(float), Y.astype(np.int8), Y * 3 - 1])
def test_labels_are_whole_numbers_the_positive_one_last(labels) -> None:
    estimator = LogisticRegression().fit(X, labels)
    assert classes_of(estimator) == tuple(int(label) for label in sorted(set(labels.tolist())))


@pytest.mark.parametrize(
    ("estimator", "labels", "classes"),
    [
        (LogisticRegression(), np.arange(60) % 3, (0, 1, 2)),
        (LogisticRegression(), np.where(Y, "yes", "no"), ("no", "yes")),
        (HistGradientBoostingClassifier(max_iter=2), np.where(Y, "yes", "no"), ("no", "yes")),
        (LinearRegression(), X[:, 0], ()),
        (HistGradientBoostingRegressor(max_iter=2), X[:, 0], ()),
    ],
)
def test_more_classes_names_and_values(estimator, labels, classes, tmp_path) -> None:
    facts = Sklearn().save(estimator.fit(X, labels), FRAME, tmp_path)
    assert facts["classes"] == classes
    assert (tmp_path / "model.onnx").exists()


def test_says_what_to_install(monkeypatch, tmp_path) -> None:
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "skl2onnx" else found(name))
    with pytest.raises(MissingExtra, match="skl2onnx") as caught:
        Sklearn().save(LogisticRegression().fit(X, Y), FRAME, tmp_path)
    assert "interlock[train]" in caught.value.hint
