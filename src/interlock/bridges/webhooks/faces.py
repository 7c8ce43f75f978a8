"""The protocols that webhooks speak: which events of the ledger become which messages.

`mlflow` sends what MLflow's own webhooks send; `events` sends the ledger's events themselves, as CloudEvents 1.0 with
the headers of Standard Webhooks (standardwebhooks.com).
"""

from __future__ import annotations

import base64
import binascii
import difflib
import functools
import re
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import msgspec

from interlock.bridges.webhooks import mlflow
from interlock.core.errors import Invalid
from interlock.core.events import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from interlock.core.events import Event
    from interlock.core.ports import Reader

FaceName = Literal["events", "mlflow"]

_PATTERN: Final = re.compile(r"(\*|[a-z_]+)\.(\*|[a-z_]+)\Z")
_ENCODED: Final = "whsec_"


class Face(Protocol):
    """One protocol.

    Attributes:
        media_type: of the bodies.
        headers: the names of the headers for id, timestamp and signature.
    """

    media_type: str
    headers: tuple[str, str, str]

    def known(self) -> Iterable[str]:
        """Return the events that webhooks of this face can ask for."""
        ...

    def wanted(self, asked: str) -> frozenset[str]:
        """Return the events that one word of a webhook's list means; none where it means nothing."""
        ...

    def kinds(self, asked: Iterable[str]) -> set[str]:
        """Return the kinds of ledger events that a webhook's list is made of."""
        ...

    def messages(self, reader: Reader, event: Event) -> list[tuple[str, dict[str, Any]]]:
        """Return the names and bodies that an event of the ledger becomes."""
        ...

    def example(self, name: str, at: datetime) -> dict[str, Any]:
        """Return the body of a made-up event."""
        ...

    def key(self, secret: str) -> bytes:
        """Return the bytes that sign under a secret."""
        ...


class MlflowFace:
    """What MLflow's webhooks send."""

    media_type = "application/json"
    headers = ("X-MLflow-Delivery-Id", "X-MLflow-Timestamp", "X-MLflow-Signature")

    def known(self) -> Iterable[str]:
        """Return the events that webhooks of this face can ask for."""
        return mlflow.SOURCES

    def wanted(self, asked: str) -> frozenset[str]:
        """Return the event of this name."""
        return frozenset({asked} & mlflow.SOURCES.keys())

    def kinds(self, asked: Iterable[str]) -> set[str]:
        """Return the kinds of ledger events that these names are made of."""
        return {mlflow.SOURCES[name] for name in asked} - {""}

    def messages(self, reader: Reader, event: Event) -> list[tuple[str, dict[str, Any]]]:
        """Return the names and bodies that an event of the ledger becomes."""
        return [
            (f"{entity}.{action}", mlflow.body(entity, action, event.at, data))
            for entity, action, data in mlflow.translate(reader, event)
        ]

    def example(self, name: str, at: datetime) -> dict[str, Any]:
        """Return the body of a made-up event."""
        entity, _, action = name.partition(".")
        return mlflow.body(entity, action, at, mlflow.EXAMPLES[name])

    def key(self, secret: str) -> bytes:
        """Return the secret's bytes."""
        return secret.encode()


class EventsFace:
    """The ledger's own events, as CloudEvents, with the headers of Standard Webhooks.

    A webhook's list holds kinds (`alarm.raised`) and patterns (`gate.*`, `*.failed`, `*`). What a pattern means is
    asked when an event is told, so it takes in kinds that a later version of Interlock adds.

    Args:
        source: the workspace's name in the world.
    """

    media_type = "application/cloudevents+json"
    headers = ("webhook-id", "webhook-timestamp", "webhook-signature")

    def __init__(self, source: str) -> None:
        self._source = source

    def known(self) -> Iterable[str]:
        """Return the events that webhooks of this face can ask for."""
        return KINDS

    def wanted(self, asked: str) -> frozenset[str]:
        """Return the kinds that a kind or pattern means."""
        return _matching(asked)

    def kinds(self, asked: Iterable[str]) -> set[str]:
        """Return the kinds of ledger events that these names and patterns are made of."""
        return {kind for word in asked for kind in _matching(word)}

    def messages(self, reader: Reader, event: Event) -> list[tuple[str, dict[str, Any]]]:  # noqa: ARG002 - a face's
        """Return the event, unless its data were erased."""
        if event.data is None:
            return []
        body = self._body(event.kind, str(event.index), event.at, event.data)
        return [(event.kind, body | {"subject": event.subject, "interlockactor": event.actor})]

    def example(self, name: str, at: datetime) -> dict[str, Any]:
        """Return the body of a made-up event, which says that it is one."""
        kind = KINDS[name]
        body = self._body(name, "example", at, dict.fromkeys(kind.data, "example"))
        return body | {"subject": f"{kind.subject}:example", "interlockactor": "user:example", "interlockexample": True}

    def key(self, secret: str) -> bytes:
        """Return the bytes that a secret spells: in Base64 after `whsec_`, as Standard Webhooks write it, else its own.

        Raises:
            Invalid: what follows `whsec_` is no Base64.
        """
        if not secret.startswith(_ENCODED):
            return secret.encode()
        try:
            return base64.b64decode(secret.removeprefix(_ENCODED), validate=True)
        except binascii.Error:
            raise Invalid(
                "The secret begins with 'whsec_', and what follows is no Base64.",
                about="webhook",
                hint="Leave 'whsec_' out to use the text itself.",
            ) from None

    def _body(self, kind: str, ident: str, at: datetime, data: dict[str, Any]) -> dict[str, Any]:
        return {
            "specversion": "1.0",
            "id": ident,
            "source": self._source,
            "type": kind,
            "time": at.isoformat(),
            "datacontenttype": "application/json",
            "data": data,
        }


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
    """Return the names and patterns, each once, that a webhook may ask a face for.

    Raises:
        Invalid: there are none, or one means nothing.
    """
    wanted = tuple(dict.fromkeys(names))
    if not wanted:
        raise Invalid("A webhook needs at least one event.", about="webhook")
    for name in wanted:
        if not face.wanted(name):
            near = difflib.get_close_matches(name, face.known(), n=3, cutoff=0.6)
            raise Invalid(
                f"{name[:80]!r} is no event that webhooks are told of.",
                about="webhook",
                hint=f"Did you mean {' or '.join(near)}?" if near else f"There are {', '.join(sorted(face.known()))}.",
            )
    return wanted


def encode(body: dict[str, Any]) -> bytes:
    """Return a body as it is sent."""
    return msgspec.json.encode(body)


@functools.lru_cache(maxsize=1024)
def _matching(asked: str) -> frozenset[str]:
    if asked in KINDS:
        return frozenset({asked})
    found = _PATTERN.match("*.*" if asked == "*" else asked)
    if found is None or "*" not in asked:
        return frozenset()
    noun, verb = found.groups()
    parted = ((kind, *kind.split(".", 1)) for kind in KINDS)
    return frozenset(kind for kind, first, last in parted if noun in {"*", first} and verb in {"*", last})
