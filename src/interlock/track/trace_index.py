"""By what searches find a trace: the kinds of its spans, and the values of their attributes, each once.

Values are listed when the trace is over. A key whose values are too many, or one of them too long, is noted without
them: whoever asks for it looks at the spans themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from interlock.store.span_tests import as_text, span_status, span_type
from interlock.track.trace_rollup import INPUTS, OUTPUTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.core.ports import Transaction
    from interlock.store.spans import Span

_LONGEST: Final = 200  # letters of a value that is listed
_MOST_OF_KEY: Final = 50
_MOST: Final = 500  # values of a trace
_LONGEST_KEY: Final = 250


class Index(msgspec.Struct, frozen=True):
    """By what searches find a trace.

    Attributes:
        kinds: names, types and states of its spans.
        values: values by key; None where they are not listed.
        listed: whether the keys are all there.
        whole: whether this takes the place of what was there; else kinds are added.
    """

    kinds: frozenset[tuple[str, str, str]]
    values: dict[str, frozenset[str] | None]
    listed: bool
    whole: bool


def index_of(spans: Sequence[Span], *, whole: bool) -> Index:
    """Return by what searches find a trace of these spans, or by what more where they are not the whole of it."""
    kinds = frozenset((span.name, span_type(span), span_status(span)) for span in spans)
    if not whole:
        return Index(kinds, {}, listed=False, whole=False)
    values = _values(spans)
    few = len(values) <= _MOST and all(len(key) <= _LONGEST_KEY and "\0" not in key for key in values)
    return Index(kinds, _bounded(values) if few else {}, listed=few, whole=True)


def write_index(tx: Transaction, trace: str, index: Index) -> None:
    """Let searches find a trace by what the index says."""
    kinds = index.kinds
    if index.whole:
        rows = tx.all("SELECT name, type, status FROM trace_span_kinds WHERE trace = :trace", {"trace": trace})
        held = {(row["name"], row["type"], row["status"]) for row in rows}
        tx.run_many(
            "DELETE FROM trace_span_kinds WHERE trace = :trace AND name = :name AND type = :type AND status = :status",
            ({"trace": trace, "name": n, "type": t, "status": s} for n, t, s in held - kinds),
        )
        kinds -= held
        tx.run("DELETE FROM trace_span_values WHERE trace = :trace", {"trace": trace})
    tx.run_many(
        "INSERT INTO trace_span_kinds (trace, name, type, status) VALUES (:trace, :name, :type, :status)"
        " ON CONFLICT (trace, name, type, status) DO NOTHING",
        ({"trace": trace, "name": n, "type": t, "status": s} for n, t, s in sorted(kinds)),
    )
    tx.run_many(
        "INSERT INTO trace_span_values (trace, name, value, listed) VALUES (:trace, :name, :value, :listed)",
        (
            {"trace": trace, "name": key, "value": value, "listed": int(values is not None)}
            for key, values in sorted(index.values.items())
            for value in (sorted(values) if values is not None else ("",))
        ),
    )


def _values(spans: Sequence[Span]) -> dict[str, frozenset[str] | None]:
    found: dict[str, set[str]] = {}
    unlisted = {INPUTS, OUTPUTS}  # another text for each span, more often than not
    for span in spans:
        for key, value in span.attributes.items():
            held = found.setdefault(key, set())
            if key in unlisted:
                continue
            text = as_text(value)
            held.add(text)
            if len(text) > _LONGEST or len(held) > _MOST_OF_KEY or "\0" in text:
                unlisted.add(key)
    return {key: None if key in unlisted else frozenset(held) for key, held in found.items()}


def _bounded(values: dict[str, frozenset[str] | None]) -> dict[str, frozenset[str] | None]:
    """Return values of which no more than `_MOST` are listed: keys with the most values go without."""
    count, bounded = 0, dict(values)
    for number, (key, held) in enumerate(sorted(values.items(), key=lambda item: len(item[1] or ()))):
        count += len(held or ("",))
        if count > _MOST - (len(values) - number - 1):
            bounded[key] = None
            count -= len(held or ("",)) - 1
    return bounded
