"""Curves of runs."""

from __future__ import annotations

import math
import re

import pytest

from interlock.pictures import Curve, curve_chart, to_png


def line(found, number: int = 0) -> list[tuple[float, float]]:
    paths = [path for path in found.all("path") if path.attrib.get("class") == "il-l"]
    return [(float(x), float(y)) for x, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", paths[number].attrib["d"])]


def test_a_curve_goes_down_when_numbers_do(drawn) -> None:
    points = line(drawn(curve_chart("loss", [Curve("a", (0, 10, 20), (4.0, 2.0, 1.0))])))
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert points[1][1] - points[0][1] == pytest.approx(2 * (points[2][1] - points[1][1]), abs=0.3)


def test_steps_come_in_any_order(drawn) -> None:
    there = line(drawn(curve_chart("x", [Curve("a", (0, 1, 2), (1.0, 2.0, 3.0))])))
    mixed = line(drawn(curve_chart("x", [Curve("a", (2, 0, 1), (3.0, 1.0, 2.0))])))
    assert there == mixed


def test_what_is_not_finite_breaks_the_line(drawn) -> None:
    found = drawn(curve_chart("x", [Curve("a", tuple(range(6)), (1, 2, math.nan, 3, math.inf, 4))]))
    assert len([p for p in found.all("path") if p.attrib.get("class") == "il-l"]) == 1
    assert len([c for c in found.all("circle") if c.attrib.get("class") == "il-d"]) == 2 - 1 + 1


def test_a_spike_among_many_points_is_drawn(drawn) -> None:
    values = [0.0] * 50_000
    values[33_333] = 100.0
    points = line(drawn(curve_chart("x", [Curve("a", tuple(range(50_000)), tuple(values))])))
    assert len(points) < 3_000
    assert min(y for _, y in points) < 70


@pytest.mark.parametrize(
    "curves", [[], [Curve("a", (), ())], [Curve("a", (1.0,), (5.0,))], [Curve("a", (0, 1), (2.0, 2.0))]]
)
def test_little_makes_a_picture(drawn, curves) -> None:
    drawn(curve_chart("x", curves))


def test_more_runs_than_can_be_told_apart_are_named() -> None:
    picture = curve_chart("x", [Curve(f"r{n}", (0, 1), (n, n + 1.0)) for n in range(11)])
    assert "3 more runs are not drawn" in picture.text
    assert len(picture.table.rows) == 11


def test_a_png_shows_the_colours_of_the_series() -> None:
    data = to_png(curve_chart("x", [Curve("a", (0, 1), (0.0, 1.0)), Curve("b", (0, 1), (1.0, 0.0))]))
    assert data.startswith(b"\x89PNG")
    assert len(data) > 5_000
    assert data == to_png(curve_chart("x", [Curve("a", (0, 1), (0.0, 1.0)), Curve("b", (0, 1), (1.0, 0.0))]))
    assert data != to_png(curve_chart("x", [Curve("a", (0, 1), (0.0, 1.0))]))
