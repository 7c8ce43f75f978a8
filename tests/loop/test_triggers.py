from __future__ import annotations

from datetime import UTC, datetime

import pytest

from interlock.core.actor import acting_as
from interlock.core.events import Event
from interlock.loop.jobs import Jobs
from interlock.loop.project import When
from interlock.loop.triggers import fire, matches
from interlock.store import Store


def event(kind: str, subject: str, actor: str = "user:ann", **data: object) -> Event:
    return Event(index=0, at=datetime.now(UTC), actor=actor, kind=kind, subject=subject, data=dict(data))


@pytest.mark.parametrize(
    ("pattern", "happened", "expected"),
    [
        ("monitor:a alarm", event("alarm.raised", "monitor:a"), True),
        ("monitor:a alarm", event("alarm.raised", "monitor:b"), False),
        ("monitor:a alarm", event("alarm.closed", "monitor:a"), False),
        ("model:a validated", event("model_version.moved", "model:a@3", origin="x", stage="validated"), True),
        ("model:a validated", event("model_version.moved", "model:ab@3", origin="x", stage="validated"), False),
        ("model:a approved", event("model_version.moved", "model:a@3", origin="validated", stage="approved"), True),
        ("model:a approved", event("model_version.moved", "model:a@3", origin="deployed", stage="approved"), False),
        ("data:a new", event("dataset_version.created", "data:a@2"), True),
        ("data:a new", event("dataset_version.created", "data:a@2", actor="loop:retrain"), False),
    ],
)
def test_what_matches(pattern: str, happened: Event, expected: bool) -> None:
    assert matches(pattern, happened) is expected


def test_an_erased_payload_wakes_nothing() -> None:
    gone = Event(index=0, at=datetime.now(UTC), actor="x", kind="model_version.moved", subject="model:a@1", data=None)
    assert not matches("model:a validated", gone)


def test_each_event_queues_its_job_once(store: Store) -> None:
    whens = (When("monitor:a alarm", "retrain train"), When("monitor:b alarm", "retrain other"))
    jobs = Jobs(store)
    data = {"window": "2026-01", "signal": "drift", "verdict": "retrain", "report": "", "reason": ""}
    for name in ("a", "b", "c"):
        with acting_as("loop:turn"):
            store.database.write(lambda tx, name=name: store.ledger.append(tx, "alarm.raised", f"monitor:{name}", data))
    assert fire(store, jobs, whens) == 2
    assert fire(store, jobs, whens) == 0
    assert [(job.kind, job.target, job.cause) for job in reversed(jobs.jobs())] == [
        ("retrain", "train", "event:0"),
        ("retrain", "other", "event:1"),
    ]
