"""Small pictures within text."""

from __future__ import annotations

import math
import re

import pytest

from interlock.pictures import share_bar, sparkline


def test_a_sparkline_goes_up_when_numbers_do(drawn) -> None:
    found = drawn(sparkline("x", [1, 2, 4]))
    points = [(float(x), float(y)) for x, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", found.all("path")[0].attrib["d"])]
    assert [y for _, y in points] == sorted((y for _, y in points), reverse=True)
    assert points[1][1] - points[2][1] == pytest.approx(2 * (points[0][1] - points[1][1]), abs=0.2)
    dot = found.all("circle")[0].attrib
    assert (float(dot["cx"]), float(dot["cy"])) == points[-1]


def test_a_sparkline_leaves_gaps_open(drawn) -> None:
    path = drawn(sparkline("x", [1, None, 3, math.nan, 2, 2])).all("path")[0].attrib["d"]
    assert path.count("M") == 3
    assert path.count("L") == 1


@pytest.mark.parametrize("values", [[], [None], [math.inf], [5.0], [5.0, 5.0]])
def test_a_sparkline_of_little_is_a_picture(drawn, values) -> None:
    picture = sparkline("x", values)
    assert drawn(picture).size == (0, 0, 96, 20)
    assert (
        picture.text == ("2 values" if len(values) == 2 else "1 values") + " from 5 to 5, newest 5."
        if 5.0 in values
        else ("No values yet.")
    )


def test_shares_fill_the_bar_in_their_order(drawn) -> None:
    picture = share_bar("Traffic", [("@1", 0.9), ("@2", 0.1)])
    parts = drawn(picture).all("rect", "il-part")
    assert [(float(p.attrib["x"]), float(p.attrib["width"])) for p in parts] == [(0, 142.5), (144, 14.5)]
    assert picture.text == "@1 90%, @2 10%"
    assert picture.table.rows == (("@1", "90%"), ("@2", "10%"))


def test_shares_beyond_the_whole_stay_inside(drawn) -> None:
    parts = drawn(share_bar("Traffic", [("a", 0.8), ("b", 0.8), ("c", -1.0)])).all("rect", "il-part")
    assert all(float(p.attrib["x"]) + float(p.attrib["width"]) <= 160 for p in parts)
    assert share_bar("Traffic", []).text == "Nothing has a share."
