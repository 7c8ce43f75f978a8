from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from interlock.core.errors import Invalid, NotFound
from interlock.store import Store
from interlock.store.spans import Span, SpanEvent, SpanLink
from interlock.track.trace_records import Assessment, TraceInfo
from interlock.track.trace_service import TraceService
from interlock.track.trace_views import WholeTrace
from interlock.track.traces import SpanBatch, Traces
from interlock.track.tracker import Tracker

NANO = 1_000_000_000


@pytest.fixture
def traces(store: Store, tracker: Tracker) -> TraceService:
    tracker.experiments.ensure_default()
    return TraceService(store)


def span(trace: int, ident: int, parent: int = 0, **said: Any) -> Span:
    above = parent.to_bytes(8, "big") if parent else b""
    at = (1_700_000_000 + trace) * NANO + ident * NANO // 4
    given = {"name": f"s{ident}", "started_at": at, "ended_at": at + NANO, "status": 1, **said}
    return Span(trace.to_bytes(16, "big"), ident.to_bytes(8, "big"), above, **given)


def named(trace: int) -> str:
    return f"tr-{trace:032x}"


@pytest.fixture
def add(store: Store) -> Any:
    def take(*spans: Span) -> None:
        Traces(store).take("0", [SpanBatch(spans, {})])

    return take


def test_a_trace_is_shown_with_its_spans(traces: TraceService, add: Any, store: Store) -> None:
    attributes = {"mlflow.spanType": "LLM", "mlflow.spanInputs": "hi", "raw": b"\x00"}
    moment, link = SpanEvent("token", 1_700_000_001 * NANO + NANO, {"n": 1}), SpanLink(b"u" * 16, b"j" * 8)
    child = span(1, 2, 1, attributes=attributes, events=(moment,), links=(link,), status=2, message="no")
    add(span(1, 1), child, span(1, 3, 2, ended_at=0))
    found = traces.show(f"trace:{named(1)}")
    assert (found.id, found.experiment, found.name, found.state, found.span_count) == (
        named(1),
        "Default",
        "s1",
        "OK",
        3,
    )
    assert (found.started_at, found.duration_s) == (datetime(2023, 11, 14, 22, 13, 21, 250_000, tzinfo=UTC), 1.25)
    assert [(s.name, s.parent, s.type, s.status, s.after_s, s.duration_s) for s in found.spans] == [
        ("s1", "", "", "OK", 0.0, 1.0),
        ("s2", "0000000000000001", "LLM", "ERROR", 0.25, 1.0),
        ("s3", "0000000000000002", "", "OK", 0.5, None),
    ]
    second = found.spans[1]
    assert second.attributes == {"mlflow.spanInputs": "hi", "raw": b"\x00"}
    assert [(m.name, m.after_s) for m in second.moments] == [("token", 0.75)]
    assert [(to.trace, to.span) for to in second.links] == [("tr-" + "75" * 16, "6a" * 8)]
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(found), type=WholeTrace)  # as it comes from a server
    assert again == found
    for missing in (named(9), "x"):
        with pytest.raises(NotFound):
            traces.show(missing)
    with pytest.raises(Invalid):
        traces.show("run:x")


def test_a_trace_without_spans_is_one_too(traces: TraceService, store: Store) -> None:
    said = Assessment(
        id="a-1",
        kind="feedback",
        name="good",
        value=True,
        created_at=1,
        updated_at=1,
        source_type="HUMAN",
        source_id="ann",
    )
    info = TraceInfo(id=named(1), experiment="0", state="OK", started_at=-(10**18), assessments=(said,))
    Traces(store).report(info)
    found = traces.show(named(1))
    assert (found.spans, found.started_at.year) == ((), 1)  # the first that a calendar has
    assert [(one.by, str(one)) for one in found.assessments] == [("HUMAN ann", "good=True")]


def test_traces_are_found_page_by_page(traces: TraceService, add: Any) -> None:
    for number in range(1, 6):
        add(span(number, 1, attributes={"model": "small" if number % 2 else "large"}))
    page = traces.search("span.attributes.model = 'small'", limit=2)
    assert [trace.id for trace in page.traces] == [named(5), named(3)]
    rest = traces.search("span.attributes.model = 'small'", limit=2, page_token=page.next_page_token)
    assert ([trace.id for trace in rest.traces], rest.next_page_token) == ([named(1)], "")
    assert traces.search(order_by=["timestamp ASC"], experiments=["Default"]).traces[0].id == named(1)
    for wrong in ({"filter": "name <"}, {"limit": 501}, {"limit": 0}, {"page_token": "x"}):
        with pytest.raises(Invalid):
            traces.search(**wrong)  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        traces.search(experiments=["nope"])


def test_a_trace_is_tagged(traces: TraceService, add: Any) -> None:
    add(span(1, 1))
    assert traces.tag(named(1), {"a": "b"}).tags["a"] == "b"
    assert "a" not in traces.tag(named(1), {"c": "d"}, remove=["a"]).tags
    with pytest.raises(NotFound):
        traces.tag(named(1), {"e": "f"}, remove=["a"])
    assert "e" not in traces.show(named(1)).tags
    with pytest.raises(Invalid):
        traces.tag(named(1), {"": "f"})


def test_all_that_are_named_are_deleted_or_none(traces: TraceService, add: Any, store: Store) -> None:
    for number in range(1, 5):
        add(span(number, 1))
    size = store.ledger.size()
    with pytest.raises(NotFound):
        traces.delete([named(1), named(9)])
    with pytest.raises(Invalid):
        traces.delete([named(number) for number in range(501)])
    assert (len(traces.search().traces), store.ledger.size()) == (4, size)
    assert traces.delete([named(1), f"trace:{named(1)}", named(2)]) == 2
    assert [event.kind for event in store.ledger.events(after=size - 1)] == ["trace.deleted"] * 2
    assert [trace.id for trace in traces.search().traces] == [named(4), named(3)]


def test_old_traces_are_pruned(traces: TraceService, add: Any) -> None:
    for number in range(1, 5):
        add(span(number, 1))
    assert traces.prune("Default", "2023-11-14T22:13:24Z", limit=1) == 1
    assert traces.prune("Default", "2023-11-14T22:13:24Z") == 2
    assert [trace.id for trace in traces.search().traces] == [named(4)]
    with pytest.raises(Invalid):
        traces.prune("Default", "2023-01-01", limit=-1)
    for wrong in ("", "yesterday", "2023-13-01", "99999-01-01"):
        with pytest.raises(Invalid, match="no instant"):
            traces.prune("Default", wrong)
    with pytest.raises(NotFound):
        traces.prune("nope", "2023-01-01")
