"""Traces on the wire: reported, fetched, searched, tagged, linked, deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.core.clock import to_micros
from interlock.core.errors import NotFound
from interlock.core.operations import Permission
from interlock.server.mlflow import checks
from interlock.server.mlflow.adapter import Adapter, Call, present
from interlock.server.mlflow.arrivals import Later
from interlock.server.mlflow.routing import route
from interlock.server.mlflow.trace_requests import InfoMessage, Location, read_info, read_pairs
from interlock.server.mlflow.trace_wire import (
    ARTIFACTS_TAG,
    LOCATION_TAG,
    metadata_of,
    shown_info,
    shown_trace,
)
from interlock.server.mlflow.wire import Int64, Refused, from_millis, invalid
from interlock.track.search import Query
from interlock.track.trace_search import search_traces
from interlock.track.traces import Traces

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.core.ports import Transaction
    from interlock.store.spans import Span
    from interlock.track.trace_records import TraceFacts

READ, WRITE = Permission.TRACK_READ, Permission.TRACK_WRITE
MOST: Final = 500
_MOST_WHOLE: Final = 100
_MOST_INFOS: Final = 10_000
_BOTH: Final = ("2.0", "3.0")


class TraceMessage(msgspec.Struct):
    """A trace; what it says of spans is not read, since clients send those to `/v1/traces`."""

    trace_info: InfoMessage


class StartTrace(msgspec.Struct):
    """A report of a trace, which clients send when it is over."""

    trace: TraceMessage


class TraceId(msgspec.Struct):
    """Names a trace."""

    trace_id: str
    allow_partial: bool = False


class TraceIds(msgspec.Struct):
    """Names traces, of some experiments if any are named."""

    trace_ids: list[str]
    experiment_ids: list[str] = []


class SearchTraces(msgspec.Struct):
    """A search."""

    locations: list[Location]
    filter: str = ""
    max_results: Int64 = 100
    order_by: list[str] = []
    page_token: str = ""


class DeleteTraces(msgspec.Struct):
    """Says which traces are deleted."""

    experiment_id: str
    max_timestamp_millis: Int64 | None = None
    max_traces: Int64 | None = None
    request_ids: list[str] = []


class TraceTag(msgspec.Struct):
    """A tag of a trace."""

    trace_id: str
    key: str
    value: str = ""


class LinkToRun(msgspec.Struct):
    """Says which traces belong to a run."""

    trace_ids: list[str]
    run_id: str


class Prompt(msgspec.Struct):
    """A version of a prompt."""

    name: str
    version: str


class LinkPrompts(msgspec.Struct):
    """Says which prompts a trace used."""

    trace_id: str
    prompt_versions: list[Prompt]


@route("POST", "traces", WRITE, versions=("3.0",))
def start(adapter: Adapter, ask: StartTrace) -> dict[str, Any]:
    """Take the report of a trace."""
    info = read_info(ask.trace.trace_info, to_micros(adapter.store.clock.now()))
    traces = Traces(adapter.store)
    traces.report(info)
    return {"trace": {"trace_info": shown_info(traces.get(info.id))}}


@route("GET", "traces/get", READ, versions=("3.0",))
def get(adapter: Adapter, ask: TraceId) -> dict[str, Any]:
    """Show a trace with its spans, all of them unless a part is enough."""
    facts, spans = whole_trace(adapter, ask.trace_id, partial=ask.allow_partial)
    return {"trace": shown_trace(facts, spans)}


@route("GET", "traces/batchGet", READ, versions=("3.0",))
def get_many(adapter: Adapter, ask: TraceIds) -> dict[str, Any]:
    """Show those of some traces that are here as a whole, with their spans."""
    if len(ask.trace_ids) > _MOST_WHOLE:
        raise invalid(f"At most {_MOST_WHOLE} traces can be fetched at once; {len(ask.trace_ids)} were named.")
    traces = Traces(adapter.store)
    found = traces.some(ask.trace_ids, ask.experiment_ids or None)
    spans = traces.spans([facts.id for facts in found])
    complete = [facts for facts in found if spans.get(facts.id) and _is_whole(facts, spans[facts.id])]
    return present(traces=[shown_trace(facts, spans[facts.id]) for facts in complete])


@route("POST", "traces/batchGetInfos", READ, versions=("3.0",))
def get_infos(adapter: Adapter, ask: TraceIds) -> dict[str, Any]:
    """Show those of some traces that are here, without their spans."""
    if len(ask.trace_ids) > _MOST_INFOS:
        raise invalid(f"At most {_MOST_INFOS} traces can be fetched at once; {len(ask.trace_ids)} were named.")
    found = Traces(adapter.store).some(ask.trace_ids, ask.experiment_ids or None)
    return present(trace_infos=[shown_info(facts) for facts in found])


@route("POST", "traces/search", READ, versions=("3.0",))
def search(adapter: Adapter, ask: SearchTraces) -> dict[str, Any]:
    """Find traces of some experiments."""
    places = (place.mlflow_experiment for place in ask.locations)
    experiments = [place.experiment_id for place in places if place is not None]
    query = Query(ask.filter, tuple(ask.order_by), "all", ask.max_results or 100, ask.page_token)
    found, token = find(adapter, experiments, query)
    return present(traces=[shown_info(facts) for facts in found], next_page_token=token)


@route("GET", "traces/{trace_id}", READ, versions=("3.0",))
def get_info(adapter: Adapter, ask: TraceId) -> dict[str, Any]:
    """Show a trace without its spans."""
    return {"trace": {"trace_info": shown_info(Traces(adapter.store).get(ask.trace_id))}}


@route("POST", "traces/delete-traces", WRITE, versions=_BOTH)
def delete(adapter: Adapter, ask: DeleteTraces) -> dict[str, Any]:
    """Delete traces for good: those that are named, or the oldest."""
    checks.required(experiment_id=ask.experiment_id)
    until = ask.max_timestamp_millis
    if until is None and not ask.request_ids:
        raise invalid("Either `max_timestamp_millis` or `request_ids` must be specified.")
    if ask.request_ids and (until is not None or ask.max_traces is not None):
        raise invalid("`request_ids` cannot be specified together with `max_timestamp_millis` or `max_traces`.")
    if ask.max_traces is not None and ask.max_traces <= 0:
        raise invalid(f"`max_traces` must be a positive integer, not {ask.max_traces}.")
    before = None if until is None else from_millis(until) + 1000
    return {"traces_deleted": Traces(adapter.store).delete(ask.experiment_id, ask.request_ids, before, ask.max_traces)}


@route("PATCH", "traces/{trace_id}/tags", WRITE, versions=_BOTH)
def set_tag(adapter: Adapter, ask: TraceTag) -> None:
    """Tag a trace."""
    _check_tag(ask.key)
    tags = read_pairs({ask.key: ask.value}, "tags")
    adapter.database.write(lambda tx: Traces(adapter.store).change(tx, ask.trace_id, tags))


@route("DELETE", "traces/{trace_id}/tags", WRITE, versions=_BOTH)
def delete_tag(adapter: Adapter, ask: TraceTag) -> None:
    """Take a tag of a trace away."""
    _check_tag(ask.key)
    adapter.database.write(lambda tx: Traces(adapter.store).change(tx, ask.trace_id, {}, [ask.key]))


@route("POST", "traces/link-to-run", WRITE, versions=_BOTH)
def link_to_run(adapter: Adapter, ask: LinkToRun) -> None:
    """Link traces to a run."""
    checks.required(trace_ids=ask.trace_ids, run_id=ask.run_id)
    adapter.database.write(lambda tx: Traces(adapter.store).link(tx, ask.trace_ids, "run", ask.run_id))


@route("POST", "traces/link-prompts", WRITE, versions=_BOTH)
def link_prompts(adapter: Adapter, ask: LinkPrompts) -> None:
    """Link a trace to the prompts that it used."""
    checks.required(trace_id=ask.trace_id, prompt_versions=ask.prompt_versions)
    traces = Traces(adapter.store)
    traces.get(ask.trace_id)

    def change(tx: Transaction) -> None:
        for prompt in ask.prompt_versions:
            traces.link(tx, [ask.trace_id], "prompt", f"{prompt.name}/{prompt.version}")

    adapter.database.write(change)


@route("POST", "traces/metrics", READ, versions=("3.0",))
def metrics(_: Adapter, __: Call) -> None:
    """Refuse: statistics over traces are not there."""
    raise _absent("traces/metrics")


@route("POST", "traces/calculate-filter-correlation", READ, versions=("3.0",))
def correlation(_: Adapter, __: Call) -> None:
    """Refuse: statistics over traces are not there."""
    raise _absent("traces/calculate-filter-correlation")


def find(adapter: Adapter, experiments: Sequence[str], query: Query) -> tuple[list[TraceFacts], str]:
    """Return a page of traces and the token of the next one.

    Raises:
        Refused: the page is too large.
        Invalid: the filter, the order or the token is not sound.
    """
    if not 0 < query.limit <= MOST:
        raise invalid(f"Invalid value {query.limit} for parameter 'max_results': it must be between 1 and {MOST}.")
    checks.many(experiments, "experiment_ids")
    page = search_traces(adapter.database, experiments, query)
    return Traces(adapter.store).some([row["id"] for row in page.rows]), page.next_token


def whole_trace(adapter: Adapter, trace: str, *, partial: bool) -> tuple[TraceFacts, Sequence[Span]]:
    """Return a trace and its spans.

    Raises:
        NotFound: there is none.
        Later: not all of its spans came so far; clients send the last ones beside the report.
    """
    traces, since = Traces(adapter.store), adapter.arrivals.count
    facts = traces.get(trace)
    spans = traces.spans([trace]).get(trace, ())
    if partial or (spans and _is_whole(facts, spans)):
        return facts, spans
    message = f"Trace with ID {trace} is not fully exported yet, please try again later."
    raise Later(trace, since, NotFound(message, about="trace"))


def _is_whole(facts: TraceFacts, spans: Sequence[Span]) -> bool:
    """Return whether a trace has as many spans as its client said."""
    try:
        stats = msgspec.json.decode(metadata_of(facts).get("mlflow.trace.sizeStats", "{}"))
        return len(spans) >= int(stats.get("num_spans", 0))
    except (msgspec.MsgspecError, AttributeError, TypeError, ValueError):
        return True


def _check_tag(key: str) -> None:
    checks.required(key=key)
    if key in {LOCATION_TAG, ARTIFACTS_TAG}:
        raise invalid(f"Tag '{key}' is immutable and cannot be changed on a trace.")


def _absent(path: str) -> Refused:
    return Refused("NOT_IMPLEMENTED", f"{path} belongs to a part of the protocol that Interlock does not speak.")
