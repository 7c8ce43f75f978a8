"""What was sent to webhooks and what waits: looked at, sent again, skipped; and how each webhook fares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from interlock.bridges.webhooks.book import record
from interlock.bridges.webhooks.records import Delivery, Standing, attempt_of, delivery_of, instant
from interlock.core.clock import to_micros
from interlock.core.errors import Conflict, NotFound

if TYPE_CHECKING:
    from interlock.bridges.webhooks.book import WebhookBook
    from interlock.bridges.webhooks.records import Webhook
    from interlock.core.ports import Reader, Row, Transaction
    from interlock.store import Store

NEWEST: Final = 1000
"""Of how many deliveries those that were given up are counted: a webhook may have millions."""
_LAST: Final = (1 << 63) - 1
_COUNTS: Final = (
    "SELECT (SELECT count(*) FROM webhook_deliveries WHERE webhook = :id AND state = 'waiting') AS waiting,"
    " (SELECT count(*) FROM (SELECT state FROM webhook_deliveries WHERE webhook = :id ORDER BY seq DESC LIMIT :newest)"
    " AS seen WHERE state = 'failed') AS failed"
)
_FIRST: Final = (
    "SELECT next_at, error FROM webhook_deliveries WHERE webhook = :id AND state = 'waiting' ORDER BY seq LIMIT 1"
)
_TAKEN: Final = (
    "SELECT finished_at FROM webhook_deliveries WHERE webhook = :id AND state = 'delivered' ORDER BY seq DESC LIMIT 1"
)


class History:
    """The deliveries of a workspace's webhooks.

    Args:
        store: what the workspace remembers.
        book: its webhooks.
    """

    def __init__(self, store: Store, book: WebhookBook) -> None:
        self._store = store
        self._book = book

    def deliveries(self, webhook: str, state: str = "", limit: int = 100, before: int | None = None) -> list[Delivery]:
        """Return what was sent or waits, the newest first; also of a webhook that was deleted.

        Args:
            webhook: the webhook's id.
            state: only those in this state; "" for all.
            limit: how many at most.
            before: only those whose number is smaller.
        """
        rows = self._store.database.all(
            "SELECT * FROM webhook_deliveries WHERE webhook = :id AND seq < :before AND (:state = '' OR state = :state)"
            " ORDER BY seq DESC LIMIT :limit",
            {"id": webhook, "before": _LAST if before is None else before, "limit": limit, "state": state},
        )
        return [delivery_of(row) for row in rows]

    def delivery(self, webhook: str, delivery: str) -> Delivery:
        """Return a webhook's delivery with its attempts.

        Raises:
            NotFound: there is none.
        """
        return self._whole(self._store.database, webhook, delivery)

    def again(self, webhook: str, delivery: str) -> Delivery:
        """Return a delivery after it was put back in the queue, behind what waits there, under the same id.

        Raises:
            NotFound: there is none, or its webhook was deleted.
            Conflict: it waits already, or its data were erased.
        """

        def change(tx: Transaction) -> Delivery:
            self._book.get(webhook, tx)
            row = self._row(tx, webhook, delivery)
            if row["state"] == "waiting" or not row["body"]:
                reason = "waits already" if row["body"] else "has nothing to send: its event was erased"
                raise Conflict(f"Delivery {delivery} {reason}.", about="webhook")
            tx.run(
                "UPDATE webhook_deliveries SET state = 'waiting', finished_at = NULL, attempts = 0, next_at = :at,"
                " created_at = :at, seq = (SELECT next_seq FROM webhook_outbox WHERE name = 'outbox') WHERE id = :id",
                {"id": delivery, "at": self._now()},
            )
            tx.run("UPDATE webhook_outbox SET next_seq = next_seq + 1 WHERE name = 'outbox'")
            return self._told(tx, row, "webhook.retried")

        return self._store.database.write(change)

    def skip(self, webhook: str, delivery: str) -> Delivery:
        """Return a delivery that waited after it was dropped, so that what waits behind it is sent.

        Raises:
            NotFound: there is none.
            Conflict: it does not wait.
        """

        def change(tx: Transaction) -> Delivery:
            row = self._row(tx, webhook, delivery)
            if row["state"] != "waiting":
                raise Conflict(
                    f"Delivery {delivery} waits no more: it is {row['state']}.",
                    about="webhook",
                    hint=f"`interlock webhooks deliveries {webhook} --state waiting` lists those that do.",
                )
            tx.run(
                "UPDATE webhook_deliveries SET state = 'dropped', finished_at = :at WHERE id = :id",
                {"id": delivery, "at": self._now()},
            )
            return self._told(tx, row, "webhook.skipped")

        return self._store.database.write(change)

    def standings(self, webhooks: list[Webhook]) -> list[Standing]:
        """Return webhooks with how they fare."""
        return [self._standing(webhook) for webhook in webhooks]

    def _standing(self, webhook: Webhook) -> Standing:
        (counted,) = self._store.database.all(_COUNTS, {"id": webhook.id, "newest": NEWEST})
        first = self._store.database.one(_FIRST, {"id": webhook.id})
        last = self._store.database.one(_TAKEN, {"id": webhook.id})
        return Standing(
            **msgspec.structs.asdict(webhook),
            waiting=counted["waiting"],
            failed=counted["failed"],
            delivered_at=instant(last["finished_at"]) if last else None,
            next_at=instant(first["next_at"]) if first else None,
            error=first["error"] if first else "",
        )

    def _told(self, tx: Transaction, row: Row, kind: str) -> Delivery:
        record(self._store, tx, row["webhook"], kind, {"delivery": row["id"], "event": row["event"]})
        return self._whole(tx, row["webhook"], row["id"])

    def _whole(self, reader: Reader, webhook: str, delivery: str) -> Delivery:
        row = self._row(reader, webhook, delivery)
        tried = reader.all("SELECT * FROM webhook_attempts WHERE delivery = :id ORDER BY number", {"id": delivery})
        return delivery_of(row, tuple(attempt_of(found) for found in tried))

    def _row(self, reader: Reader, webhook: str, delivery: str) -> Row:
        row = reader.one(
            "SELECT * FROM webhook_deliveries WHERE id = :id AND webhook = :webhook",
            {"id": delivery, "webhook": webhook},
        )
        if row is None:
            raise NotFound(f"There is no delivery {delivery[:80]!r}.", about="webhook")
        return row

    def _now(self) -> int:
        return to_micros(self._store.clock.now())
