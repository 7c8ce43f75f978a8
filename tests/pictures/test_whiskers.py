"""Figures with intervals: the dot within its line, the bound across it, all on one scale."""

from __future__ import annotations

import pytest

from interlock.pictures import Whisker, whisker_chart

FIGURES = [Whisker("roc_auc", 0.8, 0.7, 0.9, 0.75), Whisker("a name that is much too long for it", 0.1, -1.0, 2.0)]


@pytest.fixture
def chart():
    return whisker_chart("Metrics", FIGURES)


def test_the_dot_is_in_its_interval_and_the_bound_on_the_scale(drawn, chart) -> None:
    found = drawn(chart)
    first, second = found.all("line", "il-l")
    dots = [float(dot.attrib["cx"]) for dot in found.all("circle", "il-d")]
    low, high = float(first.attrib["x1"]), float(first.attrib["x2"])
    (bound,) = found.all("line", "il-level")
    assert dots[0] == pytest.approx((low + high) / 2, abs=0.11)
    assert float(bound.attrib["x1"]) == pytest.approx(low + (high - low) / 4, abs=0.11)
    grid = [float(line.attrib["x1"]) for line in found.all("line", "il-grid")]
    assert (float(second.attrib["x1"]), float(second.attrib["x2"])) == (grid[0], grid[-1]), "it ends at the edges"
    assert high < found.size[2]


def test_words_and_the_table_say_it_too(drawn, chart) -> None:
    assert chart.text.startswith("roc_auc 0.800 [0.700, 0.900]; ")
    assert chart.table.rows[0] == ("roc_auc", "0.8", "0.7", "0.9", "0.75")
    assert chart.table.rows[1][-1] == ""
    assert "roc_auc" in drawn(chart).texts()
    assert any(text.endswith("\u2026") for text in drawn(chart).texts())
