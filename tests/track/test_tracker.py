from __future__ import annotations

import random
from typing import Any

import pytest

from interlock.core.errors import Conflict, Invalid, NotFound
from interlock.core.files import StoredFile
from interlock.core.ids import new_id
from interlock.store import Store
from interlock.store.segments import pack
from interlock.track.records import Delivery, Status
from interlock.track.runs import run_row
from interlock.track.tracker import Tracker


def delivery(number: int, writer: str = "w") -> Delivery:
    return Delivery(
        writer,
        number,
        segments={"loss": pack([number], [number], [number / 2])},
        params={f"p{number}": "1"},
        tags={"last": str(number)},
        log=f"line {number}\n",
    )


def end(tracker: Tracker, run: str, status: Status, at: int) -> None:
    tracker.end(run, lambda tx, ending: tracker.finish(tx, run, ending, status, "", at))


def test_deliveries_count_once_however_often_they_come(tracker: Tracker, write: Any, store: Store, run: str) -> None:
    chance = random.Random(5)
    sent = [delivery(number) for number in range(6)]
    for number, one in enumerate(sent):
        tracker.deliver(run, one)
        for again in chance.choices(sent[: number + 1], k=3):
            tracker.deliver(run, again)
    assert list(store.series.points(run, "loss")) == [(n, n, n / 2) for n in range(6)]
    assert tracker.printed(store.database, run) == "".join(f"line {n}\n" for n in range(6))
    (found,) = tracker.runs.load([run_row(store.database, run)])
    assert (found.tags, len(found.params)) == ({"last": "5"}, 6)


def test_writers_count_apart(tracker: Tracker, write: Any, store: Store, run: str) -> None:
    tracker.deliver(run, Delivery("a", 0, log="from a\n"))
    tracker.deliver(run, Delivery("b", 0, log="from b\n"))
    assert tracker.printed(store.database, run) == "from a\nfrom b\n"


def test_a_delivery_that_is_refused_can_be_mended_and_sent_again(
    tracker: Tracker, write: Any, store: Store, run: str
) -> None:
    good, size = delivery(1), store.ledger.size()
    with pytest.raises(Invalid):
        tracker.deliver(run, Delivery("w", 1, segments={**good.segments, "bad": b"x"}, log="no"))
    assert (tracker.printed(store.database, run), store.ledger.size(), list(store.series.latest(run))) == ("", size, [])
    tracker.deliver(run, good)
    assert list(store.series.latest(run)) == ["loss"]


def test_deleted_and_unknown_runs_take_no_deliveries(tracker: Tracker, write: Any, run: str) -> None:
    write(tracker.runs.move, run, "deleted")
    with pytest.raises(Conflict):
        tracker.deliver(run, delivery(1))
    with pytest.raises(NotFound):
        tracker.deliver(new_id(), delivery(1))
    write(tracker.runs.move, run, "active")
    tracker.deliver(run, delivery(1))


def test_the_end_packs_points_and_log_and_what_comes_later_is_added(
    tracker: Tracker, write: Any, store: Store, run: str, kinds: Any
) -> None:
    for number in range(3):
        tracker.deliver(run, delivery(number))
    end(tracker, run, "finished", 1)
    assert len(store.database.all("SELECT 1 FROM metric_segments WHERE run = :run", {"run": run})) == 1
    assert store.database.all("SELECT * FROM run_log_parts") == []
    tracker.deliver(run, delivery(3))
    assert tracker.printed(store.database, run) == "line 0\nline 1\nline 2\nline 3\n"
    end(tracker, run, "finished", 2)
    assert tracker.printed(store.database, run) == "line 0\nline 1\nline 2\nline 3\n"
    assert run_row(store.database, run)["ended_at"] == 1
    assert len(store.series.points(run, "loss")) == 4
    assert kinds(f"run:{run}").count("run.finished") == 1


def test_an_end_that_is_refused_packs_nothing(tracker: Tracker, write: Any, store: Store, run: str) -> None:
    end(tracker, run, "failed", 1)
    tracker.deliver(run, delivery(0))
    size = store.ledger.size()
    with pytest.raises(Conflict):
        end(tracker, run, "finished", 2)
    assert (store.ledger.size(), len(store.database.all("SELECT * FROM run_log_parts"))) == (size, 1)


@pytest.mark.parametrize("text", ["a\x00b", "\U0001f600", "x" * 1_000_000])
def test_any_text_is_printed(tracker: Tracker, write: Any, store: Store, run: str, text: str) -> None:
    tracker.deliver(run, Delivery("w", 0, log=text))
    end(tracker, run, "finished", 1)
    assert tracker.printed(store.database, run) == text


def test_only_what_is_here_is_kept(tracker: Tracker, store: Store) -> None:
    digest = store.objects.put(b"abc")
    assert tracker.keep("a/b", StoredFile("c", digest, 3)) == StoredFile("a/b", digest, 3)
    with pytest.raises(NotFound):
        tracker.keep("a/b", StoredFile("c", "0" * 64, 3))
    with pytest.raises(Invalid):
        tracker.keep("../b", StoredFile("c", digest, 3))


def test_inputs_are_links_that_protocols_show_and_one_event_tells_of_them(
    tracker: Tracker, store: Store, run: str
) -> None:
    refs = ("data:people@3", f"file:data/x.csv@sha256={'a' * 64}", "step:not-data@1")
    tracker.deliver(run, Delivery("w", 1, inputs=refs))
    tracker.deliver(run, Delivery("w", 2, inputs=refs))
    found = {(link.name, link.digest) for link in tracker.links.of([run])[run]}
    assert found == {("people", "3"), ("data/x.csv", "a" * 36)}
    (event,) = store.ledger.events(kinds=["run.linked"])
    assert event.data == {"datasets": list(refs), "models": [], "outputs": []}
