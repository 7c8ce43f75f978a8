"""What the instants of labels mean: when a truth was observed, and which cases of a subject it is about."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from interlock.core.clock import parse_instant, to_micros

DAY: Final = 86_400_000_000
"""How far ahead a caller's clock may be: a truth that was observed later than this was not observed."""
_DATE: Final = len("2026-03-01")


@lru_cache(maxsize=4096)
def parse_observed(text: str) -> int:
    """Return the instant at which a truth was observed, in microseconds.

    Raises:
        ValueError: the text is no instant.
    """
    return _micros(text)


@lru_cache(maxsize=4096)
def parse_case(text: str) -> tuple[int, int]:
    """Return the first and last instant of the cases that a label is about, in microseconds.

    `2026-03-01T12:00Z` is that instant, `2026-03-01` that day (UTC), and `2026-03-01/2026-04-01` what lies between two
    instants (ISO 8601), the second not included.

    Raises:
        ValueError: the text is none of these, or the span is empty.
    """
    start, slash, end = text.partition("/")
    since = _micros(start)
    last = since + DAY - 1 if len(text) == _DATE else since
    until = _micros(end) - 1 if slash else last
    if until < since:
        raise ValueError(text)
    return since, until


def _micros(text: str) -> int:
    try:
        return to_micros(parse_instant(text))
    except OverflowError as error:  # an offset that leads out of the calendar
        raise ValueError(text) from error
