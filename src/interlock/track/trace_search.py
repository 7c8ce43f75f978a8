"""Searches of traces: where their fields rest, and pages of what matches.

Spans rest packed, so what a search asks of them goes two ways: names, types and states have a small table, in which a
trace has each kind of span once; attributes and contents are looked up in the packed spans themselves, by the function
`span_match` of the database, for traces that meet all else. Conditions on spans that AND joins must hold of one span.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.core.errors import Invalid
from interlock.store.search import (
    TRACES,
    And,
    Column,
    Comparison,
    Field,
    Node,
    Not,
    Or,
    OrderTerm,
    Pairs,
    Rows,
    Search,
    Target,
    complete_order,
    parse_filter,
    parse_order,
    plan_page,
    read_page,
)
from interlock.track.trace_records import RUN_METADATA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.core.ports import Reader
    from interlock.store.search import Page, Sources
    from interlock.track.search import Query

_MICROS: Final = 1000
_PACKED: Final = "packed"
_TEXT: Final = Field("attribute", "text")
_ON_SPANS: Final = frozenset({"span", "span_attribute"})
_KINDS: Final = frozenset({"name", "type", "status"})


def search_traces(reader: Reader, experiments: Sequence[str], query: Query) -> Page:
    """Return the ids of traces of some experiments, page by page.

    Args:
        reader: the database.
        experiments: whose traces are searched.
        query: the search; its view is not read.

    Raises:
        Invalid: the filter, the order or the token is not sound.

    Cost: for an order by time, what is met in an index until the page is full, whichever page it is.
    """
    packed = _Packed()
    node = packed.rewritten(parse_filter(query.filter, TRACES))
    order = complete_order(tuple(_sortable(term) for term in parse_order(query.order_by, TRACES)), TRACES)
    target = Target(
        table="traces",
        identity=("id",),
        partition="traces.experiment",
        partitions=tuple(dict.fromkeys(experiments)),
    )
    search = Search(filter=node, order=order, target=target, sources={**_SOURCES, _PACKED: packed.sources})
    return read_page(reader, plan_page(search, query.limit, query.page_token))


class _Packed:
    """Conditions on single spans, each group of them as one that the database asks of the packed spans."""

    def __init__(self) -> None:
        self.sources: dict[str, Column | Rows] = {}

    def rewritten(self, node: Node) -> Node:
        """Return a condition in which those on attributes and contents of spans are replaced."""
        match node:
            case Not(part):
                return Not(self.rewritten(part))
            case Or(parts):
                return Or(tuple(self.rewritten(part) for part in parts))
            case And(parts):
                return self.together(parts)
            case Comparison():
                return self.together((node,))

    def together(self, parts: Sequence[Node]) -> Node:
        """Return the condition that all parts are met; those on spans by the same one."""
        on_spans = [part for part in parts if isinstance(part, Comparison) and part.field.family in _ON_SPANS]
        found: list[Node] = []
        for part in parts:
            if not isinstance(part, Comparison):
                found.append(self.rewritten(part))
            elif part.field == _TEXT:
                found.append(self.asked([part]))
            elif part.field.family not in _ON_SPANS or _is_kind(part):
                found.append(part)
        if not all(_is_kind(part) for part in on_spans):
            found.append(self.asked(on_spans))
        return found[0] if len(found) == 1 else And(tuple(found))

    def asked(self, parts: Sequence[Comparison]) -> Comparison:
        """Return the condition that one span meets all of these."""
        name = str(len(self.sources))
        tests = [_test(part) for part in parts]
        mark = f"{_PACKED}{name}"
        self.sources[name] = Rows(
            table="trace_spans",
            owner={"trace": "traces.id"},
            columns={name: Column(f"span_match(trace_spans.data, :{mark})", number=True)},
            values={mark: msgspec.json.encode(tests).decode()},
        )
        return Comparison(Field(_PACKED, name), "=", 1)


def _is_kind(part: Comparison) -> bool:
    return part.field.family == "span" and part.field.key in _KINDS


def _test(part: Comparison) -> tuple[str, str, str, Any]:
    if part.value is None:
        raise Invalid(f"{part.op} cannot be asked of a span.", about="search")
    if part.field.family == "span_attribute":
        return ("attribute", part.field.key, part.op, part.value)
    return ("content" if part.field == _TEXT else part.field.key, "", part.op, part.value)


def _sortable(term: OrderTerm) -> OrderTerm:
    """Return a term of an order; a trace can belong to several runs, so it is sorted by the one it was made in."""
    if term.field == Field("attribute", "run_id"):
        return OrderTerm(Field("metadata", RUN_METADATA), term.descending)
    return term


def _pairs(table: str) -> Pairs:
    return Pairs(table=table, owner={"trace": "traces.id"}, key="name", value="value")


def _linked(kind: str, field: str) -> Rows:
    columns = {field: Column("trace_links.name")}
    where = f"trace_links.kind = '{kind}'"
    return Rows(table="trace_links", owner={"trace": "traces.id"}, columns=columns, where=where)


def _assessed(kind: str) -> Pairs:
    return Pairs(
        table="trace_assessments",
        owner={"trace": "traces.id"},
        key="name",
        value="text",
        numeric="number",
        where=f"trace_assessments.kind = '{kind}' AND trace_assessments.valid = 1",
        newest="trace_assessments.created_at DESC, trace_assessments.id",
    )


def _time(sql: str, *, nullable: bool = False, indexed: bool = False) -> Column:
    return Column(sql, number=True, scale=_MICROS, nullable=nullable, indexed=indexed)


_SOURCES: Final[Sources] = {
    "attribute": {
        "request_id": Column("traces.id", indexed=True),
        "timestamp_ms": _time("traces.started_at", indexed=True),
        "execution_time_ms": _time("traces.duration", nullable=True),
        "end_time_ms": _time("(traces.started_at + COALESCE(traces.duration, 0))"),
        "status": Column("traces.state"),
        "name": Column("traces.name", nullable=True, indexed=True),
        "run_id": _linked("run", "run_id"),
        "client_request_id": Column("traces.client_request_id", nullable=True),
        "prompt": _linked("prompt", "prompt"),
        "experiment_id": Column("traces.experiment"),
    },
    "tag": _pairs("trace_tags"),
    "metadata": _pairs("trace_metadata"),
    "span": Rows(
        table="trace_span_kinds",
        owner={"trace": "traces.id"},
        columns={name: Column(f"trace_span_kinds.{name}") for name in sorted(_KINDS)},
        together=True,
    ),
    "feedback": _assessed("feedback"),
    "expectation": _assessed("expectation"),
    "issue": {
        "id": Rows(
            table="trace_assessments",
            owner={"trace": "traces.id"},
            columns={"id": Column("trace_assessments.name")},
            where="trace_assessments.kind = 'issue'",
        )
    },
}
