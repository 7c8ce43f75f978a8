"""Traces as people and programs see them, in words of ours."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec

from interlock.store.span_tests import SPAN_TYPE, span_status, span_type
from interlock.track.instants import instant, seconds
from interlock.track.trace_records import NAME_TAG, Assessment, AssessmentKind, State, TraceFacts
from interlock.track.traces import trace_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from interlock.store.spans import Span

_NANOS: Final = 1_000_000_000


class Assessed(msgspec.Struct, frozen=True):
    """What somebody found of a trace, or expects of it.

    Attributes:
        id: its id.
        kind: feedback, expectation or issue.
        name: what was assessed.
        value: any plain value.
        by: who: `HUMAN ann`, `LLM_JUDGE gpt`, `CODE`.
        span: the id of the span that it is about, or "" for the trace.
        rationale: why.
        error: why there is no value, or "".
        valid: whether no other replaces it.
    """

    TABLE: ClassVar = ("kind", "name", "value", "by", "rationale", "valid")

    id: str
    kind: AssessmentKind
    name: str
    value: Any
    by: str
    span: str
    rationale: str
    error: str
    valid: bool
    created_at: datetime

    def __str__(self) -> str:
        return f"{self.name}={self.error or self.value}"


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """What an application did for one request.

    Attributes:
        id: its id, such as `tr-` and 32 hexadecimal digits.
        experiment: the name of the experiment that it belongs to.
        name: what was done, or "".
        state: how it ended: OK, ERROR, IN_PROGRESS or STATE_UNSPECIFIED.
        duration_s: how long it took; None while that is not known.
        span_count: how many spans are here.
        request: the beginning of what was asked.
        response: the beginning of what was answered.
        tags: facts that may change.
        metadata: facts that do not.
        assessments: what was found of it.
    """

    TABLE: ClassVar = ("id", "name", "state", "started_at", "duration_s", "span_count", "request", "assessments")

    id: str
    experiment: str
    name: str
    state: State
    started_at: datetime
    duration_s: float | None
    span_count: int
    request: str
    response: str
    tags: dict[str, str]
    metadata: dict[str, str]
    assessments: tuple[Assessed, ...]


class TracePage(msgspec.Struct, frozen=True):
    """Traces that a search found, and the token of the next page; "" after the last."""

    traces: tuple[Trace, ...]
    next_page_token: str


class SpanMoment(msgspec.Struct, frozen=True):
    """Something that happened during a span, so many seconds after the trace began."""

    name: str
    after_s: float
    attributes: dict[str, Any]


class SpanPointer(msgspec.Struct, frozen=True):
    """Another span, maybe of another trace, that a span points to."""

    trace: str
    span: str
    attributes: dict[str, Any]


class SpanView(msgspec.Struct, frozen=True):
    """One unit of work.

    Attributes:
        name: what was done.
        id: its id in hexadecimal.
        parent: the id of the span that it is part of, or "".
        type: such as LLM, TOOL or RETRIEVER, or "".
        status: UNSET, OK or ERROR.
        after_s: when it began, in seconds after the trace's first span.
        duration_s: how long it took; None while it goes on.
        message: what the status says.
        attributes: facts about it, inputs and outputs among them.
        moments: what happened during it.
        links: spans that it points to.
    """

    TABLE: ClassVar = ("name", "type", "status", "after_s", "duration_s", "message")
    TREE: ClassVar = ("id", "parent")

    name: str
    id: str
    parent: str
    type: str
    status: str
    after_s: float
    duration_s: float | None
    message: str
    attributes: dict[str, Any]
    moments: tuple[SpanMoment, ...]
    links: tuple[SpanPointer, ...]


class WholeTrace(Trace, frozen=True, kw_only=True):
    """A trace with its spans: roots first, then as they began."""

    spans: tuple[SpanView, ...]


def shown_traces(found: Sequence[TraceFacts], experiments: Mapping[str, str]) -> list[Trace]:
    """Return traces as people see them.

    Args:
        found: the traces.
        experiments: the names of their experiments, by id.
    """
    return [Trace(**_facts(facts, experiments)) for facts in found]


def shown_trace(facts: TraceFacts, spans: Sequence[Span], experiments: Mapping[str, str]) -> WholeTrace:
    """Return a trace with its spans as people see it.

    Args:
        facts: the trace.
        spans: its spans, in order.
        experiments: the name of its experiment, by id.
    """
    begun = min((span.started_at for span in spans), default=0)
    return WholeTrace(**_facts(facts, experiments), spans=tuple(_span(span, begun) for span in spans))


def _facts(facts: TraceFacts, experiments: Mapping[str, str]) -> dict[str, Any]:
    return {
        "id": facts.id,
        "experiment": experiments.get(facts.experiment, facts.experiment),
        "name": facts.tags.get(NAME_TAG, ""),
        "state": facts.state,
        "started_at": instant(facts.started_at),
        "duration_s": seconds(facts.duration),
        "span_count": facts.spans,
        "request": facts.request_preview or "",
        "response": facts.response_preview or "",
        "tags": facts.tags,
        "metadata": facts.metadata,
        "assessments": tuple(_assessed(one) for one in facts.assessments),
    }


def _assessed(one: Assessment) -> Assessed:
    failed = one.error.error_message or one.error.error_code if one.error is not None else ""
    by = f"{one.source_type} {one.source_id}".strip()
    made = instant(one.created_at)
    return Assessed(one.id, one.kind, one.name, one.value, by, one.span, one.rationale or "", failed, one.valid, made)


def _span(span: Span, begun: int) -> SpanView:
    return SpanView(
        name=span.name,
        id=span.id.hex(),
        parent=span.parent.hex(),
        type=span_type(span),
        status=span_status(span),
        after_s=(span.started_at - begun) / _NANOS,
        duration_s=(span.ended_at - span.started_at) / _NANOS if span.ended_at else None,
        message=span.message,
        attributes={name: value for name, value in span.attributes.items() if name != SPAN_TYPE},
        moments=tuple(SpanMoment(e.name, (e.at - begun) / _NANOS, e.attributes) for e in span.events),
        links=tuple(SpanPointer(trace_id(to.trace), to.span.hex(), to.attributes) for to in span.links),
    )
