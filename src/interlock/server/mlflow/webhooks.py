"""Webhooks on the wire, and beyond the protocol the history of what was sent to them.

What MLflow's server forgets when it stops is durable here (`interlock.bridges.webhooks`).
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from interlock.bridges.webhooks import History, Reach, WebhookBook
from interlock.bridges.webhooks.book import Wanted
from interlock.bridges.webhooks.records import STATES
from interlock.core.clock import to_micros
from interlock.core.operations import Permission
from interlock.sdk.places import settings
from interlock.server.mlflow import checks
from interlock.server.mlflow.adapter import Adapter, present
from interlock.server.mlflow.routing import route
from interlock.server.mlflow.wire import Refused, invalid

if TYPE_CHECKING:
    from datetime import datetime

    from interlock.bridges.webhooks import Delivery, Webhook
    from interlock.server.guard import Access
    from interlock.store import Store

# Whoever may point a webhook somewhere makes the server send there: that is more than to write a model.
READ, WRITE = Permission.WEBHOOKS_READ, Permission.WEBHOOKS_WRITE
_PAGE: Final = 100


class Event(msgspec.Struct):
    """One of the protocol's events, such as MODEL_VERSION and CREATED."""

    entity: str = ""
    action: str = ""

    @property
    def name(self) -> str:
        """Its name, such as `model_version.created`."""
        return f"{self.entity.lower()}.{self.action.lower()}"


class Create(msgspec.Struct):
    """A webhook to be made."""

    name: str = ""
    url: str = ""
    events: list[Event] = []
    description: str = ""
    secret: str = ""
    status: str = ""


class List(msgspec.Struct):
    """Asks for a page of webhooks."""

    max_results: Annotated[int, msgspec.Meta(ge=1, le=1000)] = _PAGE
    page_token: str = ""


class Id(msgspec.Struct):
    """Names a webhook."""

    webhook_id: str = ""


class Change(Id):
    """What a webhook shall be from now on; what is left out stays, an empty secret takes it away."""

    name: str = ""
    url: str = ""
    events: list[Event] = []
    description: str | None = None
    secret: str | None = None
    status: str = ""


class Test(Id):
    """Asks for a request that is sent now; without an event, of the first that the webhook is told."""

    event: Event | None = None


class Deliveries(Id):
    """Asks what was sent to a webhook, newest first."""

    state: str = ""
    max_results: Annotated[int, msgspec.Meta(ge=1, le=1000)] = _PAGE
    page_token: str = ""


class DeliveryId(Id):
    """Names a delivery."""

    delivery_id: str = ""


@route("POST", "webhooks", WRITE)
def create(adapter: Adapter, ask: Create) -> dict[str, Any]:
    """Make a webhook."""
    checks.required(name=ask.name, url=ask.url, events=ask.events)
    names = tuple(event.name for event in ask.events)
    wanted = Wanted(ask.name, ask.url, names, ask.description, ask.secret, ask.status or "ACTIVE")
    return {"webhook": _shown(_book(adapter).create(wanted))}


@route("GET", "webhooks", READ)
def list_webhooks(adapter: Adapter, ask: List) -> dict[str, Any]:
    """Show a page of webhooks, the newest first."""
    found = _book(adapter).page(ask.max_results + 1, _from_token(ask.page_token))
    shown, more = found[: ask.max_results], len(found) > ask.max_results
    token = _token(f"{to_micros(shown[-1].created_at)}:{shown[-1].id}") if more else ""
    return {"webhooks": [_shown(webhook) for webhook in shown], **present(next_page_token=token)}


@route("GET", "webhooks/{webhook_id}", READ)
def get(adapter: Adapter, ask: Id) -> dict[str, Any]:
    """Show a webhook."""
    return {"webhook": _shown(_book(adapter).get(ask.webhook_id))}


@route("PATCH", "webhooks/{webhook_id}", WRITE)
def change(adapter: Adapter, ask: Change) -> dict[str, Any]:
    """Change a webhook."""
    changed = _book(adapter).change(
        ask.webhook_id,
        name=ask.name or None,
        url=ask.url or None,
        events=tuple(event.name for event in ask.events) or None,
        description=ask.description,
        secret=ask.secret,
        status=ask.status or None,
    )
    return {"webhook": _shown(changed)}


@route("DELETE", "webhooks/{webhook_id}", WRITE)
def delete(adapter: Adapter, ask: Id) -> None:
    """Delete a webhook."""
    _book(adapter).delete(ask.webhook_id)


@route("POST", "webhooks/{webhook_id}/test", WRITE)
def test(adapter: Adapter, ask: Test) -> dict[str, Any]:
    """Send a made-up event, and answer what came of it."""
    trial = _book(adapter).test(ask.webhook_id, ask.event.name if ask.event else "")
    result: dict[str, Any] = {"success": trial.delivered, **present(error_message=trial.error)}
    if trial.status:
        result |= {"response_status": trial.status, "response_body": trial.answer}
    return {"result": result}


@route("GET", "webhooks/{webhook_id}/deliveries", READ)
def deliveries(adapter: Adapter, ask: Deliveries) -> dict[str, Any]:
    """Show what was sent to a webhook or waits for it, the newest first. Beyond the protocol."""
    if ask.state and ask.state not in STATES:
        raise invalid(f"Invalid value for parameter 'state': one of {', '.join(STATES)} is wanted.")
    after = _number(_untoken(ask.page_token)) if ask.page_token else None
    found = _history(adapter).deliveries(ask.webhook_id, ask.state, ask.max_results + 1, after)
    shown, more = found[: ask.max_results], len(found) > ask.max_results
    token = _token(str(shown[-1].number)) if more else ""
    return {"deliveries": [_delivery(one) for one in shown], **present(next_page_token=token)}


@route("GET", "webhooks/{webhook_id}/deliveries/{delivery_id}", READ)
def delivery(adapter: Adapter, ask: DeliveryId) -> dict[str, Any]:
    """Show a delivery and its attempts. Beyond the protocol."""
    return {"delivery": _delivery(_history(adapter).delivery(ask.webhook_id, ask.delivery_id))}


@route("POST", "webhooks/{webhook_id}/deliveries/{delivery_id}/retry", WRITE)
def retry(adapter: Adapter, ask: DeliveryId) -> dict[str, Any]:
    """Send a delivery again, under its id, after what waits. Beyond the protocol."""
    return {"delivery": _delivery(_history(adapter).again(ask.webhook_id, ask.delivery_id))}


def reach_of(store: Store, access: Access) -> Reach:
    """Return where a server's webhooks may go: anywhere where only this machine reaches it, else to the public.

    A name that the server answers to besides its own stands for a proxy, through which others reach it.
    """
    local = access.loopback and not access.hosts
    return Reach(private=local or settings(store.project)["webhooks_private"].value)


def _book(adapter: Adapter) -> WebhookBook:
    """Return the webhooks that the protocol can spell: not those that are told the ledger's own events."""
    return adapter.webhooks.only("mlflow")


def _history(adapter: Adapter) -> History:
    return History(adapter.store, _book(adapter))


def _shown(webhook: Webhook) -> dict[str, Any]:
    events = [name.upper().partition(".") for name in webhook.events]
    return present(
        webhook_id=webhook.id,
        name=webhook.name,
        description=webhook.description,
        url=webhook.url,
        events=[{"entity": entity, "action": action} for entity, _, action in events],
        status=webhook.status,
        creation_timestamp=to_micros(webhook.created_at) // 1000,
        last_updated_timestamp=to_micros(webhook.updated_at) // 1000,
    )


def _delivery(found: Delivery) -> dict[str, Any]:
    return present(
        delivery_id=found.id,
        webhook_id=found.webhook,
        event=found.kind,
        ledger_event=found.event,
        state=found.state,
        attempts=found.attempts,
        response_status=found.status,
        error_message=found.error,
        creation_timestamp=to_micros(found.created_at) // 1000,
        next_attempt_timestamp=_millis(found.next_at),
        finished_timestamp=_millis(found.finished_at),
        history=[
            {
                "timestamp": to_micros(tried.at) // 1000,
                "took_ms": round(tried.took_s * 1000),
                "response_status": tried.status,
                "error_message": tried.error,
            }
            for tried in found.history
        ],
    )


def _millis(at: datetime | None) -> int | None:
    return None if at is None else to_micros(at) // 1000


def _token(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


def _untoken(token: str) -> str:
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, UnicodeError, ValueError):
        raise _no_token() from None


def _from_token(token: str) -> tuple[int, str] | None:
    if not token:
        return None
    at, _, webhook = _untoken(token).partition(":")
    return _number(at), webhook


def _number(text: str) -> int:
    if not text.isdigit() or len(text) > 18:
        raise _no_token()
    return int(text)


def _no_token() -> Refused:
    return invalid("Invalid page token: pass on the one that the page before came with.")
