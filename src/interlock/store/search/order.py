"""Orders to SQL: what to select, what to order by, and what comes after a given row.

A key is a rank and a value. The rank is 0 for a value, 1 for NaN, 2 for none, and always ascends, so that NaN and what
is missing come last in both directions, as in MLflow; among equal ranks the value decides. Where nothing can be
missing there is no rank. A page goes on after the keys of the last row it gave, never by counting rows again.
"""

from __future__ import annotations

from functools import cmp_to_key
from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.core.errors import Invalid
from interlock.store.search.dialects import SQLITE
from interlock.store.search.sources import Binder, Column, Pairs, belonging, qualified, source_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from interlock.core.ports import Row
    from interlock.store.search.dialects import Dialect
    from interlock.store.search.sources import Sources
    from interlock.store.search.syntax import OrderTerm

VALUE: Final = 0
NAN: Final = 1
MISSING: Final = 2

Place = tuple[int, str | int | float | None]
"""Where a row stands by one key: rank and value; the value is None unless the rank is `VALUE`."""


class Key(msgspec.Struct, frozen=True):
    """What to order by, as SQL.

    Attributes:
        value: the expression; NULL where there is no value.
        descending: whether larger values come first.
        number: whether values are numbers.
        ranks: the ranks there can be; only `VALUE` where nothing can be missing.
        present: the condition that there is a row, which tells NaN from missing.
    """

    value: str
    descending: bool
    number: bool
    ranks: tuple[int, ...]
    present: str = ""

    @property
    def rank(self) -> str:
        """The expression of the rank; "" where there is only one."""
        if len(self.ranks) == 1:
            return ""
        nan = f" WHEN {self.present} THEN {NAN}" if NAN in self.ranks else ""
        return f"CASE WHEN {self.value} IS NOT NULL THEN {VALUE}{nan} ELSE {MISSING} END"

    def has_rank(self, rank: int) -> str:
        """Return the condition that a row has this rank."""
        if len(self.ranks) == 1:
            return ""
        if rank == VALUE:
            return f"{self.value} IS NOT NULL"
        if NAN not in self.ranks:
            return f"{self.value} IS NULL"
        return f"({self.value} IS NULL AND {self.present})" if rank == NAN else f"NOT {self.present}"

    def beyond(self, rank: int, mark: str) -> str:
        """Return the condition that a row comes after a place by this key alone; "" when none can."""
        later = [self.has_rank(other) for other in self.ranks if other > rank]
        if rank == VALUE:
            later.insert(0, f"{self.value} {'<' if self.descending else '>'} {mark}")
            if len(self.ranks) > 1:
                later = [later[0], f"{self.value} IS NULL"]
        return f"({' OR '.join(later)})" if later else ""

    def same(self, rank: int, mark: str) -> str:
        """Return the condition that a row stands at a place by this key."""
        return f"{self.value} = {mark}" if rank == VALUE else self.has_rank(rank)


def compile_order(
    terms: Sequence[OrderTerm], sources: Sources, binder: Binder, dialect: Dialect = SQLITE
) -> tuple[Key, ...]:
    """Return the keys of an order, their values bound.

    Raises:
        Invalid: a term names what rests nowhere in `sources`, or what can have many values.
    """
    return tuple(_key(term, sources, binder, dialect) for term in terms)


def order_by(keys: Sequence[Key], first: int = 0) -> str:
    """Return the terms of ORDER BY, over the columns that `selected` names."""
    terms = []
    for index, key in enumerate(keys, first):
        if key.rank:
            terms.append(f"r{index}")
        terms.append(f"k{index}{' DESC' if key.descending else ''}")
    return ", ".join(terms)


def selected(keys: Sequence[Key], first: int = 0) -> str:
    """Return the columns to select: `k0` and, where there is one, the rank `r0`, and so on from `first`."""
    columns = []
    for index, key in enumerate(keys, first):
        if key.rank:
            columns.append(f"{key.rank} AS r{index}")
        columns.append(f"{key.value} AS k{index}")
    return ", ".join(columns)


def after(keys: Sequence[Key], places: Sequence[Place], binder: Binder) -> str:
    """Return the condition that a row comes after the one at these places; false when none can."""
    choices: list[str] = []
    equal: list[str] = []
    for key, (rank, value) in zip(keys, places, strict=True):
        mark = binder.bind(value) if rank == VALUE else ""
        if beyond := key.beyond(rank, mark):
            choices.append(" AND ".join([*equal, beyond]))
        if same := key.same(rank, mark):
            equal.append(same)
    return f"({' OR '.join(f'({choice})' for choice in choices)})" if choices else "1 = 0"


def bound(key: Key, place: Place, binder: Binder) -> str:
    """Return the condition, implied by `after`, by which an index on the first key finds where to go on; or ""."""
    rank, value = place
    return f"{key.value} {'<=' if key.descending else '>='} {binder.bind(value)}" if rank == VALUE else ""


def places_of(row: Row, keys: Sequence[Key], rank: int) -> tuple[Place, ...]:
    """Return where a selected row stands; `rank` is that of the first key where it was not selected."""
    ranks = [row.get(f"r{index}", VALUE if index else rank) for index in range(len(keys))]
    return tuple((found, row[f"k{index}"] if found == VALUE else None) for index, found in enumerate(ranks))


def sort_key(keys: Sequence[Key]) -> Callable[[Sequence[Place]], Any]:
    """Return the key by which Python sorts places just as the SQL does."""

    def compare(left: Sequence[Place], right: Sequence[Place]) -> int:
        for key, (rank, value), (other_rank, other) in zip(keys, left, right, strict=True):
            if rank != other_rank:
                return -1 if rank < other_rank else 1
            if value is not None and other is not None and value != other:
                return 1 if (value > other) != key.descending else -1  # type: ignore[operator]
        return 0

    return cmp_to_key(compare)


def _key(term: OrderTerm, sources: Sources, binder: Binder, dialect: Dialect) -> Key:
    source = source_of(term.field, sources)
    if isinstance(source, Column):
        column = source.order or source
        value = column.sql if column.number else dialect.ordered_text(column.sql)
        return Key(value, term.descending, column.number, (VALUE, MISSING) if column.nullable else (VALUE,))
    if not isinstance(source, Pairs):
        raise Invalid(f"{term.field.family} has many values and is nothing to order by.", about="search")
    binder.values.update(source.values)
    key = binder.bind(term.field.key)
    held = f"FROM {source.table} WHERE {belonging(source)} AND {qualified(source, source.key)} = {key}"
    newest = f" ORDER BY {source.newest} LIMIT 1" if source.newest else ""
    value = f"(SELECT {qualified(source, source.value)} {held}{newest})"
    if source.number:
        return Key(
            value, term.descending, number=True, ranks=(VALUE, NAN, MISSING), present=f"EXISTS (SELECT 1 {held})"
        )
    return Key(dialect.ordered_text(value), term.descending, number=False, ranks=(VALUE, MISSING))
