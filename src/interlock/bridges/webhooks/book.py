"""The webhooks of a workspace: made, changed, deleted, asked about. Changes are events; secrets never come back."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec

from interlock.bridges.webhooks.faces import check_names, face_of
from interlock.bridges.webhooks.outbox import Outbox
from interlock.bridges.webhooks.post import Brake, Message, Outcome, post
from interlock.bridges.webhooks.records import STATUSES, Delivery, Webhook, attempt_of, delivery_of, webhook_of
from interlock.bridges.webhooks.sealing import seal, unseal
from interlock.core.clock import to_micros
from interlock.core.errors import Conflict, Invalid, NotFound
from interlock.core.ids import new_id

if TYPE_CHECKING:
    from interlock.bridges.webhooks.reach import Reach
    from interlock.core.ports import Reader, Row, Transaction
    from interlock.store import Store

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?\Z")
_LONGEST_SECRET: Final = 1000
_LONGEST_DESCRIPTION: Final = 5000
_LAST: Final = (1 << 63) - 1


class Wanted(msgspec.Struct, frozen=True):
    """What a webhook shall be.

    Attributes:
        name: 1-63 letters, digits, `.`, `_` and `-`.
        url: where requests go.
        events: what it is told.
        description: what it is for.
        secret: signs the requests; "" for none.
        status: ACTIVE or DISABLED.
    """

    name: str
    url: str
    events: tuple[str, ...]
    description: str = ""
    secret: str = ""
    status: str = "ACTIVE"


class WebhookBook:
    """The webhooks of a workspace.

    Args:
        store: what the workspace remembers.
        reach: where webhooks may go.
    """

    def __init__(self, store: Store, reach: Reach) -> None:
        self._store = store
        self._reach = reach
        self._outbox = Outbox(store)

    def create(self, wanted: Wanted, face: str = "mlflow") -> Webhook:
        """Return a new webhook, which is told of what happens from now on.

        Args:
            wanted: what it shall be.
            face: the protocol of its bodies.

        Raises:
            Invalid: name, URL, events, secret or status may not be so.
        """
        self._check(wanted)
        names = check_names(face_of(face, ""), wanted.events)
        webhook, at = new_id(), self._now()
        values = {
            "id": webhook,
            "face": face,
            "name": wanted.name,
            "description": wanted.description,
            "url": wanted.url,
            "events": msgspec.json.encode(names).decode(),
            "status": wanted.status,
            "secret": seal(self._store, webhook, wanted.secret) if wanted.secret else None,
            "at": at,
        }

        def change(tx: Transaction) -> Webhook:
            tx.run(
                "INSERT INTO webhooks (id, face, name, description, url, events, status, secret, created_at,"
                " updated_at) VALUES (:id, :face, :name, :description, :url, :events, :status, :secret, :at, :at)",
                values,
            )
            data = {"name": wanted.name, "host": host_of(wanted.url), "events": names, "status": wanted.status}
            return self._changed(tx, webhook, "webhook.created", data)

        self._outbox.follow(settle=True)
        return self._store.database.write(change)

    def change(self, webhook: str, **given: Any) -> Webhook:
        """Return a webhook after some of it changed; what waits for it is tried again at once, as it is now.

        Args:
            webhook: its id.
            given: fields of `Wanted` by name; those that are None stay.

        Raises:
            NotFound: there is no such webhook.
            Invalid: a value may not be so.
        """
        found = self.get(webhook)
        new = {name: value for name, value in given.items() if value is not None}
        kept = Wanted(found.name, found.url, found.events, found.description, "", found.status)
        wanted = msgspec.structs.replace(kept, **new)
        self._check(wanted, resolve="url" in new)
        names = check_names(face_of(found.face, ""), wanted.events)
        values: dict[str, Any] = {
            "name": wanted.name,
            "description": wanted.description,
            "url": wanted.url,
            "events": msgspec.json.encode(names).decode(),
            "status": wanted.status,
        }
        if "secret" in new:
            values["secret"] = seal(self._store, webhook, wanted.secret) if wanted.secret else None
        sets = ", ".join(f"{name} = :{name}" for name in values)

        def change(tx: Transaction) -> Webhook:
            self.get(webhook, tx)
            values.update(id=webhook, at=self._now())
            tx.run(f"UPDATE webhooks SET {sets}, updated_at = :at WHERE id = :id", values)  # noqa: S608 - our names
            tx.run(
                "UPDATE webhook_deliveries SET next_at = :at WHERE webhook = :id AND state = 'waiting'",
                {"id": webhook, "at": values["at"]},
            )
            return self._changed(tx, webhook, "webhook.changed", {"changes": _told(found, wanted, new)})

        self._outbox.follow(settle=True)
        return self._store.database.write(change)

    def delete(self, webhook: str) -> None:
        """Delete a webhook: its address and secret are gone, what waited for it is dropped, the history stays.

        Raises:
            NotFound: there is no such webhook.
        """

        def change(tx: Transaction) -> None:
            self.get(webhook, tx)
            values = {"id": webhook, "at": self._now()}
            row = tx.one(
                "SELECT count(*) AS n FROM webhook_deliveries WHERE webhook = :id AND state = 'waiting'",
                {"id": webhook},
            )
            tx.run(
                "UPDATE webhook_deliveries SET state = 'dropped', finished_at = :at"
                " WHERE webhook = :id AND state = 'waiting'",
                values,
            )
            self._write(tx, webhook, "webhook.deleted", {"waiting": row["n"] if row else 0})
            tx.run("UPDATE webhooks SET url = '', secret = NULL, deleted_at = :at WHERE id = :id", values)

        self._store.database.write(change)

    def get(self, webhook: str, reader: Reader | None = None) -> Webhook:
        """Return a webhook.

        Raises:
            NotFound: there is no such webhook.
        """
        return webhook_of(self._row(reader or self._store.database, webhook))

    def page(self, limit: int, before: tuple[int, str] | None = None, face: str = "mlflow") -> list[Webhook]:
        """Return webhooks, the newest first.

        Args:
            limit: how many at most.
            before: continue after the webhook made at this instant (microseconds) with this id.
            face: the protocol of their bodies.
        """
        at, last = before or (_LAST, "~")
        rows = self._store.database.all(
            "SELECT * FROM webhooks WHERE deleted_at IS NULL AND face = :face"
            " AND (created_at < :at OR (created_at = :at AND id < :id)) ORDER BY created_at DESC, id DESC LIMIT :limit",
            {"face": face, "at": at, "id": last, "limit": limit},
        )
        return [webhook_of(row) for row in rows]

    def test(self, webhook: str, name: str, body: bytes) -> Outcome:
        """Return what comes of a request that is sent now and once; it leaves no delivery.

        Args:
            webhook: the webhook's id.
            name: the event, which must be one of its face.
            body: what is sent.

        Raises:
            NotFound: there is no such webhook.
            Invalid: there is no such event.
        """
        row = self._row(self._store.database, webhook)
        check_names(face_of(row["face"], ""), [name])
        return send(
            self._store, self._reach, {**row, "id": f"test-{new_id().lower()}", "webhook": webhook, "body": body}
        )

    def deliveries(self, webhook: str, state: str = "", limit: int = 100, before: int | None = None) -> list[Delivery]:
        """Return what was sent or waits, the newest first; also of a webhook that was deleted.

        Args:
            webhook: the webhook's id.
            state: only those in this state; "" for all.
            limit: how many at most.
            before: only those whose number is smaller.
        """
        about = " AND state = :state" if state else ""
        rows = self._store.database.all(
            f"SELECT * FROM webhook_deliveries WHERE webhook = :id AND seq < :before{about}"  # noqa: S608 - ours
            " ORDER BY seq DESC LIMIT :limit",
            {
                "id": webhook,
                "before": _LAST if before is None else before,
                "limit": limit,
                **({"state": state} if state else {}),
            },
        )
        return [delivery_of(row) for row in rows]

    def delivery(self, webhook: str, delivery: str) -> Delivery:
        """Return a webhook's delivery with its attempts.

        Raises:
            NotFound: there is none.
        """
        row = self._delivery(self._store.database, webhook, delivery)
        tried = self._store.database.all(
            "SELECT * FROM webhook_attempts WHERE delivery = :id ORDER BY number", {"id": delivery}
        )
        return delivery_of(row, tuple(attempt_of(found) for found in tried))

    def again(self, webhook: str, delivery: str) -> Delivery:
        """Return a delivery after it was put back in the queue, behind what waits there, under the same id.

        Raises:
            NotFound: there is none, or its webhook was deleted.
            Conflict: it waits already, or its data were erased.
        """

        def change(tx: Transaction) -> None:
            self.get(webhook, tx)
            row = self._delivery(tx, webhook, delivery)
            if row["state"] == "waiting" or not row["body"]:
                reason = "waits already" if row["body"] else "has nothing to send: its event was erased"
                raise Conflict(f"Delivery {delivery} {reason}.", about="webhook")
            tx.run(
                "UPDATE webhook_deliveries SET state = 'waiting', finished_at = NULL, attempts = 0, next_at = :at,"
                " created_at = :at, seq = (SELECT next_seq FROM webhook_outbox WHERE name = 'outbox') WHERE id = :id",
                {"id": delivery, "at": self._now()},
            )
            tx.run(
                "UPDATE webhook_outbox SET next_seq = next_seq + 1, generation = generation + 1 WHERE name = 'outbox'"
            )

        self._store.database.write(change)
        return self.delivery(webhook, delivery)

    def _check(self, wanted: Wanted, *, resolve: bool = True) -> None:
        if not _NAME.match(wanted.name):
            raise Invalid(
                f"{wanted.name[:80]!r} cannot be the name of a webhook.",
                about="webhook",
                hint="Use 1-63 letters, digits, '.', '_' and '-', with a letter or digit at both ends.",
            )
        if wanted.status not in STATUSES:
            raise Invalid(f"{wanted.status[:40]!r} is no status.", about="webhook", hint="ACTIVE or DISABLED.")
        if len(wanted.secret) > _LONGEST_SECRET or len(wanted.description) > _LONGEST_DESCRIPTION:
            what, most = (
                ("secret", _LONGEST_SECRET)
                if len(wanted.secret) > _LONGEST_SECRET
                else ("description", _LONGEST_DESCRIPTION)
            )
            raise Invalid(f"The {what} is longer than {most} characters.", about="webhook")
        if resolve:
            target = self._reach.target(wanted.url)
            if not self._reach.private:  # else it may come up later: on this machine or network, names come and go
                self._reach.resolve(target)

    def _changed(self, tx: Transaction, webhook: str, kind: str, data: dict[str, Any]) -> Webhook:
        self._write(tx, webhook, kind, data)
        return self.get(webhook, tx)

    def _write(self, tx: Transaction, webhook: str, kind: str, data: dict[str, Any]) -> None:
        tx.run("UPDATE webhook_outbox SET generation = generation + 1 WHERE name = 'outbox'")
        self._store.ledger.append(tx, kind, f"webhook:{webhook}", data)

    def _row(self, reader: Reader, webhook: str) -> Row:
        row = reader.one("SELECT * FROM webhooks WHERE id = :id AND deleted_at IS NULL", {"id": webhook})
        if row is None:
            raise NotFound(f"There is no webhook {webhook[:80]!r}.", about="webhook")
        return row

    def _delivery(self, reader: Reader, webhook: str, delivery: str) -> Row:
        row = reader.one(
            "SELECT * FROM webhook_deliveries WHERE id = :id AND webhook = :webhook",
            {"id": delivery, "webhook": webhook},
        )
        if row is None:
            raise NotFound(f"There is no delivery {delivery[:80]!r}.", about="webhook")
        return row

    def _now(self) -> int:
        return to_micros(self._store.clock.now())


def send(store: Store, reach: Reach, row: Row, brake: Brake | None = None) -> Outcome:
    """Return what comes of sending one delivery, once.

    Args:
        store: the workspace.
        reach: where webhooks may go.
        row: a delivery's id and body with its webhook's id, url, face and sealed secret.
        brake: breaks it off.

    Raises:
        Corrupt: the secret cannot be opened; nothing was sent, as receivers would take it for a forgery.
    """
    face = face_of(row["face"], store.identity.id)
    message = Message(row["id"], row["body"], face.media_type, face.headers)
    secret = None if row["secret"] is None else unseal(store, row["webhook"], row["secret"])
    return post(reach, row["url"], message, secret, store.clock.now().timestamp(), brake)


def host_of(url: str) -> str:
    """Return what may be told of a URL: its path and query may hold a token."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _told(found: Webhook, wanted: Wanted, new: dict[str, Any]) -> dict[str, Any]:
    """Return what of a change may stand in the ledger for ever."""
    told: dict[str, Any] = {}
    for name in ("name", "description", "events", "status"):
        if name in new and getattr(found, name) != getattr(wanted, name):
            told[name] = getattr(wanted, name)
    if "url" in new and found.url != wanted.url:
        told["host"] = host_of(wanted.url)
    if "secret" in new:
        told["secret"] = "set" if wanted.secret else "removed"
    return told
