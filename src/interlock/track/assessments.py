"""Assessments: what people, judges and programs found of traces, and what they expect of them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.core.canonical import digest
from interlock.core.clock import to_micros
from interlock.core.errors import Invalid, NotFound
from interlock.store.span_tests import as_text
from interlock.track.experiments import among
from interlock.track.trace_records import Assessment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from interlock.core.ports import Reader, Row, Transaction
    from interlock.store import Store

MOST: Final = 1_000
LARGEST: Final = 1 << 20
_INSERT: Final = (
    "INSERT INTO trace_assessments (trace, id, kind, name, text, number, valid, created_at, record)"
    " VALUES (:trace, :id, :kind, :name, :text, :number, :valid, :created_at, :record)"
    " ON CONFLICT (trace, id) DO UPDATE SET name = excluded.name, text = excluded.text, number = excluded.number,"
    " valid = excluded.valid, record = excluded.record"
)


class Change(msgspec.Struct, frozen=True):
    """What shall change of an assessment; None for what stays. Metadata are added to those that are there.

    Attributes:
        found: the new value, in an assessment of the same kind.
        name: the new name.
        rationale: the new reason.
        metadata: further facts.
    """

    found: Assessment | None = None
    name: str | None = None
    rationale: str | None = None
    metadata: dict[str, str] | None = None


class Assessments:
    """The assessments of a workspace's traces.

    Args:
        store: what the workspace remembers.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(self, tx: Transaction, trace: str, assessment: Assessment) -> Assessment:
        """Return an assessment, which is added to a trace; one that is there already is left as it is.

        Raises:
            NotFound: there is no such trace, or it has not the assessment that this one replaces.
            Invalid: it is too large, or the trace has too many.
        """
        _check_trace(tx, trace)
        added = self.add(tx, trace, [assessment])
        if added:
            self.note(tx, trace, added)
        return self.get(tx, trace, assessment.id)

    def add(self, tx: Transaction, trace: str, assessments: Sequence[Assessment]) -> list[Assessment]:
        """Return those of the assessments that were not there, which are added; the caller writes the event.

        Raises:
            NotFound: one replaces another that the trace has not.
            Invalid: one is too large, or the trace has too many.
        """
        held = {row["id"] for row in tx.all("SELECT id FROM trace_assessments WHERE trace = :t", {"t": trace})}
        added = [one for one in {one.id: one for one in assessments}.values() if one.id not in held]
        if len(held) + len(added) > MOST:
            raise Invalid(f"Trace {trace} would have more than {MOST} assessments.", about="assessment")
        for one in added:
            if one.overrides:
                replaced = self.get(tx, trace, one.overrides)
                _write(tx, trace, msgspec.structs.replace(replaced, valid=False))
            _write(tx, trace, one)
        return added

    def get(self, reader: Reader, trace: str, ident: str) -> Assessment:
        """Return an assessment.

        Raises:
            NotFound: there is no such trace, or it has no such assessment.
        """
        values = {"t": trace, "id": ident}
        row = reader.one("SELECT * FROM trace_assessments WHERE trace = :t AND id = :id", values)
        if row is None:
            _check_trace(reader, trace)
            raise NotFound(f"Trace {trace!r} has no assessment {ident!r}.", about="assessment")
        return _read(row)

    def change(self, tx: Transaction, trace: str, ident: str, change: Change) -> Assessment:
        """Return an assessment after a change.

        Raises:
            NotFound: there is no such trace, or it has no such assessment.
            Invalid: the new value is of another kind, or too large.
        """
        held = self.get(tx, trace, ident)
        found = change.found
        if found is not None and found.kind != held.kind:
            raise Invalid(
                f"Cannot update {found.kind} value on {_article(held.kind)} assessment.", about="assessment", id=ident
            )
        new = msgspec.structs.replace(
            held,
            name=held.name if change.name is None else change.name,
            rationale=held.rationale if change.rationale is None else change.rationale,
            metadata={**held.metadata, **(change.metadata or {})},
        )
        if found is not None:
            new = msgspec.structs.replace(new, value=found.value, serialized=found.serialized, error=found.error)
        if new == held:
            return held
        new = msgspec.structs.replace(new, updated_at=to_micros(self._store.clock.now()))
        _write(tx, trace, new)
        self.note(tx, trace, [new])
        return new

    def delete(self, tx: Transaction, trace: str, ident: str) -> None:
        """Take an assessment away, where it is there; the one that it replaced counts again.

        Raises:
            NotFound: there is no such trace.
        """
        _check_trace(tx, trace)
        values = {"t": trace, "id": ident}
        row = tx.one("SELECT * FROM trace_assessments WHERE trace = :t AND id = :id", values)
        if row is None:
            return
        replaced = _read(row).overrides
        tx.run("DELETE FROM trace_assessments WHERE trace = :t AND id = :id", values)
        row = tx.one("SELECT * FROM trace_assessments WHERE trace = :t AND id = :id", {"t": trace, "id": replaced})
        if row is not None:
            _write(tx, trace, msgspec.structs.replace(_read(row), valid=True))
        changes = {"assessments": {ident: ""}}
        self._store.ledger.append(tx, "trace.changed", f"trace:{trace}", {"changes": changes})

    def of(self, reader: Reader, traces: Sequence[str]) -> dict[str, tuple[Assessment, ...]]:
        """Return the assessments of traces, oldest first; traces without any are left out."""
        rows = among(
            reader,
            "SELECT * FROM trace_assessments WHERE trace IN",
            list(traces),
            "ORDER BY created_at, id",
        )
        found: dict[str, tuple[Assessment, ...]] = {}
        for row in rows:
            found[row["trace"]] = (*found.get(row["trace"], ()), _read(row))
        return found

    def note(self, tx: Transaction, trace: str, assessments: Iterable[Assessment]) -> None:
        """Write the event that says what changed: digests, since the values may be about people."""
        changes = {"assessments": digests(assessments)}
        self._store.ledger.append(tx, "trace.changed", f"trace:{trace}", {"changes": changes})


def digests(assessments: Iterable[Assessment]) -> dict[str, str]:
    """Return the SHA-256 of each assessment, by id."""
    return {one.id: digest(_encoded(one)) for one in assessments}


def stable_id(trace: str, assessment: Assessment) -> str:
    """Return an id made of what an assessment says, so that the same one sent twice is one."""
    said = msgspec.structs.replace(assessment, id="", updated_at=0)
    return f"a-{hashlib.sha256(trace.encode() + _encoded(said)).hexdigest()[:32]}"


def _encoded(assessment: Assessment) -> bytes:
    return msgspec.json.encode(assessment, order="deterministic")


def _write(tx: Transaction, trace: str, one: Assessment) -> None:
    record = _encoded(one)
    if len(record) > LARGEST:
        raise Invalid(
            f"Assessment {one.name[:80]!r} has {len(record)} bytes; {LARGEST} are the most.",
            about="assessment",
            hint="Keep large values as artifacts, and name them.",
        )
    text, number = _searched(one.value)
    tx.run(
        _INSERT,
        {
            "trace": trace,
            "id": one.id,
            "kind": one.kind,
            "name": one.name,
            "text": text,
            "number": number,
            "valid": int(one.valid),
            "created_at": one.created_at,
            "record": record,
        },
    )


def _searched(value: Any) -> tuple[str, float | None]:
    """Return a value as searches see it: 1.0, which is how clients write 1, as `1`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return as_text(value), None
    return as_text(int(value) if isinstance(value, float) and value.is_integer() else value), float(value)


def _read(row: Row) -> Assessment:
    return msgspec.json.decode(row["record"], type=Assessment)


def _check_trace(reader: Reader, trace: str) -> None:
    if reader.one("SELECT id FROM traces WHERE id = :id", {"id": trace}) is None:
        raise NotFound.named("trace", trace)


def _article(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
