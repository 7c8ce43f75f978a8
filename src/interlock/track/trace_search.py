"""Searches of traces: where their fields rest, and pages of what matches.

Conditions on spans that AND joins must hold of one span; how they are met stands in `trace_filters`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from interlock.store.search import (
    TRACES,
    Column,
    Field,
    OrderTerm,
    Pairs,
    Rows,
    Search,
    Target,
    complete_order,
    parse_filter,
    parse_order,
    plan_page,
    read_checked,
    read_page,
)
from interlock.track.trace_filters import SpanFilter
from interlock.track.trace_records import RUN_METADATA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.core.ports import Reader
    from interlock.store.search import Page, Sources
    from interlock.track.search import Query

_MICROS: Final = 1000


def search_traces(reader: Reader, experiments: Sequence[str], query: Query) -> Page:
    """Return the ids of traces of some experiments, page by page.

    Args:
        reader: the database.
        experiments: whose traces are searched.
        query: the search; its view is not read.

    Raises:
        Invalid: the filter, the order or the token is not sound.

    Cost: for an order by time, what is met in an index until the page is full, whichever page it is. Spans are unpacked
    of traces that may match by what is listed of them, and do not surely; for texts anywhere in spans, of all.
    """
    found = SpanFilter(parse_filter(query.filter, TRACES), _SOURCES)
    order = complete_order(tuple(_sortable(term) for term in parse_order(query.order_by, TRACES)), TRACES)
    target = Target(
        table="traces",
        identity=("id",),
        partition="traces.experiment",
        partitions=tuple(dict.fromkeys(experiments)),
    )
    search = Search(filter=found.may, order=order, target=target, sources=found.sources)
    if found.exact:
        return read_page(reader, plan_page(search, query.limit, query.page_token))
    return read_checked(reader, search, query.limit, query.page_token, lambda rows: found.passing(reader, rows))


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
