"""What was changed of a model or of a version, by whom and when, and what it was before: read from the ledger."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec

from interlock.registry.names import names_of, names_of_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interlock.core.events import Event
    from interlock.registry.records import Card
    from interlock.store import Store

_OF_MODELS: Final = (
    "model.created",
    "model.updated",
    "model.renamed",
    "model.archived",
    "model.restored",
    "alias.moved",
)
_OF_VERSIONS: Final = (
    "model_version.created",
    "model_version.updated",
    "model_version.moved",
    "model_version.archived",
    "model_version.restored",
    "model_version.signed",
)
_TEXTS: Final = ("description", "owner", "status", "status_reason", "mlflow_stage")


class Change(msgspec.Struct, frozen=True):
    """One change of a model or version.

    Attributes:
        at: when it was made.
        actor: who made it.
        what: what was changed: description, owner, stage, tags.NAME, alias.NAME ..., or created, archived, restored,
            renamed, signed.
        before: what it was, or None where it was not there or that is not known.
        after: what it is from then on, or None where it was taken away.
        reason: why, where somebody said it.
        event: the event's number in the ledger.
    """

    TABLE: ClassVar = ("at", "actor", "what", "before", "after", "reason")

    at: datetime
    actor: str
    what: str
    before: str | None
    after: str | None
    reason: str
    event: int


def changes_of(store: Store, card: Card) -> list[Change]:
    """Return what was changed of a model, or of the version where one is meant, oldest first.

    Cost: reads the events about it, also those under its former names; they are found through an index.
    """
    subjects = names_of_model(store, card.model.name) if card.version is None else names_of(store, card.version)
    events = [event for subject in subjects for event in _events(store, subject)]
    known: dict[str, str] = {}
    found = []
    for event in sorted(events, key=lambda event: event.index):
        for what, before, after, reason in _read(event.kind, event.data):
            held = known.get(what) if before is None else before
            found.append(Change(event.at, event.actor, what, held, after, reason, event.index))
            known.pop(what, None)
            if after is not None:
                known[what] = after
    return found


def _events(store: Store, subject: str) -> Iterator[Event]:
    kinds = _OF_VERSIONS if "@" in subject else _OF_MODELS
    after = -1
    while events := store.ledger.events(after, kinds, subject):
        after = events[-1].index
        yield from events


def _read(kind: str, data: dict[str, Any] | None) -> Iterator[tuple[str, str | None, str | None, str]]:
    """Return what an event says: what was changed, before, after, reason; before is None where it does not say it."""
    word = kind.partition(".")[2]
    if data is None:
        yield word, None, None, "what the event said was erased"
    elif kind == "alias.moved":
        before, after = (str(data[name]) if data[name] else None for name in ("previous", "version"))
        yield f"alias.{data['alias']}", before, after, ""
    elif word == "moved":
        yield "stage", data["origin"], data["stage"], data["reason"]
    elif word == "renamed":
        yield "name", data["previous"], None, ""
    elif word in {"created", "updated"}:
        if word == "created":
            yield "created", None, None, ""
        changes = data if word == "created" else data["changes"]
        yield from ((name, None, changes[name], "") for name in _TEXTS if changes.get(name))
        yield from ((f"tags.{name}", None, value, "") for name, value in changes.get("tags", {}).items())
        yield from ((f"tags.{name}", None, None, "") for name in changes.get("untagged", ()))
    else:
        yield word, None, None, str(data.get("reason", ""))
