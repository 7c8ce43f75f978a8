"""Rows of traces: how they are found, written, and made of what spans say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from interlock.core.errors import NotFound
from interlock.track.experiments import among, pairs, set_pairs
from interlock.track.trace_records import NAME_TAG, OPEN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from interlock.core.ports import Reader, Row, Transaction
    from interlock.track.trace_rollup import Rollup

SAID: Final = ("state", "started_at", "duration", "client_request_id", "request_preview", "response_preview")
_COLUMNS: Final = ("experiment", "name", *SAID, "reported", "ended")
_INSERT: Final = (
    "INSERT INTO traces (id, experiment, name, state, started_at, duration, client_request_id, request_preview,"
    " response_preview, reported, ended, spans, span_bytes) VALUES (:id, :experiment, :name, :state, :started_at,"
    " :duration, :client_request_id, :request_preview, :response_preview, :reported, :ended, 0, 0)"
)
_UPDATE: Final = (
    "UPDATE traces SET experiment = :experiment, name = :name, state = :state, started_at = :started_at,"
    " duration = :duration, client_request_id = :client_request_id, request_preview = :request_preview,"
    " response_preview = :response_preview, reported = :reported, ended = :ended WHERE id = :id"
)
_DELETE: Final = (
    "DELETE FROM trace_tags WHERE trace = :id",
    "DELETE FROM trace_metadata WHERE trace = :id",
    "DELETE FROM trace_spans WHERE trace = :id",
    "DELETE FROM trace_span_kinds WHERE trace = :id",
    "DELETE FROM trace_span_values WHERE trace = :id",
    "DELETE FROM trace_links WHERE trace = :id",
    "DELETE FROM trace_assessments WHERE trace = :id",
    "DELETE FROM artifacts WHERE owner = :id",
    "DELETE FROM traces WHERE id = :id",
)


def trace_row(reader: Reader, trace: str) -> Row:
    """Return a trace's row.

    Raises:
        NotFound: there is none.
    """
    row = find_row(reader, trace)
    if row is None:
        raise NotFound(f"Trace with ID '{trace}' not found.", about="trace")
    return row


def find_row(reader: Reader, trace: str) -> Row | None:
    """Return a trace's row, or None."""
    return reader.one("SELECT * FROM traces WHERE id = :id", {"id": trace})


def write_row(tx: Transaction, trace: str, held: Row | None, row: Mapping[str, Any]) -> bool:
    """Return whether a trace's row was made, or changed from the one that is held."""
    if held is None:
        tx.run(_INSERT, {**dict.fromkeys(_COLUMNS), **row, "id": trace})
        return True
    changed = any(held[name] != value for name, value in row.items())
    if changed:
        tx.run(_UPDATE, {**{name: held[name] for name in _COLUMNS}, **row, "id": trace})
    return changed


def rolled(held: Row | None, said: Rollup, experiment: str) -> dict[str, Any]:
    """Return a trace's row after spans said something of it: what its client reported stays."""
    row: dict[str, Any] = {"experiment": experiment, "state": "IN_PROGRESS", "reported": 0, "ended": 0}
    for name in ("name", "client_request_id", "request_preview", "response_preview", "duration"):
        row[name] = None
    if held is not None:
        row = {name: held[name] for name in _COLUMNS}
    if not row["reported"]:
        begun = said.started_at if held is None else min(held["started_at"], said.started_at)
        ends = [said.ended_at, None if row["duration"] is None else row["started_at"] + row["duration"]]
        known = [end for end in ends if end is not None]
        row |= {"started_at": begun, "duration": max(0, max(known) - begun) if known else None}
    if said.state and row["state"] in OPEN:
        row["state"] = said.state
    row["ended"] = int(row["ended"] or said.state is not None)
    for name in ("name", "request_preview", "response_preview"):
        row[name] = getattr(said, name) if row[name] is None else row[name]
    return row


def set_some(tx: Transaction, table: str, trace: str, values: Mapping[str, str], *, replace: bool = True) -> bool:
    """Return whether names and values of a trace were written: those that are new, or differ where they may."""
    held = pairs(tx, table, "trace", [trace]).get(trace, {}) if values else {}
    new = {k: v for k, v in values.items() if (held.get(k) != v if replace else k not in held)}
    if new:
        set_pairs(tx, table, "trace", trace, new)
    return bool(new)


def set_name(tx: Transaction, trace: str, tags: Mapping[str, str]) -> None:
    """Let a trace be called what its tag says; without the tag it has no name."""
    tx.run("UPDATE traces SET name = :name WHERE id = :id", {"name": tags.get(NAME_TAG), "id": trace})


def add_link(tx: Transaction, trace: str, kind: str, name: str) -> bool:
    """Return whether a trace was linked; a link that is there stays."""
    values = {"trace": trace, "kind": kind, "name": name}
    held = tx.one("SELECT 1 FROM trace_links WHERE trace = :trace AND kind = :kind AND name = :name", values)
    if held is None:
        tx.run("INSERT INTO trace_links (trace, kind, name) VALUES (:trace, :kind, :name)", values)
    return held is None


def chosen(tx: Transaction, experiment: str, traces: Sequence[str], until: int | None, limit: int) -> list[str]:
    """Return the ids of those traces that are in an experiment; of none: its oldest that began before an instant."""
    if traces:
        rows = among(tx, "SELECT id, experiment FROM traces WHERE id IN", list(traces))
        return [row["id"] for row in rows if row["experiment"] == experiment]
    rows = tx.all(
        "SELECT id FROM traces WHERE experiment = :experiment AND started_at < :until"
        " ORDER BY started_at, id LIMIT :limit",
        {"experiment": experiment, "until": until, "limit": limit},
    )
    return [row["id"] for row in rows]


def delete_row(tx: Transaction, trace: str) -> None:
    """Take a trace away with all that belongs to it; the bytes of its artifacts stay while something names them."""
    for statement in _DELETE:
        tx.run(statement, {"id": trace})
