from __future__ import annotations

import math
from array import array

from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.store.segments import Points
from interlock.track.sampling import sample

NAN = float("nan")


def series(values: list[float]) -> Points:
    return Points(array("q", range(len(values))), array("q", range(len(values))), array("d", values))


@settings(max_examples=50)
@given(st.lists(st.floats(width=16), min_size=1, max_size=120), st.integers(1, 60))
def test_samples_are_points_in_order_with_both_ends(values: list[float], most: int) -> None:
    found = sample(series(values), most)
    steps = [step for step, _, _ in found]
    assert len(found) == min(len(values), most) if len(values) <= most else len(found) <= most
    assert steps == sorted(set(steps))
    assert steps[-1] == len(values) - 1
    assert steps[0] == 0 or most == 1
    assert all(repr(value) == repr(values[step]) for step, _, value in found)


@settings(max_examples=50)
@given(st.lists(st.floats(allow_nan=False), min_size=40, max_size=120), st.integers(20, 39))
def test_no_extreme_is_lost(values: list[float], most: int) -> None:
    kept = [value for _, _, value in sample(series(values), most)]
    assert (min(kept), max(kept)) == (min(values), max(values))


def test_a_spike_among_nan_stays() -> None:
    values = [NAN] * 1000
    values[500] = math.inf
    assert (500, 500, math.inf) in sample(series(values), 10)
    assert 2 <= len(sample(series([NAN] * 1000), 10)) <= 10


def test_few_and_none() -> None:
    assert sample(series([]), 5) == []
    assert sample(series([1.0, 2.0, 3.0]), 1) == [(2, 2, 3.0)]
    assert [step for step, _, _ in sample(series([1.0] * 9), 2)] == [0, 8]
