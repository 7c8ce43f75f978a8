from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from interlock.cli.render import clean, to_text
from interlock.core.errors import Finding


class Inner(msgspec.Struct):
    a: int
    b: str = "x"


class Outer(msgspec.Struct):
    name: str
    at: datetime
    share: float
    inner: Inner
    rows: list[Inner]
    none: None = None


AT = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)


def test_a_record_is_names_and_values() -> None:
    text = to_text(Outer("n", AT, 1 / 3, Inner(1), [Inner(2)]))
    assert text.splitlines() == [
        "name   n",
        "at     2026-01-02 03:04:05",
        "share  0.333333",
        "inner  a=1, b=x",
        "rows",
        "    a  b",
        "    -  -",
        "    2  x",
        "none   -",
    ]


def test_what_is_long_is_set_below_its_name() -> None:
    text = to_text(Outer("n", AT, 0.5, Inner(1), [Inner(number, "y" * 30) for number in range(3)]))
    assert text.splitlines()[4:8] == [
        "rows",
        "    a  b",
        "    -  ------------------------------",
        "    0  yyyyyyyyyyyyyyyyyyyyyyyyyyyyyy",
    ]


def test_a_list_of_records_is_a_table_with_numbers_to_the_right() -> None:
    assert to_text([Inner(1, "x"), Inner(100, "long")]).splitlines() == [
        "  a  b",
        "---  ----",
        "  1  x",
        "100  long",
    ]


def test_records_of_different_members_share_a_table() -> None:
    assert to_text([{"a": 1}, {"b": "x"}]).splitlines() == ["a  b", "-  -", "1  -", "-  x"]


def test_cells_are_cut_where_that_is_asked_for() -> None:
    assert to_text([Inner(1, "y" * 50)], 10).splitlines()[2] == "1  yyyyyyy..."
    assert "y" * 50 in to_text([Inner(1, "y" * 50)])


class Part(msgspec.Struct):
    TABLE: ClassVar = ("name", "took")
    TREE: ClassVar = ("id", "parent")

    name: str
    id: str
    parent: str
    took: int = 1


def drawn(*parts: Part) -> list[str]:
    return [line.removesuffix("1").rstrip() for line in to_text(parts).splitlines()[2:]]


def test_what_is_part_of_another_hangs_below_it() -> None:
    parts = [Part("root", "r", ""), Part("b", "b", "r"), Part("c", "c", "b"), Part("d", "d", "r"), Part("e", "e", "d")]
    assert drawn(*parts) == ["root", "|- b", "|  `- c", "`- d", "   `- e"]
    assert drawn(*reversed(parts)) == ["root", "|- d", "|  `- e", "`- b", "   `- c"]
    assert to_text(parts, 6).splitlines()[4] == "|  ...     1"


def test_what_hangs_on_nothing_or_on_itself_is_shown_all_the_same() -> None:
    assert drawn(Part("a", "a", "gone"), Part("b", "b", "a")) == ["a", "`- b"]
    assert drawn(Part("a", "a", "b"), Part("b", "b", "a"), Part("c", "c", "c")) == ["a", "`- b", "c"]
    assert drawn(Part("a", "x", ""), Part("b", "x", "x"), Part("c", "y", "x")) == ["a", "|- b", "`- c"]


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12))
def test_every_part_of_a_tree_is_shown_once(pairs: list[tuple[int, int]]) -> None:
    parts = [Part(f"p{place}", str(one), str(above)) for place, (one, above) in enumerate(pairs)]
    shown = [line.split()[-1] for line in drawn(*parts)] if parts else []
    assert sorted(shown) == sorted(part.name for part in parts)


def test_plain_values() -> None:
    assert to_text(None) == ""
    assert to_text("two\nlines") == "two\nlines"
    assert to_text(3) == "3"
    assert to_text(True) == "yes"
    assert to_text(0.1 + 0.2) == "0.3"
    assert to_text(float("nan")) == "nan"
    assert to_text([]) == "none"
    assert to_text({}) == "none"
    assert to_text(["a", 1]) == "a\n1"
    assert to_text({"a": [1, 2], "long name": {"x": 1}, "b": []}) == "a          1, 2\nlong name  x=1\nb          none"


def test_what_is_nested_is_short_and_grouped() -> None:
    nested = {"a": [(1, 2), (3, 4)], "b": {"c": {"d": 1}, "e": None, "f": "", "g": []}, "h": "0a" * 32}
    assert to_text([{"x": nested}]).splitlines()[2] == "a=[[1, 2], [3, 4]], b={c={d=1}}, h=0a0a0a0a0a0a..."
    assert to_text([{"x": ["word"] * 50}]).splitlines()[2].endswith("...")
    assert len(to_text([{"x": ["word"] * 50}]).splitlines()[2]) == 60


def test_terminal_escapes_are_shown_not_sent() -> None:
    assert clean("a\x1b[31m\r\u202eb") == "a\\x1b[31m\\r\\u202eb"
    assert to_text([Inner(1, "a\nb\x1b]0;title\x07")]).splitlines()[2] == "1  a\\nb\\x1b]0;title\\x07"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.datetimes(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=30,
)


@given(values, st.none() | st.integers(4, 40))
def test_nothing_unprintable_comes_out(value: Any, widest: int | None) -> None:
    assert all(c.isprintable() or c in "\n\t" for c in to_text(value, widest))


def test_findings_in_a_table_are_their_sentences() -> None:
    row = {"gate": "metric", "warnings": (Finding("a", "One thing.", "x", (1,), 1), Finding("b", "Another."))}
    assert to_text([row]).splitlines()[2].split(maxsplit=1) == ["metric", "One thing; Another"]
