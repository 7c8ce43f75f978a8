"""Traces as clients before 3.0 report, fetch and search them; newer ones do where a server lacks the newer paths."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from interlock.core.operations import Permission
from interlock.server.mlflow import checks
from interlock.server.mlflow.adapter import Adapter, millis, present, tag_list
from interlock.server.mlflow.experiments import Tag
from interlock.server.mlflow.routing import route
from interlock.server.mlflow.trace_requests import checked_id, read_pairs
from interlock.server.mlflow.trace_wire import metadata_of, tags_of
from interlock.server.mlflow.traces import find
from interlock.server.mlflow.wire import Int64, from_millis, invalid
from interlock.track.search import Query
from interlock.track.trace_records import State, TraceInfo
from interlock.track.traces import Traces

if TYPE_CHECKING:
    from interlock.track.trace_records import TraceFacts

READ, WRITE = Permission.TRACK_READ, Permission.TRACK_WRITE
Status = Literal["TRACE_STATUS_UNSPECIFIED", "OK", "ERROR", "IN_PROGRESS"]
_UNKNOWN: Final = "TRACE_STATUS_UNSPECIFIED"
_FIRST, _LAST = -62_135_596_800_000_000, 253_402_300_799_999_999  # years 1 to 9999, which newer clients can be told


class Begin(msgspec.Struct):
    """A trace that begins."""

    experiment_id: str
    timestamp_ms: Int64 = 0
    request_metadata: list[Tag] = []
    tags: list[Tag] = []


class End(msgspec.Struct):
    """A trace's end."""

    request_id: str
    timestamp_ms: Int64 = 0
    status: Status = "TRACE_STATUS_UNSPECIFIED"
    request_metadata: list[Tag] = []
    tags: list[Tag] = []


class RequestId(msgspec.Struct):
    """Names a trace."""

    request_id: str


class Search(msgspec.Struct):
    """A search."""

    experiment_ids: list[str] = []
    filter: str = ""
    max_results: Int64 = 100
    order_by: list[str] = []
    page_token: str = ""


@route("POST", "traces", WRITE)
def begin(adapter: Adapter, ask: Begin) -> dict[str, Any]:
    """Begin a trace, whose id the server makes."""
    checks.required(experiment_id=ask.experiment_id)
    info = TraceInfo(
        id=secrets.token_hex(16),
        experiment=ask.experiment_id,
        state="IN_PROGRESS",
        started_at=_instant(ask.timestamp_ms),
        tags=_pairs(ask.tags, "tags"),
        metadata=_pairs(ask.request_metadata, "request_metadata"),
    )
    traces = Traces(adapter.store)
    traces.report(info)
    return {"trace_info": shown(traces.get(info.id))}


@route("PATCH", "traces/{request_id}", WRITE)
def end(adapter: Adapter, ask: End) -> dict[str, Any]:
    """End a trace; tags and metadata are added to those that are there."""
    traces = Traces(adapter.store)
    held = traces.get(checked_id(ask.request_id))
    state: State = "STATE_UNSPECIFIED" if ask.status == _UNKNOWN else ask.status
    info = TraceInfo(
        id=held.id,
        experiment=held.experiment,
        state=state,
        started_at=held.started_at,
        duration=_instant(ask.timestamp_ms) - held.started_at,
        client_request_id=held.client_request_id,
        tags=_pairs(ask.tags, "tags"),
        metadata=_pairs(ask.request_metadata, "request_metadata"),
    )
    traces.report(info)
    return {"trace_info": shown(traces.get(info.id))}


@route("GET", "traces/{request_id}/info", READ)
def get(adapter: Adapter, ask: RequestId) -> dict[str, Any]:
    """Show a trace without its spans."""
    return {"trace_info": shown(Traces(adapter.store).get(ask.request_id))}


@route("GET", "traces", READ)
def search(adapter: Adapter, ask: Search) -> dict[str, Any]:
    """Find traces of some experiments."""
    checks.required(experiment_ids=ask.experiment_ids)
    query = Query(ask.filter, tuple(ask.order_by), "all", ask.max_results or 100, ask.page_token)
    found, token = find(adapter, ask.experiment_ids, query)
    return present(traces=[shown(facts) for facts in found], next_page_token=token)


def shown(facts: TraceFacts) -> dict[str, Any]:
    """Return a trace as these clients have it."""
    return present(
        request_id=facts.id,
        experiment_id=facts.experiment,
        timestamp_ms=millis(facts.started_at),
        execution_time_ms=millis(facts.duration or 0),
        status=_UNKNOWN if facts.state == "STATE_UNSPECIFIED" else facts.state,
        request_metadata=tag_list(metadata_of(facts)),
        tags=tag_list(tags_of(facts)),
    )


def _instant(at: int) -> int:
    micros = from_millis(at)
    if not _FIRST <= micros <= _LAST:
        raise invalid(f"{at} is no instant in milliseconds.")
    return micros


def _pairs(tags: list[Tag], what: str) -> dict[str, str]:
    return read_pairs({tag.key: tag.value for tag in tags}, what)
