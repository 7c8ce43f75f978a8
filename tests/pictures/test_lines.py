"""The line chart: every value where it belongs, gaps left open, words and table that say the same."""

from __future__ import annotations

import math
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.pictures import Level, Mark, Series, line_chart

LABELS = tuple(f"2016-{month:02d}" for month in range(1, 13))
VALUES = (0.84, 0.85, 0.83, None, 0.80, 0.79, 0.78, 0.82, 0.83, 0.84, 0.85, 0.86)


def interval(half: float, sign: int) -> tuple[float | None, ...]:
    return tuple(None if v is None else v + sign * half for v in VALUES)


@pytest.fixture
def chart():
    return line_chart(
        "Quality",
        LABELS,
        [
            Series("realised", VALUES, interval(0.02, -1), interval(0.02, 1), "whiskers"),
            Series("estimated", tuple(0.83 for _ in VALUES), tuple(0.82 for _ in VALUES), tuple(0.84 for _ in VALUES)),
        ],
        levels=[Level("floor", 0.73)],
        marks=[Mark(6, "@2"), Mark(5, "retrain", "alarm"), Mark(4, "wait for labels", "wait")],
    )


def dots(found, series: str = "il-s0") -> list[tuple[float, float]]:
    circles = found.all("circle", "il-d", within=series)
    return [(float(c.attrib["cx"]), float(c.attrib["cy"])) for c in circles][: len(VALUES)]


def test_values_are_drawn_to_scale(drawn, chart) -> None:
    found = drawn(chart)
    known = [v for v in VALUES if v is not None]
    points = dots(found)[: len(known)]
    floor = found.all("path", "il-level")[0].attrib["d"]
    y_floor = float(re.match(r"M[\d.]+ ([\d.]+)h", floor).group(1))
    scale = (y_floor - points[0][1]) / (known[0] - 0.73)
    for (_, y), value in zip(points, known, strict=True):
        assert y == pytest.approx(y_floor - (value - 0.73) * scale, abs=0.15)
    assert [x for x, _ in points] == sorted({x for x, _ in points})


def test_a_line_stops_at_a_gap_and_at_a_change(drawn, chart) -> None:
    lines = [p.attrib["d"] for p in drawn(chart).all("path", "il-l", within="il-s0")]
    counts = sorted(len(re.findall(r"[ML]", d)) for d in lines if "L" in d)
    assert counts == [2, 3, 6], "0-2, a gap, 4-5, a change, 6-11"


def test_whiskers_span_their_interval(drawn, chart) -> None:
    found = drawn(chart)
    path = "".join(p.attrib["d"] for p in found.all("path", "il-w", within="il-s0"))
    spans = [(float(a), float(b)) for a, b in re.findall(r"M[\d.]+ ([\d.]+)V([\d.]+)", path)]
    points = dots(found)
    assert len(spans) == 11
    for (low, high), (_, y) in zip(spans, points, strict=False):
        assert high <= y <= low
        assert low - y == pytest.approx(y - high, abs=0.3)


def test_a_band_is_drawn_behind_its_line(drawn, chart) -> None:
    bands = drawn(chart).all("path", "il-b", within="il-s1")
    assert len(bands) == 3, "one before the change, one after, one in the legend"
    assert all(band.attrib["d"].endswith("z") for band in bands)


def test_ends_are_named_with_their_numbers_and_do_not_touch(drawn, chart) -> None:
    found = drawn(chart)
    assert set(found.texts("il-s")) == {"realised 0.860", "estimated 0.830"}
    assert found.texts("il-level") == ["floor 0.730"]
    ys = sorted(float(t.attrib["y"]) for t in [*found.all("text", "il-s"), *found.all("text", "il-level")])
    assert all(b - a >= 15.9 for a, b in pairwise(ys))


def test_marks_stand_at_their_windows_and_in_the_legend(drawn, chart) -> None:
    found = drawn(chart)
    assert "@2" in found.texts()
    assert {"retrain", "wait for labels"} <= set(found.texts())
    assert len(found.all("path", "il-alarm")) == 2
    assert len(found.all("path", "il-wait")) == 2
    x = float(re.match(r"M([\d.]+)", found.all("path", "il-mark")[0].attrib["d"]).group(1))
    points = dots(found)
    assert points[4][0] < x < points[5][0], "the change is between the sixth and the seventh window"


def test_the_table_says_what_is_drawn(chart) -> None:
    assert chart.table.header == ("Window", "realised", "estimated", "Events")
    assert chart.table.rows[0] == ("2016-01", "0.840 [0.820, 0.860]", "0.830 [0.820, 0.840]", "")
    assert chart.table.rows[3][1] == ""
    assert [row[3] for row in chart.table.rows if row[3]] == ["wait for labels", "retrain", "@2"]


def test_words_say_what_is_drawn(chart) -> None:
    assert "12 windows from 2016-01 to 2016-12." in chart.text
    assert "realised in 11 windows from 0.780 to 0.860, newest 0.860." in chart.text
    assert "floor 0.730." in chart.text
    assert "retrain at 2016-06." in chart.text


def test_each_window_answers_to_the_pointer(drawn, chart) -> None:
    hits = drawn(chart).all("path", "il-hit")
    assert len(hits) == 12
    assert (
        "".join(hits[5].itertext())
        == "2016-06\nrealised: 0.790 [0.770, 0.810]\nestimated: 0.830 [0.820, 0.840]\nEvents: retrain"
    )


def test_no_windows_and_one_window_are_pictures_too(drawn) -> None:
    none = line_chart("Quality", [], [Series("realised", ())])
    assert none.text == "There are no windows yet."
    assert drawn(none).all("path", "il-l", within="il-s0")
    one = drawn(
        line_chart("Quality", ["2016-01"], [Series("e", (0.8,), (0.7,), (0.9,))], levels=[Level("floor", 0.73)])
    )
    assert "e 0.800" in one.texts("il-s")
    assert one.all("path", "il-b", within="il-s0")


def test_an_interval_far_wider_than_the_others_does_not_flatten_the_rest(drawn) -> None:
    values = tuple(0.8 + 0.001 * n for n in range(20))
    lows = (0.0, *(v - 0.01 for v in values[1:]))
    highs = (1.0, *(v + 0.01 for v in values[1:]))
    found = drawn(line_chart("Q", [str(n) for n in range(20)], [Series("a", values, lows, highs, "whiskers")]))
    ys = [float(c.attrib["cy"]) for c in found.all("circle", "il-d", within="il-s0")][:20]
    assert max(ys) - min(ys) > 60
    for path in found.all("path", "il-w", within="il-s0"):
        assert all(0 < float(y) < found.size[3] for y in re.findall(r"V([\d.]+)", path.attrib["d"]))


def test_names_at_the_same_height_are_moved_apart(drawn) -> None:
    series = [Series(name, (0.8, 0.8)) for name in ("a", "b", "c")]
    found = drawn(line_chart("Q", ["1", "2"], series, levels=[Level("floor", 0.8)]))
    ys = sorted(float(t.attrib["y"]) for t in [*found.all("text", "il-s"), *found.all("text", "il-level")])
    assert len(ys) == 4
    assert all(b - a >= 15.9 for a, b in pairwise(ys))


def test_what_lasts_is_drawn_and_told_in_all_its_windows(drawn) -> None:
    chart = line_chart("Q", LABELS, [Series("a", VALUES)], marks=[Mark(2, "retrain", "alarm", 5)])
    assert [row[0] for row in chart.table.rows if row[2]] == ["2016-03", "2016-04", "2016-05", "2016-06"]
    assert "retrain at 2016-03 to 2016-06." in chart.text
    found = drawn(chart)
    start, end = re.match(r"M([\d.]+) [\d.]+H([\d.]+)", found.all("path", "il-alarm-span")[0].attrib["d"]).groups()
    assert float(end) - float(start) == pytest.approx(3 * 480 / 12)


NUMBERS = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True), st.floats(0, 1))


@given(st.integers(0, 70), st.data())
def test_any_numbers_make_a_picture_within_its_frame(count: int, data) -> None:
    def numbers() -> tuple[float | None, ...]:
        return tuple(data.draw(st.lists(NUMBERS, min_size=count, max_size=count)))

    finite = [
        Series(name, tuple(v if v is None or not math.isfinite(v) or abs(v) < 1e9 else 0.5 for v in numbers()))
        for name in ("a", "b")
    ]
    finite[1] = Series("b", finite[1].values, numbers(), numbers(), "whiskers")
    picture = line_chart("Any", [str(n) for n in range(count)], finite)
    drawn_text = re.sub(r"<(title|desc|text)[^>]*>[^<]*", "", str(picture.svg))
    assert "nan" not in drawn_text
    assert "inf" not in drawn_text
    for y in re.findall(r'cy="(-?[\d.]+)"', drawn_text):
        assert 0 <= float(y) <= picture.height
