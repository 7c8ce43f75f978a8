"""The few expressions that SQLite and PostgreSQL write differently.

LIKE knows `%` and `_`, no escapes: a backslash is a backslash, as in MLflow on SQLite. It minds the case, ILIKE does
not. SQLite folds the case of ASCII letters only, PostgreSQL that of all.
"""

from __future__ import annotations

import string
from typing import Final, Protocol

_LOWER: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_GLOB: Final = str.maketrans({"%": "*", "_": "?", "*": "[*]", "?": "[?]", "[": "[[]"})
_DECIMAL: Final = r"^\s*[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?\s*$"


class Dialect(Protocol):
    """What a database needs to be told in its own words. `mark` is a placeholder in all of them."""

    def pattern(self, op: str, text: str) -> str:
        """Return the value to bind for a pattern of LIKE, ILIKE or RLIKE."""
        ...

    def matches(self, op: str, sql: str, mark: str) -> str:
        """Return the condition that a text matches a bound pattern."""
        ...

    def text_number(self, op: str, sql: str, mark: str) -> str:
        """Return the condition that a text is wholly a number and compares so with a bound one."""
        ...

    def by_key(self, sql: str) -> str:
        """Return an expression for which no index is to be used, since the row is better found by its key."""
        ...

    def ordered_text(self, sql: str) -> str:
        """Return a text expression that compares by code points, whatever the database's own collation."""
        ...


class _Sqlite:
    """LIKE as GLOB, which minds the case whatever the connection's settings are."""

    def pattern(self, op: str, text: str) -> str:
        """Return LIKE's pattern as one of GLOB's."""
        if op == "RLIKE":
            return text
        return (text.translate(_LOWER) if op == "ILIKE" else text).translate(_GLOB)

    def matches(self, op: str, sql: str, mark: str) -> str:
        """Return the condition; RLIKE calls the connection's function `regexp` (see `patterns`)."""
        if op == "RLIKE":
            return f"{sql} REGEXP {mark}"
        return f"lower({sql}) GLOB {mark}" if op == "ILIKE" else f"{sql} GLOB {mark}"

    def text_number(self, op: str, sql: str, mark: str) -> str:
        """Return the condition: beside a number, SQLite takes numeric text for one, and sorts other text after all."""
        return f"({sql} <= CAST(9e999 AS REAL) AND {sql} {op} CAST({mark} AS NUMERIC))"

    def by_key(self, sql: str) -> str:
        """Return the expression; SQLite otherwise prefers a range of values over the one row of a key."""
        return f"+{sql}"

    def ordered_text(self, sql: str) -> str:
        """Return the expression: SQLite compares bytes anyway."""
        return sql


class _Postgres:
    """PostgreSQL 16 or newer, which can say whether a text is a number without failing."""

    def pattern(self, op: str, text: str) -> str:  # noqa: ARG002
        """Return the pattern as it is."""
        return text

    def matches(self, op: str, sql: str, mark: str) -> str:
        """Return the condition, without escapes in patterns."""
        return f"{sql} ~ {mark}" if op == "RLIKE" else f"{sql} {op} {mark} ESCAPE ''"

    def text_number(self, op: str, sql: str, mark: str) -> str:
        """Return the condition: words and hexadecimal digits, which PostgreSQL would take too, are no numbers."""
        number, bound = f"CAST({sql} AS DOUBLE PRECISION)", f"CAST({mark} AS DOUBLE PRECISION)"
        decimal = f"{sql} ~ '{_DECIMAL}' AND pg_input_is_valid({sql}, 'double precision')"
        return f"(CASE WHEN {decimal} THEN {number} {op} {bound} ELSE 1 = 0 END)"

    def by_key(self, sql: str) -> str:
        """Return the expression as it is: PostgreSQL weighs by statistics."""
        return sql

    def ordered_text(self, sql: str) -> str:
        """Return the expression in the collation of code points."""
        return f'{sql} COLLATE "C"'


SQLITE: Final[Dialect] = _Sqlite()
POSTGRES: Final[Dialect] = _Postgres()
