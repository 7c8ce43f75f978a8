"""The webhooks of a workspace: made, changed, deleted, asked about. Changes are events; secrets never come back."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, TypedDict, Unpack
from urllib.parse import urlsplit

import msgspec

from interlock.bridges.webhooks.faces import check_names, encode, face_of
from interlock.bridges.webhooks.outbox import Outbox
from interlock.bridges.webhooks.post import Brake, Message, Outcome, post
from interlock.bridges.webhooks.records import STATUSES, Trial, Webhook, webhook_of
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
_MOST_EVENTS: Final = 1000
_SHOWN_ANSWER: Final = 4096
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


class Given(TypedDict, total=False):
    """What of a webhook changes; what is left out or None stays, an empty secret takes it away."""

    name: str | None
    url: str | None
    events: tuple[str, ...] | None
    description: str | None
    secret: str | None
    status: str | None


class WebhookBook:
    """The webhooks of a workspace.

    Args:
        store: what the workspace remembers.
        reach: where webhooks may go.
        face: only those whose bodies are of this protocol; "" for all.
    """

    def __init__(self, store: Store, reach: Reach, face: str = "") -> None:
        self._store = store
        self._reach = reach
        self._face = face
        self._outbox = Outbox(store)

    def only(self, face: str) -> WebhookBook:
        """Return the book of the webhooks of one protocol; others are not there for it."""
        return WebhookBook(self._store, self._reach, face)

    def create(self, wanted: Wanted, face: str = "mlflow") -> Webhook:
        """Return a new webhook, which is told of what happens from now on.

        Args:
            wanted: what it shall be.
            face: the protocol of its bodies.

        Raises:
            Invalid: name, URL, events, secret or status may not be so.
            Conflict: the name is taken; MLflow lets several have one.
        """
        self._check(wanted, face)
        webhook, at = new_id(), self._now()
        values = {"id": webhook, "face": face, **self._columns(webhook, wanted), "secret": None, "at": at}
        if wanted.secret:
            values["secret"] = seal(self._store, webhook, wanted.secret)

        def change(tx: Transaction) -> Webhook:
            _check_free(tx, wanted.name, face)
            tx.run(
                "INSERT INTO webhooks (id, face, name, description, url, events, status, secret, created_at,"
                " updated_at) VALUES (:id, :face, :name, :description, :url, :events, :status, :secret, :at, :at)",
                values,
            )
            told = {"name": wanted.name, "host": host_of(wanted.url), "events": wanted.events, "status": wanted.status}
            record(self._store, tx, webhook, "webhook.created", told)
            return self.get(webhook, tx)

        self._outbox.follow(settle=True)
        return self._store.database.write(change)

    def change(self, webhook: str, **given: Unpack[Given]) -> Webhook:
        """Return a webhook after some of it changed; what waits for it is tried again at once, as it is now.

        Args:
            webhook: its id.
            given: fields of `Wanted` by name; those that are None stay, as they are by then if others change them.

        Raises:
            NotFound: there is no such webhook.
            Invalid: a value may not be so.
            Conflict: the new name is taken.
        """
        new: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        found = self.get(webhook)
        self._check(_with(found, new), found.face, resolve="url" in new)
        secret = new.get("secret", "")
        sealed = seal(self._store, webhook, secret) if secret else None

        def change(tx: Transaction) -> Webhook:
            row = self._row(tx, webhook)
            before = webhook_of(row)
            wanted = _with(before, new)
            told = _told(before, wanted, new)
            if not told:
                return before
            if "name" in told:
                _check_free(tx, wanted.name, before.face)
            values = {**self._columns(webhook, wanted), "id": webhook, "at": self._now()}
            values["secret"] = sealed if "secret" in new else row["secret"]
            tx.run(
                "UPDATE webhooks SET name = :name, description = :description, url = :url, events = :events,"
                " status = :status, secret = :secret, updated_at = :at WHERE id = :id",
                values,
            )
            tx.run(
                "UPDATE webhook_deliveries SET next_at = :at WHERE webhook = :id AND state = 'waiting'",
                {"id": webhook, "at": values["at"]},
            )
            record(self._store, tx, webhook, "webhook.changed", {"changes": told})
            return self.get(webhook, tx)

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
            record(self._store, tx, webhook, "webhook.deleted", {"waiting": row["n"] if row else 0})
            tx.run("UPDATE webhooks SET url = '', secret = NULL, deleted_at = :at WHERE id = :id", values)

        self._store.database.write(change)

    def get(self, webhook: str, reader: Reader | None = None) -> Webhook:
        """Return a webhook.

        Raises:
            NotFound: there is no such webhook.
        """
        return webhook_of(self._row(reader or self._store.database, webhook))

    def find(self, name: str) -> Webhook:
        """Return a webhook by its id, or by its name where only one has it.

        Raises:
            NotFound: there is no such webhook.
            Conflict: several have this name.
        """
        rows = self._store.database.all(
            "SELECT * FROM webhooks WHERE deleted_at IS NULL AND (:face = '' OR face = :face)"
            " AND (id = :name OR name = :name) ORDER BY created_at, id",
            {"face": self._face, "name": name},
        )
        exact = [row for row in rows if row["id"] == name]
        if not rows:
            raise NotFound.named("webhook", name[:80], [webhook.name for webhook in self.page(1000)])
        if len(rows) > 1 and not exact:
            ids = ", ".join(row["id"] for row in rows[:8])
            raise Conflict(
                f"{len(rows)} webhooks are called {name!r}.", about="webhook", hint=f"Name one by its id: {ids}."
            )
        return webhook_of((exact or rows)[0])

    def page(self, limit: int, before: tuple[int, str] | None = None) -> list[Webhook]:
        """Return webhooks, the newest first.

        Args:
            limit: how many at most.
            before: continue after the webhook made at this instant (microseconds) with this id.
        """
        at, last = before or (_LAST, "~")
        rows = self._store.database.all(
            "SELECT * FROM webhooks WHERE deleted_at IS NULL AND (:face = '' OR face = :face)"
            " AND (created_at < :at OR (created_at = :at AND id < :id)) ORDER BY created_at DESC, id DESC LIMIT :limit",
            {"face": self._face, "at": at, "id": last, "limit": limit},
        )
        return [webhook_of(row) for row in rows]

    def test(self, webhook: str, name: str = "") -> Trial:
        """Return what comes of a made-up event that is sent now and once; it leaves no delivery, but an event.

        Args:
            webhook: the webhook's id.
            name: the event, which must be one of its face; "" for the first that the webhook is told.

        Raises:
            NotFound: there is no such webhook.
            Invalid: there is no such event.
        """
        row = self._row(self._store.database, webhook)
        face = face_of(row["face"], self._store.identity.id)
        (asked,) = check_names(face, [name or webhook_of(row).events[0]])
        event = min(face.wanted(asked))
        ident, body = f"test-{new_id().lower()}", encode(face.example(event, self._store.clock.now()))
        outcome = send(self._store, self._reach, {**row, "id": ident, "webhook": webhook, "body": body})
        told = {"event": event, "status": outcome.status, "error": outcome.error}
        self._store.database.write(lambda tx: record(self._store, tx, webhook, "webhook.tested", told))
        answer = outcome.body.decode("utf-8", "replace")[:_SHOWN_ANSWER]
        return Trial(event, not outcome.error, outcome.status, outcome.error, outcome.took_ms / 1000, answer)

    def _check(self, wanted: Wanted, face: str, *, resolve: bool = True) -> None:
        if not _NAME.match(wanted.name):
            raise Invalid(
                f"{wanted.name[:80]!r} cannot be the name of a webhook.",
                about="webhook",
                hint="Use 1-63 letters, digits, '.', '_' and '-', with a letter or digit at both ends.",
            )
        if wanted.status not in STATUSES:
            raise Invalid(f"{wanted.status[:40]!r} is no status.", about="webhook", hint="ACTIVE or DISABLED.")
        sizes = (
            ("secret", "characters", len(wanted.secret), _LONGEST_SECRET),
            ("description", "characters", len(wanted.description), _LONGEST_DESCRIPTION),
            ("list of events", "names", len(wanted.events), _MOST_EVENTS),
        )
        for what, unit, size, most in sizes:
            if size > most:
                raise Invalid(f"The {what} is longer than {most} {unit}.", about="webhook")
        spoken = face_of(face, "")
        check_names(spoken, wanted.events)
        spoken.key(wanted.secret)
        if resolve:
            target = self._reach.target(wanted.url)
            if not self._reach.private:  # else it may come up later: on this machine or network, names come and go
                self._reach.resolve(target)

    def _columns(self, webhook: str, wanted: Wanted) -> dict[str, Any]:
        return {
            "id": webhook,
            "name": wanted.name,
            "description": wanted.description,
            "url": wanted.url,
            "events": msgspec.json.encode(tuple(dict.fromkeys(wanted.events))).decode(),
            "status": wanted.status,
        }

    def _row(self, reader: Reader, webhook: str) -> Row:
        row = reader.one(
            "SELECT * FROM webhooks WHERE id = :id AND deleted_at IS NULL AND (:face = '' OR face = :face)",
            {"id": webhook, "face": self._face},
        )
        if row is None:
            raise NotFound(f"There is no webhook {webhook[:80]!r}.", about="webhook")
        return row

    def _now(self) -> int:
        return to_micros(self._store.clock.now())


def _check_free(reader: Reader, name: str, face: str) -> None:
    """Accept a name that no webhook has; in MLflow's protocol, which names webhooks by id, many may have one.

    Raises:
        Conflict: one has it.
    """
    taken = reader.one(
        "SELECT id FROM webhooks WHERE deleted_at IS NULL AND name = :name ORDER BY created_at, id LIMIT 1",
        {"name": name},
    )
    if taken is not None and face != "mlflow":
        raise Conflict(
            f"A webhook is called {name!r} already: {taken['id']}.",
            about="webhook",
            hint="Change that one, or take another name.",
        )


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
    key = None if row["secret"] is None else face.key(unseal(store, row["webhook"], row["secret"]).decode())
    return post(reach, row["url"], message, key, store.clock.now().timestamp(), brake)


def record(store: Store, tx: Transaction, webhook: str, kind: str, data: dict[str, Any]) -> None:
    """Write what happened to a webhook into the ledger; who reads on for the outbox meanwhile begins again."""
    tx.run("UPDATE webhook_outbox SET generation = generation + 1 WHERE name = 'outbox'")
    store.ledger.append(tx, kind, f"webhook:{webhook}", data)


def host_of(url: str) -> str:
    """Return what may be told of a URL: its path and query may hold a token."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _with(found: Webhook, new: dict[str, Any]) -> Wanted:
    kept = Wanted(found.name, found.url, found.events, found.description, "", found.status)
    return msgspec.structs.replace(kept, **new)


def _told(found: Webhook, wanted: Wanted, new: dict[str, Any]) -> dict[str, Any]:
    """Return what of a change may stand in the ledger for ever; nothing where nothing changes."""
    told: dict[str, Any] = {}
    for name in ("name", "description", "events", "status"):
        if getattr(found, name) != getattr(wanted, name):
            told[name] = getattr(wanted, name)
    if found.url != wanted.url:
        told["host"] = host_of(wanted.url)
    if "secret" in new and (wanted.secret or found.signed):
        told["secret"] = "set" if wanted.secret else "removed"
    return told
