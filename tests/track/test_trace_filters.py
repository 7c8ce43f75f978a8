"""Searches of spans find what looking at every span of every trace finds, and look at few."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.core.errors import Corrupt, Invalid
from interlock.store import Store
from interlock.store.spans import Span
from interlock.track import trace_filters
from interlock.track.search import Query
from interlock.track.trace_search import search_traces
from interlock.track.traces import SpanBatch, Traces
from interlock.track.tracker import Tracker

NANO = 1_000_000_000
Made = dict[int, list[Span]]


def span(trace: int, ident: int, parent: int = 0, name: str = "s", status: int = 1, **attributes: Any) -> Span:
    at = (1_700_000_000 + trace) * NANO + ident
    above = parent.to_bytes(8, "big") if parent else b""
    return Span(trace.to_bytes(16, "big"), ident.to_bytes(8, "big"), above, name, at, at + 9, status, "", attributes)


def add(store: Store, *spans: Span) -> None:
    Traces(store).take("0", [SpanBatch(spans, {})])


def found(store: Store, text: str, limit: int = 100) -> list[int]:
    """Return the traces that a search finds, newest first, page after page."""
    page, rows = search_traces(store.database, ["0"], Query(text, limit=limit)), []
    while page.next_token:
        assert len(page.rows) == limit
        rows += page.rows
        page = search_traces(store.database, ["0"], Query(text, limit=limit, page_token=page.next_token))
    return [int(row["id"][3:], 16) for row in [*rows, *page.rows]]


@pytest.fixture(autouse=True)
def default(tracker: Tracker) -> None:
    tracker.experiments.ensure_default()


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Return the traces whose spans were looked at."""
    seen: list[str] = []
    plain = trace_filters.read_spans

    def watched(reader: Any, traces: Any) -> Any:
        seen.extend(traces)
        return plain(reader, traces)

    monkeypatch.setattr(trace_filters, "read_spans", watched)
    return seen


# ---------------------------------------------------------------- against a list

VALUES = ["x", "xy", "X", "", "%", "a" * 199 + "bc", 3, True, None, "n\x00x", "ä", "Ä"]
ATTRIBUTES = st.dictionaries(st.sampled_from(["k", "m"]), st.sampled_from(VALUES), max_size=2)
SPAN = st.tuples(st.sampled_from(["s", "t"]), st.sampled_from([1, 2]), ATTRIBUTES)
TRACE = st.tuples(st.booleans(), st.lists(SPAN, min_size=1, max_size=3))
TEXT = st.sampled_from(["x", "xy", "X", "", "%", "a" * 199 + "bc", "3", "true", "null", "ä", "none"])
PATTERN = st.sampled_from(["x%", "%y", "x", "%", "_", "%bc", "", "X_", "ä%"])
Test = Callable[[Span], bool]


def like(pattern: str, *, fold: bool) -> Callable[[str], bool]:
    regex = "".join(".*" if char == "%" else "." if char == "_" else re.escape(char) for char in pattern)
    made = re.compile(regex, re.DOTALL | (re.IGNORECASE if fold else 0))
    return lambda text: made.fullmatch(text) is not None


def said(value: Any) -> str:
    return value if isinstance(value, str) else {3: "3", True: "true", None: "null"}[value]


@st.composite
def span_tests(draw: st.DrawFn) -> tuple[str, Test]:
    """A comparison with spans: as it is written, and as it is meant."""
    what = draw(st.sampled_from(["span.attributes.k", "span.attributes.m", "span.name", "span.status"]))
    op = draw(st.sampled_from(["=", "!=", "LIKE", "ILIKE", "IN", "NOT IN", "RLIKE"]))
    if op in {"LIKE", "ILIKE"}:
        pattern = draw(PATTERN)
        text, holds = f"{what} {op} '{pattern}'", like(pattern, fold=op == "ILIKE")
    elif op == "RLIKE":
        text, holds = f"{what} RLIKE '^x'", lambda value: value.startswith("x")
    elif op in {"IN", "NOT IN"}:
        words = draw(st.lists(TEXT, min_size=1, max_size=2))
        quoted = ", ".join(f"'{word}'" for word in words)
        text, holds = f"{what} {op} ({quoted})", lambda value: (value in words) == (op == "IN")
    else:
        word = draw(TEXT | st.sampled_from(["s", "OK"]))
        text, holds = f"{what} {op} '{word}'", lambda value: (value == word) == (op == "=")
    if what.startswith("span.attributes."):
        key = what[-1]
        return text, lambda one: key in one.attributes and holds(said(one.attributes[key]))
    return text, lambda one: holds(one.name if what == "span.name" else ["UNSET", "OK", "ERROR"][one.status])


@st.composite
def filters(draw: st.DrawFn, depth: int = 2) -> tuple[str, Callable[[list[Span]], bool]]:
    """A filter: as it is written, and as it is meant of a trace's spans. What AND joins is asked of one span."""
    kind = draw(st.sampled_from(["test", "same", "and", "or", "not"] if depth else ["test", "same"]))
    if kind in {"test", "same"}:
        some = draw(st.lists(span_tests(), min_size=1 if kind == "test" else 2, max_size=1 if kind == "test" else 3))
        holds = [one for _, one in some]
        text = " AND ".join(one for one, _ in some)
        return f"({text})", lambda spans: any(all(test(one) for test in holds) for one in spans)
    first, holds_first = draw(filters(depth - 1))
    if kind == "not":
        return f"NOT {first}", lambda spans: not holds_first(spans)
    second, holds_second = draw(filters(depth - 1))
    if kind == "or":
        return f"({first} OR {second})", lambda spans: holds_first(spans) or holds_second(spans)
    # NOT NOT keeps AND from joining the comparisons below it with its own
    text = f"(NOT NOT {first} AND NOT NOT {second})"
    return text, lambda spans: holds_first(spans) and holds_second(spans)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(TRACE, min_size=1, max_size=5), st.lists(filters(), min_size=1, max_size=4), st.integers(1, 4))
def test_what_is_found_is_what_looking_at_all_finds(store: Store, traces: Any, asked: Any, limit: int) -> None:
    made: Made = {}
    for number, (ended, spans) in enumerate(traces, 1):
        parent = 0 if ended else 77
        made[number] = [
            span(number, ident, parent if ident == 1 else 1, name, status, **attributes)
            for ident, (name, status, attributes) in enumerate(spans, 1)
        ]
        add(store, *made[number])
    for text, holds in asked:
        wanted = [number for number in sorted(made, reverse=True) if holds(made[number])]
        assert found(store, text, limit) == wanted, text
    store.database.write(lambda tx: [tx.run(f"DELETE FROM {table}") for table in ("traces", "trace_spans")])
    store.database.write(
        lambda tx: [tx.run(f"DELETE FROM {table}") for table in ("trace_span_kinds", "trace_span_values", "trace_tags")]
    )


# ---------------------------------------------------------------- how much is looked at


def test_listed_values_are_found_without_looking_at_spans(store: Store, looked: list[str]) -> None:
    for number in range(1, 301):
        add(store, span(number, 1, user=f"u{number}", model="a" if number % 2 else "b"), span(number, 2, 1, n=number))
    assert found(store, "span.attributes.user = 'u7'") == [7]
    assert found(store, "span.attributes.user IN ('u7', 'u9') AND status = 'OK'") == [9, 7]
    assert found(store, "NOT span.attributes.model = 'a'", 50)[:2] == [300, 298]
    assert found(store, "span.attributes.user LIKE 'u30%'") == [300, 30]
    assert looked == []
    assert found(store, "span.attributes.user = 'u7' AND span.attributes.model = 'a'") == [7]
    assert len(looked) == 1
    looked.clear()
    assert found(store, "span.attributes.user = 'u7' AND span.attributes.n = '7'") == []  # of two spans
    assert found(store, "span.attributes.user ILIKE 'U7' AND name = 's' AND span.attributes.none = 'x'") == []
    assert len(looked) == 1


@pytest.mark.parametrize(
    "ops", [("ILIKE 'GPT%'", "ILIKE 'anna'"), ("RLIKE 'g.*'", "RLIKE '.nna'"), ("LIKE 'gpt%'", "RLIKE 'a'")]
)
def test_patterns_of_several_attributes(store: Store, ops: tuple[str, str]) -> None:
    add(store, span(1, 1, model="gpt-4", user="anna"))
    add(store, span(2, 1, model="gpt-4", user="bob"))
    both = f"span.attributes.model {ops[0]} AND span.attributes.user {ops[1]}"
    assert found(store, both) == [1]
    assert found(store, f"NOT ({both})") == [2]


def test_what_is_not_listed_is_looked_for(store: Store, looked: list[str]) -> None:
    long = "x" * 300
    add(store, span(1, 1, long=long, short="a"))
    add(store, span(2, 1, many="0"), *(span(2, n, 1, many=str(n)) for n in range(2, 80)))
    add(store, span(3, 1, 5, short="a"))  # goes on
    add(store, span(4, 1, **{f"k{n}": "v" for n in range(600)}))
    assert found(store, f"span.attributes.long = '{long}'") == [1]
    assert found(store, "span.attributes.many = '70'") == [2]
    assert found(store, "span.attributes.short = 'a'") == [3, 1]
    assert found(store, "span.attributes.k599 = 'v'") == [4]
    assert found(store, "NOT span.attributes.k599 = 'v'") == [3, 2, 1]
    assert set(looked) == {f"tr-{number:032x}" for number in (1, 2, 3, 4)}


def test_a_trace_lists_a_bounded_number_of_values(store: Store) -> None:
    add(
        store,
        span(1, 1),
        *(span(1, n, 1, **{f"k{key}": str(n % (key + 1)) for key in range(60)}) for n in range(2, 99)),
    )
    rows = store.database.all("SELECT name, value, listed FROM trace_span_values")
    assert 300 < len(rows) <= 500
    assert len({row["name"] for row in rows}) == 60
    assert all(len(row["value"]) <= 200 for row in rows)
    assert found(store, "span.attributes.k59 = '38'") == found(store, "span.attributes.k1 = '1'") == [1]
    assert found(store, "span.attributes.k59 = '60'") == []


@pytest.mark.parametrize(
    ("value", "text", "matches"),
    [
        ("Ä", "ILIKE 'ä%'", True),  # SQLite folds ASCII alone
        ("n\0x", "LIKE 'n%x'", True),  # and reads as far as a NUL
        ("n\0x", "LIKE 'n'", False),
        ("n\0x", "!= 'n'", True),
    ],
)
def test_texts_that_databases_see_otherwise(store: Store, value: str, text: str, matches: bool) -> None:
    add(store, span(1, 1, k=value))
    assert found(store, f"span.attributes.k {text}") == ([1] if matches else [])
    assert found(store, f"NOT span.attributes.k {text}") == ([] if matches else [1])


def test_late_spans_are_listed_too(store: Store, looked: list[str]) -> None:
    add(store, span(1, 1, a="1"))
    add(store, span(1, 2, 1, b="2"))
    assert found(store, "span.attributes.b = '2'") == found(store, "span.attributes.a = '1'") == [1]
    assert looked == []
    add(store, span(1, 1, a="3"))  # the same span again, changed
    assert found(store, "span.attributes.a = '1'") == []
    assert found(store, "span.attributes.a = '3'") == [1]


def test_traces_of_before_are_found(store: Store) -> None:
    """A workspace whose traces were packed before values were listed."""
    for number in (1, 2):
        add(store, span(number, 1, user=f"u{number}"))
    store.database.write(lambda tx: tx.run("DELETE FROM trace_span_values"))
    store.database.write(lambda tx: tx.run("UPDATE traces SET indexed = 0"))
    assert found(store, "span.attributes.user = 'u2'") == [2]
    assert found(store, "NOT span.attributes.user = 'u2'") == [1]


def test_damaged_spans_are_told_where_they_are_looked_at(store: Store) -> None:
    add(store, span(1, 1, user="u"))
    store.database.write(lambda tx: tx.run("UPDATE trace_spans SET data = :data", {"data": b"none"}))
    assert found(store, "span.attributes.user = 'u'") == [1]
    with pytest.raises(Corrupt, match="trace tr-"):
        found(store, "span.content LIKE '%u%'")


@pytest.mark.parametrize("text", ["span.attributes.k RLIKE '('", "span.attributes.k >", "span.content = 'x'"])
def test_what_is_wrong_is_told(store: Store, text: str) -> None:
    with pytest.raises(Invalid):
        found(store, text)


def test_a_token_is_good_for_its_own_filter(store: Store) -> None:
    for number in range(1, 4):
        add(store, span(number, 1, user="u"), span(number, 2, 1, other="o"))
    page = search_traces(store.database, ["0"], Query("span.attributes.user = 'u'", limit=1))
    with pytest.raises(Invalid, match="another query"):
        search_traces(store.database, ["0"], Query("span.attributes.user = 'v'", page_token=page.next_token))
    with pytest.raises(Invalid):
        search_traces(store.database, ["0"], Query("span.attributes.user = 'u'", limit=0))
