"""The original as a skops file: equal bytes for equal estimators, and the same estimator when read."""

from __future__ import annotations

import io
import json
import pickle
import zipfile

import numpy as np
import pytest
import skops.io
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from interlock.registry.flavors.skops_file import to_skops, untrusted_types

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 3))
Y = (X[:, 0] + RNG.normal(size=300) > 0).astype(int)
ESTIMATORS = {
    "linear": make_pipeline(StandardScaler(), LogisticRegression()),
    "forest": RandomForestClassifier(3, max_depth=4, random_state=0),
    "boosting": HistGradientBoostingClassifier(max_iter=5, random_state=0),
}


@pytest.fixture(autouse=True)
def _one_thread():
    with threadpool_limits(1):  # boosting spins on busy machines
        yield


@pytest.fixture(params=ESTIMATORS.values(), ids=ESTIMATORS.keys())
def estimator(request):
    """Return an estimator, fitted."""
    return clone(request.param).fit(X, Y)


def test_equal_estimators_have_equal_bytes(estimator) -> None:
    data = to_skops(estimator)
    assert to_skops(pickle.loads(pickle.dumps(estimator))) == data
    assert to_skops(clone(estimator).fit(X, Y)) == data
    assert to_skops(clone(estimator).fit(X[:200], Y[:200])) != data


def test_it_reads_as_the_same_estimator(estimator) -> None:
    data = to_skops(estimator)
    read = skops.io.loads(data, trusted=list(untrusted_types(data)))
    np.testing.assert_array_equal(read.predict_proba(X), estimator.predict_proba(X))


def test_nothing_of_this_process_is_in_it(estimator) -> None:
    with zipfile.ZipFile(io.BytesIO(to_skops(estimator))) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert all(name.partition(".")[0].isdigit() for name in archive.namelist() if name != "schema.json")
        schema = archive.read("schema.json").decode()
    ids = list(_ids(json.loads(schema)))
    assert min(ids) > 0
    assert max(ids) <= len(ids)


def test_types_to_grant_are_told(estimator) -> None:
    types = untrusted_types(to_skops(estimator))
    assert all(name.startswith("sklearn.") for name in types)
    assert bool(types) == (not hasattr(estimator, "steps"))


def _ids(node):
    if isinstance(node, dict):
        if isinstance(node.get("__id__"), int):
            yield node["__id__"]
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from _ids(item)
