"""Canonical JSON: equal values have equal bytes, on every machine and in every year.

Keys sorted, no spaces, UTF-8, and no floats (their text differs between writers): the subset of RFC 8785 that
the ledger's leaves and digests of records need.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec

_ENCODER: Final = msgspec.json.Encoder(order="sorted")


def canonical(value: Any) -> bytes:
    """Return the canonical bytes of a record or of plain data.

    Raises:
        TypeError: a float is in it; write it as text.
    """
    plain = msgspec.to_builtins(value, str_keys=True)
    _refuse_floats(plain)
    return _ENCODER.encode(plain)


def digest(data: bytes) -> str:
    """Return the SHA-256 of bytes as 64 hexadecimal digits, which is how objects are named."""
    return hashlib.sha256(data).hexdigest()


def _refuse_floats(value: Any) -> None:
    if isinstance(value, float):
        raise TypeError("a canonical record holds no floats")
    if isinstance(value, dict):
        for item in value.values():
            _refuse_floats(item)
    elif isinstance(value, list):
        for item in value:
            _refuse_floats(item)
