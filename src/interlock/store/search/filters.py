"""Conditions to SQL: one boolean expression over the searched table, never a user's text in it.

What matches: a comparison matches a thing that has the field and whose value compares so; `!=` too needs the field, as
in MLflow. NaN matches `!=` only. NOT is the plain complement: `NOT params.a = 'x'` matches what has no `a`. No
expression here is ever NULL, so that NOT can be SQL's.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from interlock.store.search.dialects import SQLITE
from interlock.store.search.sources import (
    Binder,
    Column,
    Pairs,
    Rows,
    Sql,
    Within,
    belonging,
    qualified,
    source_of,
)
from interlock.store.search.syntax import And, Comparison, Node, Not, Or

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.store.search.dialects import Dialect
    from interlock.store.search.sources import Sources

TRUE: Final = "1 = 1"
FALSE: Final = "1 = 0"
_INT64: Final = 2**63


def compile_filter(node: Node, sources: Sources, dialect: Dialect = SQLITE, *, prefix: str = "f") -> Sql:
    """Return the condition as SQL that can stand between ANDs as it is; its placeholders begin with `prefix`.

    Raises:
        Invalid: it names a field that rests nowhere in `sources`.
    """
    binder = Binder(prefix)
    return Sql(Compiler(sources, dialect, binder).condition(node), binder.values)


class Compiler:
    """Turns conditions into SQL.

    Args:
        sources: where the fields rest.
        dialect: how the database writes patterns and numbers.
        binder: takes the values.
    """

    def __init__(self, sources: Sources, dialect: Dialect, binder: Binder) -> None:
        self.sources = sources
        self.dialect = dialect
        self.binder = binder

    def condition(self, node: Node) -> str:
        """Return a condition as SQL that is true or false, never NULL, and can stand between ANDs as it is."""
        match node:
            case Not(part):
                return f"NOT ({self.condition(part)})"
            case Or(parts):
                choices = " OR ".join(f"({self.condition(part)})" for part in parts)
                return f"({choices or FALSE})"
            case And(parts):
                return self.all_of(parts)
            case Comparison():
                return self.all_of((node,))

    def all_of(self, parts: Sequence[Node]) -> str:
        """Return the condition that all parts are met; those on rows that belong together look at the same row."""
        found: list[str] = []
        shared: dict[str, tuple[Rows, list[Comparison]]] = {}
        for part in parts:
            source = source_of(part.field, self.sources) if isinstance(part, Comparison) else None
            rows = source.rows if isinstance(source, Within) else source
            if not isinstance(part, Comparison):
                found.append(f"({self.condition(part)})")
            elif not isinstance(rows, Rows):
                found.append(self.comparison(part))
            elif rows.together:
                shared.setdefault(f"{rows.table} {rows.where}", (rows, []))[1].append(part)
            else:
                found.append(self.any_row(rows, [part]))
        found.extend(self.any_row(rows, together) for rows, together in shared.values())
        return " AND ".join(found) or TRUE

    def comparison(self, part: Comparison) -> str:
        """Return a comparison with a column or with key-value rows."""
        source = source_of(part.field, self.sources)
        if isinstance(source, Column):
            return self.on_column(source, part)
        if isinstance(source, Pairs):
            return self.on_pairs(source, part)
        raise TypeError(f"{part.field.family} has rows of its own")

    def any_row(self, rows: Rows, parts: Sequence[Comparison]) -> str:
        """Return the condition that one row matches all of these."""
        conditions: list[str] = []
        inner: dict[str, tuple[Rows, list[str]]] = {}
        for place, part in enumerate(parts):
            source = source_of(part.field, self.sources)
            if isinstance(source, Rows):
                conditions.append(self.on_column(source.columns[part.field.key], part))
            elif isinstance(source, Within) and isinstance(source.inner, Rows):
                held = source.inner
                shared = f"{held.table} {held.where}" if held.together else str(place)
                compared = self.on_column(held.columns[part.field.key], part)
                inner.setdefault(shared, (held, []))[1].append(compared)
            elif isinstance(source, Within) and isinstance(source.inner, Pairs):
                conditions.append(self.on_pairs(source.inner, part))
        return self.exists(rows, [*conditions, *(self.exists(held, found) for held, found in inner.values())])

    def exists(self, rows: Rows, conditions: Sequence[str]) -> str:
        """Return the condition that a row of the thing meets all of these."""
        self.binder.values.update(rows.values)
        found = " AND ".join([belonging(rows), *conditions])
        return f"EXISTS (SELECT 1 FROM {rows.table} WHERE {found})"  # noqa: S608 - the room's names and placeholders

    def on_column(self, column: Column, part: Comparison) -> str:
        """Return a comparison with a column."""
        if part.op in {"IS NULL", "IS NOT NULL"}:
            return f"{column.sql} {part.op}"
        compared = self.compare(column.sql, part, column.scale)
        return f"({column.sql} IS NOT NULL AND {compared})" if column.nullable else compared

    def on_pairs(self, pairs: Pairs, part: Comparison) -> str:
        """Return a comparison with the value of a key."""
        held = self.held(pairs, part.field.key)
        if part.op in {"IS NULL", "IS NOT NULL"}:
            return f"{'NOT ' if part.op == 'IS NULL' else ''}EXISTS (SELECT 1 {held})"
        default = pairs.defaults.get(part.field.key)
        if default is not None:
            found = f"COALESCE((SELECT {qualified(pairs, pairs.value)} {held}), {self.binder.bind(default)})"
            return self.compare(found, part)
        return f"EXISTS (SELECT 1 {held} AND {self.on_value(pairs, part, by_key=True)})"

    def on_value(self, pairs: Pairs, part: Comparison, *, by_key: bool = False) -> str:
        """Return a comparison with the value of a key-value row, found by its key or by an index on the value."""
        number = isinstance(part.value, int | float)
        value = qualified(pairs, pairs.numeric if number and pairs.numeric else pairs.value)
        if by_key:
            value = self.dialect.by_key(value)
        if pairs.number:
            compared = self.compare(value, part)
            return f"({compared} OR {value} IS NULL)" if part.op == "!=" else compared
        if number and not pairs.numeric:
            return self.dialect.text_number(part.op, value, self.binder.bind(part.value))
        return self.compare(value, part)

    def held(self, pairs: Pairs, key: str) -> str:
        """Return FROM and WHERE that find the rows of a key."""
        self.binder.values.update(pairs.values)
        found = f"{belonging(pairs)} AND {qualified(pairs, pairs.key)} = {self.binder.bind(key)}"
        return f"FROM {pairs.table} WHERE {found}"

    def compare(self, sql: str, part: Comparison, scale: int = 1) -> str:
        """Return a comparison of an expression that is not NULL with a value."""
        op, value = part.op, part.value
        if isinstance(value, tuple):
            return f"{sql} {op} ({', '.join(map(self.binder.bind, value))})"
        if isinstance(value, str):
            if op in {"LIKE", "ILIKE", "RLIKE"}:
                return self.dialect.matches(op, sql, self.binder.bind(self.dialect.pattern(op, value)))
            return f"{sql} {op} {self.binder.bind(value)}"
        if value is None:
            raise TypeError(f"{op} needs a value")
        return self.scaled(sql, op, value, scale) if scale != 1 else f"{sql} {op} {self.binder.bind(value)}"

    def scaled(self, sql: str, op: str, value: float, scale: int) -> str:
        """Return a comparison of a column in finer units, which the user sees cut off to whole coarse ones."""
        if abs(value) >= _INT64:
            beyond = "<" if value > 0 else ">"
            return TRUE if op == "!=" or op.startswith(beyond) else FALSE
        low, above = math.ceil(value), math.floor(value) + 1
        match op:
            case "=":
                inside = f"({sql} >= {self.whole(low * scale)} AND {sql} < {self.whole(above * scale)})"
                return inside if low < above else FALSE
            case "!=":
                outside = f"({sql} < {self.whole(low * scale)} OR {sql} >= {self.whole(above * scale)})"
                return outside if low < above else TRUE
            case ">":
                return f"{sql} >= {self.whole(above * scale)}"
            case ">=":
                return f"{sql} >= {self.whole(low * scale)}"
            case "<":
                return f"{sql} < {self.whole(low * scale)}"
            case _:
                return f"{sql} < {self.whole(above * scale)}"

    def whole(self, value: int) -> str:
        """Return the placeholder for a whole number, as a float where it has more than 64 bits."""
        return self.binder.bind(value if -_INT64 <= value < _INT64 else float(value))
