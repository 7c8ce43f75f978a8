"""Where the spans of traces rest: a few packed parts while they come, one when the trace is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from interlock.core.canonical import digest
from interlock.core.errors import Corrupt, Invalid
from interlock.store.span_tests import span_status, span_type
from interlock.store.spans import Packed, Span, merge_spans, pack_spans, unpack_spans
from interlock.track.experiments import among

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.core.ports import Reader, Row, Transaction

MOST_SPANS: Final = 100_000
MOST_BYTES: Final = 128 << 20


def read_spans(reader: Reader, traces: Sequence[str]) -> dict[str, tuple[Span, ...]]:
    """Return the spans of traces, roots first, then as they began; traces without any are left out.

    Raises:
        Corrupt: they are not what was written.
    """
    rows = among(reader, "SELECT * FROM trace_spans WHERE trace IN", list(traces), "ORDER BY trace, position")
    parts: dict[str, list[tuple[Span, ...]]] = {}
    for row in rows:
        parts.setdefault(row["trace"], []).append(_unpacked(row))
    return {trace: merge_spans(found) for trace, found in parts.items()}


def add_part(tx: Transaction, trace: str, part: Packed) -> None:
    """Add spans to a trace that is not over.

    Parts of like sizes are joined, so that there are few and each span is packed again a few times only. A span that
    comes again is one with the first when their parts are joined or read; until then it is counted twice.
    """
    rows = tx.all("SELECT position, spans FROM trace_spans WHERE trace = :t ORDER BY position", {"t": trace})
    position = rows[-1]["position"] + 1 if rows else 0
    joined = part
    while rows and rows[-1]["spans"] <= joined.spans:
        last = rows.pop()
        held = tx.one("SELECT * FROM trace_spans WHERE trace = :t AND position = :p", _at(trace, last["position"]))
        if held is not None:
            joined = pack_spans(merge_spans([_unpacked(held), unpack_spans(joined.data)]))
        tx.run("DELETE FROM trace_spans WHERE trace = :t AND position = :p", _at(trace, last["position"]))
        position = last["position"]
    _insert(tx, trace, position, joined)
    _count(tx, trace)


def replace_parts(tx: Transaction, trace: str, spans: Sequence[Span]) -> str:
    """Let spans be all that a trace has, in one part; return its digest.

    Raises:
        Invalid: they are more than a trace may have.
    """
    part = pack_spans(spans)
    check_size(trace, part.spans, part.size)
    tx.run("DELETE FROM trace_spans WHERE trace = :t", {"t": trace})
    _insert(tx, trace, 0, part)
    _set_kinds(tx, trace, spans)
    _count(tx, trace)
    return digest(part.data)


def add_kinds(tx: Transaction, trace: str, spans: Sequence[Span]) -> None:
    """Let searches find a trace by the names, types and states of spans."""
    tx.run_many(
        "INSERT INTO trace_span_kinds (trace, name, type, status) VALUES (:trace, :name, :type, :status)"
        " ON CONFLICT (trace, name, type, status) DO NOTHING",
        ({"trace": trace, "name": n, "type": t, "status": s} for n, t, s in sorted(_kinds(spans))),
    )


def check_size(trace: str, spans: int, size: int) -> None:
    """Accept how much a trace holds.

    Raises:
        Invalid: it is too much.
    """
    if spans > MOST_SPANS or size > MOST_BYTES:
        raise Invalid(
            f"Trace {trace} would have {spans} spans of {size} bytes; {MOST_SPANS} spans and {MOST_BYTES} bytes are the"
            " most.",
            about="trace",
            hint="Make a trace of each request, or log large inputs and outputs as artifacts.",
            trace=trace,
        )


def _set_kinds(tx: Transaction, trace: str, spans: Sequence[Span]) -> None:
    held = tx.all("SELECT name, type, status FROM trace_span_kinds WHERE trace = :trace", {"trace": trace})
    stale = {(row["name"], row["type"], row["status"]) for row in held} - _kinds(spans)
    tx.run_many(
        "DELETE FROM trace_span_kinds WHERE trace = :trace AND name = :name AND type = :type AND status = :status",
        ({"trace": trace, "name": n, "type": t, "status": s} for n, t, s in stale),
    )
    add_kinds(tx, trace, spans)


def _kinds(spans: Sequence[Span]) -> set[tuple[str, str, str]]:
    return {(span.name, span_type(span), span_status(span)) for span in spans}


def _count(tx: Transaction, trace: str) -> None:
    held = "FROM trace_spans p WHERE p.trace = traces.id"
    tx.run(
        f"UPDATE traces SET spans = (SELECT COALESCE(SUM(p.spans), 0) {held}),"  # noqa: S608 - ours
        f" span_bytes = (SELECT COALESCE(SUM(p.size_bytes), 0) {held}) WHERE id = :t",
        {"t": trace},
    )


def _insert(tx: Transaction, trace: str, position: int, part: Packed) -> None:
    tx.run(
        "INSERT INTO trace_spans (trace, position, spans, size_bytes, digest, data)"
        " VALUES (:t, :p, :spans, :size, :digest, :data)",
        {
            **_at(trace, position),
            "spans": part.spans,
            "size": part.size,
            "digest": digest(part.data),
            "data": part.data,
        },
    )


def _at(trace: str, position: int) -> dict[str, str | int]:
    return {"t": trace, "p": position}


def _unpacked(row: Row) -> tuple[Span, ...]:
    try:
        return unpack_spans(row["data"])
    except Corrupt as error:
        raise Corrupt(
            f"{error.message} It is trace {row['trace']}.", about="trace", hint=error.hint, trace=row["trace"]
        ) from None
