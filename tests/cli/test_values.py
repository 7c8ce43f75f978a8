from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.cli.values import Shape, read, shape
from interlock.core.errors import Error, Invalid, NotFound
from interlock.core.files import StoredFile


class Place(msgspec.Struct):
    city: str


@pytest.mark.parametrize(
    ("kind", "expected", "metavar"),
    [
        (str, Shape("one", str), "VALUE"),
        (int | None, Shape("one", int), "NUMBER"),
        (bool | None, Shape("flag", bool), "VALUE"),
        (list[int], Shape("list", int), "NUMBER"),
        (tuple[str, ...] | None, Shape("list", str), "VALUE"),
        (list, Shape("list", Any), "VALUE"),
        (list[StoredFile], Shape("list", StoredFile), "FILE"),
        (dict[str, float], Shape("map", float), "KEY=NUMBER"),
        (dict[str, Any], Shape("map", Any), "KEY=VALUE"),
        (dict[str, object], Shape("one", dict[str, object]), "JSON"),
        (dict[str, Place], Shape("map", Place), "KEY=JSON"),
        (Place | None, Shape("one", Place), "JSON"),
        (Annotated[int, "x"], Shape("one", int), "NUMBER"),
        (Literal["a", "b"], Shape("one", Literal["a", "b"]), "a|b"),
    ],
)
def test_shapes(kind: Any, expected: Shape, metavar: str) -> None:
    assert shape(kind) == expected
    assert shape(kind).metavar == metavar


@pytest.mark.parametrize(
    ("kind", "words", "value"),
    [
        (str, "3", "3"),
        (str | None, "null", "null"),
        (int, "3", 3),
        (float, "1e-3", 0.001),
        (bool, True, True),
        (int | str, "3", 3),
        (int | str, "x", "x"),
        (str | int | None, "-1", -1),
        (Literal["a", 2], "2", 2),
        (Any, "[1]", [1]),
        (Any, "[1", "[1"),
        (datetime, "2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (list[int], ("1", "2"), [1, 2]),
        (list[list[int]], ("[1]",), [[1]]),
        (dict[str, int], ("a=1", "b=2"), {"a": 1, "b": 2}),
        (dict[str, str], ("a=b=c", "d="), {"a": "b=c", "d": ""}),
        (dict[str, list[int]], ("a=[1]",), {"a": [1]}),
        (Place, '{"city": "x"}', {"city": "x"}),
        (StoredFile, "a/b.csv", "a/b.csv"),
    ],
)
def test_words_become_values(kind: Any, words: Any, value: Any) -> None:
    assert read("x", words, shape(kind)) == value
    assert type(read("x", words, shape(kind))) is type(value)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (int, "1.5"),
        (int, ""),
        (float, "x"),
        (Literal["a"], "b"),
        (Place, "x"),
        (dict[str, int], ("=1",)),
        (int | None, ""),
    ],
)
def test_words_that_spell_nothing(kind: Any, words: Any) -> None:
    with pytest.raises(Invalid):
        read("x", words, shape(kind))


def test_json_may_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "place.json"
    file.write_text('{"city": "Bern"}')
    assert read("x", f"@{file}", shape(Place)) == {"city": "Bern"}
    with pytest.raises(NotFound):
        read("x", f"@{file}x", shape(Place))
    with pytest.raises(Invalid):
        read("x", f"@{tmp_path}", shape(Place))


KINDS = [str, int, float, Any, Place, StoredFile, int | str, Literal["a"], list[int], dict[str, int], datetime]


@given(st.sampled_from(KINDS), st.text())
def test_any_word_is_a_value_or_an_error_of_ours(kind: Any, word: str) -> None:
    form = shape(kind)
    with contextlib.suppress(Error):
        read("x", word if form.form == "one" else (word,), form)
