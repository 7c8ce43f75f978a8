from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.errors import Corrupt
from interlock.store.span_tests import as_text, content, like, passing
from interlock.store.spans import Span, SpanEvent, SpanLink, merge_spans, pack_spans, unpack_spans

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False)
    | texts
    | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
attributes = st.dictionaries(texts, values, max_size=4)
instants = st.integers(0, (1 << 64) - 1)
spans = st.builds(
    Span,
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=8, max_size=8),
    st.just(b"") | st.binary(min_size=8, max_size=8),
    texts,
    instants,
    instants,
    st.integers(0, 2),
    texts,
    attributes,
    st.lists(st.builds(SpanEvent, texts, instants, attributes), max_size=2).map(tuple),
    st.lists(st.builds(SpanLink, st.binary(max_size=16), st.binary(max_size=8), attributes), max_size=2).map(tuple),
)


def span(name: str = "work", ident: int = 1, parent: int = 0, status: int = 1, **attributes: Any) -> Span:
    above = parent.to_bytes(8, "big") if parent else b""
    return Span(
        b"t" * 16, ident.to_bytes(8, "big"), above, name, ident * 1000, ident * 1000 + 500, status, "", attributes
    )


@given(st.lists(spans, max_size=4))
def test_packed_spans_come_back(found: list[Span]) -> None:
    packed = pack_spans(found)
    assert unpack_spans(packed.data) == tuple(found)
    assert packed.spans == len(found)


@given(st.lists(spans, min_size=1, max_size=2), st.data())
def test_no_changed_byte_goes_unnoticed(found: list[Span], data: st.DataObject) -> None:
    packed = bytearray(pack_spans(found).data)
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Corrupt):
        unpack_spans(bytes(packed))


@pytest.mark.parametrize("data", [b"", b"ILT1", pack_spans([span()]).data[:-1]])
def test_what_was_cut_is_corrupt(data: bytes) -> None:
    with pytest.raises(Corrupt):
        unpack_spans(data)


def test_merging_keeps_the_later_and_sorts() -> None:
    root, child, late = span("root", 5), span("child", 2, 5), span("child", 2, 5, done=True)
    assert merge_spans([[child], [root], [late]]) == (root, late)


@given(st.text("ab%_c\n", max_size=6), st.text("abc\n", max_size=8), st.booleans())
def test_like_is_what_sqlite_says(pattern: str, text: str, fold: bool) -> None:
    import apsw

    from interlock.store.search import SQLITE

    op = "ILIKE" if fold else "LIKE"
    sql = f"SELECT {SQLITE.matches(op, ':text', ':pattern')}"
    values = {"text": text, "pattern": SQLITE.pattern(op, pattern)}
    ((said,),) = apsw.Connection(":memory:").execute(sql, values)
    assert like(pattern, fold=fold)(text) == bool(said)


@pytest.mark.parametrize(
    ("tests", "found"),
    [
        ([["name", "", "=", "llm"]], 1),
        ([["name", "", "=", "llm"], ["status", "", "=", "ERROR"]], 0),  # of another span
        ([["type", "", "=", "LLM"], ["attribute", "model", "LIKE", "gpt%"]], 1),
        ([["attribute", "model", "!=", "gpt-5"]], 0),
        ([["attribute", "none", "!=", "gpt-5"]], 0),
        ([["attribute", "n", "=", "3"]], 1),
        ([["attribute", "flag", "=", "true"]], 1),
        ([["attribute", "deep", "LIKE", '%"a": [1%']], 1),
        ([["attribute", "model", "IN", ["x", "gpt-5"]]], 1),
        ([["attribute", "model", "NOT IN", ["x", "gpt-5"]]], 0),
        ([["attribute", "model", "RLIKE", r"^gpt-\d$"]], 1),
        ([["content", "", "ILIKE", "%GPT-5%"]], 1),
        ([["content", "", "LIKE", "%wörld%"]], 1),
    ],
)
def test_what_is_asked_holds_of_one_span(tests: list[Any], found: int) -> None:
    facts = {"mlflow.spanType": "LLM", "model": "gpt-5", "n": 3, "flag": True, "deep": {"a": [1, 2]}, "said": "wörld"}
    spans = [span("root", status=2), span("llm", 2, 1, **facts)]
    assert passing([tuple(test) for test in tests])(spans) == bool(found)


def test_all_values_have_a_text() -> None:
    assert as_text(b"hi") == '"aGk="'
    assert as_text(math.nan) == "NaN"
    assert '"x": "aGk="' in content(span(x=b"hi"))
