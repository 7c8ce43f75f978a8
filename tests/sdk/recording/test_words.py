"""Params as text, figures and tables as files: what callers may give, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.core.errors import Invalid
from interlock.sdk.recording import shapes, words


class Library:
    """A figure as other libraries have it."""

    def __init__(self, **methods) -> None:
        vars(self).update(methods)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1, "0.1"),
        (1e-12, "1e-12"),
        (True, "True"),
        (None, "None"),
        ("x\ny", "x\ny"),
        ([1, "a", None], '[1,"a",null]'),
        ({"b", "a"}, '["a","b"]'),
        ((), "[]"),
        (Path("a/b"), "a/b"),
        (len, "len"),
        (Library, "Library"),
        ([object], "[<class 'object'>]"),
    ],
)
def test_params_read_as_people_write_them(value, text: str) -> None:
    assert words.text(value) == text


def test_numbers_of_numpy_are_plain() -> None:
    import numpy as np

    assert words.text(np.float64(0.5)) == "0.5"
    assert words.text(np.array([7])) == "7"


def test_tables_in_tables_are_flat() -> None:
    assert words.texts({"a": {"b": {"c": 1}, "d": {}}, "e": {1: 2}}, "param") == {
        "a.b.c": "1",
        "a.d": "{}",
        "e": "{1: 2}",
    }
    with pytest.raises(Invalid):
        words.texts({" ": 1}, "param")


def test_figures_are_found_by_what_they_can_do() -> None:
    def savefig(sink, format, bbox_inches) -> None:
        sink.write(format.encode())

    drawn = Library(savefig=savefig)
    assert shapes.figure(drawn, "a") == ("a.png", b"png")
    assert shapes.figure(drawn, "a.svg") == ("a.svg", b"svg")
    assert shapes.figure(Library(figure=drawn), "v1.2/a") == ("v1.2/a.png", b"png")
    page = Library(to_html=lambda include_plotlyjs: "<html>", to_plotly_json=dict)
    assert shapes.figure(page, "a") == ("a.html", b"<html>")
    assert shapes.figure(Library(_repr_svg_=lambda: "<svg/>"), "a") == ("a.svg", b"<svg/>")
    with pytest.raises(Invalid, match="list is no figure"):
        shapes.figure([1], "a")


def test_tables_that_are_none_are_refused() -> None:
    for rows in ([], [1], {"a": [1], "b": []}, {"a": 1}, "text"):
        with pytest.raises(Invalid):
            shapes.table(rows, "t")
    assert shapes.table([{"a": 1}, {"b": 2}], "v1.5") == ("v1.5.csv", b"a,b\n1,\n,2\n")
    assert shapes.table([{"a": 1}], "t.parquet")[0] == "t.parquet"
