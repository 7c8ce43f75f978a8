"""Where the spans of traces rest: a few packed parts while they come, one when the trace is over.

Reading, merging and packing spans is long work, so it is done in front of the transaction (`plan_parts`); that looks
whether the parts are still those (`write_parts`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from interlock.core.canonical import digest
from interlock.core.errors import Corrupt, Invalid
from interlock.store.settling import Stale
from interlock.store.spans import Packed, Span, merge_spans, pack_spans, unpack_spans
from interlock.track.experiments import among
from interlock.track.trace_index import Index, index_of, write_index
from interlock.track.trace_rollup import usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.core.ports import Reader, Row, Transaction

MOST_SPANS: Final = 100_000
MOST_BYTES: Final = 128 << 20
_COUNT: Final = (
    "UPDATE traces SET spans = (SELECT SUM(p.spans) FROM trace_spans p WHERE p.trace = traces.id),"
    " span_bytes = (SELECT SUM(p.size_bytes) FROM trace_spans p WHERE p.trace = traces.id), indexed = :indexed"
    " WHERE id = :t"
)
_HEADS: Final = "SELECT position, spans, size_bytes, digest FROM trace_spans WHERE trace = :t ORDER BY position"


class Parts(msgspec.Struct, frozen=True):
    """What the spans of a trace become.

    Attributes:
        trace: its id.
        seen: positions and digests of the parts that it was worked out from.
        first: the position from which parts give way to the new one.
        part: the new one; None where nothing changes.
        digest: its SHA-256.
        whole: whether it is all of a trace that is over.
        index: by what searches find the trace.
        usage: tokens and costs of all spans, as metadata, where it is whole.
    """

    trace: str
    seen: tuple[tuple[int, str], ...]
    first: int
    part: Packed | None
    digest: str
    whole: bool
    index: Index
    usage: dict[str, str]


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


def plan_parts(reader: Reader, trace: str, spans: Sequence[Span], *, over: bool, before: bool = False) -> Parts:
    """Return what the spans of a trace become when some are added.

    While a trace goes on, parts of like sizes are joined, so that there are few and each span is packed again a few
    times only. A span that comes again is one with the first when their parts are joined or read; until then it is
    counted twice.

    Args:
        reader: the database.
        trace: the trace's id.
        spans: the new ones; maybe none where the trace is over.
        over: whether the trace is over, by these at the latest.
        before: whether it was over before.

    Raises:
        Invalid: there would be more than a trace may have.
        Corrupt: the spans that are here are not what was written.
        Stale: somebody else packed them meanwhile.
    """
    heads = reader.all(_HEADS, {"t": trace})
    seen = tuple((head["position"], head["digest"]) for head in heads)
    fresh = pack_spans(spans)
    if not over:
        sizes = [sum(head[name] for head in heads) for name in ("spans", "size_bytes")]
        _check_size(trace, fresh.spans + sizes[0], fresh.size + sizes[1])
        giving = len(heads)
        while giving and heads[giving - 1]["spans"] <= fresh.spans + sum(head["spans"] for head in heads[giving:]):
            giving -= 1
        joined = spans if giving == len(heads) else merge_spans([*_some(reader, trace, heads[giving:]), spans])
        first = heads[giving]["position"] if giving < len(heads) else (heads[-1]["position"] + 1 if heads else 0)
        part = fresh if joined is spans else pack_spans(joined)
        return Parts(trace, seen, first, part, digest(part.data), False, index_of(spans, whole=False), {})
    held = merge_spans(_some(reader, trace, heads))
    merged = merge_spans([held, spans])
    if before and merged == held:
        return Parts(trace, seen, 0, None, "", True, index_of((), whole=True), {})
    part = fresh if merged == spans else pack_spans(merged)
    _check_size(trace, part.spans, part.size)
    return Parts(trace, seen, 0, part, digest(part.data), True, index_of(merged, whole=True), usage(merged))


def write_parts(tx: Transaction, parts: Parts) -> None:
    """Write what the spans of a trace become; its row is there.

    Raises:
        Stale: the parts that it was worked out from are not those that are here.
    """
    trace, part = parts.trace, parts.part
    held = tx.all("SELECT position, digest FROM trace_spans WHERE trace = :t ORDER BY position", {"t": trace})
    if tuple((row["position"], row["digest"]) for row in held) != parts.seen:
        raise Stale
    if part is None:
        return
    at = {"t": trace, "p": parts.first}
    tx.run("DELETE FROM trace_spans WHERE trace = :t AND position >= :p", at)
    tx.run(
        "INSERT INTO trace_spans (trace, position, spans, size_bytes, digest, data)"
        " VALUES (:t, :p, :spans, :size, :digest, :data)",
        {**at, "spans": part.spans, "size": part.size, "digest": parts.digest, "data": part.data},
    )
    write_index(tx, trace, parts.index)
    tx.run(_COUNT, {"t": trace, "indexed": int(parts.index.listed)})


def _check_size(trace: str, spans: int, size: int) -> None:
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


def _some(reader: Reader, trace: str, heads: Sequence[Row]) -> list[tuple[Span, ...]]:
    """Return the spans of the last parts of a trace."""
    if not heads:
        return []
    rows = reader.all(
        "SELECT * FROM trace_spans WHERE trace = :t AND position >= :p ORDER BY position",
        {"t": trace, "p": heads[0]["position"]},
    )
    if [(row["position"], row["digest"]) for row in rows] != [(head["position"], head["digest"]) for head in heads]:
        raise Stale
    return [_unpacked(row) for row in rows]


def _unpacked(row: Row) -> tuple[Span, ...]:
    try:
        return unpack_spans(row["data"])
    except Corrupt as error:
        raise Corrupt(
            f"{error.message} It is trace {row['trace']}.", about="trace", hint=error.hint, trace=row["trace"]
        ) from None
