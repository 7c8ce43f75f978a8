"""What a leaf of the ledger says, and how it is bound to a payload that rests elsewhere.

The leaf holds an HMAC of the payload under a random key. Who has key and payload can show that they belong to the
leaf; once both are deleted, the leaf says nothing of what they were, and the tree has not changed.
"""

from __future__ import annotations

import hmac
import os
import re
from typing import Any, Final

import msgspec

from interlock.core.canonical import canonical
from interlock.core.errors import Invalid

VERSION: Final = 1
KEY_BYTES: Final = 32
ERASED: Final = "payload.erased"
_UNFIT: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A leaf of the ledger.

    Attributes:
        v: the version of this form.
        index: the leaf's place, from 0.
        at: when it was recorded, in microseconds since 1970 UTC.
        actor: who did it.
        kind: what happened.
        subject: the reference of what it is about.
        payload: the HMAC-SHA-256 of the payload, in hexadecimal.
    """

    v: int
    index: int
    at: int
    actor: str
    kind: str
    subject: str
    payload: str

    @property
    def erases(self) -> int | None:
        """The index of the event whose payload this one erased, or None."""
        kind, _, index = self.subject.partition(":")
        return int(index) if self.kind == ERASED and kind == "event" and index.isascii() and index.isdigit() else None


class Payload(msgspec.Struct, frozen=True):
    """An event's data as JSON, and the key that binds them to the leaf."""

    key: bytes
    data: bytes

    @property
    def commitment(self) -> str:
        """What the leaf holds of it: the HMAC-SHA-256 in hexadecimal."""
        return hmac.digest(self.key, self.data, "sha256").hex()


def is_commitment(text: str, key: object, data: object) -> bool:
    """Return whether a leaf's commitment is that of a payload. Never raises.

    The key's length is part of it: HMAC pads keys with zeros, so a longer one could give the same value.
    """
    if not (isinstance(key, bytes) and isinstance(data, bytes) and len(key) == KEY_BYTES):
        return False
    return hmac.compare_digest(Payload(key, data).commitment, text)


def seal(data: dict[str, Any]) -> Payload:
    """Return an event's data as a payload under a new random key.

    Raises:
        Invalid: they cannot be written as JSON.
    """
    try:
        return Payload(os.urandom(KEY_BYTES), msgspec.json.encode(data))
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise Invalid(f"The event's data cannot be written as JSON: {error}.", about="event") from None


def encode(entry: Entry) -> bytes:
    """Return the bytes of a leaf.

    Raises:
        Invalid: actor or subject are empty, or hold control characters.
    """
    for name, text in (("actor", entry.actor), ("subject", entry.subject)):
        if not text or _UNFIT.search(text):
            raise Invalid(f"{text!r} cannot be the {name} of an event.", about="event")
    return canonical(entry)


def decode(data: bytes) -> Entry | None:
    """Return the leaf that bytes spell, or None when they are none."""
    try:
        entry = msgspec.json.decode(data, type=Entry)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return entry if entry.v == VERSION else None
