"""Tests of spans: what a search asks of single spans, answered without a row for each.

A test is `(field, key, op, value)`: the field is `name`, `type`, `status`, `content` or `attribute`, the key an
attribute's name.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from interlock.store.search.patterns import compiled

if TYPE_CHECKING:
    from interlock.store.spans import Span

SPAN_TYPE: Final = "mlflow.spanType"
STATUSES: Final = ("UNSET", "OK", "ERROR")
SpanTest = tuple[str, str, str, Any]
_Found = Callable[["Span"], bool]


def passing(tests: Sequence[SpanTest]) -> Callable[[Sequence[Span]], bool]:
    """Return what says whether one of some spans passes all tests.

    Raises:
        Invalid: a pattern is none.

    Cost: of what is returned, about 1 us a span, more where `content` is asked for.
    """
    found = [_test(*test) for test in tests]
    return lambda spans: any(all(test(span) for test in found) for span in spans)


def span_type(span: Span) -> str:
    """Return the type of a span as MLflow's clients say it, or ""."""
    found = span.attributes.get(SPAN_TYPE)
    return found if isinstance(found, str) else ""


def span_status(span: Span) -> str:
    """Return UNSET, OK or ERROR."""
    return STATUSES[span.status] if 0 <= span.status < len(STATUSES) else STATUSES[0]


def as_text(value: Any) -> str:
    """Return an attribute's value as searches see it: text as it is, all else as JSON."""
    return value if isinstance(value, str) else _ENCODER.encode(value)


def content(span: Span) -> str:
    """Return all that a span says, as JSON."""
    said: dict[str, Any] = {
        "name": span.name,
        "attributes": span.attributes,
        "events": [{"name": event.name, "attributes": event.attributes} for event in span.events],
        "status": span_status(span),
        "message": span.message,
    }
    return as_text(said)


def like(pattern: str, *, fold: bool = False) -> Callable[[str], bool]:
    """Return the test of a LIKE pattern: `%` is any text, `_` any character; it minds the case unless `fold`.

    Cost: of the test, linear in the text.
    """
    flags = re.DOTALL | (re.IGNORECASE if fold else 0)
    parts = pattern.split("%")
    pieces = [re.compile("".join("." if char == "_" else re.escape(char) for char in part), flags) for part in parts]

    def test(text: str) -> bool:
        if len(pieces) == 1:
            return pieces[0].fullmatch(text) is not None
        first = pieces[0].match(text)
        if first is None:
            return False
        at = first.end()
        for piece in pieces[1:-1]:
            found = piece.search(text, at)
            if found is None:
                return False
            at = found.end()
        tail = len(text) - len(parts[-1])
        return tail >= at and pieces[-1].fullmatch(text, tail) is not None

    return test


def _test(field: str, key: str, op: str, value: Any) -> _Found:
    compare = _compare(op, value)
    if field == "attribute":
        return lambda span: key in span.attributes and compare(as_text(span.attributes[key]))
    read = _READ[field]
    return lambda span: compare(read(span))


def _compare(op: str, value: Any) -> Callable[[str], bool]:
    if op in {"LIKE", "ILIKE"}:
        return like(value, fold=op == "ILIKE")
    if op == "RLIKE":
        return compiled(value).found
    if op in {"IN", "NOT IN"}:
        known = frozenset(value)
        return (lambda text: text in known) if op == "IN" else (lambda text: text not in known)
    return (lambda text: text == value) if op == "=" else (lambda text: text != value)


def _plain(value: Any) -> str:
    return base64.b64encode(value).decode()


_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, default=_plain)
_READ: Final[dict[str, Callable[[Span], str]]] = {
    "name": lambda span: span.name,
    "type": span_type,
    "status": span_status,
    "content": content,
}
