"""What is known of webhooks and of what was sent to them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.core.clock import from_micros

if TYPE_CHECKING:
    from interlock.core.ports import Row

STATUSES: Final = ("ACTIVE", "DISABLED")
STATES: Final = ("waiting", "delivered", "failed", "dropped")


class Webhook(msgspec.Struct, frozen=True):
    """Somebody who is told of events.

    Attributes:
        id: its id.
        face: the protocol of the bodies: `mlflow`, or `events` for the ledger's own events.
        name: what people call it.
        description: what it is for.
        url: where requests go.
        events: the names, in its face, of what it is told.
        status: ACTIVE or DISABLED; what waits for a disabled one goes on waiting, new events are not kept for it.
        signed: whether it has a secret, which is never shown.
        created_at: when it was made.
        updated_at: when it was last changed.
    """

    id: str
    face: str
    name: str
    description: str
    url: str
    events: tuple[str, ...]
    status: str
    signed: bool
    created_at: datetime
    updated_at: datetime


class Attempt(msgspec.Struct, frozen=True):
    """One request: when, how long it took, the answer's status (0: none came) and what was wrong with it."""

    at: datetime
    took_ms: int
    status: int
    error: str


class Delivery(msgspec.Struct, frozen=True):
    """One event on its way to one webhook.

    Attributes:
        number: its place in the outbox; those of one webhook are sent in this order.
        id: what receivers know it by; the same at every attempt.
        webhook: the webhook's id.
        event: the index of the event in the ledger.
        kind: its name in the webhook's face.
        state: waiting, delivered, failed (given up), or dropped (webhook deleted, or the event erased).
        attempts: how often it was tried.
        next_at: when it is tried next, while it waits.
        created_at: when it was put in the outbox.
        finished_at: when it stopped waiting.
        status: the status of the last answer; 0 when none came.
        error: what was wrong at the last attempt, "" for nothing.
        history: the attempts, oldest first, where they were asked for.
    """

    number: int
    id: str
    webhook: str
    event: int
    kind: str
    state: str
    attempts: int
    next_at: datetime
    created_at: datetime
    finished_at: datetime | None
    status: int
    error: str
    history: tuple[Attempt, ...] = ()


def webhook_of(row: Row) -> Webhook:
    """Return the webhook of a row."""
    return Webhook(
        id=row["id"],
        face=row["face"],
        name=row["name"],
        description=row["description"],
        url=row["url"],
        events=tuple(msgspec.json.decode(row["events"], type=list[str])),
        status=row["status"],
        signed=row["secret"] is not None,
        created_at=from_micros(row["created_at"]),
        updated_at=from_micros(row["updated_at"]),
    )


def delivery_of(row: Row, history: tuple[Attempt, ...] = ()) -> Delivery:
    """Return the delivery of a row."""
    values: dict[str, Any] = {name: row[name] for name in ("id", "webhook", "event", "kind", "state", "attempts")}
    finished = row["finished_at"]
    return Delivery(
        number=row["seq"],
        **values,
        next_at=from_micros(row["next_at"]),
        created_at=from_micros(row["created_at"]),
        finished_at=None if finished is None else from_micros(finished),
        status=row["status"],
        error=row["error"],
        history=history,
    )


def attempt_of(row: Row) -> Attempt:
    """Return the attempt of a row."""
    return Attempt(from_micros(row["at"]), row["took_ms"], row["status"], row["error"])
