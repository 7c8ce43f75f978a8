"""What callers may say beside the model's inputs: whom rows are about, and when their cases happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from interlock.core.clock import parse_instant, to_micros
from interlock.core.errors import Finding, Invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.serve.engine import Ask
    from interlock.serve.http import Request

SUBJECT: Final = b"interlock-subject"
OCCURRED_AT: Final = b"interlock-occurred-at"
_LONGEST: Final = 500


def add_headers(ask: Ask, request: Request) -> None:
    """Give an ask the subject and the instant of the headers, for all its rows, where the body named none."""
    if not ask.subjects and SUBJECT in request.headers:
        ask.subjects = subjects([request.header(SUBJECT)], 1) * ask.rows
    if not ask.occurred_at and OCCURRED_AT in request.headers:
        ask.occurred_at = instants([request.header(OCCURRED_AT)], 1) * ask.rows


def subjects(texts: Sequence[object], rows: int) -> list[str]:
    """Return subjects, one a row; "" and None are nobody.

    Raises:
        Invalid: there are more or fewer than rows, or one is no text or too long.
    """
    _check_count("subjects", texts, rows)
    bad = [i for i, text in enumerate(texts) if text is not None and (type(text) is not str or len(text) > _LONGEST)]
    if bad:
        message = f"The subject of row {bad[0]} is no text of at most {_LONGEST} characters."
        raise Invalid(message, findings=[Finding("subject", message, "", tuple(bad[:10]), len(bad))])
    return [str(text or "") for text in texts]


def instants(texts: Sequence[object], rows: int) -> list[int]:
    """Return ISO 8601 texts as microseconds since 1970 UTC, one a row.

    Raises:
        Invalid: there are more or fewer than rows, or one is no instant.
    """
    _check_count("instants in occurred_at", texts, rows)
    found = []
    for row, text in enumerate(texts):
        try:
            found.append(to_micros(parse_instant(str(text))))
        except (ValueError, OverflowError):
            message = f"The instant occurred_at of row {row} is not ISO 8601."
            raise Invalid(
                message,
                hint="Write it like 2026-03-01T12:00:00Z.",
                findings=[Finding("instant", message, "", (row,), 1)],
            ) from None
    return found


def _check_count(what: str, texts: Sequence[object], rows: int) -> None:
    if len(texts) != rows:
        raise Invalid(f"There are {len(texts)} {what} for {rows} rows.", hint="Send one a row, or none.")
