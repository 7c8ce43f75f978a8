"""`POST /v1/traces`: spans from OpenTelemetry, as OTLP over HTTP in protobuf or JSON, maybe compressed.

A request is taken as a whole or not at all; the answer to one that is taken is empty. Source: the OTLP specification
1.x, "OTLP/HTTP". The experiment, and a run if there is one, are headers, as the incumbent has them.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from interlock.core.errors import Unavailable
from interlock.core.operations import Permission
from interlock.server.mlflow import otlp_json, otlp_wire
from interlock.server.mlflow.adapter import Adapter, Answer, Call
from interlock.server.mlflow.routing import route
from interlock.server.mlflow.wire import Refused, error_answer
from interlock.server.problems import Refusal
from interlock.server.resources import Share
from interlock.track.traces import SpanBatch, Traces, trace_id

if TYPE_CHECKING:
    from interlock.server.mlflow.otlp_wire import Batch
    from interlock.store.spans import Span

LARGEST: Final = 32 << 20
_PROTOBUF: Final = "application/x-protobuf"
_JSON: Final = "application/json"
_WINDOW: Final = {"gzip": 31, "deflate": 15}
_PIECE: Final = 1 << 20
# gRPC's codes, which OTLP's errors carry, by HTTP status.
_CODES: Final = {400: 3, 401: 16, 403: 7, 404: 5, 409: 10, 413: 3, 429: 8, 501: 12, 503: 14, 507: 8}
_INTERNAL: Final = 13


@route("POST", "/v1/traces", Permission.TRACK_WRITE)
def take(adapter: Adapter, call: Call) -> Answer:
    """Take spans."""
    kind = call.header("content-type").partition(";")[0].strip().lower()
    try:
        experiment, batches = _read(call, kind)
        store_batches(adapter, experiment, call.header("x-mlflow-run-id"), batches)
    except Exception as error:  # noqa: BLE001 - the border of the request: OTLP has its own form of errors
        return _refusal(error, call, kind)
    return Answer(b"{}" if kind == _JSON else b"", media_type=kind)


def store_batches(adapter: Adapter, experiment: str, run: str, batches: Iterable[Batch]) -> None:
    """Keep all spans of a request, or none.

    Raises:
        NotFound: there is no such experiment or run.
        Conflict: the experiment is deleted.
        Invalid: a trace would have too many spans.
    """
    found = []
    for batch in batches:
        grouped: dict[bytes, list[Span]] = {}
        for span in batch.spans:
            grouped.setdefault(span.trace, []).append(span)
        found += [SpanBatch(tuple(spans), batch.resource, run) for spans in grouped.values()]
    if found:
        Traces(adapter.store).take(experiment, found)
        adapter.arrivals.tell(trace_id(batch.spans[0].trace) for batch in found)


def _read(call: Call, kind: str) -> tuple[str, list[Batch]]:
    if kind not in {_PROTOBUF, _JSON}:
        raise Refused("BAD_REQUEST", f"The content type {kind!r} is not read here: send {_PROTOBUF} or {_JSON}.")
    experiment = call.header("x-mlflow-experiment-id")
    if not experiment:
        raise Refused(
            "INVALID_PARAMETER_VALUE",
            "The header x-mlflow-experiment-id is missing: it says which experiment the spans belong to.",
        )
    body = _body(call)
    return experiment, otlp_json.read_request(body) if kind == _JSON else otlp_wire.read_request(body)


def _body(call: Call) -> bytes:
    source = call.body(LARGEST)
    pieces = iter(source.read, b"")
    encoding = call.header("content-encoding").strip().lower()
    if encoding in {"", "identity"}:
        body = bytearray()
        for piece in pieces:
            body += piece
            call.share.hold(len(body))
        return bytes(body)
    if encoding not in _WINDOW:
        raise Refused("BAD_REQUEST", f"The content encoding {encoding!r} is not read here: send gzip or deflate.")
    try:
        return _unpacked(pieces, _WINDOW[encoding], call.share)
    except zlib.error:
        raise Refused("BAD_REQUEST", f"The body is no {encoding}.") from None


def _unpacked(pieces: Iterable[bytes], window: int, share: Share) -> bytes:
    """Return what packed bytes unpack to, which may be far more than they are: `LARGEST` at most."""
    found, unpacker = io.BytesIO(), zlib.decompressobj(window)
    for piece in pieces:
        rest = piece
        while rest:
            if unpacker.eof:  # gzip may be several, one after the other
                unpacker = zlib.decompressobj(window)
            found.write(unpacker.decompress(rest, _PIECE))
            share.hold(found.tell())
            rest = unpacker.unconsumed_tail or unpacker.unused_data
            if found.tell() > LARGEST:
                raise _too_large()
    while not unpacker.eof and (more := unpacker.decompress(unpacker.unconsumed_tail, _PIECE)):
        found.write(more)
        share.hold(found.tell())
        if found.tell() > LARGEST:
            raise _too_large()
    if not unpacker.eof:
        raise Refused("BAD_REQUEST", "The packed body ends too early.")
    return found.getvalue()


def _too_large() -> Refused:
    return Refused("BAD_REQUEST", f"The body is larger than {LARGEST} bytes: send fewer spans at once.")


def _refusal(error: Exception, call: Call, kind: str) -> Answer:
    """Return the answer to a request that was not taken: OTLP's, and for MLflow's clients MLflow's."""
    if isinstance(error, Refusal):
        status, error = error.status, error.error
        _, body = error_answer(error, call.scope.get("interlock.request_id", ""))
    else:
        status, body = error_answer(error, call.scope.get("interlock.request_id", ""))
    headers = {"retry-after": "5"} if isinstance(error, Unavailable) else {}
    said = cast("dict[str, Any]", msgspec.json.decode(body))
    code = _CODES.get(status, _INTERNAL)
    if kind == _PROTOBUF and not call.header("x-mlflow-client-version"):
        return Answer(otlp_wire.status_message(code, said["message"]), status, headers, _PROTOBUF)
    return Answer(msgspec.json.encode({**said, "code": code}), status, headers)
