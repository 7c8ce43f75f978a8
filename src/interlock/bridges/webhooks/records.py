"""What is known of webhooks and of what was sent to them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, Final, Literal

import msgspec

from interlock.core.clock import from_micros
from interlock.core.errors import Unavailable

if TYPE_CHECKING:
    from interlock.core.ports import Row

STATUSES: Final = ("ACTIVE", "DISABLED")
STATES: Final = ("waiting", "delivered", "failed", "dropped")
State = Literal["", "waiting", "delivered", "failed", "dropped"]


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who is told of events.

    Attributes:
        id: its id.
        face: the protocol of the bodies: `mlflow`, or `events` for the ledger's own events.
        name: what people call it.
        description: what it is for.
        url: where requests go.
        events: the names, in its face, of what it is told; in `events` patterns too.
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


class Standing(Webhook, frozen=True, kw_only=True):
    """A webhook and how it fares.

    Attributes:
        waiting: how many deliveries are still to be made.
        failed: how many of the newest 1,000 deliveries were given up.
        delivered_at: when the last one was taken; None while none was.
        next_at: when the next attempt is due; None while nothing waits.
        error: what was wrong with the last attempt of the first that waits.
    """

    TABLE: ClassVar = ("name", "face", "events", "url", "status", "waiting", "failed", "delivered_at", "id")

    waiting: int
    failed: int
    delivered_at: datetime | None
    next_at: datetime | None
    error: str


class Attempt(msgspec.Struct, frozen=True):
    """One request: when, how long it took, the answer's status (0: none came) and what was wrong with it."""

    at: datetime
    took_s: float
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
        state: waiting, delivered, failed (given up), or dropped (by hand, webhook deleted, or the event erased).
        attempts: how often it was tried.
        next_at: when it is tried next; None where it waits no more.
        created_at: when it was put in the outbox.
        finished_at: when it stopped waiting.
        status: the status of the last answer; 0 when none came.
        error: what was wrong at the last attempt, "" for nothing.
        history: the attempts, oldest first, where they were asked for.
    """

    TABLE: ClassVar = ("id", "event", "kind", "state", "attempts", "created_at", "next_at", "status", "error")

    number: int
    id: str
    webhook: str
    event: int
    kind: str
    state: str
    attempts: int
    next_at: datetime | None
    created_at: datetime
    finished_at: datetime | None
    status: int
    error: str
    history: tuple[Attempt, ...] = ()


class Trial(msgspec.Struct, frozen=True):
    """What came of sending a made-up event.

    Attributes:
        event: which one.
        delivered: whether it was taken.
        status: the status of the answer; 0 when none came.
        error: what was wrong, "" for nothing.
        took_s: how long it took.
        answer: the beginning of the answer's body.
    """

    event: str
    delivered: bool
    status: int
    error: str
    took_s: float
    answer: str

    FAULT: ClassVar = Unavailable  # as which error the command ends that shows a refused one

    @property
    def ok(self) -> bool:
        """Whether it was taken."""
        return self.delivered


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
    return Delivery(
        number=row["seq"],
        id=row["id"],
        webhook=row["webhook"],
        event=row["event"],
        kind=row["kind"],
        state=row["state"],
        attempts=row["attempts"],
        next_at=from_micros(row["next_at"]) if row["state"] == "waiting" else None,
        created_at=from_micros(row["created_at"]),
        finished_at=instant(row["finished_at"]),
        status=row["status"],
        error=row["error"],
        history=history,
    )


def attempt_of(row: Row) -> Attempt:
    """Return the attempt of a row."""
    return Attempt(from_micros(row["at"]), row["took_ms"] / 1000, row["status"], row["error"])


def instant(micros: int | None) -> datetime | None:
    """Return an instant of the database, or None."""
    return None if micros is None else from_micros(micros)
