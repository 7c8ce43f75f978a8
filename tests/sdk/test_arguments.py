from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from notes_service import SERVICES

from interlock.core.errors import Invalid
from interlock.sdk.arguments import bind, decode, encode, typed
from interlock.sdk.catalog import Catalog

CATALOG = Catalog(SERVICES)
ADD = CATALOG.operation("notes", "add")
ECHO = CATALOG.operation("notes", "echo")
COUNT = CATALOG.operation("notes", "count")

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=20,
)


def test_places_and_names_are_bound() -> None:
    assert bind(ADD, ("a", []), {"stars": 2}) == {"title": "a", "files": [], "stars": 2}


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((1,) * 11, {}, "notes.add takes 10 arguments, not 11."),
        (("a",), {"title": "b", "files": []}, "notes.add got title twice."),
        (("a", []), {"star": 1}, "notes.add has no argument 'star'; did you mean 'stars'?"),
        ((), {"files": []}, "notes.add needs 'title': what it is called; no two notes share it."),
        ((), {}, "2 arguments of notes.add are wrong."),
    ],
)
def test_calls_that_do_not_fit(args: tuple[Any, ...], kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(Invalid) as caught:
        bind(ADD, args, kwargs)
    assert caught.value.message == message


def test_several_faults_are_several_findings() -> None:
    with pytest.raises(Invalid) as caught:
        typed(ADD, {"title": 3, "files": [], "stars": "x", "place": {"floor": 1}})
    assert [finding.column for finding in caught.value.findings] == ["title", "stars", "place"]
    assert "missing required field `city`" in caught.value.findings[2].message


def test_an_operation_without_arguments_says_so() -> None:
    with pytest.raises(Invalid, match="it has no arguments"):
        bind(COUNT, (), {"limit": 1})


@given(plain)
def test_every_plain_value_arrives_as_it_was(value: Any) -> None:
    arrived = typed(ECHO, decode(encode(ECHO, {"value": value})))
    assert repr(arrived) == repr({"value": value})


def test_numbers_and_arrays_of_numpy_and_paths_are_plain_values() -> None:
    value = [np.float32(0.5), np.int64(3), np.bool_(True), np.arange(3), Path("a/b"), (1, {2})]
    assert decode(encode(ECHO, {"value": value})) == {"value": [0.5, 3, True, [0, 1, 2], "a/b", [1, [2]]]}


@pytest.mark.parametrize("value", [object(), lambda: 1, 2**64, "\ud800", {1: object()}])
def test_what_cannot_be_sent_is_named(value: Any) -> None:
    with pytest.raises(Invalid) as caught:
        encode(ECHO, {"numbers": [], "value": value})
    assert caught.value.message.startswith("Argument 'value' cannot be sent: ")
    assert caught.value.facts == {"argument": "value"}


def test_what_holds_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(Invalid):
        encode(ECHO, {"value": endless})


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, {"a": [2**63]}])
def test_integers_that_no_database_holds_are_refused(value: Any) -> None:
    with pytest.raises(Invalid, match="64 bits"):
        typed(ECHO, {"value": value})


@pytest.mark.parametrize(
    ("name", "value"), [("stars", True), ("stars", 1.0), ("stars", "1"), ("done", 1), ("title", None), ("weight", "1")]
)
def test_types_are_taken_at_their_word(name: str, value: Any) -> None:
    with pytest.raises(Invalid, match=name):
        typed(ADD, {"title": "a", "files": [], name: value})


def test_an_integer_is_a_float_too() -> None:
    assert typed(ADD, {"title": "a", "files": [], "weight": 2})["weight"] == 2.0
