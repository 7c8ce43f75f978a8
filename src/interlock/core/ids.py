"""Identifiers: ULIDs, which sort by the time they were made (github.com/ulid/spec)."""

from __future__ import annotations

import secrets
import threading
import time

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 26
_PAIRS = [first + second for first in ALPHABET for second in ALPHABET]  # two letters are ten bits
_lock = threading.Lock()
_last = (0, 0)


def encode(milliseconds: int, randomness: int) -> str:
    """Return the 26 letters of a ULID made of 48 bits of time and 80 bits of chance."""
    value = (milliseconds << 80) | randomness
    return "".join([_PAIRS[(value >> shift) & 1023] for shift in range(120, -1, -10)])


def milliseconds(ulid: str) -> int:
    """Return the instant a ULID was made at, in milliseconds since 1970.

    Raises:
        ValueError: the text is no ULID.
    """
    if not is_ulid(ulid):
        raise ValueError(f"{ulid!r} is not a ULID")
    value = 0
    for letter in ulid[:10]:
        value = value * 32 + ALPHABET.index(letter)
    return value


def is_ulid(text: str) -> bool:
    """Return whether a text is a ULID in its canonical form."""
    return len(text) == LENGTH and text[0] <= "7" and all(c in ALPHABET for c in text)


def new_id() -> str:
    """Return a new ULID, greater than every one this process made before."""
    global _last  # noqa: PLW0603 - one process-wide sequence is what makes ids monotonic
    now = time.time_ns() // 1_000_000
    with _lock:
        then, chance = _last
        _last = (now, secrets.randbits(79)) if now > then else (then, chance + 1)
        return encode(*_last)
