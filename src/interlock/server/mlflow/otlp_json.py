"""OTLP's `ExportTraceServiceRequest` in JSON, as spans.

OTLP's JSON is protobuf's, with two differences: ids are hexadecimal, enums are numbers. Names are camelCase. 64-bit
numbers may be texts. Source: the OTLP specification, "JSON Protobuf Encoding".
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from interlock.server.mlflow.otlp_wire import DEEPEST, Batch, checked
from interlock.server.mlflow.protobuf import malformed
from interlock.store.spans import Span, SpanEvent, SpanLink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.store.spans import Attributes

_Int64 = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
_Double = float | str
_Enum = int | str
_KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
_CODES = ("UNSET", "OK", "ERROR")


_Uint32 = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]


class _Message(msgspec.Struct, rename="camel"):
    pass


class _Array(_Message):
    values: list[_Any] | None = None


class _Map(_Message):
    values: list[_KeyValue] | None = None


class _Any(_Message):
    string_value: str | None = None
    bool_value: bool | None = None
    int_value: _Int64 | str | None = None
    double_value: _Double | None = None
    array_value: _Array | None = None
    kvlist_value: _Map | None = None
    bytes_value: str | None = None


class _KeyValue(_Message):
    key: str = ""
    value: _Any | None = None


class _Status(_Message):
    message: str | None = None
    code: _Enum | None = None


class _Event(_Message):
    time_unix_nano: int | str | None = None
    name: str | None = None
    attributes: list[_KeyValue] | None = None
    dropped_attributes_count: _Uint32 | None = None


class _Link(_Message):
    trace_id: str | None = None
    span_id: str | None = None
    trace_state: str | None = None
    attributes: list[_KeyValue] | None = None
    dropped_attributes_count: _Uint32 | None = None
    flags: _Uint32 | None = None


class _Span(_Message):
    trace_id: str | None = None
    span_id: str | None = None
    trace_state: str | None = None
    parent_span_id: str | None = None
    flags: _Uint32 | None = None
    name: str | None = None
    kind: _Enum | None = None
    start_time_unix_nano: int | str | None = None
    end_time_unix_nano: int | str | None = None
    attributes: list[_KeyValue] | None = None
    dropped_attributes_count: _Uint32 | None = None
    events: list[_Event] | None = None
    dropped_events_count: _Uint32 | None = None
    links: list[_Link] | None = None
    dropped_links_count: _Uint32 | None = None
    status: _Status | None = None


class _ScopeSpans(_Message):
    spans: list[_Span] | None = None


class _Resource(_Message):
    attributes: list[_KeyValue] | None = None


class _ResourceSpans(_Message):
    resource: _Resource | None = None
    scope_spans: list[_ScopeSpans] | None = None


class _Request(_Message):
    resource_spans: list[_ResourceSpans] | None = None


def read_request(body: bytes) -> list[Batch]:
    """Return the spans of a request in JSON.

    Raises:
        Malformed: the bytes are no such request, or a span lacks an id.
    """
    try:
        request = msgspec.json.decode(body, type=_Request)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise malformed(str(error).rstrip(".")) from None
    except RecursionError:
        raise malformed("it is nested too deep") from None
    return [_batch(each) for each in request.resource_spans or ()]


def _batch(found: _ResourceSpans) -> Batch:
    resource = _attributes(found.resource.attributes if found.resource else None, 0)
    return Batch(resource, tuple(_span(span) for scope in found.scope_spans or () for span in scope.spans or ()))


def _span(span: _Span) -> Span:
    status = span.status or _Status()
    return checked(
        Span(
            trace=_hex(span.trace_id),
            id=_hex(span.span_id),
            parent=_hex(span.parent_span_id),
            name=span.name or "",
            started_at=_whole(span.start_time_unix_nano),
            ended_at=_whole(span.end_time_unix_nano),
            status=_enum(status.code, _CODES, "STATUS_CODE_"),
            message=status.message or "",
            attributes=_attributes(span.attributes, 0),
            events=tuple(_event(event) for event in span.events or ()),
            links=tuple(_link(link) for link in span.links or ()),
            kind=_enum(span.kind, _KINDS, "SPAN_KIND_"),
            state=span.trace_state or "",
            flags=span.flags or 0,
            dropped=(
                span.dropped_attributes_count or 0,
                span.dropped_events_count or 0,
                span.dropped_links_count or 0,
            ),
        )
    )


def _event(event: _Event) -> SpanEvent:
    attributes = _attributes(event.attributes, 0)
    return SpanEvent(event.name or "", _whole(event.time_unix_nano), attributes, event.dropped_attributes_count or 0)


def _link(link: _Link) -> SpanLink:
    return SpanLink(
        _hex(link.trace_id),
        _hex(link.span_id),
        _attributes(link.attributes, 0),
        link.trace_state or "",
        link.dropped_attributes_count or 0,
        link.flags or 0,
    )


def _attributes(pairs: Sequence[_KeyValue] | None, depth: int) -> Attributes:
    return {pair.key: _value(pair.value, depth + 1) for pair in pairs or ()}


def _value(held: _Any | None, depth: int) -> Any:
    if depth > DEEPEST:
        raise malformed(f"a value is nested deeper than {DEEPEST}")
    if held is None:
        return None
    if held.string_value is not None:
        return held.string_value
    if held.bool_value is not None:
        return held.bool_value
    if held.int_value is not None:
        return _int64(held.int_value)
    if held.double_value is not None:
        return _double(held.double_value)
    if held.array_value is not None:
        return [_value(item, depth + 1) for item in held.array_value.values or ()]
    if held.kvlist_value is not None:
        return _attributes(held.kvlist_value.values, depth)
    return None if held.bytes_value is None else _base64(held.bytes_value)


def _hex(value: str | None) -> bytes:
    try:
        return bytes.fromhex(value or "")
    except ValueError:
        raise malformed(f"{(value or '')[:40]!r} is no id in hexadecimal") from None


def _base64(value: str) -> bytes:
    try:
        return base64.b64decode(value.translate(_URL_SAFE) + "=" * (-len(value) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise malformed(f"{value[:40]!r} is no base64") from None


_URL_SAFE = str.maketrans("-_", "+/")


def _whole(value: int | str | None) -> int:
    if isinstance(value, str) and not (value.isascii() and value.isdecimal() and len(value) <= _DIGITS):
        raise malformed(f"{value[:40]!r} is no instant in nanoseconds")
    found = int(value or 0)
    if not 0 <= found < 1 << 64:
        raise malformed(f"{str(value)[:40]} is no instant in nanoseconds")
    return found


_DIGITS = 20


def _int64(value: int | str) -> int:
    if isinstance(value, str):
        digits = value.removeprefix("-")
        if not (digits.isascii() and digits.isdecimal()) or len(digits) > 19 or not -(1 << 63) <= int(value) < 1 << 63:
            raise malformed(f"{value[:40]!r} is no whole number of 64 bits")
        return int(value)
    return value


def _double(value: _Double) -> float:
    try:
        return float(value)
    except ValueError:
        raise malformed(f"{str(value)[:40]!r} is no number") from None


def _enum(value: _Enum | None, names: Sequence[str], prefix: str) -> int:
    if isinstance(value, str):
        short = value.removeprefix(prefix)
        if short not in names:
            raise malformed(f"{value[:40]!r} is none of {', '.join(prefix + name for name in names)}")
        return names.index(short)
    return value or 0
