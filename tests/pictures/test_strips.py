"""The heat strip: a cell for each column and window, told apart by size; aligned with the chart above it."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from interlock.pictures import Heat, Series, heat_strip, line_chart

LABELS = tuple(f"2016-{month:02d}" for month in range(1, 13))
LEVELS = (0, 1, 2, None, 0, 0, 0, 0, 2, 2, 2, 0)


@pytest.fixture
def strip():
    rows = [
        Heat("AGEP", LEVELS, tuple(f"0.{n:02d}" for n in range(12)), "AGEP: 38% of rows outside"),
        Heat("a name that is much too long for the gutter", (0,) * 12, ("",) * 12),
    ]
    return heat_strip("Drift", LABELS, rows)


def cells(found, look: str) -> list[tuple[float, float]]:
    """Return the place and size of each cell of a level, without the legend's."""
    text = "".join(p.attrib["d"] for p in found.all("path", look)[1:])
    return [(float(x), float(w)) for x, w in re.findall(r"M([\d.]+) [\d.]+h([\d.]+)", text)]


def test_each_level_has_as_many_cells_as_windows_and_its_own_size(drawn, strip) -> None:
    found = drawn(strip)
    assert {look: len(cells(found, look)) for look in ("il-quiet", "il-warn", "il-alarm")} == {
        "il-quiet": 6 + 12,
        "il-warn": 1,
        "il-alarm": 4,
    }
    sizes = [{w for _, w in cells(found, look)} for look in ("il-quiet", "il-warn", "il-alarm")]
    assert sizes == [{4.0}, {10.0}, {16.0}]


def test_columns_line_up_with_the_line_chart(drawn, strip) -> None:
    chart = drawn(line_chart("Quality", LABELS, [Series("a", (0.5,) * 12, (0.4,) * 12, (0.6,) * 12, "whiskers")]))
    dots = [float(c.attrib["cx"]) for c in chart.all("circle", "il-d", within="il-s0")][:12]
    middles = [x + w / 2 for x, w in cells(drawn(strip), "il-alarm")]
    assert middles == pytest.approx([dots[2], dots[8], dots[9], dots[10]], abs=0.11)
    assert drawn(strip).size[2] == chart.size[2]


def test_rows_are_named_and_told_to_the_pointer(drawn, strip) -> None:
    found = drawn(strip)
    assert "AGEP" in found.texts()
    assert any(text.endswith("\u2026") and len(text) < 20 for text in found.texts())
    told = ["".join(e.itertext()) for e in found.all("title")]
    assert "AGEP: 38% of rows outside" in told
    assert "a name that is much too long for the gutter" in told


def test_the_table_has_a_row_for_each_window(strip) -> None:
    assert strip.table.header == ("Window", "AGEP", "a name that is much too long for the gutter")
    assert strip.table.rows[:4] == (
        ("2016-01", "0.00", "none"),
        ("2016-02", "0.01 warn", "none"),
        ("2016-03", "0.02 alarm", "none"),
        ("2016-04", "", "none"),
    )


def test_words_name_what_is_bad(strip) -> None:
    assert strip.text == "2 rows over 12 windows. Beyond none: AGEP."
    assert "All are none." in heat_strip("Drift", LABELS, [Heat("a", (0,), ("",))]).text


def test_many_windows_get_narrower_cells(drawn) -> None:
    labels = [str(n) for n in range(60)]
    found = drawn(heat_strip("Drift", labels, [Heat("a", (2,) * 60, ("",) * 60)]))
    spans = cells(found, "il-alarm")
    assert len(spans) == 60
    assert all(x + w < following for (x, w), (following, _) in pairwise(spans))
