"""What all pictures share: one style for two themes, readable colours, a table, the same bytes each time."""

from __future__ import annotations

import re
from importlib import resources
from xml.etree import ElementTree as ET

import pytest

from interlock.pictures import (
    STYLE,
    Heat,
    Level,
    Mark,
    Picture,
    Series,
    Station,
    heat_strip,
    line_chart,
    ring,
    share_bar,
    sparkline,
)
from interlock.pictures.styles import PLAIN

BAD = '<b>"&\x00\ud800'
LABELS = ("2016-01", "2016-02", BAD)
PICTURES = {
    "ring": lambda: ring(
        "Ring", [Station("data", "2"), Station(BAD, BAD, BAD, "alarm", BAD)], (BAD, BAD), details=True
    ),
    "line": lambda: line_chart(
        BAD,
        LABELS,
        [Series(BAD, (0.8, None, 0.7), (0.7, None, 0.6), (0.9, None, 0.8))],
        levels=[Level(BAD, 0.75)],
        marks=[Mark(1, BAD), Mark(2, BAD, "alarm"), Mark(0, BAD, "wait")],
    ),
    "strip": lambda: heat_strip(BAD, LABELS, [Heat(BAD, (0, 1, None), (BAD, BAD, ""), BAD)], (BAD, BAD, BAD)),
    "spark": lambda: sparkline(BAD, [1.0, None, 3.0]),
    "share": lambda: share_bar(BAD, [(BAD, 0.9), ("b", 0.1)]),
}


@pytest.fixture(params=PICTURES)
def make(request):
    return PICTURES[request.param]


def test_a_picture_is_well_formed_whatever_its_words(make) -> None:
    picture = make()
    tree = ET.fromstring(picture.standalone().encode("utf-8"))
    assert tree.tag.endswith("}svg")
    assert not [e for e in tree.iter() if e.tag.endswith("}b")]
    assert "\x00" not in picture.standalone()


def test_a_picture_says_what_it_shows(make) -> None:
    picture: Picture = make()
    tree = ET.fromstring(picture.standalone())
    space = tree.tag.removesuffix("svg")
    assert tree.attrib["role"] == "img"
    assert [child.tag for child in tree][:2] == [f"{space}title", f"{space}desc"]
    assert tree.findtext(f"{space}title")
    assert len(tree.findtext(f"{space}desc") or "") > 10


def test_a_picture_is_the_same_bytes_each_time(make) -> None:
    assert make().standalone() == make().standalone()
    assert str(make().svg) == str(make().svg)


def test_numbers_have_at_most_one_decimal(make) -> None:
    drawn = re.sub(r"<(title|desc|text)[^>]*>[^<]*", "", str(make().svg))
    assert re.findall(r"\d+\.\d\d+", drawn) == []
    assert "nan" not in drawn.lower()
    assert "e-" not in drawn


def test_inside_a_page_a_picture_brings_no_style(make) -> None:
    svg = str(make().svg)
    assert "<style" not in svg
    assert "style=" not in svg
    assert "id=" not in svg, "two pictures on a page would share it"


def test_alone_a_picture_brings_its_style_and_ground(make) -> None:
    picture = make()
    assert f"<style>{PLAIN}</style>" in picture.standalone()
    assert "var(" not in picture.standalone()  # what programs other than browsers draw in black
    assert 'xmlns="http://www.w3.org/2000/svg"' in picture.standalone()
    assert picture._repr_svg_() == picture.standalone()


def test_every_class_that_pictures_use_has_a_rule(make) -> None:
    used = {name for names in re.findall(r'class="([^"]*)"', str(make().svg)) for name in names.split()}
    assert {name for name in used if not re.search(rf"\.{name}\b", STYLE)} == set()


def test_files_have_every_colour_of_both_themes() -> None:
    light, _, dark = PLAIN.partition("@media (prefers-color-scheme:dark)")
    said = tokens()
    for theme, rules in (("light", light), ("dark", dark)):
        assert {name for name, colour in said[theme].items() if colour not in rules} <= {"wash"}  # of the page
    assert ".il-s3 .il-l,.il-l.il-s3{stroke:#87590a" in light
    assert re.findall(r"--[a-z]|@media", light) == []
    assert PLAIN.count("{") == PLAIN.count("}")


def test_the_table_holds_a_row_for_each_name(make) -> None:
    table = make().table
    assert table.rows
    assert {len(row) for row in table.rows} == {len(table.header)}
    html = str(table.html())
    assert html.count('scope="row"') == len(table.rows)
    assert html.count('scope="col"') == len(table.header)
    assert "<caption>" in html
    assert "<b>" not in html


def test_the_style_sheet_is_one_line_without_comments() -> None:
    assert "\n" not in STYLE
    assert "/*" not in STYLE
    assert "  " not in STYLE
    assert STYLE.count("{") == STYLE.count("}")


def test_every_curve_has_dashes_of_its_own() -> None:
    rules = re.findall(r"([^{}]+)\{([^{}]*stroke-dasharray[^{}]*)\}", STYLE)
    dashes = {selector.strip(): body for selector, body in rules if selector.strip().endswith(".il-l")}
    assert set(dashes) == {f".il-s{n} .il-l" for n in range(1, 8)}  # the first one is drawn whole
    assert len(set(dashes.values())) == 7
    assert all(STYLE.count(f".il-s{n} {{ --il-s:") + STYLE.count(f".il-s{n}{{--il-s:") == 1 for n in range(8))


def tokens() -> dict[str, dict[str, str]]:
    text = (resources.files("interlock.pictures") / "picture.css").read_text()
    light, dark, _ = re.split(r"@media \(prefers-color-scheme: dark\) \{|svg\.il \{", text, maxsplit=2)
    return {
        theme: dict(re.findall(r"--il-(\w+): (#[0-9a-f]{6});", part))
        for theme, part in (("light", light), ("dark", dark))
    }


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_measured_as_the_guidelines_do() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=0.001)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_are_readable_in_both_themes(theme: str) -> None:
    colours = tokens()[theme]
    assert colours.keys() == tokens()["light"].keys()
    for text in ("ink", "soft", "accent", "second", "third", "fourth", "alarm"):
        for ground in ("paper", "wash"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for shape in ("amber", "red", "accent", "second", "third", "fourth"):
        assert contrast(colours[shape], colours["paper"]) >= 3, shape
