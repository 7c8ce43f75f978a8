from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from interlock.core.clock import to_micros
from interlock.core.errors import Conflict, Invalid, NotFound
from interlock.core.ids import new_id
from interlock.store import Store
from interlock.track.metrics import sealed
from interlock.track.records import Start
from interlock.track.runs import NAME_TAG, PARENT_TAG, RunFacts, rows_of, run_row
from interlock.track.tracker import Tracker


def load(tracker: Tracker, store: Store, run: str) -> RunFacts:
    (found,) = tracker.runs.load([run_row(store.database, run)])
    return found


def test_a_start_that_names_its_id_can_be_sent_again(tracker: Tracker, write: Any, store: Store) -> None:
    start = Start("e", id=new_id(), params={"lr": "1"}, tags={"t": "1"}, name="first")
    assert write(tracker.runs.create, start) == start.id
    size = store.ledger.size()
    assert write(tracker.runs.create, Start("e", id=start.id, params={"lr": "2"}, name="second")) == start.id
    found = load(tracker, store, start.id)
    assert (found.params, found.tags, found.name) == ({"lr": "1"}, {"t": "1"}, "first")
    assert store.ledger.size() == size
    with pytest.raises(Conflict, match="another experiment"):
        write(tracker.runs.create, Start("other", id=start.id))
    with pytest.raises(NotFound):
        tracker.experiments.named("other")  # what refused the run made no experiment either


@pytest.mark.parametrize("ident", [" ", "-a", "../x", "a/b", "a b", "a\n", "a\x00", "x" * 257, "\u00e9"])
def test_ids_that_are_none(tracker: Tracker, write: Any, ident: str) -> None:
    with pytest.raises(Invalid, match="is no id of a run"):
        write(tracker.runs.create, Start("e", id=ident))


def test_a_name_is_given_where_there_is_none(tracker: Tracker, write: Any, store: Store) -> None:
    run = write(tracker.runs.create, Start("credit"))
    assert load(tracker, store, run).name == f"credit-{run[-6:].lower()}"
    owned = write(tracker.runs.create, Start("credit"), owner="ann")
    assert load(tracker, store, owned).name.count("-") == 2
    tagged = write(tracker.runs.create, Start("credit", tags={NAME_TAG: "mine"}))
    assert load(tracker, store, tagged).name == "mine"


def test_the_name_and_its_tag_follow_each_other(tracker: Tracker, write: Any, store: Store, run: str) -> None:
    write(tracker.runs.log, run, {}, {NAME_TAG: "by tag"})
    assert load(tracker, store, run).name == "by tag"
    write(tracker.runs.change, run, name="by name")
    found = load(tracker, store, run)
    assert (found.name, found.tags) == ("by name", {NAME_TAG: "by name"})
    write(tracker.runs.change, run, untag=NAME_TAG)
    assert load(tracker, store, run).name == "by name"


def test_the_parent_and_its_tag_follow_each_other(tracker: Tracker, write: Any, store: Store, run: str) -> None:
    child = write(tracker.runs.create, Start("e", parent=run))
    assert load(tracker, store, child).tags == {PARENT_TAG: run}
    other = write(tracker.runs.create, Start("e"))
    write(tracker.runs.log, other, {}, {PARENT_TAG: run})
    assert run_row(store.database, other)["parent"] == run
    write(tracker.runs.change, other, untag=PARENT_TAG)
    assert run_row(store.database, other)["parent"] == ""


def test_a_param_that_is_refused_takes_all_with_it(tracker: Tracker, write: Any, store: Store, run: str) -> None:
    write(tracker.runs.log, run, {"a": "1"}, {})
    size = store.ledger.size()
    with pytest.raises(Conflict, match="Param 'a'"):
        write(tracker.runs.log, run, {"b": "1", "a": "2"}, {"t": "x"})
    found = load(tracker, store, run)
    assert (found.params, found.tags, store.ledger.size()) == ({"a": "1"}, {}, size)


def test_what_is_sent_again_is_no_event(tracker: Tracker, write: Any, store: Store, run: str) -> None:
    write(tracker.runs.log, run, {"a": "1"}, {"t": "x"})
    size = store.ledger.size()
    write(tracker.runs.log, run, {"a": "1"}, {"t": "x"})
    assert store.ledger.size() == size
    write(tracker.runs.log, run, {"a": "1", "b": "2"}, {"t": "x", "u": "y"})
    (event,) = store.ledger.events(subject=f"run:{run}", after=size - 1)
    assert event.data == {"params": {"b": "2"}, "tags": {"u": "y"}, "segments": []}


@pytest.mark.parametrize("text", ["", "a\x00b", "x" * 100_000, "\u2028\U0001f600", "'; DROP TABLE runs; --"])
def test_values_are_any_text(tracker: Tracker, write: Any, store: Store, run: str, text: str) -> None:
    write(tracker.runs.log, run, {"p": text}, {"t": text})
    found = load(tracker, store, run)
    assert (found.params["p"], found.tags["t"]) == (text, text)


def test_a_run_ends_once_and_may_go_on(tracker: Tracker, write: Any, store: Store, run: str) -> None:
    write(tracker.runs.finish, run, "failed", "why", 5)
    write(tracker.runs.finish, run, "failed", "again", 9)
    assert (run_row(store.database, run)["ended_at"], run_row(store.database, run)["reason"]) == (5, "why")
    with pytest.raises(Conflict, match="has ended already: failed"):
        write(tracker.runs.finish, run, "finished", "", 9)
    write(tracker.runs.change, run, status="running")
    assert run_row(store.database, run)["ended_at"] is None
    write(tracker.runs.finish, run, "finished", "", 10)
    assert run_row(store.database, run)["ended_at"] == 10


def test_what_is_deleted_does_not_change(tracker: Tracker, write: Any, store: Store, run: str) -> None:
    write(tracker.runs.move, run, "deleted")
    size = store.ledger.size()
    write(tracker.runs.move, run, "deleted")
    for words in ({"name": "x"}, {"status": "running"}, {"untag": "t"}):
        with pytest.raises(Conflict, match="is deleted"):
            write(tracker.runs.change, run, **words)
    with pytest.raises(Conflict):
        write(tracker.metrics.active_row, run)
    assert store.ledger.size() == size
    write(tracker.runs.move, run, "active")
    assert write(tracker.metrics.active_row, run)["id"] == run


def test_unknown_runs_and_tags(tracker: Tracker, write: Any, run: str) -> None:
    unknown = new_id()
    for call in (tracker.runs.change, tracker.metrics.active_row):
        with pytest.raises(NotFound):
            write(call, unknown)
    for values in ((tracker.runs.move, unknown, "deleted"), (tracker.runs.finish, unknown, "failed", "", 0)):
        with pytest.raises(NotFound):
            write(*values)
    with pytest.raises(NotFound, match="'no'"):
        write(tracker.runs.change, run, name="x", untag="no")


def test_a_run_began_when_its_maker_says(tracker: Tracker, write: Any, store: Store) -> None:
    at = datetime(2020, 1, 2, tzinfo=UTC)
    run = write(tracker.runs.create, Start("e", started_at=at))
    assert load(tracker, store, run).started_at == to_micros(at)


def test_rows_come_in_the_order_asked_for(tracker: Tracker, write: Any, store: Store) -> None:
    runs = [write(tracker.runs.create, Start("e")) for _ in range(3)]
    wanted = [runs[2], runs[0], new_id(), runs[2]]
    assert [row["id"] for row in rows_of(store.database, wanted)] == [runs[2], runs[0], runs[2]]
    assert tracker.runs.load([]) == []


@pytest.mark.parametrize("name", ["", " ", "\n"])
def test_names_are_not_blank(tracker: Tracker, write: Any, store: Store, run: str, name: str) -> None:
    size = store.ledger.size()
    for params, tags in (({name: "1"}, {}), ({}, {name: "1"})):
        with pytest.raises(Invalid, match="has no name"):
            write(tracker.runs.log, run, params, tags)
        with pytest.raises(Invalid, match="has no name"):
            write(tracker.runs.create, Start("e", params=params, tags=tags))
    with pytest.raises(Invalid, match="A metric has no name"):
        sealed(run, {name: b""})
    assert store.ledger.size() == size


@pytest.mark.parametrize("status", ["running", "scheduled"])
def test_a_run_that_goes_on_does_not_end(tracker: Tracker, write: Any, store: Store, run: str, status: Any) -> None:
    with pytest.raises(Invalid, match="does not end as"):
        write(tracker.runs.finish, run, status, "", 1)
    assert run_row(store.database, run)["ended_at"] is None
