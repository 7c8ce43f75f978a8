"""Searches page by page: which statements to run, so that each stops as soon as the page is full.

A search whose first term is a metric walks the index (partition, key, value) of the metric's table and looks at the
things it meets, best first: those with a value, then those with NaN, then those without. Each is one statement with a
LIMIT, and a later one runs only when those before gave too few rows. With several partitions (experiments) each gets
its own statement, and the page is merged from them.

Walking is slow when a filter lets almost nothing through. So where the filter compares a key that has an index, the
planner first counts what that alone would leave, and stops counting at `FEW`: when there are fewer, it takes them and
sorts them.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from interlock.core.errors import Invalid
from interlock.store.search import order, pages
from interlock.store.search.dialects import SQLITE, Dialect
from interlock.store.search.filters import Compiler
from interlock.store.search.order import MISSING, NAN, VALUE, Key, Place
from interlock.store.search.sources import Binder, Column, Pairs, Sources, Sql, belonging, qualified, source_of
from interlock.store.search.syntax import And, Comparison, Node, OrderTerm, conjuncts

FEW: Final = 2_000
MERGED: Final = 100
_MOST: Final = 1_000_000


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What is searched.

    Attributes:
        table: its table.
        identity: the columns that a page gives for each row.
        where: a condition on all of them, such as `runs.lifecycle = 'active'`.
        values: the values of its placeholders.
        partition: the column that divides them (`runs.experiment`), if any does.
        partitions: the parts to search.
    """

    table: str
    identity: tuple[str, ...]
    where: str = ""
    values: dict[str, Any] = msgspec.field(default_factory=dict)
    partition: str = ""
    partitions: tuple[str | int, ...] = ()


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """A search, ready to be planned.

    Attributes:
        filter: what it must match.
        order: in which order, complete (see `complete_order`).
        target: in which table.
        sources: where the fields rest.
        dialect: the database.
    """

    filter: Node
    order: tuple[OrderTerm, ...]
    target: Target
    sources: Sources
    dialect: Dialect = SQLITE


class Step(msgspec.Struct, frozen=True):
    """Statements whose rows are merged, and the rank of the first key in all of them, if they do not select it."""

    statements: tuple[Sql, ...]
    rank: int = VALUE


class Probe(msgspec.Struct, frozen=True):
    """A statement that counts, as `n`, what one comparison leaves; and the step to take when that is little."""

    count: Sql
    step: Step


class Plan(msgspec.Struct, frozen=True):
    """How to read one page: the step of the probe that finds fewest, at most `FEW`; else the steps until it is full.

    Statements take the placeholder `:rows`, the most rows they shall give. One more than the page holds tells whether
    there is a next one.
    """

    steps: tuple[Step, ...]
    probes: tuple[Probe, ...]
    identity: tuple[str, ...]
    keys: tuple[Key, ...]
    query: str
    limit: int


def plan_page(search: Search, limit: int, token: str = "") -> Plan:
    """Return how to read the page of at most `limit` rows that begins after a token.

    Raises:
        Invalid: the token is none of ours or belongs to another query; a field rests nowhere; the limit is below 1 or
            above a million.
    """
    if not 1 <= limit <= _MOST:
        raise Invalid(f"A page has at least one row and at most {_MOST}.", about="search", limit=limit)
    planner = _Planner(search)
    if token:
        planner.places = pages.decode_token(token, planner.query, planner.keys)
    return Plan(planner.steps(), planner.probes(), search.target.identity, planner.keys, planner.query, limit)


class _Planner:
    """Writes the statements of one search."""

    def __init__(self, search: Search) -> None:
        self.target = search.target
        self.sources = search.sources
        self.binder = Binder("s")
        self.binder.values.update(search.target.values)
        self.compiler = Compiler(search.sources, search.dialect, self.binder)
        self.parts = conjuncts(search.filter)
        self.filter = self.compiler.condition(search.filter)
        self.keys = order.compile_order(search.order, search.sources, self.binder, search.dialect)
        self.first = search.order[0].field
        self.marks = [self.binder.bind(part) for part in search.target.partitions]
        self.query = pages.digest(
            search.target, self.filter, order.selected(self.keys), order.order_by(self.keys), self.binder.values
        )
        self.places: tuple[Place, ...] = ()

    def steps(self) -> tuple[Step, ...]:
        """Return the steps from where the page begins."""
        target = self.target
        if target.partition and not self.marks:
            return ()
        divided = [[mark] for mark in self.marks] if 0 < len(self.marks) <= MERGED else [self.marks]
        source = source_of(self.first, self.sources)
        walks = isinstance(source, Pairs) and source.indexed and (not source.partition or len(divided[0]) == 1)
        ranks = self.keys[0].ranks
        if isinstance(source, Pairs) and not walks:
            return (Step(tuple(self.sort(marks) for marks in divided)),)
        direct = self.direct() if walks else ()
        if direct:  # a comparison with the very value that is walked rules out what lacks it
            ranks = tuple(rank for rank in ranks if rank == VALUE or (rank == NAN and {c.op for c in direct} == {"!="}))
        if self.places and len(divided) == 1 and self.seeks():
            return tuple(self.onward(divided[0], same) for same in reversed(range(len(self.keys))))
        begin = self.places[0][0] if self.places else VALUE
        return tuple(
            Step(tuple(self.ranked(rank, marks, walks=walks and rank != MISSING) for marks in divided), rank)
            for rank in ranks
            if rank >= begin
        )

    def seeks(self) -> bool:
        """Return whether indexes go on after a row by all keys, not by the first alone."""
        source = source_of(self.first, self.sources)
        return isinstance(source, Column) and source.ordered and all(len(key.ranks) == 1 for key in self.keys)

    def onward(self, marks: list[str], same: int) -> Step:
        """Return the step for what equals the last row in so many keys and comes after it by the next.

        One statement for all would seek by the first key only, and walk over all its equals that earlier pages gave:
        the versions of one model, say, in an order by the name.
        """
        values = [self.binder.bind(value) for _, value in self.places[: same + 1]]
        equal = [key.same(VALUE, mark) for key, mark in zip(self.keys[:same], values, strict=False)]
        conditions = [self.filter, *self.scope(marks), *equal, self.keys[same].beyond(VALUE, values[same])]
        return Step((self.statement(self.target.table, conditions, self.keys, 0),))

    def probes(self) -> tuple[Probe, ...]:
        """Return what is worth counting before any walk."""
        if self.target.partition and not self.marks:
            return ()
        found = []
        for part in self.parts:
            if not isinstance(part, Comparison) or part.op in {"!=", "NOT IN", "IS NULL", "IS NOT NULL"}:
                continue
            source = source_of(part.field, self.sources)
            if isinstance(source, Column) and source.indexed:
                where = self.where([*self.scope(self.marks), self.compiler.comparison(part)])
                found.append(Probe(self.count(self.target.table, where), Step((self.sort(self.marks),))))
            elif isinstance(source, Pairs) and source.indexed and part.field.key not in source.defaults:
                found.append(self.probe(source, part))
        return tuple(found)

    def probe(self, pairs: Pairs, part: Comparison) -> Probe:
        """Return the count of the key-value rows that a comparison leaves, and the search among their owners."""
        conditions = [self.held(pairs, part.field.key, self.marks), self.compiler.on_value(pairs, part)]
        where = self.where([one for one in conditions if one])
        columns = ", ".join(f"{pairs.table}.{column} AS c{index}" for index, column in enumerate(pairs.owner))
        joined = [f"{owner} = few.c{index}" for index, owner in enumerate(pairs.owner.values())]
        source = f"(SELECT {columns} FROM {pairs.table}{where}) AS few CROSS JOIN {self.target.table}"  # noqa: S608
        return Probe(self.count(pairs.table, where), Step((self.sort(self.marks, source, joined),)))

    def count(self, table: str, where: str) -> Sql:
        """Return the statement that counts rows, but never more than `FEW` and one."""
        few = f"SELECT 1 AS one FROM {table}{where} LIMIT {FEW + 1}"  # noqa: S608
        return Sql(f"SELECT COUNT(*) AS n FROM ({few}) AS few", self.binder.values)  # noqa: S608

    def sort(self, marks: list[str], source: str = "", joined: list[str] | None = None) -> Sql:
        """Return the statement that sorts whatever matches, of all ranks."""
        conditions = [*(joined or ()), *self.scope(marks), self.filter]
        if self.places:
            conditions.append(order.after(self.keys, self.places, self.binder))
        return self.statement(source or self.target.table, conditions, self.keys, 0)

    def ranked(self, rank: int, marks: list[str], *, walks: bool) -> Sql:
        """Return the statement for what has a rank by the first key, walking the table of its key-value rows or not."""
        source = source_of(self.first, self.sources)
        first, table, filtered = self.keys[0], self.target.table, self.filter
        if walks and isinstance(source, Pairs):
            value = qualified(source, source.value)
            first = msgspec.structs.replace(first, value=value, present="1 = 1")
            table = f"{source.table} CROSS JOIN {self.target.table}"
            direct = self.direct()
            rest = And(tuple(part for part in self.parts if part not in direct))
            filtered = self.where(
                [self.held(source, self.first.key, marks), belonging(source)]
                + [self.compiler.on_value(source, part) for part in direct]
                + [self.compiler.condition(rest)],
                word="",
            )
        conditions = [filtered, *self.scope(marks), first.has_rank(rank)]
        fixed = msgspec.structs.replace(first, ranks=(VALUE,))
        keys = (fixed, *self.keys[1:]) if rank == VALUE else self.keys[1:]
        if self.places and self.places[0][0] == rank:
            conditions.append(order.after(keys, self.places[len(self.places) - len(keys) :], self.binder))
            conditions.append(order.bound(fixed, self.places[0], self.binder))
        return self.statement(table, conditions, keys, len(self.keys) - len(keys))

    def direct(self) -> tuple[Comparison, ...]:
        """Return the comparisons that must hold of the very value that comes first in the order."""
        source = source_of(self.first, self.sources)
        return tuple(
            part
            for part in self.parts
            if isinstance(part, Comparison)
            and part.field == self.first
            and part.value is not None
            and isinstance(source, Pairs)
            and part.field.key not in source.defaults
        )

    def held(self, pairs: Pairs, key: str, marks: list[str]) -> str:
        """Return the condition that a key-value row is of a key and of the partitions that are searched."""
        self.binder.values.update(pairs.values)
        conditions = [
            f"{qualified(pairs, pairs.key)} = {self.binder.bind(key)}",
            f"({pairs.where})" if pairs.where else "",
        ]
        if pairs.partition:
            conditions.insert(0, _among(qualified(pairs, pairs.partition), marks))
        return self.where(conditions, word="")

    def scope(self, marks: list[str]) -> list[str]:
        """Return the conditions that the target makes."""
        target = self.target
        return [
            f"({target.where})" if target.where else "",
            _among(target.partition, marks) if target.partition else "",
        ]

    def where(self, conditions: list[str], word: str = " WHERE ") -> str:
        """Return the conditions joined, after a word."""
        return word + " AND ".join(one for one in conditions if one)

    def statement(self, table: str, conditions: list[str], keys: tuple[Key, ...], first: int) -> Sql:
        """Return the statement that selects identities and keys in order."""
        columns = [f"{self.target.table}.{column} AS {column}" for column in self.target.identity]
        text = (
            f"SELECT {', '.join(columns)}, {order.selected(keys, first)} FROM {table}{self.where(conditions)}"  # noqa: S608
            f" ORDER BY {order.order_by(keys, first)} LIMIT :rows"
        )
        return Sql(text, self.binder.values)


def _among(column: str, marks: list[str]) -> str:
    return f"{column} = {marks[0]}" if len(marks) == 1 else f"{column} IN ({', '.join(marks)})"
