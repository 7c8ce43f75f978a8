"""Regular expressions for RLIKE: the same answers as Python's, never its worst times."""

from __future__ import annotations

import re
import warnings

import apsw
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from interlock.core.errors import Invalid
from interlock.store.search.patterns import DEPTH_LIMIT, LENGTH_LIMIT, Pattern, regexp

PIECES = [
    "a",
    "b",
    ".",
    "[ab]",
    "[^a]",
    r"\d",
    r"\W",
    r"[^\d-]",
    "^",
    "$",
    "[a-c1]",
    r"\.",
    r"\s",
    "(?:)",
    r"\n",
    "[]]",
]
COUNTS = ["*", "+", "?", "{2}", "{1,2}", "{0,2}", "{2,}", "*?", "+?", "{0,1}?"]

PATTERNS = st.recursive(
    st.sampled_from(PIECES),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3).map("".join)
        | st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"({'|'.join(parts)})")
        | st.tuples(inner, st.sampled_from(COUNTS)).map(lambda pair: f"(?:{pair[0]}){pair[1]}")
    ),
    max_leaves=8,
)


def _ends(pattern) -> str:
    """Return the pattern with a $ that means the very end, outside brackets and escapes."""
    return re.sub(r"(\\.|\[\^?\]?(?:\\.|[^\]\\])*\])|\$", lambda found: found[1] or r"\Z", pattern, flags=re.DOTALL)


@example(pattern="^$", text="", fold=False)
@example(pattern="(?:^a|b$)*", text="ab", fold=True)
@given(pattern=PATTERNS, text=st.text("aAbBc1.\n ]-", max_size=8), fold=st.booleans())
def test_finds_what_python_finds(pattern, text, fold) -> None:
    pattern = f"(?i){pattern}" if fold else pattern
    expected = re.search(_ends(pattern), text)
    assert Pattern(pattern).found(text) == (expected is not None)


@given(st.text("ab(|)*+?{}1,[]^-\\$.", max_size=12))
def test_any_text_is_a_pattern_or_refused(text) -> None:
    try:
        pattern = Pattern(text)
    except Invalid as error:
        assert 0 <= error.facts["offset"] <= max(len(text), 1)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # Python thinks of other meanings for [[ and --
        expected = re.search(_ends(text), "ab")
    assert pattern.found("ab") == (expected is not None)


@pytest.mark.parametrize(
    "pattern",
    [
        *(
            "(",
            ")",
            "a(b",
            "[a",
            "[b-a]",
            "*",
            "a**",
            "^*",
            "a|$+",
            "{2}",
            "a{2",
            "a{x}",
            "a{3,2}",
            "a{0}",
            "\\",
            r"\k",
            r"(a)\1",
        ),
        *("(?=a)", "(?P<x>a)", "(?s)a", "a(?i)b", "(" * (DEPTH_LIMIT + 1), "a" * (LENGTH_LIMIT + 1)),
        *("(?:(?:a{99}){99}){99}", "(?:a{1,40}){1,40}"),
    ],
)
def test_what_is_no_pattern_or_too_large_is_refused(pattern) -> None:
    with pytest.raises(Invalid):
        Pattern(pattern)


@pytest.mark.parametrize("pattern", ["(a*)*b", "(a|a)*b", "(a|aa)+b", "(.*a){9}b", "(a|b)*a(a|b){9}c"])
def test_patterns_that_explode_elsewhere_do_not_here(pattern) -> None:
    assert not Pattern(pattern).found("ab"[:1] * 20_000)  # Python's own would hang


def test_sqlite_calls_it() -> None:
    database = apsw.Connection(":memory:")
    database.create_scalar_function("regexp", regexp, 2, deterministic=True)
    assert database.execute("SELECT 'Hello' REGEXP '^H.*o$', 'x' REGEXP 'y', NULL REGEXP 'y'").fetchall() == [
        (1, 0, None)
    ]
