"""The one writer is not held for long work: packing, unpacking, hashing of bytes, reading of objects.

What is done inside a transaction is counted, and by which thread; time is not measured.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from interlock.core.errors import Conflict
from interlock.store import Store, inbox, packing
from interlock.store.inbox import pack_batch
from interlock.store.segments import pack
from interlock.store.spans import Span
from interlock.track import trace_index, trace_parts
from interlock.track.records import Delivery
from interlock.track.runs import run_row
from interlock.track.service import TrackService
from interlock.track.trace_records import TraceInfo
from interlock.track.traces import SpanBatch, Traces
from interlock.track.tracker import Tracker

WRITER = "interlock-writer"
LONG: list[tuple[Any, str]] = [
    (packing, "pack"),
    (packing, "unpack_stored"),
    (packing, "digest"),
    (inbox, "_batch"),
    (trace_parts, "pack_spans"),
    (trace_parts, "unpack_spans"),
    (trace_parts, "digest"),
    (trace_index, "as_text"),
]
Work = dict[str, set[str]]


@pytest.fixture
def work(store: Store, monkeypatch: pytest.MonkeyPatch) -> Work:
    """Return, by the name of each long piece of work, the threads that did it."""
    found: Work = {}

    def watch(place: Any, name: str) -> None:
        plain = getattr(place, name)

        def watched(*words: Any, **named: Any) -> Any:
            found.setdefault(name, set()).add(threading.current_thread().name)
            return plain(*words, **named)

        monkeypatch.setattr(place, name, watched)

    for place, name in [*LONG, (store.objects, "put"), (store.objects, "get")]:
        watch(place, name)
    return found


def held_for(work: Work) -> set[str]:
    return {name for name, threads in work.items() if WRITER in threads}


def put(store: Store, run: str, batches: int = 40, keys: int = 5) -> None:
    """Let batches wait, more than are packed inside a transaction."""
    names = [f"m{key}" for key in range(keys)] * 60
    for number in range(batches):
        batch = pack_batch(names, [number] * len(names), list(range(len(names))), [0.5] * len(names))
        store.database.write(lambda tx, batch=batch: store.series.put(tx, run, batch))  # type: ignore[misc]


def points(store: Store, run: str) -> int:
    return sum(len(store.series.points(run, key)) for key in list(store.series.latest(run)))


def end(tracker: Tracker, run: str, status: Any = "finished") -> None:
    tracker.end(run, lambda tx, ending: tracker.finish(tx, run, ending, status, "", 1))


def between(store: Store, monkeypatch: pytest.MonkeyPatch, act: Callable[[int], None], times: int) -> list[int]:
    """Let somebody else act, so many times, right before a change gets to the writer."""
    plain, done = store.database.write, [0]

    def write(change: Any) -> Any:
        if done[0] < times:
            done[0] += 1
            monkeypatch.setattr(store.database, "write", plain)
            act(done[0])
            monkeypatch.setattr(store.database, "write", write)
        return plain(change)

    monkeypatch.setattr(store.database, "write", write)
    return done


def test_the_end_of_a_run_is_worked_out_in_front(tracker: Tracker, store: Store, run: str, work: Work) -> None:
    put(store, run)
    tracker.deliver(run, Delivery("w", 1, segments={"m0": pack([99], [1], [1.0])}, log="line\n" * 1000))
    before = points(store, run)
    work.clear()
    end(tracker, run)
    assert {"pack", "_batch", "unpack_stored", "put"} <= set(work)
    assert held_for(work) == set()
    assert points(store, run) == before
    assert store.database.all("SELECT * FROM metric_inbox") == store.database.all("SELECT * FROM run_log_parts") == []
    assert len(store.database.all("SELECT * FROM metric_segments")) == 5


@pytest.mark.parametrize("what", ["points", "lines", "both"])
@pytest.mark.parametrize("times", [1, 2, 3, 9])
def test_what_comes_while_a_run_ends_is_in_it(
    tracker: Tracker, store: Store, run: str, monkeypatch: pytest.MonkeyPatch, times: int, what: str
) -> None:
    put(store, run, 3)
    tracker.deliver(run, Delivery("w", 0, log="line 0\n"))
    start = points(store, run)

    def come(number: int) -> None:
        batch = pack_batch(["late"], [number], [number], [1.0])
        if what != "lines":
            store.database.write(lambda tx: store.series.put(tx, run, batch))
        if what != "points":
            tracker.deliver(run, Delivery("w", number, log=f"line {number}\n"))

    done = between(store, monkeypatch, come, times)
    end(tracker, run)
    came = done[0]
    assert came == min(times, 4)
    assert points(store, run) == start + (came if what != "lines" else 0)
    lines = "".join(f"line {number}\n" for number in range((came if what != "points" else 0) + 1))
    assert tracker.printed(store.database, run) == lines
    assert store.database.all("SELECT * FROM metric_inbox") == store.database.all("SELECT * FROM run_log_parts") == []
    assert store.ledger.verify().ok


def test_an_end_by_another_way_is_refused_however_late_it_is_seen(
    tracker: Tracker, store: Store, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, run, 3)
    start = points(store, run)
    between(store, monkeypatch, lambda _: end(tracker, run, "failed"), 1)
    with pytest.raises(Conflict):
        end(tracker, run)
    assert (run_row(store.database, run)["status"], points(store, run)) == ("failed", start)


def test_searches_pack_in_front(tracker: Tracker, store: Store, run: str, work: Work) -> None:
    put(store, run)
    before = points(store, run)
    work.clear()
    assert len(TrackService(store).search("metrics.m0 > 0").runs) == 1
    assert "pack" in work
    assert held_for(work) == set()
    assert (points(store, run), store.database.all("SELECT * FROM metric_inbox")) == (before, [])


@pytest.mark.parametrize("times", [1, 5])
def test_what_two_searches_pack_at_once_is_packed_once(
    tracker: Tracker, store: Store, run: str, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    put(store, run, 3)
    before = points(store, run)

    def come(number: int) -> None:
        Tracker(store).metrics.fold_all()
        batch = pack_batch(["late"], [number], [number], [1.0])
        store.database.write(lambda tx: store.series.put(tx, run, batch))

    done = between(store, monkeypatch, come, times)
    tracker.metrics.fold_all()
    assert points(store, run) == before + done[0]
    assert store.database.all("SELECT * FROM metric_inbox") == []


def test_segments_of_clients_are_looked_at_in_front(store: Store, tracker: Tracker, run: str, work: Work) -> None:
    tracker.deliver(run, Delivery("w", 1, segments={"m": pack(range(5000), range(5000), [1.0] * 5000)}))
    TrackService(store).log_segments(run, {"n": pack([1], [1], [1.0])})
    assert set(work) == {"digest"}
    assert held_for(work) == set()


# ---------------------------------------------------------------- traces


def span(ident: int, parent: int = 1, **attributes: Any) -> Span:
    at = 1_700_000_000_000_000_000 + ident * 1_000_000
    above = parent.to_bytes(8, "big") if parent else b""
    return Span((1).to_bytes(16, "big"), ident.to_bytes(8, "big"), above, f"s{ident}", at, at + 5, 1, "", attributes)


NAME = "tr-" + (1).to_bytes(16, "big").hex()


def spans(traces: Traces) -> list[int]:
    return [int.from_bytes(one.id, "big") for one in traces.spans([NAME])[NAME]]


def test_spans_are_merged_and_packed_in_front(store: Store, tracker: Tracker, work: Work) -> None:
    tracker.experiments.ensure_default()
    traces = Traces(store)
    for start in range(2, 302, 100):
        traces.take("0", [SpanBatch(tuple(span(n, k=n) for n in range(start, start + 100)), {})])
    traces.take("0", [SpanBatch((span(1, 0),), {})])
    traces.take("0", [SpanBatch((span(400, late="yes"),), {})])
    assert {"pack_spans", "unpack_spans", "as_text", "digest"} <= set(work)
    assert held_for(work) == set()
    assert spans(traces) == [1, *range(2, 302), 400]


def test_a_report_packs_in_front(store: Store, tracker: Tracker, work: Work) -> None:
    tracker.experiments.ensure_default()
    traces = Traces(store)
    traces.take("0", [SpanBatch((span(2), span(3)), {})])
    work.clear()
    traces.report(TraceInfo(id=NAME, experiment="0", state="OK", started_at=1))
    assert {"pack_spans", "unpack_spans"} <= set(work)
    assert held_for(work) == set()


@pytest.mark.parametrize("times", [1, 2, 3, 9])
@pytest.mark.parametrize("root", [1, 2, 99])
def test_spans_that_come_at_once_are_all_kept(
    store: Store, tracker: Tracker, monkeypatch: pytest.MonkeyPatch, times: int, root: int
) -> None:
    """Others send spans meanwhile, the root as their `root`-th, so that the trace is over before we come."""
    tracker.experiments.ensure_default()
    traces = Traces(store)
    traces.take("0", [SpanBatch((span(500),), {})])

    def come(number: int) -> None:
        traces.take("0", [SpanBatch((span(1, 0) if number == root else span(number + 1),), {})])

    done = between(store, monkeypatch, come, times)
    traces.take("0", [SpanBatch((span(600),), {})])
    wanted = {500, 600, *(1 if number == root else number + 1 for number in range(1, done[0] + 1))}
    assert sorted(spans(traces)) == sorted(wanted)
    ended = root <= done[0]
    assert traces.get(NAME).state == ("OK" if ended else "IN_PROGRESS")
    assert traces.get(NAME).spans == len(wanted)
    if ended:
        assert len(store.database.all("SELECT * FROM trace_spans")) == 1
    assert store.ledger.verify().ok


@pytest.mark.parametrize("times", [1, 9])
def test_a_report_that_comes_with_the_last_spans(
    store: Store, tracker: Tracker, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    tracker.experiments.ensure_default()
    traces = Traces(store)
    between(store, monkeypatch, lambda n: traces.take("0", [SpanBatch((span(n + 1),), {})]), times)
    traces.report(TraceInfo(id=NAME, experiment="0", state="OK", started_at=1))
    (row,) = store.database.all("SELECT t.indexed, p.digest FROM traces t JOIN trace_spans p ON p.trace = t.id")
    told = store.ledger.events(subject=f"trace:{NAME}")[-1].data
    assert (row["indexed"], row["digest"]) == (1, (told or {})["changes"]["spans"])
    traces.take("0", [SpanBatch((span(1, 0),), {})])
    assert (traces.get(NAME).state, traces.get(NAME).reported, spans(traces)[0]) == ("OK", True, 1)
    (row,) = store.database.all("SELECT spans FROM trace_spans")
    assert row["spans"] == len(spans(traces)) == traces.get(NAME).spans


def test_a_trace_that_ends_with_the_bytes_it_had_is_over_all_the_same(
    store: Store, tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker.experiments.ensure_default()
    traces = Traces(store)
    traces.take("0", [SpanBatch((span(500),), {})])
    info = TraceInfo(id=NAME, experiment="0", state="OK", started_at=1)
    between(store, monkeypatch, lambda _: traces.report(info), 1)
    traces.take("0", [SpanBatch((span(600),), {})])
    assert spans(traces) == [500, 600]
    (row,) = store.database.all("SELECT t.indexed, p.digest FROM traces t JOIN trace_spans p ON p.trace = t.id")
    told = store.ledger.events(subject=f"trace:{NAME}")[-1].data
    assert (row["indexed"], row["digest"]) == (1, (told or {})["changes"]["spans"])
