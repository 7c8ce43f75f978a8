"""Scores of a bundle's serving form."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression

from interlock.core.bundles import Agreement, Bundle
from interlock.core.errors import Invalid
from interlock.registry.flavors import scoring
from interlock.registry.flavors.frames import columns_of
from interlock.registry.flavors.onnx_file import to_onnx

FRAME = pl.DataFrame(np.random.default_rng(0).normal(size=(101, 2)), schema=["a", "b"])
ESTIMATOR = LogisticRegression().fit(FRAME, (FRAME["a"] > 0).to_numpy())
BUNDLE = Bundle("sklearn", "classification", columns_of(FRAME), "y", (0, 1), {}, Agreement(1, 0.0, 1e-4, 0), "matrix")
DATA = to_onnx(ESTIMATOR, BUNDLE.inputs, BUNDLE.layout)


def test_scores_are_the_positive_classes_probabilities() -> None:
    scores = scoring.score_frame(BUNDLE, DATA, FRAME.select("b", pl.lit("x").alias("more"), "a"))
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, ESTIMATOR.predict_proba(FRAME)[:, 1], atol=1e-6)


def test_blocks_do_not_show(monkeypatch) -> None:
    whole = scoring.score_frame(BUNDLE, DATA, FRAME)
    monkeypatch.setattr(scoring, "_BLOCK_ROWS", 10)
    np.testing.assert_array_equal(scoring.score_frame(BUNDLE, DATA, FRAME), whole)


def test_no_rows_have_no_scores() -> None:
    assert scoring.score_frame(BUNDLE, DATA, FRAME.head(0)).shape == (0,)


def test_missing_inputs_are_named() -> None:
    with pytest.raises(Invalid, match="lacks 1 of the model's 2 inputs: b"):
        scoring.score_frame(BUNDLE, DATA, FRAME.select("a"))


def test_bytes_that_are_no_graph_are_refused() -> None:
    with pytest.raises(Invalid, match="cannot load the model"):
        scoring.score_frame(BUNDLE, b"not a graph", FRAME)


def test_rows_that_the_graph_does_not_take_are_refused() -> None:
    data = to_onnx(ESTIMATOR, BUNDLE.inputs[:1] + BUNDLE.inputs, "matrix")
    with pytest.raises(Invalid, match="cannot be run on these rows"):
        scoring.score_frame(BUNDLE, data, FRAME)
