"""Traces as the protocol has them: protobuf's JSON of `TraceInfoV3`, of OTLP's `Span`, and of their times."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.core.clock import from_micros, to_micros
from interlock.server.mlflow.adapter import ROOT, present
from interlock.server.mlflow.wire import invalid, number
from interlock.store.spans import Span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.store.spans import Attributes
    from interlock.track.trace_records import Assessment, TraceFacts

LOCATION_TAG: Final = "mlflow.trace.spansLocation"
ARTIFACTS_TAG: Final = "mlflow.artifactLocation"
REPORTED: Final = "mlflow.trace.infoFinalized"
_TIMESTAMP: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))\Z", re.ASCII
)
_DURATION: Final = re.compile(r"(-?)(\d{1,12})(?:\.(\d{1,9}))?s\Z", re.ASCII)
_CODES: Final = ("STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR")
_KINDS: Final = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
_MILLI: Final = 1000
_SECOND: Final = 1_000_000


def read_timestamp(text: str, name: str) -> int:
    """Return an instant of protobuf's JSON in microseconds since 1970 UTC.

    Raises:
        Refused: it is none.
    """
    wrong = invalid(
        f"Invalid value {text[:60]!r} for parameter '{name}': an instant like 2026-01-31T12:00:00.5Z is wanted."
    )
    found = _TIMESTAMP.match(text)
    if found is None:
        raise wrong
    try:
        at = datetime.fromisoformat(f"{found[1]}T{found[2]}").replace(tzinfo=UTC)
        if found[4]:
            ahead = timedelta(hours=int(found[5]), minutes=int(found[6]))
            at = at - ahead if found[4] == "+" else at + ahead
    except (ValueError, OverflowError):
        raise wrong from None
    return to_micros(at) + _fraction(found[3])


def read_duration(text: str, name: str) -> int:
    """Return a duration of protobuf's JSON in microseconds.

    Raises:
        Refused: it is none.
    """
    found = _DURATION.match(text)
    if found is None:
        raise invalid(f"Invalid value {text[:60]!r} for parameter '{name}': a duration like 1.5s is wanted.")
    micros = int(found[2]) * _SECOND + _fraction(found[3])
    return -micros if found[1] else micros


def timestamp(micros: int) -> str:
    """Return an instant as protobuf's JSON: as many digits after the point as it takes, three at a time."""
    at = from_micros(micros)
    return f"{at.replace(microsecond=0, tzinfo=None).isoformat()}{_digits(at.microsecond)}Z"


def duration(micros: int) -> str:
    """Return a duration as protobuf's JSON."""
    seconds, rest = divmod(abs(micros), _SECOND)
    return f"{'-' if micros < 0 else ''}{seconds}{_digits(rest)}s"


def shown_info(facts: TraceFacts) -> dict[str, Any]:
    """Return a trace without its spans as `TraceInfoV3`."""
    return present(
        trace_id=facts.id,
        client_request_id=facts.client_request_id,
        trace_location={"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": facts.experiment}},
        request_time=timestamp(facts.started_at),
        execution_duration=None if facts.duration is None else duration(facts.duration),
        state=facts.state,
        trace_metadata=metadata_of(facts),
        assessments=[shown_assessment(facts.id, one) for one in facts.assessments],
        tags=tags_of(facts),
        request_preview=facts.request_preview,
        response_preview=facts.response_preview,
    )


def tags_of(facts: TraceFacts) -> dict[str, str]:
    """Return a trace's tags, with those by which clients find its spans and files."""
    tags = {**facts.tags, ARTIFACTS_TAG: f"{ROOT}/{facts.experiment}/traces/{facts.id}/artifacts"}
    if facts.spans:
        tags[LOCATION_TAG] = "TRACKING_STORE"
    return tags


def metadata_of(facts: TraceFacts) -> dict[str, str]:
    """Return a trace's metadata; one says that its client reported it."""
    return {**facts.metadata, REPORTED: "true"} if facts.reported else facts.metadata


def shown_trace(facts: TraceFacts, spans: Sequence[Span]) -> dict[str, Any]:
    """Return a trace with its spans."""
    return present(trace_info=shown_info(facts), spans=[shown_span(span) for span in spans])


def shown_assessment(trace: str, one: Assessment) -> dict[str, Any]:
    """Return an assessment as the protocol has it."""
    source = present(source_type=one.source_type, source_id=one.source_id)
    value: dict[str, Any] = {"value": one.value}
    if one.kind == "issue":
        value = {"issue_name": one.value}
    elif one.serialized:
        value = {"serialized_value": {"serialization_format": "JSON_FORMAT", "value": one.value}}
    if one.error is not None:
        value["error"] = msgspec.to_builtins(one.error)
    shown = present(
        assessment_id=one.id,
        assessment_name=one.name,
        trace_id=trace,
        span_id=one.span,
        source=source,
        create_time=timestamp(one.created_at),
        last_update_time=timestamp(one.updated_at),
        rationale=one.rationale,
        metadata=one.metadata,
        overrides=one.overrides,
    )
    return {**shown, one.kind: value, "valid": one.valid}


def shown_span(span: Span) -> dict[str, Any]:
    """Return a span as protobuf's JSON: ids in base64, values by their types."""
    attributes, events, links = span.dropped
    return present(
        trace_id=_base64(span.trace),
        span_id=_base64(span.id),
        trace_state=span.state,
        parent_span_id=_base64(span.parent),
        flags=span.flags or None,
        name=span.name,
        kind=f"SPAN_KIND_{_KINDS[span.kind]}" if 0 < span.kind < len(_KINDS) else None,
        start_time_unix_nano=span.started_at or None,
        end_time_unix_nano=span.ended_at or None,
        attributes=_pairs(span.attributes),
        dropped_attributes_count=attributes or None,
        events=[
            present(
                time_unix_nano=event.at or None,
                name=event.name,
                attributes=_pairs(event.attributes),
                dropped_attributes_count=event.dropped or None,
            )
            for event in span.events
        ],
        dropped_events_count=events or None,
        links=[
            present(
                trace_id=_base64(link.trace),
                span_id=_base64(link.span),
                trace_state=link.state,
                attributes=_pairs(link.attributes),
                dropped_attributes_count=link.dropped or None,
                flags=link.flags or None,
            )
            for link in span.links
        ],
        dropped_links_count=links or None,
        status=_status(span),
    )


def _status(span: Span) -> dict[str, Any]:
    code = _CODES[span.status] if 0 < span.status < len(_CODES) else None
    return present(message=span.message, code=code)


def _pairs(attributes: Attributes) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in attributes.items()]


def _value(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if isinstance(value, str):
        return {"string_value": value}
    if isinstance(value, bool):
        return {"bool_value": value}
    if isinstance(value, int):
        return {"int_value": value}
    if isinstance(value, float):
        return {"double_value": number(value)}
    if isinstance(value, bytes):
        return {"bytes_value": _base64(value)}
    if isinstance(value, dict):
        return {"kvlist_value": present(values=_pairs(value))}
    return {"array_value": present(values=[_value(item) for item in value])}


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _fraction(digits: str | None) -> int:
    return int((digits or "0").ljust(6, "0")[:6])


def _digits(micros: int) -> str:
    if not micros:
        return ""
    return f".{micros // _MILLI:03d}" if micros % _MILLI == 0 else f".{micros:06d}"
