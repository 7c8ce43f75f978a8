from __future__ import annotations

import pytest

from interlock.core.errors import Invalid
from interlock.serve.records import by_column


def test_rows_become_columns_and_what_one_lacks_is_none():
    assert by_column([{"a": 1, "b": 2}, {"b": 3, "c": 4}]) == {"a": [1, None], "b": [2, 3], "c": [None, 4]}
    assert by_column([]) == {}


def test_many_rows_with_names_of_their_own_are_refused_before_they_fill_the_memory():
    """A body of some hundred kilobytes would become gigabytes."""
    with pytest.raises(Invalid, match="30000 rows have 30000 different names"):
        by_column([{f"n{number}": 1} for number in range(30_000)])
    assert len(by_column([{"a": 1}] * 100_000)["a"]) == 100_000
