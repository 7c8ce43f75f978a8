from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.bridges.mlflow import flat_yaml
from interlock.bridges.mlflow.flat_yaml import read_flat
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


def test_each_line_of_a_long_value_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = 0
    turns = flat_yaml._turns

    def counted(quote: str, line: str) -> bool:
        nonlocal looked
        looked += len(line)
        return turns(quote, line)

    monkeypatch.setattr(flat_yaml, "_turns", counted)
    text = "name: 'a\n" + "  b\n" * 20_000 + "  c'\n"
    assert len(read_flat(text)["name"]) == 40_003
    assert looked <= len(text)
