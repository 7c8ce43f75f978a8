from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.data.profile import profile


@given(st.lists(st.none() | st.integers(-1000, 1000), min_size=1, max_size=60))
def test_figures_equal_polars_own(values: list[int | None]) -> None:
    column = pl.Series("x", values, pl.Int64)
    found = profile(pl.DataFrame([column])).columns[0]
    assert found.nulls == column.null_count()
    assert found.distinct == column.drop_nulls().n_unique()
    assert found.minimum == column.min()
    assert found.maximum == column.max()
    assert found.mean == pytest.approx(column.mean()) if column.drop_nulls().len() else found.mean is None
    assert sum(count for _, count in found.top) <= column.drop_nulls().len()


def test_kinds_and_top_values() -> None:
    frame = pl.DataFrame(
        {"a": ["x", "y", "x"], "b": [1.5, 2.5, None], "c": [True, False, True], "d": [f"t{n}" for n in range(3)]}
    )
    found = {column.name: column for column in profile(frame).columns}
    assert [found[name].kind for name in "abc"] == ["category", "float", "boolean"]
    assert found["a"].top == (("x", 2), ("y", 1))
    assert found["b"].top == ()
    assert found["b"].nulls == 1


def test_text_of_many_values_is_no_category() -> None:
    assert profile(pl.DataFrame({"a": [f"t{n}" for n in range(201)]})).columns[0].kind == "text"
    assert profile(pl.DataFrame({"a": [f"t{n}" for n in range(200)]})).columns[0].kind == "category"
    assert len(profile(pl.DataFrame({"a": [f"t{n}" for n in range(200)]})).columns[0].top) == 200
