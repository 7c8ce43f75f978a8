"""Checks of what is on record: an event against the ledger's root, a prediction against the event of its window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from interlock.core.clock import from_micros, to_micros
from interlock.core.periods import parse_period
from interlock.core.refs import parse
from interlock.monitor.digests import digest_predictions
from interlock.monitor.look import read_report
from interlock.monitor.records import MonitorPlan
from interlock.store.ledger_entries import decode, is_commitment
from interlock.store.merkle import leaf_hash, verify_inclusion

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interlock.core.events import Event
    from interlock.monitor.records import WindowReport
    from interlock.store import Store
    from interlock.store.predictions import Prediction

Checked = Literal["verified", "recorded", "differs"]


def check_event(store: Store, event: Event) -> Checked:
    """Return "verified" when an event, its data included, is proven to be under the ledger's root; else "recorded"."""
    ledger = store.ledger
    stored, size = ledger.stored(event.index), ledger.size()
    proof, root = ledger.inclusion_proof(event.index, size), ledger.root(size)
    entry = decode(stored.entry)
    if entry is None or not verify_inclusion(event.index, size, leaf_hash(stored.entry), proof, root):
        return "recorded"
    said = (event.index, to_micros(event.at), event.actor, event.kind, event.subject)
    same = said == (entry.index, entry.at, entry.actor, entry.kind, entry.subject)
    whole = stored.payload is None or is_commitment(entry.payload, stored.payload_key, stored.payload)
    return "verified" if same and whole else "recorded"


def check_prediction(store: Store, found: Prediction) -> tuple[Checked, str]:
    """Return whether a prediction is as it was when its window was last evaluated, and a sentence on it.

    The digest of all rows of its window and model, as they are now, is compared with what the newest event of that
    window holds: "verified" when it is the same, "differs" when not, "recorded" while no window covers it.

    Cost: reads the window's rows, and the events of its monitor.
    """
    covering = _covering(store, found)
    if covering is None:
        return "recorded", "no evaluated window covers it yet"
    event, report = covering
    span = to_micros(report.starts_at), to_micros(report.ends_at)
    rows = [row for row in store.predictions.rows(found.deployment, *span) if row.model == found.model]
    if event.data is None or event.data["predictions"] != digest_predictions(rows):
        return "differs", (
            f"NOT as event:{event.index} holds window {report.window}: {report.predictions} rows then, {len(rows)} now"
        )
    if check_event(store, event) != "verified":
        return "differs", f"event:{event.index} of window {report.window} is NOT as the ledger's tree holds it"
    return "verified", f"as event:{event.index} holds window {report.window}"


def _covering(store: Store, found: Prediction) -> tuple[Event, WindowReport] | None:
    """Return the newest evaluation of the window that a prediction lies in. Only the ledger is asked."""
    newest = None
    for monitor, names in _windows(store, found).items():
        for event in _events(store, "window.evaluated", monitor):
            if event.data is None or event.data["window"] not in names:
                continue
            report = read_report(store, event.data["report"])
            inside = to_micros(report.starts_at) <= found.occurred_at < to_micros(report.ends_at)
            if inside and report.model == found.model and (newest is None or event.index > newest[0].index):
                newest = event, report
    return newest


def _windows(store: Store, found: Prediction) -> dict[str, set[str]]:
    """Return by monitor what the window of a prediction is called, under each plan that its deployment ever had."""
    names: dict[str, set[str]] = {}
    for event in _events(store, "monitor.set", ""):
        if event.data is not None:
            plan = msgspec.json.decode(store.objects.get(event.data["plan"]), type=MonitorPlan)
            if plan.deployment == found.deployment:
                period = parse_period(plan.window)
                name = period.label(period.floor(from_micros(found.occurred_at)))
                names.setdefault(str(parse(event.subject, "monitor")), set()).add(name)
    return names


def _events(store: Store, kind: str, subject: str) -> Iterator[Event]:
    after = -1
    while events := store.ledger.events(after=after, kinds=(kind,), subject=subject):
        yield from events
        after = events[-1].index
