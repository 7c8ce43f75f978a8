"""The ring: every station with its count and state, arrows that close the loop."""

from __future__ import annotations

import math
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from interlock.pictures import Station, ring

NAMES = ("data", "train", "track", "register", "audit", "deploy", "monitor", "retrain")
SPACE = "{http://www.w3.org/2000/svg}"


def test_each_station_has_its_place_clockwise_from_the_top(drawn) -> None:
    found = drawn(ring("Loop", [Station(name) for name in NAMES])).all("circle", "il-node")
    middles = [(float(c.attrib["cx"]) - 200, float(c.attrib["cy"]) - 200) for c in found]
    turns = [round(math.atan2(x, -y) / math.tau % 1, 3) for x, y in middles]
    assert turns == [n / 8 for n in range(8)]
    assert {round(math.hypot(x, y)) for x, y in middles} == {146}


def test_counts_stand_where_icons_would(drawn) -> None:
    picture = drawn(ring("Loop", [Station("data", "12"), Station("train"), Station("own block")]))
    assert picture.texts("il-bold") == ["12"]
    assert picture.texts() == ["12", "data", "train", "own block"]
    assert len(picture.all("path", "il-icon")) == 1


@pytest.mark.parametrize(
    ("state", "group", "signs"),
    [
        ("ok", "", 0),
        ("idle", "il-idle", 0),
        ("busy", "", 1),
        ("warn", "il-is-warn", 1),
        ("alarm", "il-is-alarm", 1),
    ],
)
def test_a_state_is_told_by_more_than_colour(drawn, state, group, signs) -> None:
    picture = ring("Loop", [Station("data"), Station("monitor", "3", "windows", state, "the detail")])
    found = drawn(picture)
    assert len(found.all("path", "il-sign")) == signs
    assert len(found.all("g", group)) >= 1 if group else not found.all("g", "il-idle")
    words = {"ok": "in order", "idle": "idle", "busy": "at work"} | {
        "warn": "waits for somebody",
        "alarm": "needs somebody",
    }
    assert picture.table.rows[1] == ("monitor", "3 windows", words[state], "the detail")
    assert f"monitor, 3 windows, {words[state]}" in picture.text


def test_arrows_are_lit_as_far_as_the_loop_has_come(drawn) -> None:
    states = ["ok", "ok", "warn", "idle", "idle", "idle", "idle", "idle"]
    found = drawn(ring("Loop", [Station(n, state=s) for n, s in zip(NAMES, states, strict=True)]))
    arcs = found.all("path", "il-arc")
    assert ["il-on" in arc.attrib["class"] for arc in arcs] == [True, True, False, False, False, False, False, False]


def test_a_round_loop_is_lit_all_round(drawn) -> None:
    found = drawn(ring("Loop", [Station(n) for n in NAMES]))
    assert len(found.all("path", "il-on")) == 16


def test_everything_is_inside(drawn) -> None:
    for details in (False, True):
        stations = [Station(n, state="alarm", detail="some words about it") for n in NAMES]
        found = drawn(ring("Loop", stations, ("keep", "newest verdict"), details=details))
        width, height = found.size[2:]
        for circle in found.all("circle"):
            x, y, r = (float(circle.attrib[key]) for key in ("cx", "cy", "r"))
            assert r <= x <= width - r
            assert r <= y <= height - r
        for text in found.all("text"):
            assert 0 < float(text.attrib["x"]) < width
            assert 12 < float(text.attrib["y"]) < height


def test_details_are_written_only_when_asked_for(drawn) -> None:
    stations = [Station(n, detail="tells about it") for n in NAMES]
    assert "tells about it" not in drawn(ring("Loop", stations)).texts()
    assert drawn(ring("Loop", stations, details=True)).texts().count("tells about it") == 8


def test_the_picture_of_the_readme_is_what_this_code_draws() -> None:
    path = Path(__file__).parents[2] / "docs/loop.svg"
    tree = ET.fromstring(path.read_text("utf-8"))
    details = {}
    for group in tree.iter(f"{SPACE}g"):
        title = group.findtext(f"{SPACE}title")
        if title:
            name, _, rest = title.partition(": in order. ")
            details[name] = rest
    assert tuple(details) == NAMES
    title = tree.findtext(f"{SPACE}title") or ""
    stations = [Station(name, detail=detail) for name, detail in details.items()]
    again = ring(title, stations, ("Interlock", "one loop, one install"), details=True)
    drawn, wanted = (re.sub("<style>.*?</style>", "", text) for text in (path.read_text("utf-8"), again.standalone()))
    assert drawn == wanted, "write what standalone() returns to docs/loop.svg"
    assert "prefers-color-scheme" in path.read_text("utf-8")
