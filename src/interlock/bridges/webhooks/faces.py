"""The protocols that webhooks speak: which events of the ledger become which messages.

`mlflow` sends what MLflow's own webhooks send; `events` sends the ledger's events themselves, as CloudEvents 1.0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from interlock.bridges.webhooks import mlflow
from interlock.core.errors import Invalid
from interlock.core.events import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from interlock.core.events import Event
    from interlock.core.ports import Reader


class Face(Protocol):
    """One protocol.

    Attributes:
        names: the events that webhooks of this face can ask for.
        media_type: of the bodies.
        headers: the names of the headers for id, timestamp and signature.
    """

    names: frozenset[str]
    media_type: str
    headers: tuple[str, str, str]

    def kinds(self, names: Iterable[str]) -> set[str]:
        """Return the kinds of ledger events that these names are made of."""
        ...

    def messages(self, reader: Reader, event: Event) -> list[tuple[str, dict[str, Any]]]:
        """Return the names and bodies that an event of the ledger becomes."""
        ...


class MlflowFace:
    """What MLflow's webhooks send."""

    names = frozenset(mlflow.SOURCES)
    media_type = "application/json"
    headers = ("X-MLflow-Delivery-Id", "X-MLflow-Timestamp", "X-MLflow-Signature")

    def kinds(self, names: Iterable[str]) -> set[str]:
        """Return the kinds of ledger events that these names are made of."""
        return {mlflow.SOURCES[name] for name in names} - {""}

    def messages(self, reader: Reader, event: Event) -> list[tuple[str, dict[str, Any]]]:
        """Return the names and bodies that an event of the ledger becomes."""
        return [
            (f"{entity}.{action}", mlflow.body(entity, action, event.at, data))
            for entity, action, data in mlflow.translate(reader, event)
        ]


class EventsFace:
    """The ledger's own events, as CloudEvents, with the headers of Standard Webhooks.

    Args:
        source: the workspace's name in the world.
    """

    names = frozenset(KINDS)
    media_type = "application/cloudevents+json"
    headers = ("webhook-id", "webhook-timestamp", "webhook-signature")

    def __init__(self, source: str) -> None:
        self._source = source

    def kinds(self, names: Iterable[str]) -> set[str]:
        """Return the kinds of ledger events that these names are made of."""
        return set(names)

    def messages(self, reader: Reader, event: Event) -> list[tuple[str, dict[str, Any]]]:  # noqa: ARG002 - a face's
        """Return the event, unless its data were erased."""
        if event.data is None:
            return []
        body = {
            "specversion": "1.0",
            "id": str(event.index),
            "source": self._source,
            "type": event.kind,
            "subject": event.subject,
            "time": event.at.isoformat(),
            "datacontenttype": "application/json",
            "interlockactor": event.actor,
            "data": event.data,
        }
        return [(event.kind, body)]


FACES: Final = ("mlflow", "events")


def face_of(name: str, workspace: str) -> Face:
    """Return a face by its name.

    Raises:
        Invalid: there is none of this name.
    """
    if name == "mlflow":
        return MlflowFace()
    if name == "events":
        return EventsFace(f"interlock/{workspace.lower()}")
    raise Invalid(f"{name!r} is no face of a webhook.", about="webhook", hint=f"There are {', '.join(FACES)}.")


def check_names(face: Face, names: Iterable[str]) -> tuple[str, ...]:
    """Return the names, each once, that a webhook may ask a face for.

    Raises:
        Invalid: there are none, or one is unknown.
    """
    wanted = tuple(dict.fromkeys(names))
    if not wanted:
        raise Invalid("A webhook needs at least one event.", about="webhook")
    for name in wanted:
        if name not in face.names:
            raise Invalid(
                f"{name[:80]!r} is no event that webhooks are told of.",
                about="webhook",
                hint=f"There are {', '.join(sorted(face.names))}.",
            )
    return wanted


def encode(body: dict[str, Any]) -> bytes:
    """Return a body as it is sent."""
    return msgspec.json.encode(body)
