"""Ticks are round, labels keep apart, columns line up."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from interlock.pictures.scales import Across, apart, decimals, percent, px, ticks


def test_ticks_are_round_and_within() -> None:
    assert [round(t, 9) for t in ticks(0.712, 0.871)] == [0.75, 0.8, 0.85]
    assert ticks(0, 100) == [0, 25, 50, 75, 100]
    assert ticks(3, 3) == [3]


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_few_ascending_and_within(low: float, span: float) -> None:
    high = low + span
    found = ticks(low, high)
    slack = span * 1e-6
    assert all(low - slack <= tick <= high + slack for tick in found)
    assert found == sorted(found)
    assert 1 <= len(found) <= 8


def test_decimals_are_as_many_as_tell_ticks_apart() -> None:
    assert decimals([0.75, 0.8]) == 2
    assert decimals([10, 20]) == 0
    assert decimals([1 / 3]) == 6


@given(st.lists(st.floats(0, 100), max_size=6))
def test_labels_keep_apart_within_their_room(places: list[float]) -> None:
    moved = apart(places, 16, 0, 100)
    assert all(-1e-9 <= place <= 100 + 1e-9 for place in moved)
    held = sorted(moved)
    assert all(b - a >= 16 - 1e-9 for a, b in pairwise(held))


def test_labels_that_do_not_touch_stay() -> None:
    assert apart([80, 10, 40], 16, 0, 100) == [80, 10, 40]
    assert apart([50, 50], 16, 0, 100) == [50, 66]
    assert apart([95, 99], 16, 0, 100) == [84, 100]


@given(st.integers(1, 400))
def test_columns_fill_the_plot_and_labels_have_room(count: int) -> None:
    across = Across(count)
    assert across.left < across.x(0) <= across.x(count - 1) < across.left + across.plot
    labels = [f"2016-{place:03d}" for place in range(count)]
    shown = across.shown(labels)
    assert shown[-1] == count - 1, "the newest window always has its name"
    assert all((b - a) * across.step >= 60 for a, b in pairwise(shown))


def test_coordinates_are_short() -> None:
    assert [px(v) for v in (1.0, 0.04, -0.04, 2.25, -3.5)] == ["1", "0", "0", "2.2", "-3.5"]


def test_shares_are_percentages() -> None:
    assert [percent(v) for v in (0.9, 1.0, 0.025, 0.0, 1 / 3)] == ["90%", "100%", "2.5%", "0%", "33.33%"]
