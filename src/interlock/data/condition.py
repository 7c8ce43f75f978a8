"""Conditions on rows: the part of SQL that looks at one row, and can reach nothing else.

Polars' SQL also knows subqueries and functions that open files. A condition comes from outside, so only words and
functions that are listed here are let through. Names beyond ASCII must be quoted: keywords are compared in capitals,
and those of a long s are SELECT's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from interlock.core.errors import Invalid

if TYPE_CHECKING:
    import polars as pl

_FUNCTIONS: Final = frozenset(
    {"abs", "cast", "ceil", "coalesce", "ends_with", "floor", "length", "lower"}
    | {"nullif", "round", "starts_with", "upper"}
)
_BEFORE_BRACKET: Final = frozenset({"", "and", "between", "case", "else", "in", "like", "not", "or", "then", "when"})
_REACHING: Final = frozenset(
    {"all", "any", "exists", "from", "over", "select", "some", "table", "tablesample", "values", "with"}
)
_TOKEN: Final = re.compile(
    r"""\s+ | (?P<word>[A-Za-z_][A-Za-z0-9_]*)(?![\w'"]) | "(?P<name>(?:[^"]|"")+)"(?!") | '(?:[^'\\]|'')*'(?!')
    | \d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?!\w) | (?P<open>\() | \) | ,
    | <> | [=<>!]=? | [+*%] | -(?!-) | /(?!\*) | \.(?!\.)""",
    re.VERBOSE,
)


def condition(text: str) -> pl.Expr:
    """Return the expression that a condition such as "age > 20 AND code IN ('a', 'b')" spells.

    Raises:
        Invalid: it is no condition on one row.
    """
    import polars as pl

    _check(text)
    return pl.sql_expr(text)


def _check(text: str) -> None:
    """Accept a text that holds nothing but names, values, operators and listed functions."""
    place, before = 0, ""
    while place < len(text):
        token = _TOKEN.match(text, place)
        if token is None:
            raise _refused(text, f"it goes wrong at {text[place : place + 20]!r}")
        word = (token["word"] or "").lower()
        if word in _REACHING:
            raise _refused(text, f"{word.upper()} reaches beyond the row")
        if token["open"] and before not in _FUNCTIONS | _BEFORE_BRACKET:
            raise _refused(text, f"there is no function {before!r} here")
        if not token.group().isspace():
            before = word or token["name"] or ""
        place = token.end()


def _refused(text: str, why: str) -> Invalid:
    return Invalid(
        f"{text[:200]!r} is no condition on a row: {why}.",
        about="condition",
        hint=f"Write for example \"age > 20 AND code IN ('a', 'b')\"; functions: {', '.join(sorted(_FUNCTIONS))}.",
    )
