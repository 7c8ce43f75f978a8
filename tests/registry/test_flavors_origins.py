"""Of which input each column behind a step is made."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from interlock.registry.flavors.origins import origins

DRAW = np.random.default_rng(5)
TABLE = DRAW.integers(0, 4, size=(80, 3)).astype(float)


@pytest.mark.parametrize(
    "step",
    [
        OneHotEncoder(),
        OneHotEncoder(drop="first"),
        OneHotEncoder(drop="if_binary", min_frequency=22, handle_unknown="ignore"),
        OneHotEncoder(max_categories=2, handle_unknown="infrequent_if_exist"),
        make_pipeline(SimpleImputer(), OneHotEncoder()),
        ColumnTransformer(
            [("hot", OneHotEncoder(), [2]), ("z", StandardScaler(), slice(0, 1))], remainder="passthrough"
        ),
        ColumnTransformer([("hot", make_pipeline(SimpleImputer(), OneHotEncoder()), [1, -1])]),
    ],
)
def test_a_column_follows_its_origin_and_no_other(step) -> None:
    step.fit(TABLE)
    whole = np.asarray(getattr(step.transform(TABLE), "todense", lambda: step.transform(TABLE))())
    found = origins(step, 3)
    assert found is not None
    assert len(found) == whole.shape[1]
    for place in range(3):
        changed = TABLE.copy()
        changed[:, place] = DRAW.permutation(changed[:, place])
        other = np.asarray(getattr(step.transform(changed), "todense", lambda c=changed: step.transform(c))())
        moved = {int(column) for column in np.flatnonzero((whole != other).any(axis=0))}
        assert moved <= {column for column, origin in enumerate(found) if origin == place}


@pytest.mark.parametrize(
    "step",
    [
        PCA(2),
        SimpleImputer(add_indicator=True),
        FunctionTransformer(np.log1p),
        make_pipeline(StandardScaler(), PCA(2)),
        ColumnTransformer([("mixed", PCA(1), [0, 1])]),
        ColumnTransformer([("by mask", StandardScaler(), [True, False, True])]),
    ],
)
def test_what_mixes_columns_has_none(step) -> None:
    assert origins(step.fit(TABLE), 3) is None
