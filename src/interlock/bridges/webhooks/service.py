"""The webhooks service: who is told of events over HTTP, and what came of it, as operations.

It stands beside `sdk`, which names it in its table of services by text and imports it only when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from interlock.bridges.webhooks.book import Wanted, WebhookBook
from interlock.bridges.webhooks.faces import FaceName
from interlock.bridges.webhooks.history import History
from interlock.bridges.webhooks.reach import reach_of
from interlock.bridges.webhooks.records import Delivery, Standing, State, Trial
from interlock.core.errors import Invalid
from interlock.core.operations import Permission, operation

if TYPE_CHECKING:
    from interlock.bridges.webhooks.records import Webhook
    from interlock.store import Store

Deliveries = list[Delivery]
Names = list[str]
Standings = list[Standing]

_MOST: Final = 1000


class WebhookService:
    """Webhooks: tell others of events by signed HTTP requests, each at least once and in the ledger's order.

    A running server (`interlock up`) sends; what happens meanwhile waits, whoever is killed when. A webhook is named by
    its name or its id. Its secret goes in and never comes out.
    """

    name = "webhooks"

    def __init__(self, store: Store) -> None:
        self._store = store

    @operation(Permission.WEBHOOKS_WRITE, emits=("webhook.created",))
    def create(
        self, name: str, url: str, events: Names, secret: str = "", description: str = "", face: FaceName = "events"
    ) -> Standing:
        """Let an address be told of events from now on.

        Args:
            name: what people call it: letters, digits, '.', '_' and '-'.
            url: where requests go, such as https://example.com/hook.
            events: kinds of events or patterns, such as alarm.raised, gate.*, *.failed or *.
            secret: signs the requests (HMAC-SHA256); what follows 'whsec_' is read as Base64.
            description: what it is for.
            face: what bodies look like: the ledger's events as CloudEvents, or what MLflow's webhooks send.

        Raises:
            Invalid: there is no such event, or the address may not be used.
            Conflict: the name is taken.
        """
        wanted = Wanted(name, url, tuple(events), description, secret)
        return self._standing(self._book.create(wanted, face))

    @operation(Permission.WEBHOOKS_READ)
    def list(self) -> Standings:
        """List webhooks, the newest first, with what waits for each."""
        return self._history.standings(self._book.page(_MOST))

    @operation(Permission.WEBHOOKS_READ)
    def show(self, webhook: str) -> Standing:
        """Show a webhook and how it fares.

        Args:
            webhook: its name or id.

        Raises:
            NotFound: there is no such webhook.
            Conflict: several have this name.
        """
        return self._standing(self._book.find(webhook))

    @operation(Permission.WEBHOOKS_WRITE, emits=("webhook.changed",))
    def change(
        self,
        webhook: str,
        name: str | None = None,
        url: str | None = None,
        events: Names | None = None,
        description: str | None = None,
        secret: str | None = None,
    ) -> Standing:
        """Change a webhook; what is not given stays. What waits for it is tried again at once, as it is then.

        Args:
            webhook: its name or id.
            name: its new name.
            url: where requests go from now on.
            events: all the events that it is told from now on.
            description: what it is for.
            secret: signs the requests from now on; an empty one ends signing.

        Raises:
            NotFound: there is no such webhook.
            Invalid: a value may not be so.
            Conflict: the new name is taken.
        """
        found = self._book.find(webhook)
        words = tuple(events) if events is not None else None
        changed = self._book.change(found.id, name=name, url=url, events=words, description=description, secret=secret)
        return self._standing(changed)

    @operation(Permission.WEBHOOKS_WRITE, emits=("webhook.changed",))
    def disable(self, webhook: str) -> Standing:
        """Send nothing more to a webhook: what waits goes on waiting, what happens meanwhile is not kept for it.

        Args:
            webhook: its name or id.

        Raises:
            NotFound: there is no such webhook.
        """
        return self._standing(self._book.change(self._book.find(webhook).id, status="DISABLED"))

    @operation(Permission.WEBHOOKS_WRITE, emits=("webhook.changed",))
    def enable(self, webhook: str) -> Standing:
        """Send to a webhook again: first what waits, then what happens from now on.

        Args:
            webhook: its name or id.

        Raises:
            NotFound: there is no such webhook.
        """
        return self._standing(self._book.change(self._book.find(webhook).id, status="ACTIVE"))

    @operation(Permission.WEBHOOKS_WRITE, emits=("webhook.deleted",))
    def delete(self, webhook: str) -> None:
        """Delete a webhook: its address and secret are gone, what waits for it is dropped, its history stays.

        Args:
            webhook: its name or id.

        Raises:
            NotFound: there is no such webhook.
        """
        self._book.delete(self._book.find(webhook).id)

    @operation(Permission.WEBHOOKS_WRITE, emits=("webhook.tested",))
    def test(self, webhook: str, event: str = "") -> Trial:
        """Send a made-up event now and once, and say what came of it.

        Args:
            webhook: its name or id.
            event: which event; the first that it is told when left out.

        Raises:
            NotFound: there is no such webhook.
            Invalid: there is no such event.
        """
        return self._book.test(self._book.find(webhook).id, event)

    @operation(Permission.WEBHOOKS_READ)
    def deliveries(self, webhook: str, state: State = "", limit: int = 20) -> Deliveries:
        """List what was sent to a webhook or waits for it, the newest first.

        Args:
            webhook: its name or id; a deleted one by its id.
            state: only those that are waiting, delivered, failed or dropped.
            limit: how many at most, up to 1000.

        Raises:
            NotFound: there is no such webhook, and no delivery to one.
            Invalid: the limit is out of range.
        """
        if not 1 <= limit <= _MOST:
            raise Invalid(f"A limit of {limit} is not between 1 and {_MOST}.", about="webhook")
        return self._history.deliveries(self._ident(webhook), state, limit)

    @operation(Permission.WEBHOOKS_READ)
    def delivery(self, webhook: str, delivery: str) -> Delivery:
        """Show a delivery with all its attempts.

        Args:
            webhook: its name or id; a deleted one by its id.
            delivery: the delivery's id.

        Raises:
            NotFound: there is none.
        """
        return self._history.delivery(self._ident(webhook), delivery)

    @operation(Permission.WEBHOOKS_WRITE, emits=("webhook.retried",))
    def redeliver(self, webhook: str, delivery: str) -> Delivery:
        """Send a delivery again that has ended, under its id and after what waits.

        Args:
            webhook: its name or id.
            delivery: the delivery's id.

        Raises:
            NotFound: there is none.
            Conflict: it waits already, or its event was erased.
        """
        return self._history.again(self._book.find(webhook).id, delivery)

    @operation(Permission.WEBHOOKS_WRITE, emits=("webhook.skipped",))
    def skip(self, webhook: str, delivery: str) -> Delivery:
        """Drop a delivery that waits, so that what waits behind it is sent.

        Args:
            webhook: its name or id.
            delivery: the delivery's id.

        Raises:
            NotFound: there is none.
            Conflict: it waits no more.
        """
        return self._history.skip(self._book.find(webhook).id, delivery)

    @property
    def _book(self) -> WebhookBook:
        return WebhookBook(self._store, reach_of(self._store))  # a server may have begun since

    @property
    def _history(self) -> History:
        return History(self._store, self._book)

    def _ident(self, webhook: str) -> str:
        """Return the id of a webhook, or of one that was deleted and has a history."""
        return webhook if self._history.deliveries(webhook, limit=1) else self._book.find(webhook).id

    def _standing(self, webhook: Webhook) -> Standing:
        (standing,) = self._history.standings([webhook])
        return standing
