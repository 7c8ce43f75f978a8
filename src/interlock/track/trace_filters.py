"""Conditions on the spans of traces, which rest packed.

Names, types and states of spans, and the values of their attributes, are listed in small tables (`trace_index`). What
these say of a condition is yes, no, or maybe: several comparisons must hold of one span, long values are not listed,
nor is what a trace holds while it goes on, nor all the text of its spans. Where it is maybe, the spans are looked at.
So a filter has two forms in SQL: what may match, which finds traces, and what surely does, which saves looking.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.core.errors import Invalid
from interlock.store.search import And, Column, Comparison, Field, Node, Not, Or, Rows, compile_filter
from interlock.store.span_tests import SpanTest, passing
from interlock.track.trace_parts import read_spans

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from interlock.core.ports import Reader, Row
    from interlock.store.search import Sources
    from interlock.store.spans import Span

_TRUE: Final[Node] = And(())
_FALSE: Final[Node] = Or(())
_TEXT: Final = Field("attribute", "text")
_ON_SPANS: Final = frozenset({"span", "span_attribute"})
_KINDS: Final = frozenset({"name", "type", "status"})
_ASKED: Final = "asked"
_AT_ONCE: Final = 32  # traces whose spans are read together
_BY_SQL: Final = frozenset({"=", "!=", "LIKE", "IN", "NOT IN"})  # what SQL says of a text just as `span_tests` do
_SOURCES: Final[Sources] = {
    "listed": Rows(
        table="trace_span_values",
        owner={"trace": "traces.id"},
        columns={
            "name": Column("trace_span_values.name"),
            "value": Column("trace_span_values.value"),
            "whole": Column("trace_span_values.listed", number=True),
        },
        together=True,
    ),
    "held": {"indexed": Column("traces.indexed", number=True), "spans": Column("traces.spans", number=True)},
    "span": Rows(
        table="trace_span_kinds",
        owner={"trace": "traces.id"},
        columns={name: Column(f"trace_span_kinds.{name}") for name in sorted(_KINDS)},
        together=True,
    ),
}
_UNLISTED: Final = And((Comparison(Field("held", "indexed"), "=", 0), Comparison(Field("held", "spans"), ">", 0)))


class _Asked(msgspec.Struct, frozen=True):
    """Comparisons that one span must meet.

    Attributes:
        may: what the tables say of every trace that meets them, and maybe of others.
        surely: what they say of some traces that meet them, and of no others.
        tests: the comparisons, as asked of spans.
    """

    may: Node
    surely: Node
    tests: tuple[SpanTest, ...]


class SpanFilter:
    """A filter of traces, its conditions on spans apart.

    Args:
        node: the filter.
        sources: where the other fields rest.

    Raises:
        Invalid: a pattern is none.
    """

    def __init__(self, node: Node, sources: Sources) -> None:
        self.sources: Sources = {**sources, **_SOURCES}
        self._asked: list[_Asked] = []
        self._node = self._rewritten(node)
        self._tests = [passing(asked.tests) for asked in self._asked]

    @property
    def exact(self) -> bool:
        """Whether SQL alone says what matches."""
        return not self._asked

    @property
    def may(self) -> Node:
        """What every trace that matches meets, and maybe others."""
        return self._form(self._node, lambda number, plus: self._side(number, may=plus))

    def passing(self, reader: Reader, rows: Sequence[Row]) -> list[bool]:
        """Return which of some traces match.

        Raises:
            Corrupt: spans are not what was written.

        Cost: unpacks the spans of those that may match and do not surely.
        """
        idents = [row["id"] for row in rows]
        surely = self._form(self._node, lambda number, plus: self._side(number, may=not plus))
        found = self._matching(reader, surely, idents)
        rest = [ident for ident in idents if ident not in found]
        alike: dict[tuple[bool, ...], list[str]] = {}
        for start in range(0, len(rest), _AT_ONCE):
            some = rest[start : start + _AT_ONCE]
            spans = read_spans(reader, some)
            for ident in some:
                alike.setdefault(self._truth(spans.get(ident, ())), []).append(ident)
        for truth, some in alike.items():
            found |= self._matching(reader, self._form(self._node, functools.partial(_known, truth)), some)
        return [ident in found for ident in idents]

    def _truth(self, spans: Sequence[Span]) -> tuple[bool, ...]:
        return tuple(test(spans) for test in self._tests)

    def _matching(self, reader: Reader, node: Node, idents: Sequence[str]) -> set[str]:
        """Return which of some traces meet a condition, as SQL says it."""
        if not idents or node == _FALSE:
            return set()
        sql = compile_filter(node, self.sources)
        marks = {f"i{number}": ident for number, ident in enumerate(idents)}
        among = f"traces.id IN ({', '.join(f':{mark}' for mark in marks)})"
        query = f"SELECT traces.id FROM traces WHERE {among} AND {sql.text}"  # noqa: S608 - ours and placeholders
        return {row["id"] for row in reader.all(query, {**sql.values, **marks})}

    def _side(self, number: int, *, may: bool) -> Node:
        return self._asked[number].may if may else self._asked[number].surely

    def _form(self, node: Node, say: Callable[[int, bool], Node], plus: bool = True) -> Node:
        """Return a condition in which `say` has its word on what is asked of spans; `plus` is false below a NOT."""
        match node:
            case Not(part):
                return Not(self._form(part, say, not plus))
            case Or(parts):
                return Or(tuple(self._form(part, say, plus) for part in parts))
            case And(parts):
                return And(tuple(self._form(part, say, plus) for part in parts))
            case Comparison(field):
                return say(int(field.key), plus) if field.family == _ASKED else node

    def _rewritten(self, node: Node) -> Node:
        """Return a condition in which those on attributes and contents of spans are numbers in `_asked`."""
        match node:
            case Not(part):
                return Not(self._rewritten(part))
            case Or(parts):
                return Or(tuple(self._rewritten(part) for part in parts))
            case And(parts):
                return self._together(parts)
            case Comparison():
                return self._together((node,))

    def _together(self, parts: Sequence[Node]) -> Node:
        """Return the condition that all parts are met; those on spans by the same one."""
        on_spans = [part for part in parts if isinstance(part, Comparison) and part.field.family in _ON_SPANS]
        found: list[Node] = []
        for part in parts:
            if not isinstance(part, Comparison):
                found.append(self._rewritten(part))
            elif part.field == _TEXT:
                found.append(self._ask([part]))
            elif part.field.family not in _ON_SPANS or all(map(_is_kind, on_spans)):
                found.append(part)
        if not all(map(_is_kind, on_spans)):
            found.append(self._ask(on_spans))
        return found[0] if len(found) == 1 else And(tuple(found))

    def _ask(self, parts: Sequence[Comparison]) -> Comparison:
        kinds = [part for part in parts if _is_kind(part)]
        listed = [part for part in parts if part.field.family == "span_attribute"]
        may: list[Node] = [And(tuple(kinds))] if kinds else []
        if listed:
            may.append(Or((_UNLISTED, And(tuple(map(_may, listed))))))
        alone = len(parts) == 1 and listed and listed[0].op in _BY_SQL
        surely: Node = And(_listed(listed[0])) if alone else _FALSE
        self._asked.append(_Asked(And(tuple(may)), surely, tuple(map(_test, parts))))
        return Comparison(Field(_ASKED, str(len(self._asked) - 1)), "=", 1)


def _known(truth: tuple[bool, ...], number: int, _: bool) -> Node:
    return _TRUE if truth[number] else _FALSE


def _is_kind(part: Comparison) -> bool:
    return part.field.family == "span" and part.field.key in _KINDS


def _listed(part: Comparison) -> tuple[Node, ...]:
    """Return the conditions that a row of the listed values meets the comparison."""
    named = Comparison(Field("listed", "name"), "=", part.field.key)
    return (
        named,
        Comparison(Field("listed", "whole"), "=", 1),
        Comparison(Field("listed", "value"), part.op, part.value),
    )


def _may(part: Comparison) -> Node:
    named = Comparison(Field("listed", "name"), "=", part.field.key)
    if part.op not in _BY_SQL:
        return And((named,))  # alone in its AND: else it would ask the row of another part to have this name too
    return Or((And(_listed(part)), And((named, Comparison(Field("listed", "whole"), "=", 0)))))


def _test(part: Comparison) -> SpanTest:
    if part.value is None:
        raise Invalid(f"{part.op} cannot be asked of a span.", about="search")
    value: Any = part.value
    if part.field.family == "span_attribute":
        return ("attribute", part.field.key, part.op, value)
    return ("content" if part.field == _TEXT else part.field.key, "", part.op, value)
