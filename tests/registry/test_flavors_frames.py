"""Frames on their way into a model."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from interlock.core.bundles import Column
from interlock.core.errors import Invalid
from interlock.registry.flavors.frames import MATRIX, columns_of, for_estimator, layout_of, select, tensors

MIXED = pl.DataFrame(
    {
        "age": [30, 41],
        "pay": [1.5, None],
        "job": pl.Series(["a", None], dtype=pl.Categorical),
        "kind": pl.Series(["x", "y"], dtype=pl.Enum(["x", "y"])),
        "text": ["p", "q"],
        "member": [True, False],
    }
)


def test_each_type_has_its_logical_type() -> None:
    types = [column.type for column in columns_of(MIXED)]
    assert types == ["integer", "float", "string", "string", "string", "boolean"]


def test_numbers_that_may_be_empty_are_floats() -> None:
    columns = columns_of(pl.DataFrame({"a": [1, None], "b": [True, None]}))
    assert [column.type for column in columns] == ["float", "float"]


@pytest.mark.parametrize("values", [[[1, 2]], [b"x"], [None]])
def test_what_no_model_takes_is_refused_by_name(values) -> None:
    with pytest.raises(Invalid, match="'odd' holds") as caught:
        columns_of(pl.DataFrame({"odd": values}))
    assert "number or a text" in caught.value.hint


def test_one_text_makes_the_layout_columns() -> None:
    assert layout_of(columns_of(MIXED)) == "columns"
    assert layout_of(columns_of(MIXED.drop("job", "kind", "text"))) == "matrix"


def test_missing_columns_are_named_with_near_ones() -> None:
    with pytest.raises(Invalid, match="lacks 2 of the model's 3 inputs: ages, zzz") as caught:
        select(MIXED, ["ages", "job", "zzz"])
    assert [finding.column for finding in caught.value.findings] == ["ages", "zzz"]
    assert "'age'" in caught.value.findings[0].message


def test_matrix_is_one_float32_tensor_in_the_models_order() -> None:
    columns = [Column("pay", "float"), Column("member", "boolean"), Column("age", "integer")]
    feed = tensors(MIXED, columns, "matrix")
    assert list(feed) == [MATRIX]
    assert feed[MATRIX].dtype == np.float32
    np.testing.assert_array_equal(feed[MATRIX], np.array([[1.5, 1, 30], [np.nan, 0, 41]], np.float32))


def test_columns_are_one_tensor_each() -> None:
    feed = tensors(MIXED, columns_of(MIXED), "columns")
    assert {name: (array.dtype.kind, array.shape) for name, array in feed.items()} == {
        "age": ("f", (2, 1)),
        "pay": ("f", (2, 1)),
        "job": ("O", (2, 1)),
        "kind": ("O", (2, 1)),
        "text": ("O", (2, 1)),
        "member": ("f", (2, 1)),
    }
    assert feed["job"].ravel().tolist() == ["a", ""]


def test_numbers_are_read_as_texts_where_the_model_takes_texts() -> None:
    feed = tensors(pl.DataFrame({"code": [7, 8]}), [Column("code", "string")], "columns")
    assert feed["code"].ravel().tolist() == ["7", "8"]


def test_text_where_the_model_takes_numbers_is_refused() -> None:
    with pytest.raises(Invalid, match="'job' holds Categorical"):
        tensors(MIXED, [Column("job", "float")], "matrix")


def test_an_estimator_that_knows_names_gets_them_in_its_order() -> None:
    frame = pl.DataFrame({"a": [1.0, 2.0], "b": [3.0, 5.0]})
    estimator = LogisticRegression().fit(frame.select("b", "a"), [0, 1])
    assert for_estimator(estimator, frame).columns == ["b", "a"]
    with pytest.raises(Invalid, match="lacks"):
        for_estimator(estimator, frame.select("a"))


def test_an_estimator_without_names_gets_an_array() -> None:
    frame = pl.DataFrame({"a": [1, None], "b": [True, False]})
    estimator = LogisticRegression().fit(np.zeros((2, 2)), [0, 1])
    np.testing.assert_array_equal(for_estimator(estimator, frame), [[1, 1], [np.nan, 0]])
    with pytest.raises(Invalid, match="fitted on 2 columns, the frame has 1"):
        for_estimator(estimator, frame.select("a"))


@given(st.lists(st.tuples(st.floats(width=32, allow_infinity=False), st.integers(-(2**24), 2**24)), min_size=1))
def test_float32_values_and_small_integers_survive(rows) -> None:
    frame = pl.DataFrame(rows, schema={"x": pl.Float64, "n": pl.Int64}, orient="row")
    feed = tensors(frame, [Column("x", "float"), Column("n", "integer")], "matrix")[MATRIX]
    np.testing.assert_array_equal(feed, np.array(rows, dtype=np.float32))
