"""Coefficients in NumPy: every link, one row and many, and no overflow."""

from __future__ import annotations

import numpy as np
import pytest

from interlock.core.bundles import Agreement, Bundle, Column, Linear
from interlock.serve.engines.linear import LinearRunner


def runner(link: str, sums: int = 1, classes=(0, 1)) -> LinearRunner:
    task = "classification" if classes else "regression"
    inputs = (Column("a", "float"), Column("b", "float"))
    bundle = Bundle("sklearn", task, inputs, "y", tuple(classes), {}, Agreement(1, 0.0, 1e-4, 0))
    weights = tuple((1.0 + i, -0.5 * i) for i in range(sums))
    return LinearRunner(Linear(("a", "b"), weights, tuple(0.25 * i - 0.5 for i in range(sums)), link), bundle)


@pytest.mark.parametrize("rows", [1, 2, 50])
@pytest.mark.parametrize(
    ("link", "sums", "classes"),
    [("sigmoid", 1, (0, 1)), ("softmax", 3, "xyz"), ("shares", 3, "xyz"), ("identity", 1, ()), ("exp", 1, ())],
)
def test_every_link(link, sums, classes, rows) -> None:
    table = np.random.default_rng(0).normal(size=(rows, 2))
    before = table.copy()
    weights = np.array([(1.0 + i, -0.5 * i) for i in range(sums)])
    raw = table @ weights.T + 0.25 * np.arange(sums) - 0.5
    each = 1 / (1 + np.exp(-raw))
    wanted = {
        "sigmoid": each,
        "softmax": np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True),
        "shares": each / each.sum(axis=1, keepdims=True),
        "identity": raw,
        "exp": np.exp(raw),
    }[link]
    found = runner(link, sums, classes).run({"inputs": table})
    assert found.shape == (rows, sums)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    np.testing.assert_array_equal(table, before)


@pytest.mark.parametrize("size", [1e4, 1e300])
def test_large_sums_neither_overflow_nor_warn(size) -> None:
    for rows in ([[size, 0.0]], [[size, 0.0], [-size, 0.0]]):
        assert runner("sigmoid").run({"inputs": np.array(rows)})[:, 0].tolist() == [1.0, 0.0][: len(rows)]
        assert runner("softmax", 3, "xyz").run({"inputs": np.array(rows)}).sum(axis=1).tolist() == [1.0] * len(rows)


def test_a_missing_number_stays_missing() -> None:
    assert np.isnan(runner("sigmoid").run({"inputs": np.array([[np.nan, 1.0]])})).all()
    assert np.isnan(runner("sigmoid").run({"inputs": np.array([[np.nan, 1.0]] * 3)})).all()
