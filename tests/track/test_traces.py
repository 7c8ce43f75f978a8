from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.core.errors import Conflict, Invalid, NotFound
from interlock.store import Store
from interlock.store.spans import Span, unpack_spans
from interlock.track import trace_parts
from interlock.track.assessments import Change, stable_id
from interlock.track.records import Start
from interlock.track.search import Query
from interlock.track.trace_records import Assessment, AssessmentError, TraceInfo
from interlock.track.trace_search import search_traces
from interlock.track.traces import SpanBatch, Traces
from interlock.track.tracker import Tracker

Write = Callable[..., Any]
Kinds = Callable[[str], list[str]]
NANO = 1_000_000_000


@pytest.fixture
def traces(store: Store, tracker: Tracker) -> Traces:
    tracker.experiments.ensure_default()
    return Traces(store)


def span(trace: int, ident: int, parent: int = 0, name: str = "", status: int = 1, **attributes: Any) -> Span:
    above = parent.to_bytes(8, "big") if parent else b""
    at = (1_700_000_000 + trace) * NANO + ident * 1_000_000
    ids = (trace.to_bytes(16, "big"), ident.to_bytes(8, "big"), above)
    return Span(*ids, name or f"s{ident}", at, at + 5_000_000, status, "", attributes)


def named(trace: int) -> str:
    return f"tr-{trace:032x}"


def batch(*spans: Span, run: str = "", **resource: Any) -> SpanBatch:
    return SpanBatch(spans, resource, run)


def info(trace: int = 1, **said: Any) -> TraceInfo:
    given = {"experiment": "0", "state": "OK", "started_at": 1_700_000_001_000_000, "duration": 9_000, **said}
    return TraceInfo(id=named(trace), **given)


def found(store: Store, text: str, **words: Any) -> list[int]:
    page = search_traces(store.database, ["0"], Query(text, **words))
    return [int(row["id"][3:], 16) for row in page.rows]


def test_spans_make_their_trace(store: Store, traces: Traces, write: Write, kinds: Kinds) -> None:
    traces.take("0", [batch(span(1, 2, 1, "child"), service="shop")])
    facts = traces.get(named(1))
    assert (facts.state, facts.spans, facts.reported, facts.tags) == (
        "IN_PROGRESS",
        1,
        False,
        {"service": "shop"},
    )
    root = span(1, 1, name="root", **{"mlflow.spanInputs": {"q": "hi"}, "mlflow.spanOutputs": "yes", "session.id": "s"})
    traces.take("0", [batch(root)])
    facts = traces.get(named(1))
    assert (facts.state, facts.spans, facts.request_preview, facts.response_preview) == ("OK", 2, '{"q": "hi"}', "yes")
    assert facts.tags == {"service": "shop", "mlflow.traceName": "root"}
    assert facts.metadata == {"mlflow.trace.session": "s"}
    assert (facts.started_at, facts.duration) == (root.started_at // 1000, 6_000)
    assert [one.name for one in traces.spans([named(1)])[named(1)]] == ["root", "child"]
    assert kinds(f"trace:{named(1)}") == ["trace.created", "trace.changed"]
    (row,) = store.database.all("SELECT digest, data FROM trace_spans")
    assert store.ledger.events(subject=f"trace:{named(1)}")[-1].data == {
        "changes": {"state": "OK", "spans": row["digest"]}
    }


def test_spans_that_come_again_change_nothing(store: Store, traces: Traces, write: Write) -> None:
    whole = batch(span(1, 1), span(1, 2, 1))
    for _ in range(2):
        traces.take("0", [whole])
        traces.take("0", [batch(span(1, 2, 1))])
        traces.take("0", [batch(span(2, 2, 1))])
    before = store.ledger.size(), store.database.all("SELECT * FROM traces"), traces.spans([named(1), named(2)])
    traces.take("0", [whole])
    traces.take("0", [batch(span(2, 2, 1))])
    assert before == (
        store.ledger.size(),
        store.database.all("SELECT * FROM traces"),
        traces.spans([named(1), named(2)]),
    )
    assert [traces.get(named(n)).spans for n in (1, 2)] == [2, 1]


def test_late_spans_join_a_trace_that_is_over(traces: Traces, write: Write, kinds: Kinds) -> None:
    traces.take("0", [batch(span(1, 1, **{"mlflow.chat.tokenUsage": '{"input_tokens": 1}'}))])
    traces.take("0", [batch(span(1, 2, 1), span(1, 3, 1, **{"mlflow.llm.cost": {"total_cost": 0.5}}))])
    assert [one.name for one in traces.spans([named(1)])[named(1)]] == ["s1", "s2", "s3"]
    assert json.loads(traces.get(named(1)).metadata["mlflow.trace.cost"]) == {"total_cost": 0.5}
    assert kinds(f"trace:{named(1)}") == ["trace.created", "trace.changed"]


@given(st.permutations(range(2, 12)), st.lists(st.integers(1, 4), min_size=12, max_size=12))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_parts_in_any_order_are_one_trace(store: Store, traces: Traces, order: list[int], sizes: list[int]) -> None:
    trace = store.ledger.size() + 1000  # another one each time
    waiting, all_spans = list(order), {n: span(trace, n, 1) for n in order}
    for size in sizes:
        some, waiting = waiting[:size], waiting[size:]
        if some:
            part = batch(*(all_spans[n] for n in some))
            traces.take("0", [part])
            parts = store.database.all("SELECT spans FROM trace_spans WHERE trace = :t", {"t": named(trace)})
            assert len(parts) <= 4
    assert [one.id[-1] for one in traces.spans([named(trace)])[named(trace)]] == list(range(2, 12))
    traces.take("0", [batch(span(trace, 1))])
    (row,) = store.database.all("SELECT spans, data FROM trace_spans WHERE trace = :t", {"t": named(trace)})
    assert row["spans"] == len(unpack_spans(row["data"])) == traces.get(named(trace)).spans == 11


def test_a_report_gives_way_to_nothing(store: Store, traces: Traces, write: Write, kinds: Kinds) -> None:
    traces.take("0", [batch(span(1, 1), span(1, 2, 1), a="resource")])
    told = info(tags={"mlflow.traceName": "mine", "a": "report"}, metadata={"k": "v"}, request_preview="q")
    traces.report(told)
    size = store.ledger.size()
    traces.report(told)
    traces.take("0", [batch(span(1, 3, 1), a="resource")])
    facts = traces.get(named(1))
    assert (facts.started_at, facts.duration, facts.reported, facts.spans) == (told.started_at, 9_000, True, 3)
    assert (facts.tags, facts.metadata, facts.request_preview) == (told.tags, {"k": "v"}, "q")
    assert kinds(f"trace:{named(1)}") == ["trace.created", "trace.changed", "trace.changed"]
    assert store.ledger.size() == size + 1


def test_the_ledger_holds_no_content(store: Store, traces: Traces, write: Write) -> None:
    traces.report(info(request_preview="my secret", metadata={"mlflow.traceInputs": "my secret"}))
    traces.take("0", [batch(span(1, 1, said="my secret"))])
    secret = Assessment(id="a-1", kind="feedback", name="x", value="my secret", created_at=1, updated_at=1)
    write(traces.assessments.create, named(1), secret)
    assert "secret" not in str(store.ledger.events())


def test_tags_change(traces: Traces, write: Write, kinds: Kinds, store: Store) -> None:
    traces.report(info())
    write(traces.change, named(1), {"a": "1", "mlflow.traceName": "n"})
    write(traces.change, named(1), {"a": "1"})
    assert found(store, "name = 'n' AND tag.a = '1'") == [1]
    write(traces.change, named(1), {}, ["mlflow.traceName"])
    assert found(store, "name = 'n'") == []
    with pytest.raises(NotFound):
        write(traces.change, named(1), {}, ["mlflow.traceName"])
    with pytest.raises(NotFound):
        write(traces.change, named(2), {"a": "1"})
    assert kinds(f"trace:{named(1)}") == ["trace.created", "trace.changed", "trace.changed"]


def test_nothing_is_kept_of_what_is_refused(store: Store, traces: Traces, tracker: Tracker, write: Write) -> None:
    gone = write(tracker.experiments.create, "gone")
    write(tracker.experiments.change, gone, lifecycle="deleted")
    size = store.ledger.size()
    with pytest.raises(NotFound):
        traces.take("nope", [batch(span(1, 1))])
    with pytest.raises(Conflict):
        traces.take(gone, [batch(span(1, 1))])
    with pytest.raises(NotFound):
        traces.take("0", [batch(span(1, 1), run="nope")])
    with pytest.raises(Conflict):
        traces.report(info(experiment=gone))
    assert store.ledger.size() == size
    assert store.database.all("SELECT * FROM traces") == store.database.all("SELECT * FROM trace_links") == []


def test_a_trace_has_an_end(traces: Traces, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_parts, "MOST_SPANS", 3)
    with pytest.raises(Invalid, match="4 spans"):
        traces.take("0", [batch(*(span(1, n, 9) for n in range(1, 5)))])
    traces.take("0", [batch(span(1, 2, 1), span(1, 3, 1))])
    with pytest.raises(Invalid, match="4 spans"):
        traces.take("0", [batch(span(1, 4, 1), span(1, 1))])
    assert traces.get(named(1)).spans == 2


def test_usage_is_counted_once(traces: Traces, write: Write) -> None:
    usage = "mlflow.chat.tokenUsage"
    spans = [
        span(1, 1),
        span(1, 2, 1, **{usage: {"input_tokens": 10, "output_tokens": 2}}),  # includes that of span 3
        span(1, 3, 2, **{usage: {"input_tokens": 10}}),
        span(1, 4, 1, **{usage: '{"input_tokens": 5, "bad": "x"}'}),
        span(1, 5, 1, **{usage: "no JSON"}),
    ]
    traces.take("0", [batch(*spans)])
    assert json.loads(traces.get(named(1)).metadata["mlflow.trace.tokenUsage"]) == {
        "input_tokens": 15,
        "output_tokens": 2,
    }


def test_links(store: Store, traces: Traces, tracker: Tracker, write: Write) -> None:
    run = write(tracker.runs.create, Start("Default"))
    traces.take("0", [batch(span(1, 1), run=run)])
    traces.report(info(2, metadata={"mlflow.sourceRun": run}))
    traces.report(info(3))
    write(traces.link, [named(3), named(99)], "prompt", "greet/1")
    assert sorted(found(store, f"run_id = '{run}'")) == [1, 2]
    write(traces.link, [named(3)], "run", run)
    size = store.ledger.size()
    write(traces.link, [named(3)], "run", run)
    traces.take("0", [batch(span(1, 1), run=run)])
    assert store.ledger.size() == size
    assert sorted(found(store, f"run_id = '{run}'")) == [1, 2, 3]
    assert found(store, "prompt = 'greet/1'") == [3]
    with pytest.raises(NotFound):
        write(traces.link, [named(3)], "run", "nope")
    with pytest.raises(Invalid):
        write(traces.link, [named(3)] * 101, "run", run)


def test_what_is_deleted_leaves_nothing_but_its_event(store: Store, traces: Traces, write: Write, kinds: Kinds) -> None:
    for number in range(1, 6):
        traces.report(info(number, started_at=number * 1_000_000, tags={"a": "b"}, metadata={"c": "d"}))
        traces.take("0", [batch(span(number, 1))])
    assert traces.delete("other", [named(1)]) == 0
    assert traces.delete("0", [named(5), named(99)]) == 1
    assert traces.delete("0", [], until=3_000_000, most=1) == 1
    assert sorted(found(store, "")) == [2, 3, 4]
    assert traces.delete("0", [], until=4_000_000) == 2
    assert traces.delete("0", [named(4)]) == 1
    for table in ("traces", "trace_tags", "trace_metadata", "trace_spans", "trace_span_kinds", "trace_links"):
        assert store.database.all(f"SELECT * FROM {table}") == []
    assert kinds(f"trace:{named(4)}")[-1] == "trace.deleted"
    assert store.ledger.verify().ok


def test_assessments(store: Store, traces: Traces, write: Write) -> None:
    traces.report(info())
    made = Assessment(
        id="a-1", kind="feedback", name="good", value=0.5, created_at=1, updated_at=1, metadata={"a": "b"}
    )
    size = store.ledger.size()
    assert write(traces.assessments.create, named(1), made) == made
    assert write(traces.assessments.create, named(1), made) == made
    assert store.ledger.size() == size + 1
    better = msgspec.structs.replace(made, id="a-2", value=1.0, overrides="a-1", created_at=2)
    write(traces.assessments.create, named(1), better)
    assert [one.valid for one in traces.get(named(1)).assessments] == [False, True]
    assert found(store, "feedback.good = 1") == [1]
    assert found(store, "feedback.good < 0.9") == []
    write(traces.assessments.delete, named(1), "a-2")
    write(traces.assessments.delete, named(1), "a-2")
    assert found(store, "feedback.good < 0.9") == [1]
    wrong = Assessment(id="", kind="expectation", name="", value=1, created_at=0, updated_at=0)
    with pytest.raises(Invalid, match="Cannot update expectation value on a feedback"):
        write(traces.assessments.change, named(1), "a-1", Change(found=wrong))
    failed = msgspec.structs.replace(made, value=None, error=AssessmentError("E", "no"))
    new = write(traces.assessments.change, named(1), "a-1", Change(failed, "g", "why", {"c": "d"}))
    assert (new.name, new.error, new.metadata, new.rationale) == ("g", failed.error, {"a": "b", "c": "d"}, "why")
    for trace, ident in (("a", "a-1"), (named(1), "nope")):
        with pytest.raises(NotFound):
            traces.assessments.get(store.database, trace, ident)
    with pytest.raises(Invalid, match="bytes"):
        write(traces.assessments.create, named(1), msgspec.structs.replace(made, id="big", value="x" * (1 << 20)))
    with pytest.raises(NotFound):
        write(traces.assessments.create, named(1), msgspec.structs.replace(made, id="o", overrides="nope"))


def test_ids_of_assessments_are_made_of_what_they_say() -> None:
    one = Assessment(id="", kind="feedback", name="x", value=True, created_at=1, updated_at=1)
    assert stable_id("t", one) == stable_id("t", msgspec.structs.replace(one, updated_at=2))
    assert stable_id("t", one) != stable_id("t", msgspec.structs.replace(one, created_at=2))
    assert stable_id("t", one) != stable_id("u", one)


@pytest.fixture
def three(traces: Traces, write: Write) -> None:
    llm = {"mlflow.spanType": "LLM", "model": "gpt-5", "temperature": 0.5}
    traces.take("0", [batch(span(1, 1), span(1, 2, 1, "ask", **llm))])
    traces.take("0", [batch(span(2, 1), span(2, 2, 1, "ask"), span(2, 3, 1, "tool", status=2, model="gpt-5"))])
    traces.take("0", [batch(span(3, 1, name="alone", status=2, said="wörld"))])
    traces.report(info(4, state="IN_PROGRESS", duration=None, client_request_id="c", tags={"team": "blue"}))


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [1, 2, 3, 4]),
        ("status = 'ERROR'", [3]),
        ("trace.name LIKE 's%'", [1, 2]),
        ("span.name = 'ask' AND span.type = 'LLM'", [1]),
        ("span.name = 'ask' AND span.status = 'ERROR'", []),
        ("span.name = 'ask' OR span.status = 'ERROR'", [1, 2, 3]),
        ("span.attributes.model = 'gpt-5'", [1, 2]),
        ("span.attributes.model = 'gpt-5' AND span.name = 'ask'", [1]),
        ("NOT span.attributes.model = 'gpt-5'", [3, 4]),
        ("span.attributes.temperature IN ('0.5', '1')", [1]),
        ("span.content ILIKE '%WÖRLD%' AND span.name RLIKE '^al'", [3]),
        ("trace.text LIKE '%gpt%' AND span.status = 'ERROR'", [2]),
        ("client_request_id = 'c' AND tag.team != 'red'", [4]),
        ("tag.team IS NULL", [1, 2, 3]),
        ("execution_time_ms >= 7", [2]),
        ("end_time_ms > 1700000002000", [2, 3]),
        (f"request_id IN ('{named(1)}', '{named(3)}')", [1, 3]),
    ],
)
def test_searches(store: Store, text: str, expected: list[int]) -> None:
    assert sorted(found(store, text)) == expected


@pytest.mark.usefixtures("three")
def test_pages_in_order(store: Store) -> None:
    assert found(store, "", order_by=("execution_time_ms DESC",)) == [2, 1, 3, 4]
    assert found(store, "", order_by=("run_id ASC",)) == [3, 2, 1, 4]
    first = search_traces(store.database, ["0"], Query("span.attributes.model LIKE '%'", limit=1))
    second = search_traces(
        store.database, ["0"], Query("span.attributes.model LIKE '%'", limit=1, page_token=first.next_token)
    )
    assert [row["id"] for row in (*first.rows, *second.rows)] == [named(2), named(1)]
    with pytest.raises(Invalid):
        search_traces(store.database, ["0"], Query("span.name LIKE '%'", page_token=first.next_token))
    assert search_traces(store.database, ["other"], Query()).rows == []


@pytest.mark.parametrize("text", ["span.attributes.x IS NULL", "bogus = 1", "span.attributes.x RLIKE '('"])
def test_what_cannot_be_searched_is_said(store: Store, traces: Traces, write: Write, text: str) -> None:
    traces.take("0", [batch(span(1, 1, x="y"))])
    with pytest.raises(Invalid):
        found(store, text)
