from __future__ import annotations

import base64
import functools
import gzip
import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from interlock.core.errors import Invalid
from interlock.sdk.workspace import Workspace
from interlock.server.mlflow import otlp, otlp_json, otlp_wire
from interlock.store.spans import Span, SpanEvent, SpanLink
from interlock.track.traces import Traces

PROTOBUF = "application/x-protobuf"
# What the client of version 3.17.2 sent for one span.
RECORDED = base64.b64decode(
    "CogDCmcKIgoWdGVsZW1ldHJ5LnNkay5sYW5ndWFnZRIICgZweXRob24KHgoSdGVsZW1ldHJ5LnNkay5uYW1lEggKBm1sZmxvdwohChV0ZWxlbWV0"
    "cnkuc2RrLnZlcnNpb24SCAoGMy4xNy4yEpwCEpkCChCUzwLMuz7E1C4L0GVEqN/VEghXO10uNFx17SIIz8cFpCnEW84qBWlubmVyOfUH8/MQVuoY"
    "Qf2n9/MQVuoYSj4KFW1sZmxvdy50cmFjZVJlcXVlc3RJZBIlCiN0ci05NGNmMDJjY2JiM2VjNGQ0MmUwYmQwNjU0NGE4ZGZkNUoZCg9tbGZsb3cu"
    "c3BhblR5cGUSBgoEVE9PTEoiChdtbGZsb3cuc3BhbkZ1bmN0aW9uTmFtZRIHCgVpbm5lckogChFtbGZsb3cuc3BhbklucHV0cxILMgkKBwoBeBIC"
    "GANKGAoSbWxmbG93LnNwYW5PdXRwdXRzEgIYBkoZChNtbGZsb3cuc3BhbkxvZ0xldmVsEgIYFHoCGAE="
)


@functools.cache
def _messages() -> Any:
    """Return OTLP's request as protobuf's own library has it, made of a description of the fields."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = {"s": 9, "b": 12, "B": 8, "i": 3, "d": 1, "f": 6, "F": 7, "u": 13, "e": 5}
    described = {
        "AnyValue": "1 s string_value,2 B bool_value,3 i int_value,4 d double_value,5 ArrayValue array_value,"
        "6 KeyValueList kvlist_value,7 b bytes_value",
        "ArrayValue": "1 *AnyValue values",
        "KeyValueList": "1 *KeyValue values",
        "KeyValue": "1 s key,2 AnyValue value",
        "Event": "1 f at,2 s name,3 *KeyValue attributes,4 u dropped",
        "Link": "1 b trace,2 b span,3 s state,4 *KeyValue attributes,5 u dropped,6 F flags",
        "Status": "2 s message,3 e code",
        "Span": "1 b trace,2 b id,3 s state,4 b parent,16 F flags,5 s name,6 e kind,7 f started_at,8 f ended_at,"
        "9 *KeyValue attributes,10 u dropped0,11 *Event events,12 u dropped1,13 *Link links,14 u dropped2,"
        "15 Status status",
        "Scope": "1 s name",
        "ScopeSpans": "1 Scope scope,2 *Span spans,3 s schema_url",
        "Resource": "1 *KeyValue attributes",
        "ResourceSpans": "1 Resource resource,2 *ScopeSpans scope_spans,3 s schema_url",
        "Request": "1 *ResourceSpans resource_spans",
    }
    file = descriptor_pb2.FileDescriptorProto(name="otlp_test.proto", package="otlp_test", syntax="proto3")
    for name, text in described.items():
        message = file.message_type.add(name=name)
        if name == "AnyValue":
            message.oneof_decl.add(name="value")
        for part in text.split(","):
            number, kind, field = part.split()
            added = message.field.add(name=field, number=int(number), label=3 if kind[0] == "*" else 1)
            if name == "AnyValue":
                added.oneof_index = 0
            if kind in kinds:
                added.type = kinds[kind]
            else:
                added.type, added.type_name = 11, f".otlp_test.{kind.lstrip('*')}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("otlp_test.Request"))


def _fill(held: Any, value: Any) -> None:
    if isinstance(value, dict):
        held.kvlist_value.SetInParent()
        _fill_all(held.kvlist_value.values, value)
    elif isinstance(value, list):
        held.array_value.SetInParent()
        for item in value:
            _fill(held.array_value.values.add(), item)
    elif value is not None:
        kind = {bool: "bool_value", int: "int_value", float: "double_value", bytes: "bytes_value"}
        setattr(held, kind.get(type(value), "string_value"), value)


def _fill_all(pairs: Any, values: dict[str, Any]) -> None:
    for key, value in values.items():
        pair = pairs.add(key=key)
        pair.value.SetInParent()
        _fill(pair.value, value)


def encoded(spans: list[Span], resource: dict[str, Any]) -> bytes:
    request = _messages()()
    of_resource = request.resource_spans.add(schema_url="x")
    _fill_all(of_resource.resource.attributes, resource)
    of_scope = of_resource.scope_spans.add(schema_url="y")
    of_scope.scope.name = "scope"
    for span in spans:
        plain = ("trace", "id", "parent", "state", "flags", "name", "kind", "started_at", "ended_at")
        added = of_scope.spans.add(**{name: getattr(span, name) for name in plain})
        added.dropped0, added.dropped1, added.dropped2 = span.dropped
        added.status.message, added.status.code = span.message, span.status
        _fill_all(added.attributes, span.attributes)
        for event in span.events:
            _fill_all(
                added.events.add(at=event.at, name=event.name, dropped=event.dropped).attributes, event.attributes
            )
        for link in span.links:
            said = {name: getattr(link, name) for name in ("trace", "span", "state", "dropped", "flags")}
            _fill_all(added.links.add(**said).attributes, link.attributes)
    found: bytes = request.SerializeToString()
    return found


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
numbers = st.integers(0, (1 << 32) - 1)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False)
    | texts
    | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
facts = st.dictionaries(texts, values, max_size=3)
nanos = st.integers(0, (1 << 64) - 1)


def idents(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size).filter(any)


events = st.builds(SpanEvent, texts, nanos, facts, numbers)
links = st.builds(SpanLink, st.binary(max_size=16), st.binary(max_size=8), facts, texts, numbers, numbers)
spans = st.builds(
    Span,
    idents(16),
    idents(8),
    st.just(b"") | idents(8),
    texts,
    nanos,
    nanos,
    st.integers(0, 2),
    texts,
    facts,
    st.lists(events, max_size=2).map(tuple),
    st.lists(links, max_size=2).map(tuple),
    st.integers(0, 5),
    texts,
    numbers,
    st.tuples(numbers, numbers, numbers),
)


@given(st.lists(spans, max_size=3), facts)
def test_protobuf_is_read_as_its_own_library_writes_it(found: list[Span], resource: dict[str, Any]) -> None:
    (batch,) = otlp_wire.read_request(encoded(found, resource))
    assert (list(batch.spans), batch.resource) == (found, resource)


@given(st.binary(max_size=60) | st.binary(max_size=40).map(lambda tail: RECORDED[:200] + tail))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        otlp_wire.read_request(body)
    except Invalid as error:
        assert "OTLP" in error.message
    try:
        otlp_json.read_request(body)
    except Invalid as error:
        assert "OTLP" in error.message


def _json(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": _pairs(value)}}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_json(item) for item in value]}}
    if isinstance(value, bytes):
        return {"bytesValue": base64.b64encode(value).decode()}
    if isinstance(value, bool | str):
        return {"boolValue" if isinstance(value, bool) else "stringValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    return {"doubleValue": value if abs(value) < float("inf") else f"{'-' if value < 0 else ''}Infinity"}


def _pairs(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _json(value)} for key, value in found.items()]


def json_span(span: Span) -> dict[str, Any]:
    return {
        "traceId": span.trace.hex(),
        "spanId": span.id.hex().upper(),
        "parentSpanId": span.parent.hex(),
        "name": span.name,
        "kind": span.kind,
        "traceState": span.state,
        "flags": span.flags,
        "startTimeUnixNano": str(span.started_at),
        "endTimeUnixNano": span.ended_at,
        "attributes": _pairs(span.attributes),
        "droppedAttributesCount": span.dropped[0],
        "droppedEventsCount": span.dropped[1],
        "droppedLinksCount": span.dropped[2],
        "status": {"message": span.message, "code": span.status},
        "events": [
            {
                "timeUnixNano": str(event.at),
                "name": event.name,
                "attributes": _pairs(event.attributes),
                "droppedAttributesCount": event.dropped,
            }
            for event in span.events
        ],
        "links": [
            {
                "traceId": link.trace.hex(),
                "spanId": link.span.hex(),
                "attributes": _pairs(link.attributes),
                "traceState": link.state,
                "droppedAttributesCount": link.dropped,
                "flags": link.flags,
            }
            for link in span.links
        ],
        "unknown": {"field": 1},
    }


def json_body(found: list[Span], resource: dict[str, Any]) -> bytes:
    scope = {"scope": {"name": "s"}, "spans": [json_span(span) for span in found]}
    request = {"resourceSpans": [{"resource": {"attributes": _pairs(resource)}, "scopeSpans": [scope]}]}
    return json.dumps(request).encode()


@given(st.lists(spans, max_size=3), facts)
def test_json_is_read(found: list[Span], resource: dict[str, Any]) -> None:
    (batch,) = otlp_json.read_request(json_body(found, resource))
    assert (list(batch.spans), batch.resource) == (found, resource)


def one(**said: Any) -> Span:
    given = {"trace": b"t" * 16, "id": b"i" * 8, "parent": b"", "name": "root", "started_at": 10**18}
    return Span(**{**given, "ended_at": 10**18 + 2_500_000, "status": 1, **said})


def post(client: TestClient, body: bytes, kind: str = PROTOBUF, experiment: str = "0", **headers: str) -> Any:
    given = {"content-type": kind, "x-mlflow-experiment-id": experiment, **headers}
    return client.post("/v1/traces", content=body, headers={name: value for name, value in given.items() if value})


@pytest.mark.parametrize("encoding", ["", "identity", "gzip", "deflate"])
def test_spans_are_taken(client: TestClient, workspace: Workspace, encoding: str) -> None:
    body = encoded([one()], {"service.name": "shop"})
    pack = {"gzip": lambda raw: gzip.compress(raw[:9]) + gzip.compress(raw[9:]), "deflate": zlib.compress}
    sent = pack.get(encoding, bytes)(body)  # type: ignore[operator]
    answer = post(client, sent, **{"content-encoding": encoding})
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, b"", PROTOBUF)
    facts = Traces(workspace.store).get(f"tr-{(b't' * 16).hex()}")
    assert (facts.experiment, facts.state, facts.duration, facts.spans) == ("0", "OK", 2_500, 1)
    assert facts.tags == {"service.name": "shop", "mlflow.traceName": "root"}
    size = workspace.store.ledger.size()
    assert post(client, sent, **{"content-encoding": encoding}).status_code == 200
    assert workspace.store.ledger.size() == size


def test_json_is_answered_in_json(client: TestClient, workspace: Workspace) -> None:
    answer = post(client, json_body([one()], {}), "application/json; charset=utf-8")
    assert (answer.status_code, answer.json()) == (200, {})
    assert Traces(workspace.store).get(f"tr-{(b't' * 16).hex()}").spans == 1


def test_what_a_client_sent(client: TestClient) -> None:
    assert post(client, RECORDED).status_code == 200
    asked = {"trace_id": "tr-94cf02ccbb3ec4d42e0bd06544a8dfd5", "allow_partial": "true"}
    (span,) = client.get("/api/3.0/mlflow/traces/get", params=asked).json()["trace"]["spans"]
    assert span["parent_span_id"] == "z8cFpCnEW84="
    said = {pair["key"]: pair["value"] for pair in span["attributes"]}
    assert said["mlflow.spanInputs"] == {"kvlist_value": {"values": [{"key": "x", "value": {"int_value": 3}}]}}
    assert (span["name"], span["end_time_unix_nano"] > span["start_time_unix_nano"]) == ("inner", True)
    assert span["status"] == {"code": "STATUS_CODE_OK"}


@pytest.mark.parametrize(
    ("body", "words", "status", "told"),
    [
        (b"\xff", {}, 400, "a number does not end"),
        (b"\x0a\x05abc", {}, 400, "ends beyond its message"),
        (b"\x0b", {}, 400, "wire type 3"),
        (b"\x00\x00", {}, 400, "there is no field 0"),
        (b"\x08\x01", {}, 400, "a number stands where a message belongs"),
        (b"{", {"kind": "application/json"}, 400, "no OTLP message"),
        (b"", {"kind": "text/plain"}, 400, "content type"),
        (b"", {"experiment": ""}, 400, "x-mlflow-experiment-id"),
        (b"no", {"content-encoding": "gzip"}, 400, "no gzip"),
        (gzip.compress(b"much", mtime=0)[:-9], {"content-encoding": "gzip"}, 400, "ends too early"),
        (b"no", {"content-encoding": "br"}, 400, "encoding 'br'"),
        (RECORDED, {"experiment": "nope"}, 404, "nope"),
        (RECORDED, {"x-mlflow-run-id": "nope"}, 404, "nope"),
    ],
)
def test_what_is_not_taken_is_said(
    client: TestClient, workspace: Workspace, body: bytes, words: dict[str, str], status: int, told: str
) -> None:
    answer = post(client, body, **words)
    assert (answer.status_code, told in answer.text) == (status, True)
    assert workspace.store.database.all("SELECT id FROM traces") == []
    if words.get("kind", PROTOBUF) == PROTOBUF:
        assert answer.headers["content-type"] == PROTOBUF
        plain = post(client, body, **words, **{"x-mlflow-client-version": "3.17.2"}).json()
        assert told in plain["message"]
        assert plain["error_code"] in {"BAD_REQUEST", "INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"}


def test_a_bad_span_takes_the_good_one_with_it(client: TestClient, workspace: Workspace) -> None:
    for bad in ({"id": b""}, {"trace": b"short"}, {"trace": bytes(16)}, {"parent": b"123"}):
        answer = post(client, encoded([one(trace=b"u" * 16), one(**{"name": "bad one", **bad})], {}))
        assert answer.status_code == 400
        assert "span 'bad one'" in answer.text
    assert workspace.store.database.all("SELECT id FROM traces") == []


def test_a_small_body_that_unpacks_to_a_large_one_is_refused(client: TestClient) -> None:
    answer = post(client, gzip.compress(bytes(otlp.LARGEST + 1)), **{"content-encoding": "gzip"})
    assert (answer.status_code, "larger than" in answer.text) == (400, True)


def test_nesting_has_an_end() -> None:
    deep: Any = "x"
    for _ in range(150):
        deep = {"arrayValue": {"values": [deep]}} if isinstance(deep, dict) else {"stringValue": deep}
    attribute = {"key": "deep", "value": deep}
    request = {"resourceSpans": [{"resource": {"attributes": [attribute]}}]}
    with pytest.raises(Invalid, match="deeper than 100"):
        otlp_json.read_request(json.dumps(request).encode())
    wire = b"\x0a\x01x"
    for _ in range(120):
        wire = b"\x2a" + _sized(b"\x0a" + _sized(wire))
    pair = b"\x0a\x01k\x12" + _sized(wire)
    with pytest.raises(Invalid, match="deeper than 100"):
        otlp_wire.read_request(b"\x0a" + _sized(b"\x0a" + _sized(b"\x0a" + _sized(pair))))


def _sized(raw: bytes) -> bytes:
    size, found = len(raw), bytearray()
    while size > 127:
        found.append(size & 127 | 128)
        size >>= 7
    return bytes([*found, size]) + raw
