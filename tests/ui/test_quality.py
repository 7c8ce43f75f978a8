"""A model's windows as pictures: what is drawn, what is left out, what is marked."""

from __future__ import annotations

import re

import msgspec
import pytest
from loops import CHANGED, LATE, TAKEOVER, closed

from interlock.ui.quality import distrusted, drift_strip, quality_chart


@pytest.fixture(scope="module")
def status():
    return closed()


@pytest.fixture(scope="module")
def chart(status):
    return quality_chart(status.windows, status.monitors)


def test_estimates_that_are_not_to_be_trusted_are_left_out(status, chart) -> None:
    assert chart.table.header[1:3] == ("realised", "estimated")
    for row, report in zip(chart.table.rows, status.windows, strict=True):
        assert bool(row[1]) == bool(report.realised)
        assert bool(row[2]) == (not report.distrust)
    assert distrusted(status.windows) == "No estimate in 4 windows: too many rows are unlike any that it learned from"
    assert distrusted(status.windows[:3]) == ""


def test_what_happened_is_marked(chart) -> None:
    events = [row[3] for row in chart.table.rows]
    assert events[: CHANGED[0]] == [""] * CHANGED[0]
    assert events[CHANGED[0] : CHANGED[-1]] == ["wait for labels"] * 8
    assert events[CHANGED[-1]] == "retrain"
    assert events[TAKEOVER] == "@2"
    assert events[TAKEOVER + 1 :] == [""] * (36 - TAKEOVER - 1)
    assert "wait for labels at 2017-03 to 2017-10." in chart.text
    assert "realised in 34 windows" in chart.text
    assert LATE == 34


def test_the_floor_and_the_limit_are_drawn(status, chart) -> None:
    assert "floor 0.730." in chart.text
    assert "limit 0.825." in chart.text
    same = msgspec.structs.replace(
        status.monitors[0], plan=msgspec.structs.replace(status.monitors[0].plan, at_least=0.825)
    )
    assert "limit" not in quality_chart(status.windows, [same]).text
    bare = [msgspec.structs.replace(w, verdict=msgspec.structs.replace(w.verdict, limit=None)) for w in status.windows]
    assert re.search("floor|limit", quality_chart(bare, []).text) is None


def test_the_worst_columns_come_first_after_the_score(status) -> None:
    picture, columns = drift_strip(status.windows)
    assert columns == 12
    assert picture.table.header[:5] == ("Window", "model score", "AGEP", "ESP", "RELP")
    assert "AGEP: alarm in 9 of 36 windows. Most in 2017-03. AGEP: 38% of rows outside" in str(picture.svg)


def test_a_column_that_a_window_lacks_has_no_cell(status) -> None:
    first = msgspec.structs.replace(status.windows[0], drifts=status.windows[0].drifts[:2])
    picture, _ = drift_strip((first, *status.windows[1:]))
    assert picture.table.rows[0].count("") == 10
    assert picture.table.rows[1].count("") == 0
