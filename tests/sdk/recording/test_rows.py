"""A part of the rows of a fit, in whatever form the script has them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import sparse

from interlock.sdk.recording import rows
from interlock.sdk.recording.models import files_of, frame

NUMBERS = np.arange(10_000.0).reshape(5_000, 2)


def arrow():
    pa = pytest.importorskip("pyarrow")
    return pa.table({"a": NUMBERS[:, 0], "b": NUMBERS[:, 1]})


def pandas():
    return pytest.importorskip("pandas").DataFrame(NUMBERS, columns=["a", "b"], index=NUMBERS[:, 0] * 3)


@pytest.mark.parametrize(
    "form",
    [
        lambda: NUMBERS,
        NUMBERS.tolist,
        lambda: [tuple(row) for row in NUMBERS],
        lambda: pl.DataFrame(NUMBERS, schema=["a", "b"]),
        pandas,
        arrow,
        lambda: sparse.csr_matrix(NUMBERS),
        lambda: sparse.csc_array(NUMBERS),
        lambda: sparse.coo_matrix(NUMBERS),
    ],
)
def test_a_sample_has_the_same_rows_in_every_form(form) -> None:
    whole = form()
    found = rows.sample(whole)
    assert rows.height(found) == 2000
    assert np.asarray(frame(found).to_numpy()).tolist() == NUMBERS[rows.picks(5_000, 2)].tolist()
    assert rows.sample(found) is found


def test_a_sample_of_wide_rows_has_fewer_of_them() -> None:
    assert len(rows.picks(10**9, 10)) == 2000
    assert len(rows.picks(10**9, 100_000)) == (32 << 20) // 800_000
    assert len(rows.picks(10**9, 10**9)) == rows.EXAMPLE_ROWS


def test_sparse_rows_have_a_twin_too() -> None:
    from sklearn.linear_model import LogisticRegression

    inputs = sparse.csr_matrix(np.eye(6)[np.arange(60) % 6])
    model = LogisticRegression().fit(inputs, np.arange(60) % 2)
    files, why = files_of(model, inputs[:5], inputs)
    assert (why, set(files)) == ("", {"model.skops", "model.onnx", "linear.json", "twin.json", "MLmodel"})
