"""What callers may say beside the model's inputs: whom rows are about, and when their cases happened."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Final

from interlock.core.clock import parse_instant, to_micros
from interlock.core.errors import Finding, Invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from interlock.serve.engine import Ask
    from interlock.serve.http import Request

SUBJECT: Final = b"interlock-subject"
OCCURRED_AT: Final = b"interlock-occurred-at"
LONGEST_SUBJECT: Final = 500
_SHOWN: Final = 60

KEYS: Final = {
    "whom a row is about": {
        "mlflow": "params.subjects: one text a row, or one for all",
        "oip": "an input tensor 'subject' of BYTES, one text a row",
        "header": "Interlock-Subject: one text for all rows",
    },
    "when its case happened": {
        "mlflow": "params.occurred_at: ISO 8601, one a row, or one for all",
        "oip": "an input tensor 'occurred_at' of BYTES, ISO 8601, one a row",
        "header": "Interlock-Occurred-At: ISO 8601, one for all rows",
    },
    "which request it was": {"mlflow": "params.request_id", "oip": "id", "header": "X-Request-Id"},
}
"""How metadata are spelt, as `GET /` says it."""

SUBJECTS: Final = "subjects"
WHEN: Final = "occurred_at"
REQUEST_ID: Final = "request_id"
# Other spellings of the three, without their underscores; what is in nobody's vocabulary is compared letter by letter.
_ALSO: Final = {
    **dict.fromkeys(("subject", "subjectid", "subjectids", "person", "persons", "personid", "userid"), SUBJECTS),
    **dict.fromkeys(
        ("timestamp", "timestamps", "eventtime", "eventtimestamp", "eventat", "occurred", "happenedat", "datetime"),
        WHEN,
    ),
    "requestid": REQUEST_ID,
}
_NEAR: Final = 0.82


def meant(name: str) -> str:
    """Return which of `subjects`, `occurred_at` and `request_id` a name looks like, or "" when none."""
    plain = name.lower().replace("_", "").replace("-", "").replace(" ", "")
    spelt = {SUBJECTS: SUBJECTS, "occurredat": WHEN, **_ALSO}
    near = difflib.get_close_matches(plain, spelt, n=1, cutoff=_NEAR)
    return spelt[near[0]] if near else ""


def check_params(names: Iterable[str]) -> None:
    """Accept the names in `params` of MLflow's protocol.

    Raises:
        Invalid: one is not known here; what nobody reads would be lost without a word.
    """
    known = (SUBJECTS, WHEN, REQUEST_ID)
    for name in names:
        if name not in known:
            near = meant(name) or next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.5)), "")
            hint = f"Did you mean {near!r}? " if near else ""
            raise Invalid(f"There is no key {name[:_SHOWN]!r} in params.", hint=f"{hint}Known: {', '.join(known)}.")


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
    bad = [
        i for i, text in enumerate(texts) if text is not None and (type(text) is not str or len(text) > LONGEST_SUBJECT)
    ]
    if bad:
        message = f"The subject of row {bad[0]} is no text of at most {LONGEST_SUBJECT} characters."
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
