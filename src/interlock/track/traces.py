"""Traces: what an application did for a request, span by span, as MLflow's clients and OpenTelemetry send it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.core.errors import Invalid
from interlock.store.settling import Stale, settled
from interlock.store.spans import Span
from interlock.track.assessments import Assessments, digests
from interlock.track.experiments import among, check_active, drop_pair, experiment_row, pairs
from interlock.track.runs import run_row
from interlock.track.trace_parts import Parts, plan_parts, read_spans, write_parts
from interlock.track.trace_records import NAME_TAG, OPEN, RUN_METADATA, TraceFacts, TraceInfo
from interlock.track.trace_rollup import Rollup, roll_up
from interlock.track.trace_rows import (
    SAID,
    add_link,
    chosen,
    delete_row,
    find_row,
    rolled,
    set_name,
    set_some,
    trace_row,
    write_row,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from interlock.core.ports import Reader, Row, Transaction
    from interlock.store import Store

MOST_LINKS: Final = 100
_AT_ONCE: Final = 500  # traces that one transaction deletes
_PREVIEWS: Final = ("client_request_id", "request_preview", "response_preview")


class SpanBatch(msgspec.Struct, frozen=True):
    """Spans of one trace, and what made them.

    Attributes:
        spans: at least one.
        resource: attributes of what made them.
        run: the id of the run that the trace is linked to, or "".
    """

    spans: tuple[Span, ...]
    resource: dict[str, Any]
    run: str = ""


class _Arrival(msgspec.Struct, frozen=True):
    """Spans of a trace, worked out in front of the transaction that keeps them.

    Attributes:
        said: what they say of the trace.
        run: the id of the run that it is linked to, or "".
        before: whether the trace was over before.
        parts: what its spans become.
    """

    said: Rollup
    run: str
    before: bool
    parts: Parts


class Traces:
    """The traces of a workspace.

    The ledger says of a trace that it was made, how it ended and which spans it has by then, by digest: what they hold
    may be about people. Spans of a trace that goes on are kept and not told one by one, like points of a metric.

    Args:
        store: what the workspace remembers.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.assessments = Assessments(store)

    def report(self, info: TraceInfo) -> None:
        """Take a trace as its client reports it; what spans said of it gives way. The same again changes nothing.

        Raises:
            NotFound: there is no such experiment, or no such assessment as one of these replaces.
            Conflict: the experiment is deleted.
        """

        def prepare(reader: Reader) -> Parts | None:
            held = find_row(reader, info.id)
            ends = held is not None and not held["ended"] and held["spans"] and info.state not in OPEN
            return plan_parts(reader, info.id, (), over=True) if ends else None

        settled(self._store.database, prepare, lambda tx, parts: self._report(tx, info, parts))

    def _report(self, tx: Transaction, info: TraceInfo, parts: Parts | None) -> None:
        check_active(experiment_row(tx, info.experiment), "experiment", info.experiment)
        held = find_row(tx, info.id)
        ended = info.state not in OPEN or bool(held and held["ended"])
        row = {"experiment": info.experiment, "reported": 1, "ended": int(ended)}
        row |= {name: getattr(info, name) for name in SAID}
        if NAME_TAG in info.tags:
            row["name"] = info.tags[NAME_TAG]
        if held is not None:
            row |= {name: held[name] for name in _PREVIEWS if row[name] is None}
        changed = write_row(tx, info.id, held, row)
        changed |= set_some(tx, "trace_tags", info.id, info.tags)
        changed |= set_some(tx, "trace_metadata", info.id, info.metadata)
        if run := info.metadata.get(RUN_METADATA):
            changed |= add_link(tx, info.id, "run", run)
        added = self.assessments.add(tx, info.id, info.assessments)
        changes: dict[str, Any] = {"assessments": digests(added)} if added else {}
        if held is None:
            self._created(tx, info, "")
        elif changed:
            changes |= {"info": info.digest, "state": info.state}
            if ended and not held["ended"] and held["spans"]:
                if parts is None:
                    raise Stale
                write_parts(tx, parts)
                changes["spans"] = parts.digest
        if changes:
            self._note(tx, info.id, changes)

    def take(self, experiment: str, batches: Sequence[SpanBatch]) -> None:
        """Add spans to their traces, which are made where there are none; the same spans again change nothing.

        All of them are added, or none.

        Args:
            experiment: where a new trace belongs; one that is there stays where it is.
            batches: the spans.

        Raises:
            NotFound: there is no such experiment or run.
            Conflict: the experiment is deleted.
            Invalid: a trace has too many spans.
        """
        grouped: dict[bytes, list[SpanBatch]] = {}
        for batch in batches:
            grouped.setdefault(batch.spans[0].trace, []).append(batch)
        joined = [_joined(found) for found in grouped.values()]

        def add(tx: Transaction, arrivals: list[_Arrival]) -> None:
            for arrival in arrivals:
                self._add(tx, experiment, arrival)

        settled(self._store.database, lambda reader: [_arrival(reader, batch) for batch in joined], add)

    def _add(self, tx: Transaction, experiment: str, arrival: _Arrival) -> None:
        trace, run = arrival.parts.trace, arrival.run
        check_active(experiment_row(tx, experiment), "experiment", experiment)
        held = find_row(tx, trace)
        if bool(held and held["ended"]) != arrival.before:
            raise Stale
        if run:
            run_row(tx, run)
        linked = bool(run) and add_link(tx, trace, "run", run)
        changes: dict[str, Any] = {"run": run} if linked else {}
        told = _take(tx, experiment, held, arrival)
        if held is None:
            self._created(tx, self.load(tx, [trace_row(tx, trace)])[0], told.get("spans", ""))
        else:
            changes |= told
        if changes:
            self._note(tx, trace, changes)

    def change(self, tx: Transaction, trace: str, tags: Mapping[str, str], untag: Iterable[str] = ()) -> None:
        """Tag a trace, or take tags away.

        Raises:
            NotFound: there is no such trace, or it has no such tag.
        """
        trace_row(tx, trace)
        changes: dict[str, Any] = {}
        if set_some(tx, "trace_tags", trace, tags):
            changes["tags"] = dict(tags)
        for name in untag:
            drop_pair(tx, "trace_tags", "trace", trace, name)
            changes.setdefault("untag", []).append(name)
        if NAME_TAG in {*tags, *changes.get("untag", ())}:
            set_name(tx, trace, tags)
        if changes:
            self._note(tx, trace, changes)

    def link(self, tx: Transaction, traces: Sequence[str], kind: str, name: str) -> None:
        """Link traces to a run or a prompt; links that are there stay.

        Args:
            tx: the transaction.
            traces: their ids; those that are not here are passed over.
            kind: run or prompt.
            name: the run's id, or the prompt's name and version: NAME/VERSION.

        Raises:
            NotFound: there is no such run.
            Invalid: there are too many traces.
        """
        if len(traces) > MOST_LINKS:
            raise Invalid(
                f"Cannot link more than {MOST_LINKS} traces to a run in a single request. Provided {len(traces)}"
                " traces.",
                about="trace",
            )
        if kind == "run":
            run_row(tx, name)
        for row in among(tx, "SELECT id FROM traces WHERE id IN", list(dict.fromkeys(traces))):
            if add_link(tx, row["id"], kind, name):
                self._note(tx, row["id"], {kind: name})

    def delete(self, experiment: str, traces: Sequence[str], until: int | None = None, most: int | None = None) -> int:
        """Delete traces of an experiment for good; return how many.

        Args:
            experiment: the experiment's id.
            traces: the ids of those to delete; empty: the oldest.
            until: where no ids are given: those that began before this instant, in microseconds.
            most: so many at most.

        Cost: a transaction for every 500 traces; each is whole.
        """

        def change(tx: Transaction) -> int:
            return self.delete_some(tx, chosen(tx, experiment, some, until, limit))

        count, waiting = 0, list(dict.fromkeys(traces))
        while most is None or count < most:
            limit = _AT_ONCE if most is None else min(_AT_ONCE, most - count)
            some, waiting = waiting[:limit], waiting[limit:]
            if traces and not some:
                break
            deleted = self._store.database.write(change)
            count += deleted
            if not traces and not deleted:
                break
        return count

    def delete_some(self, tx: Transaction, traces: Sequence[str]) -> int:
        """Delete traces for good in the caller's transaction; return how many.

        Raises:
            NotFound: one is not there.
        """
        for trace in traces:
            row = trace_row(tx, trace)
            delete_row(tx, trace)
            self._store.ledger.append(tx, "trace.deleted", f"trace:{trace}", {"experiment": row["experiment"]})
        return len(traces)

    def get(self, trace: str) -> TraceFacts:
        """Return a trace without its spans.

        Raises:
            NotFound: there is none.
        """
        (found,) = self.load(self._store.database, [trace_row(self._store.database, trace)])
        return found

    def some(self, traces: Sequence[str], experiments: Sequence[str] | None = None) -> list[TraceFacts]:
        """Return those of some traces that are here, in the order given; of some experiments only, if any are named."""
        idents = list(dict.fromkeys(traces))
        rows = {row["id"]: row for row in among(self._store.database, "SELECT * FROM traces WHERE id IN", idents)}
        wanted = (rows[ident] for ident in idents if ident in rows)
        return self.load(
            self._store.database, [row for row in wanted if experiments is None or row["experiment"] in experiments]
        )

    def spans(self, traces: Sequence[str]) -> dict[str, tuple[Span, ...]]:
        """Return the spans of traces, roots first, then as they began; traces without any are left out.

        Raises:
            Corrupt: they are not what was written.
        """
        return read_spans(self._store.database, traces)

    def load(self, reader: Reader, rows: Sequence[Row]) -> list[TraceFacts]:
        """Return rows of the table as traces, in the same order."""
        idents = [row["id"] for row in rows]
        tags = pairs(reader, "trace_tags", "trace", idents)
        metadata = pairs(reader, "trace_metadata", "trace", idents)
        assessments = self.assessments.of(reader, idents)
        return [
            TraceFacts(
                **{name: row[name] for name in ("id", "experiment", *SAID, "spans")},
                reported=bool(row["reported"]),
                tags=tags.get(row["id"], {}),
                metadata=metadata.get(row["id"], {}),
                assessments=assessments.get(row["id"], ()),
            )
            for row in rows
        ]

    def _created(self, tx: Transaction, info: TraceInfo, spans: str) -> None:
        said = TraceInfo(**{name: getattr(info, name) for name in TraceInfo.__struct_fields__})
        data = {"experiment": info.experiment, "info": said.digest, "spans": spans}
        self._store.ledger.append(tx, "trace.created", f"trace:{info.id}", data)

    def _note(self, tx: Transaction, trace: str, changes: dict[str, Any]) -> None:
        self._store.ledger.append(tx, "trace.changed", f"trace:{trace}", {"changes": changes})


def trace_id(raw: bytes) -> str:
    """Return what a trace of OpenTelemetry is called: `tr-` and its id in hexadecimal."""
    return f"tr-{raw.hex()}"


def _joined(batches: Sequence[SpanBatch]) -> SpanBatch:
    """Return batches of one trace as one; of equal attributes of what made them, those that came first count."""
    if len(batches) == 1:
        return batches[0]
    resource = {key: value for batch in reversed(batches) for key, value in batch.resource.items()}
    return SpanBatch(tuple(span for batch in batches for span in batch.spans), resource, batches[0].run)


def _arrival(reader: Reader, batch: SpanBatch) -> _Arrival:
    trace, said = trace_id(batch.spans[0].trace), roll_up(batch.spans, batch.resource)
    held = find_row(reader, trace)
    before = bool(held and held["ended"])
    parts = plan_parts(reader, trace, batch.spans, over=before or said.state is not None, before=before)
    return _Arrival(said, batch.run, before, parts)


def _take(tx: Transaction, experiment: str, held: Row | None, arrival: _Arrival) -> dict[str, Any]:
    """Keep spans of a trace, and what they say of it; return what the ledger is told, which is nothing until it ends.

    Args:
        tx: the transaction.
        experiment: where a new trace belongs.
        held: the trace's row, or None.
        arrival: the spans.
    """
    parts, trace = arrival.parts, arrival.parts.trace
    if parts.part is None:
        write_parts(tx, parts)
        return {}
    row = rolled(held, arrival.said, experiment)
    write_row(tx, trace, held, row)
    _set_facts(tx, trace, row, arrival.said)
    write_parts(tx, parts)
    if not row["ended"]:
        return {}
    set_some(tx, "trace_metadata", trace, parts.usage, replace=not row["reported"])
    return {"state": row["state"], "spans": parts.digest}


def _set_facts(tx: Transaction, trace: str, row: Mapping[str, Any], said: Rollup) -> None:
    """Write tags and metadata that spans say; what is there stays."""
    tags = dict(said.tags)
    tags.pop(NAME_TAG, None)
    if row["name"]:
        tags[NAME_TAG] = row["name"]
    set_some(tx, "trace_tags", trace, tags, replace=False)
    set_some(tx, "trace_metadata", trace, said.metadata, replace=False)
