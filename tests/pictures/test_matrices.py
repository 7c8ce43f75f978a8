"""The confusion matrix as a picture."""

from __future__ import annotations

import pytest

from interlock.pictures import confusion_chart

NAMES = ("low", "mid", "a name that is much too long for the gutter")
COUNTS = ((1200, 40, 0), (7, 80, 13), (0, 0, 0))


@pytest.fixture
def matrix():
    return confusion_chart("Confusion matrix", NAMES, COUNTS)


def test_each_cell_has_its_number_and_its_share_of_the_true_class(drawn, matrix) -> None:
    texts = drawn(matrix).texts()
    for text in ("1,200", "40", "7", "80", "13", "97%", "3%", "7%", "80%", "13%"):
        assert text in texts
    told = ["".join(e.itertext()) for e in drawn(matrix).all("title")]
    assert "7 of 100, 7%" in told
    assert "0 of 0, 0%" in told, "a class without rows divides by nothing"


def test_the_true_class_is_by_rows_and_the_shade_repeats_the_share(drawn, matrix) -> None:
    cells = drawn(matrix).all("rect", "il-part")
    assert len(cells) == 9
    at = {(float(c.attrib["x"]), float(c.attrib["y"])): float(c.attrib["fill-opacity"]) for c in cells}
    columns, rows = sorted({x for x, _ in at}), sorted({y for _, y in at})
    assert at[columns[1], rows[0]] < at[columns[1], rows[1]] < at[columns[0], rows[0]] <= 0.45
    assert at[columns[0], rows[2]] == pytest.approx(0.04)
    _, _, width, height = drawn(matrix).size
    assert max(columns) + float(cells[0].attrib["width"]) <= width
    assert max(rows) + float(cells[0].attrib["height"]) <= height


def test_words_and_the_table_say_it_too(matrix) -> None:
    assert matrix.text == "1,280 of 1,340 rows got their true class. Most often confused: low taken for mid, 40 times."
    assert matrix.table.header == ("True", *NAMES)
    assert matrix.table.rows[1] == ("mid", "7", "80", "13")


def test_many_classes_are_drawn_without_running_into_each_other(drawn) -> None:
    names = [f"class {place}" for place in range(90)]
    counts = [[place if i == place else int(i == 0) for i in range(90)] for place in range(90)]
    picture = confusion_chart("Many", names, counts)
    assert len(drawn(picture).all("rect", "il-part")) == 30 * 30
    assert "Of 90 classes the 30 with the most rows are drawn." in picture.text
    assert "class 89" in drawn(picture).texts()
    assert "class 5" not in drawn(picture).texts()
    assert picture.width < 900
    assert len(picture.table.rows) == 90


def test_names_are_escaped(drawn) -> None:
    assert "<b>" in drawn(confusion_chart("x", ("<b>", "&"), ((1, 2), (3, 4)))).texts()
