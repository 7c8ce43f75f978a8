from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
