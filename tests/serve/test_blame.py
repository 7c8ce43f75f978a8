from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.serve.blame import Blame

GOOD = {"city": "Oslo", "age": 20}


class Fussy:
    """A model that fails as a whole, or row by row, over some values of a column."""

    def __init__(self, column, bad, whole):
        self.column, self.bad, self.whole, self.calls = column, bad, whole, 0

    def __call__(self, columns):
        self.calls += 1
        failed = [i for i, value in enumerate(columns[self.column]) if value in self.bad]
        return None if failed and self.whole else failed


@pytest.mark.parametrize("whole", [True, False])
def test_the_values_that_fail_alone_are_found_by_column_and_row(whole):
    fussy = Fussy("city", {"Rome", None}, whole)
    found = Blame(GOOD, fussy).find({"city": ["Rome", "Oslo", None, "Rome"], "age": [1, 2, 3, 4]})
    assert [(f.rule, f.column, f.rows, f.count) for f in found] == [
        ("missing", "city", (2,), 1),
        ("value", "city", (0, 3), 2),
    ]
    assert "Rome" not in str(found)


def test_a_missing_number_may_be_nan():
    found = Blame(GOOD, Fussy("age", {None}, False)).find({"city": ["Oslo"] * 2, "age": [1.0, float("nan")]})
    assert [(f.rule, f.rows) for f in found] == [("missing", (1,))]


def test_nobody_is_blamed_when_no_value_alone_fails():
    assert Blame(GOOD, Fussy("city", set(), True)).find({"city": ["Rome"], "age": [1]}) == []


def test_it_gives_up_after_some_tries():
    fussy = Fussy("age", set(range(10_000)), True)
    Blame(GOOD, fussy).find({"city": ["Oslo"] * 10_000, "age": list(range(10_000))})
    assert fussy.calls <= 200


@given(st.lists(st.integers(0, 20), min_size=1, max_size=40), st.sets(st.integers(0, 20), max_size=3))
def test_exactly_the_bad_rows_are_found(ages, bad):
    found = Blame({**GOOD, "age": 99}, Fussy("age", bad, True)).find({"city": ["Oslo"] * len(ages), "age": ages})
    rows = [row for row, age in enumerate(ages) if age in bad]
    assert [row for f in found for row in f.rows] == rows[:10]
    assert sum(f.count for f in found) == len(rows)
