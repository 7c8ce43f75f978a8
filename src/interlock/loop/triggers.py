"""Triggers: what follows from an event. Each event is looked at once, in the transaction that queues what follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.core.refs import parse

if TYPE_CHECKING:
    from interlock.core.events import Event
    from interlock.core.ports import Transaction
    from interlock.loop.jobs import Jobs
    from interlock.loop.project import When
    from interlock.store import Store

_CURSOR = "triggers"


def fire(store: Store, jobs: Jobs, whens: tuple[When, ...]) -> int:
    """Return how many jobs the events since the last time have queued.

    Cost: reads only events after the cursor; nothing is queued twice, whoever is killed when.
    """

    def change(tx: Transaction) -> int:
        row = tx.one("SELECT next_idx FROM trigger_cursors WHERE name = :name", {"name": _CURSOR})
        start = int(row["next_idx"]) if row else 0
        events = store.ledger.events(after=start - 1, limit=10_000)
        queued = 0
        for event in events:
            for when in whens:
                if matches(when.event, event):
                    verb, _, target = when.do.partition(" ")
                    jobs.queue(tx, verb, target, f"event:{event.index}")
                    queued += 1
        if events:
            tx.run(
                "INSERT INTO trigger_cursors (name, next_idx) VALUES (:name, :next)"
                " ON CONFLICT (name) DO UPDATE SET next_idx = excluded.next_idx",
                {"name": _CURSOR, "next": events[-1].index + 1},
            )
        return queued

    if not _news(store):
        return 0
    return store.database.write(change)


def matches(pattern: str, event: Event) -> bool:
    """Return whether an event is what a `[[when]]` waits for: `monitor:NAME alarm`, `model:NAME approved` and so on."""
    subject, _, word = pattern.partition(" ")
    wanted = parse(subject)
    data = event.data or {}
    happened = {
        "alarm": event.kind == "alarm.raised",
        "validated": event.kind == "model_version.moved" and data.get("stage") == "validated",
        "approved": event.kind == "model_version.moved"
        and (data.get("origin"), data.get("stage")) == ("validated", "approved"),
        # What the loop makes itself wakes nothing: that would be a circle.
        "new": event.kind == "dataset_version.created" and not event.actor.startswith("loop:"),
    }[word]
    if not happened:
        return False
    about = parse(event.subject)
    return (about.kind, about.name) == (wanted.kind, wanted.name)


def _news(store: Store) -> bool:
    row = store.database.one("SELECT next_idx FROM trigger_cursors WHERE name = :name", {"name": _CURSOR})
    return store.ledger.size() > (int(row["next_idx"]) if row else 0)
