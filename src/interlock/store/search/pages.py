"""Page tokens: where the next page begins, opaque to callers and good for one query only.

A token is base64url over JSON: the version of its form, the digest of the query, and the places of the last row. It
holds nothing secret and grants nothing: whoever makes one up can only move within what the query gives anyway.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.core.errors import Invalid
from interlock.store.search.order import VALUE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.store.search.order import Key, Place

LENGTH_LIMIT: Final = 100_000
_VERSION: Final = 1
_INFINITIES: Final = {"inf": math.inf, "-inf": -math.inf}


class _Token(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """A rank stands for a place without a value, `[value]` for one with; infinities, which JSON lacks, are words."""

    version: int
    query: str
    places: list[int | list[int | float | str]]


def digest(*parts: Any) -> str:
    """Return what tells one query from another: a short digest of anything that msgspec can encode."""
    return hashlib.sha256(msgspec.msgpack.encode(parts, order="deterministic")).hexdigest()[:16]


def encode_token(query: str, keys: Sequence[Key], places: Sequence[Place]) -> str:
    """Return the token for the page after a row."""
    told = [[_told(key, value)] if rank == VALUE else rank for key, (rank, value) in zip(keys, places, strict=True)]
    raw = msgspec.json.encode(_Token(_VERSION, query, told))
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode_token(token: str, query: str, keys: Sequence[Key]) -> tuple[Place, ...]:
    """Return the places that a token holds.

    Raises:
        Invalid: it is no token of ours, or that of another query.
    """
    if len(token) > LENGTH_LIMIT:
        raise _garbage()
    try:
        raw = base64.b64decode(token.encode() + b"=" * (-len(token) % 4), altchars=b"-_", validate=True)
        found = msgspec.json.decode(raw, type=_Token)
    except (UnicodeEncodeError, binascii.Error, msgspec.MsgspecError, RecursionError, ValueError):
        raise _garbage() from None
    if found.version != _VERSION or found.query != query:
        raise Invalid(
            "This page token belongs to another query.",
            about="search",
            hint="Go on with the filter and order that it came with, or start without a token.",
        )
    if len(found.places) != len(keys):
        raise _garbage()
    return tuple(_place(key, place) for key, place in zip(keys, found.places, strict=True))


def _told(key: Key, value: str | float | None) -> int | float | str:
    if value is None:
        raise TypeError("a value that is there cannot be None")
    return str(value) if key.number and isinstance(value, float) and math.isinf(value) else value


def _place(key: Key, place: int | list[int | float | str]) -> Place:
    if isinstance(place, int):
        if place == VALUE or place not in key.ranks:
            raise _garbage()
        return place, None
    if len(place) != 1:
        raise _garbage()
    value = place[0]
    if key.number and isinstance(value, str):
        if value not in _INFINITIES:
            raise _garbage()
        value = _INFINITIES[value]
    if isinstance(value, str) == key.number or (isinstance(value, int) and not -(2**63) <= value < 2**63):
        raise _garbage()
    return VALUE, value


def _garbage() -> Invalid:
    return Invalid("This is not a page token.", about="search", hint="Give the one that the last page came with.")
