"""The outbox: what webhooks are still to be told, in the database, between the ledger and the network.

A cursor follows the ledger. Moving it and writing the deliveries of what it passed is one transaction, so that nothing
is left out or written twice, whoever is killed when. A delivery's id is made of webhook, event and place: it is the
same at each attempt, also after a database was put back from a backup, so receivers can tell what they had.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from interlock.bridges.webhooks.faces import encode, face_of
from interlock.bridges.webhooks.records import Webhook, webhook_of
from interlock.core.clock import to_micros

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.bridges.webhooks.faces import Face
    from interlock.bridges.webhooks.post import Outcome
    from interlock.core.events import Event
    from interlock.core.ports import Reader, Row, Transaction
    from interlock.store import Store

PAUSES_S: Final = (5, 30, 120, 600, 1800, 3600, 7200, 14_400)
"""How long to wait after the first failed attempt, the second ...; the last one again and again."""
GIVE_UP_S: Final = 24 * 3600
"""A delivery that is older than this when it fails is given up."""
KEEP_S: Final = 30 * 24 * 3600
"""How long the history of what is finished is kept."""
_MOST_WAIT_S: Final = 3600.0
_BAD_BODY: Final = frozenset({400, 413, 414, 415, 422})
_BAD_BODY_ATTEMPTS: Final = 5
_GONE: Final = 410
_BATCH: Final = 500
_LAZY: Final = 10_000
_ERASED: Final = "payload.erased"
_LONGEST_ERROR: Final = 300


class Place(NamedTuple):
    """How far the outbox has come: the next event, the next delivery's number, and how often webhooks changed."""

    next_idx: int
    next_seq: int
    generation: int


class Outbox:
    """The outbox of a workspace.

    Args:
        store: what the workspace remembers.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._database = store.database

    def follow(self, *, settle: bool = False) -> int:
        """Put into the outbox what happened since the last time; return how many deliveries that are.

        Args:
            settle: move the cursor to the end even where nothing is to be sent.

        Cost: without news one look-up; else it reads only events of kinds that somebody asked for.
        """
        total = 0
        while (made := self._step(settle=settle)) is not None:
            total += made
        return total

    def due(self, now: int) -> list[Row]:
        """Return the next delivery of each active webhook whose time has come, with the webhook's address and secret.

        Args:
            now: microseconds since 1970.
        """
        return self._database.all(
            "SELECT d.*, w.url, w.secret, w.face FROM (SELECT webhook, min(seq) AS seq FROM webhook_deliveries"
            " WHERE state = 'waiting' GROUP BY webhook) AS first JOIN webhook_deliveries d ON d.seq = first.seq"
            " JOIN webhooks w ON w.id = d.webhook"
            " WHERE w.status = 'ACTIVE' AND w.deleted_at IS NULL AND d.next_at <= :now ORDER BY d.next_at",
            {"now": now},
        )

    def record(self, delivery: Row, outcome: Outcome) -> str:
        """Keep what came of an attempt; return the state of the delivery by then.

        Args:
            delivery: a row of `due`.
            outcome: what came of it.
        """
        at = to_micros(self._store.clock.now())
        number = delivery["attempts"] + 1
        state = _state(outcome, number, at - delivery["created_at"])
        pause = max(PAUSES_S[min(number, len(PAUSES_S)) - 1], min(outcome.wait_s, _MOST_WAIT_S))
        values = {
            "id": delivery["id"],
            "state": state,
            "number": number,
            "next": at + int(pause * 1_000_000),
            "at": at,
            "finished": None if state == "waiting" else at,
            "took": outcome.took_ms,
            "status": outcome.status,
            "error": outcome.error[:_LONGEST_ERROR],
        }

        def change(tx: Transaction) -> str:
            tx.run(
                "INSERT INTO webhook_attempts (delivery, number, at, took_ms, status, error)"
                " SELECT :id, coalesce(max(number), 0) + 1, :at, :took, :status, :error FROM webhook_attempts"
                " WHERE delivery = :id",
                {name: values[name] for name in ("id", "at", "took", "status", "error")},
            )
            tx.run(
                "UPDATE webhook_deliveries SET state = :state, attempts = :number, next_at = :next,"
                " finished_at = :finished, status = :status, error = :error WHERE id = :id AND state = 'waiting'",
                {name: value for name, value in values.items() if name not in {"at", "took"}},
            )
            return state

        return self._database.write(change)

    def trim(self) -> None:
        """Forget what was finished long ago."""
        before = to_micros(self._store.clock.now()) - KEEP_S * 1_000_000

        def change(tx: Transaction) -> None:
            tx.run(
                "DELETE FROM webhook_attempts WHERE delivery IN"
                " (SELECT id FROM webhook_deliveries WHERE finished_at < :before)",
                {"before": before},
            )
            tx.run("DELETE FROM webhook_deliveries WHERE finished_at < :before", {"before": before})

        if self._database.one("SELECT 1 FROM webhook_deliveries WHERE finished_at < :b LIMIT 1", {"b": before}):
            self._database.write(change)

    def _step(self, *, settle: bool) -> int | None:
        """Pass some events; return how many deliveries were made of them, or None when there is nothing to do."""
        place = read_place(self._database)
        head = self._store.ledger.size()
        if head <= place.next_idx:
            return None
        webhooks = active(self._database)
        events = self._events(webhooks, place.next_idx)
        following = events[-1].index + 1 if len(events) == _BATCH else head
        events = [event for event in events if event.index < following]
        rows = [row for event in events for row in self._rows(webhooks, event)]
        erased = [event for event in events if event.kind == _ERASED]
        # A cursor that is behind costs nothing while nobody asks for what it did not pass, so it moves seldom.
        if not (rows or erased or settle) and following == head and head - place.next_idx < _LAZY:
            return None
        return len(rows) if self._database.write(lambda tx: self._advance(tx, place, following, rows, erased)) else 0

    def _events(self, webhooks: Sequence[Webhook], start: int) -> list[Event]:
        kinds = {_ERASED}
        for webhook in webhooks:
            kinds |= self._face(webhook).kinds(webhook.events)
        return self._store.ledger.events(start - 1, sorted(kinds), limit=_BATCH)

    def _rows(self, webhooks: Sequence[Webhook], event: Event) -> list[dict[str, Any]]:
        """Return the deliveries of an event, without their numbers."""
        rows, made = [], {}
        for webhook in webhooks:
            face = self._face(webhook)
            if event.kind not in face.kinds(webhook.events):
                continue
            if webhook.face not in made:
                made[webhook.face] = face.messages(self._database, event)
            for part, (name, body) in enumerate(made[webhook.face]):
                if any(name in face.wanted(word) for word in webhook.events):
                    made_of = f"{webhook.id}/{event.index}/{part}".encode()
                    rows.append(
                        {
                            "id": str(uuid.UUID(bytes=hashlib.sha256(made_of).digest()[:16])),
                            "webhook": webhook.id,
                            "event": event.index,
                            "kind": name,
                            "body": encode(body),
                        }
                    )
        return rows

    def _advance(
        self, tx: Transaction, place: Place, following: int, rows: list[dict[str, Any]], erased: list[Event]
    ) -> bool:
        """Write deliveries and move the cursor, unless somebody else did or webhooks changed; return whether."""
        if read_place(tx) != place:
            return False
        at = to_micros(self._store.clock.now())
        tx.run_many(
            "INSERT INTO webhook_deliveries (seq, id, webhook, event, kind, body, state, attempts, next_at, created_at,"
            " status, error) VALUES (:seq, :id, :webhook, :event, :kind, :body, 'waiting', 0, :at, :at, 0, '')"
            " ON CONFLICT (id) DO NOTHING",
            [{"seq": place.next_seq + offset, "at": at, **row} for offset, row in enumerate(rows)],
        )
        for event in erased:
            self._erase(tx, event, at)
        tx.run(
            "UPDATE webhook_outbox SET next_idx = :idx, next_seq = :seq WHERE name = 'outbox'",
            {"idx": following, "seq": place.next_seq + len(rows)},
        )
        return True

    def _erase(self, tx: Transaction, event: Event, at: int) -> None:
        """Erase what was to be sent of an event whose data were erased."""
        subject = event.subject.removeprefix("event:")
        if subject.isdigit():
            tx.run(
                "UPDATE webhook_deliveries SET body = :none, finished_at = coalesce(finished_at, :at),"
                " state = CASE WHEN state = 'waiting' THEN 'dropped' ELSE state END WHERE event = :event",
                {"none": b"", "at": at, "event": int(subject)},
            )

    def _face(self, webhook: Webhook) -> Face:
        return face_of(webhook.face, self._store.identity.id)


def active(reader: Reader) -> list[Webhook]:
    """Return the webhooks that are told of what happens now."""
    rows = reader.all("SELECT * FROM webhooks WHERE status = 'ACTIVE' AND deleted_at IS NULL ORDER BY created_at, id")
    return [webhook_of(row) for row in rows]


def read_place(reader: Reader) -> Place:
    """Return how far the outbox has come."""
    row = reader.one("SELECT next_idx, next_seq, generation FROM webhook_outbox WHERE name = 'outbox'")
    return Place(row["next_idx"], row["next_seq"], row["generation"]) if row else Place(0, 0, 0)


def _state(outcome: Outcome, number: int, age: int) -> str:
    if not outcome.error:
        return "delivered"
    bad = outcome.status in _BAD_BODY and number >= _BAD_BODY_ATTEMPTS
    return "failed" if bad or outcome.status == _GONE or age >= GIVE_UP_S * 1_000_000 else "waiting"
