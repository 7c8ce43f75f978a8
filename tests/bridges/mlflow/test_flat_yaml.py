from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.bridges.mlflow.flat_yaml import read_below, read_flat
from interlock.core.errors import Error, Invalid


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("''", ""),
        ("null", ""),
        ("{}", ""),
        ("[]", ""),
        ("'220296194494926700'", "220296194494926700"),
        ("'it''s'", "it's"),
        ('"a\\nb \\u00fc"', "a\nb \u00fc"),
        ("file:///a/b: c", "file:///a/b: c"),
        ("3", "3"),
        ("a long text that\n  goes on in the next line", "a long text that goes on in the next line"),
        ("'quoted and\n  folded'", "quoted and folded"),
    ],
)
def test_scalars(text: str, value: str) -> None:
    assert read_flat(f"before: 1\nname: {text}\nafter: x\n") == {"before": "1", "name": value, "after": "x"}


def test_nested_values_are_left_out() -> None:
    assert read_flat("aliases:\n  champion: '1'\nname: m\n") == {"aliases": "", "name": "m"}
    assert read_flat("tags:\n- a\n- b\nname: m\n") == {"tags": "", "name": "m"}


@pytest.mark.parametrize("text", ["no pair", "  indented: first", "!!python/object:os.system x"])
def test_other_lines_are_refused_with_their_number(text: str) -> None:
    with pytest.raises(Invalid, match="Line 1"):
        read_flat(text)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = read_flat(text)
    except Error:
        return
    assert all(isinstance(value, str) for value in found.values())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("'it''s\n\n  two'", "it's\ntwo"),
        ('"a \\"b\\"\n  c"', 'a "b" c'),
        ('"a\\\\"', "a\\"),
        ("it's plain", "it's plain"),
    ],
)
def test_quotes_end_where_they_end(text: str, value: str) -> None:
    assert read_flat(f"name: {text}\nafter: x\n") == {"name": value, "after": "x"}


def test_a_long_value_is_read_whole() -> None:
    text = "name: 'a\n" + "  b\n" * 20_000 + "  c'\nafter: x\n"
    found = read_flat(text)
    assert (len(found["name"]), found["after"]) == (40_003, "x")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"\\U0001F600 \\x41\\t\\_"', "\U0001f600 A\t\xa0"),
        ('"one\\\n  \\ two"', "one two"),
        ("'a\\\n\n  b'", "a\\\nb"),
        ('"a\n\n\n  b"', "a\n\nb"),
        ("'null'", "null"),
        ("'{}'", "{}"),
    ],
)
def test_values_are_what_was_written(text: str, value: str) -> None:
    assert read_flat(f"name: {text}\nafter: x\n") == {"name": value, "after": "x"}


def test_one_level_below_a_name() -> None:
    text = """name: run
tags:
  a b/c-d_e.f: plain
  'it''s: x': "q\\n"
  mlflow.data.context: train
  ? 'long

    key'
  : ''
after: y
"""
    assert read_below(text, "tags") == {
        "a b/c-d_e.f": "plain",
        "it's: x": "q\n",
        "mlflow.data.context": "train",
        "long\nkey": "",
    }
    assert read_below(text, "name") == read_below(text, "nothing") == read_below("tags: {}\n", "tags") == {}
    assert read_flat(text) == {"name": "run", "tags": "", "after": "y"}


@pytest.mark.parametrize("text", ["a: 'open\nb: x\n", 'a: "open\n', "a: 'x' y\n", "a\n", "'a' b\n", "? a\nb\n"])
def test_what_does_not_end_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="Line"):
        read_flat(text)


@given(st.text(alphabet="ab:'\"\\ \n#-?~{}[]|>&*!%@`,0xU"))
def test_any_text_below_a_name_is_read_or_refused(text: str) -> None:
    try:
        found = {**read_below(f"tags:\n  {text}", "tags"), **read_below(text, "a")}
    except Error:
        return
    assert all(isinstance(name, str) and isinstance(value, str) for name, value in found.items())
