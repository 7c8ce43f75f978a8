"""Instants as people read them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from interlock.core.clock import from_micros, to_micros

_FIRST: Final = to_micros(datetime(1, 1, 1, tzinfo=UTC))
_LAST: Final = to_micros(datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC))


def instant(micros: int) -> datetime:
    """Return the instant of a number of microseconds, or the nearest that a calendar has: clients may send any."""
    return from_micros(min(max(micros, _FIRST), _LAST))


def seconds(micros: int | None) -> float | None:
    """Return a duration in seconds."""
    return None if micros is None else micros / 1_000_000
