"""OTLP's `ExportTraceServiceRequest` in protobuf, as spans; and the few answers in protobuf.

Source: opentelemetry-proto, `collector/trace/v1`, `trace/v1`, `common/v1`, `resource/v1`. The numbers of fields are
theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.server.mlflow import protobuf
from interlock.server.mlflow.protobuf import fields, malformed, message, signed, text, whole
from interlock.store.spans import Span, SpanEvent, SpanLink

if TYPE_CHECKING:
    from interlock.server.mlflow.protobuf import Value
    from interlock.store.spans import Attributes

DEEPEST: Final = 100  # protobuf's own readers stop there too
TRACE_BYTES: Final = 16
SPAN_BYTES: Final = 8


class Batch(msgspec.Struct, frozen=True):
    """Spans of one resource: what made them."""

    resource: dict[str, Any]
    spans: tuple[Span, ...]


def read_request(body: bytes) -> list[Batch]:
    """Return the spans of a request in protobuf.

    Raises:
        Malformed: the bytes are no such request, or a span lacks an id.
    """
    return [_resource_spans(message(value)) for number, _, value in fields(memoryview(body)) if number == 1]


def checked(span: Span) -> Span:
    """Return a span that has ids of the right lengths.

    Raises:
        Malformed: it has not.
    """
    shown = f"span {span.name[:80]!r}"
    if len(span.trace) != TRACE_BYTES or not any(span.trace):
        raise malformed(f"{shown} has no trace id of {TRACE_BYTES} bytes")
    if len(span.id) != SPAN_BYTES or not any(span.id):
        raise malformed(f"{shown} has no id of {SPAN_BYTES} bytes")
    if span.parent and len(span.parent) != SPAN_BYTES:
        raise malformed(f"{shown} has a parent id of {len(span.parent)} bytes")
    return span if any(span.parent) else msgspec.structs.replace(span, parent=b"")


def status_message(code: int, told: str) -> bytes:
    """Return a `google.rpc.Status`, which OTLP answers errors with."""
    return protobuf.varint_field(1, code) + protobuf.text_field(2, told)


def _resource_spans(data: memoryview) -> Batch:
    resource: dict[str, Any] = {}
    spans: list[Span] = []
    for number, _, value in fields(data):
        if number == 1:
            for inner, _, attribute in fields(message(value)):
                if inner == 1:
                    _add(resource, attribute, 0)
        elif number == 2:
            spans += [_span(message(found)) for inner, _, found in fields(message(value)) if inner == 2]
    return Batch(resource, tuple(spans))


def _span(data: memoryview) -> Span:
    found: dict[str, Any] = {"trace": b"", "id": b"", "parent": b"", "name": "", "started_at": 0, "ended_at": 0}
    attributes: Attributes = {}
    events, links, dropped = [], [], [0, 0, 0]
    for number, _, value in fields(data):
        if number in _SPAN_BYTES:
            found[_SPAN_BYTES[number]] = bytes(message(value))
        elif number in _SPAN_TEXTS:
            found[_SPAN_TEXTS[number]] = text(value)
        elif number in _SPAN_NUMBERS:
            found[_SPAN_NUMBERS[number]] = whole(value)
        elif number == 9:
            _add(attributes, value, 0)
        elif number == 11:
            events.append(_event(message(value)))
        elif number == 13:
            links.append(_link(message(value)))
        elif number == 15:
            found |= _status(message(value))
        elif number in _DROPPED:
            dropped[_DROPPED[number]] = whole(value)
    found |= {"attributes": attributes, "events": tuple(events), "links": tuple(links), "dropped": tuple(dropped)}
    return checked(Span(**found))


_SPAN_BYTES: Final = {1: "trace", 2: "id", 4: "parent"}
_SPAN_TEXTS: Final = {3: "state", 5: "name"}
_SPAN_NUMBERS: Final = {6: "kind", 7: "started_at", 8: "ended_at", 16: "flags"}
_DROPPED: Final = {10: 0, 12: 1, 14: 2}


def _status(data: memoryview) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number, _, value in fields(data):
        if number == 2:
            found["message"] = text(value)
        elif number == 3:
            found["status"] = whole(value)
    return found


def _event(data: memoryview) -> SpanEvent:
    name, at, dropped = "", 0, 0
    attributes: Attributes = {}
    for number, _, value in fields(data):
        if number == 1:
            at = whole(value)
        elif number == 2:
            name = text(value)
        elif number == 3:
            _add(attributes, value, 0)
        elif number == 4:
            dropped = whole(value)
    return SpanEvent(name, at, attributes, dropped)


def _link(data: memoryview) -> SpanLink:
    found: dict[str, Any] = {"trace": b"", "span": b""}
    attributes: Attributes = {}
    for number, _, value in fields(data):
        if number in {1, 2}:
            found["trace" if number == 1 else "span"] = bytes(message(value))
        elif number == 3:
            found["state"] = text(value)
        elif number == 4:
            _add(attributes, value, 0)
        elif number in {5, 6}:
            found["dropped" if number == 5 else "flags"] = whole(value)
    return SpanLink(**found, attributes=attributes)


def _add(attributes: Attributes, value: Value, depth: int) -> None:
    key, held = "", None
    for number, _, part in fields(message(value)):
        if number == 1:
            key = text(part)
        elif number == 2:
            held = _any(message(part), depth + 1)
    attributes[key] = held


def _any(data: memoryview, depth: int) -> Any:
    """Return an `AnyValue`: of several values the last counts, and none is None."""
    if depth > DEEPEST:
        raise malformed(f"a value is nested deeper than {DEEPEST}")
    found: Any = None
    for number, _, value in fields(data):
        match number:
            case 1:
                found = text(value)
            case 2:
                found = bool(whole(value))
            case 3:
                found = signed(value)
            case 4:
                found = protobuf.double(value)
            case 5:
                found = [_any(message(part), depth + 1) for inner, _, part in fields(message(value)) if inner == 1]
            case 6:
                found = {}
                for inner, _, part in fields(message(value)):
                    if inner == 1:
                        _add(found, part, depth + 1)
            case 7:
                found = bytes(message(value))
    return found
