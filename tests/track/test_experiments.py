from __future__ import annotations

from typing import Any

import pytest

from interlock.core.errors import Conflict, Invalid, NotFound
from interlock.store import Store
from interlock.track.experiments import among, drop_pair, pairs, set_pairs
from interlock.track.records import Start
from interlock.track.runs import run_row
from interlock.track.tracker import Tracker


def change(tracker: Tracker, write: Any, ident: str, **words: Any) -> None:
    write(tracker.experiments.change, ident, **words)


def test_an_experiment_has_a_name_and_tags(tracker: Tracker, write: Any, kinds: Any) -> None:
    ident = write(tracker.experiments.create, "credit", {"team": "risk"})
    found = tracker.experiments.get(ident)
    assert (found.name, found.lifecycle, found.tags) == ("credit", "active", {"team": "risk"})
    assert tracker.experiments.named("credit") == found
    assert kinds(f"experiment:{ident}") == ["experiment.created", "experiment.changed"]


@pytest.mark.parametrize("name", ["a/b", "a:b@c", "実験\u30001", "a\u200db", "\U0001f600", "x" * 500, " a "])
def test_names_are_any_text(tracker: Tracker, write: Any, name: str) -> None:
    ident = write(tracker.experiments.create, name)
    assert tracker.experiments.named(name).id == ident


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\x00b", "x" * 501, "\ud800", "\x7f"])
def test_names_that_cannot_be(tracker: Tracker, write: Any, store: Store, name: str) -> None:
    with pytest.raises(Invalid, match="cannot be the name of an experiment"):
        write(tracker.experiments.create, name)
    assert store.ledger.size() == 0


def test_a_name_is_had_once_even_by_what_is_deleted(tracker: Tracker, write: Any) -> None:
    ident = write(tracker.experiments.create, "credit")
    with pytest.raises(Conflict, match=r"There is an experiment 'credit'\."):
        write(tracker.experiments.create, "credit")
    change(tracker, write, ident, lifecycle="deleted")
    with pytest.raises(Conflict, match="which is deleted"):
        write(tracker.experiments.create, "credit")
    with pytest.raises(Conflict, match="is deleted"):
        write(tracker.runs.create, Start("credit"))
    other = write(tracker.experiments.create, "other")
    with pytest.raises(Conflict):
        change(tracker, write, other, name="credit")
    assert tracker.experiments.get(other).name == "other"


def test_a_renamed_one_gives_its_name_free(tracker: Tracker, write: Any) -> None:
    first = write(tracker.experiments.create, "a")
    change(tracker, write, first, name="b")
    second = write(tracker.experiments.create, "a")
    assert (tracker.experiments.named("b").id, tracker.experiments.named("a").id) == (first, second)


def test_what_is_deleted_only_comes_back(tracker: Tracker, write: Any) -> None:
    ident = write(tracker.experiments.create, "a", {"t": "1"})
    change(tracker, write, ident, lifecycle="deleted")
    for words in ({"name": "b"}, {"tags": {"t": "2"}}, {"untag": ["t"]}):
        with pytest.raises(Conflict, match="is deleted"):
            change(tracker, write, ident, **words)
    change(tracker, write, ident, lifecycle="active")
    assert tracker.experiments.get(ident).tags == {"t": "1"}


def test_runs_go_and_come_with_their_experiment(tracker: Tracker, write: Any, store: Store) -> None:
    run = write(tracker.runs.create, Start("a"))
    other = write(tracker.runs.create, Start("b"))
    ident = tracker.experiments.named("a").id
    change(tracker, write, ident, lifecycle="deleted")
    assert run_row(store.database, run)["lifecycle"] == "deleted"
    assert run_row(store.database, other)["lifecycle"] == "active"
    change(tracker, write, ident, lifecycle="active")
    assert run_row(store.database, run)["lifecycle"] == "active"


def test_what_changes_nothing_is_no_event(tracker: Tracker, write: Any, store: Store) -> None:
    ident = write(tracker.experiments.create, "a", {"t": "1"})
    size, before = store.ledger.size(), tracker.experiments.get(ident)
    for words in ({"name": "a"}, {"tags": {"t": "1"}}, {"lifecycle": "active"}, {}):
        change(tracker, write, ident, **words)
    assert (store.ledger.size(), tracker.experiments.get(ident)) == (size, before)


def test_all_of_a_change_or_nothing(tracker: Tracker, write: Any) -> None:
    ident = write(tracker.experiments.create, "a")
    with pytest.raises(NotFound, match="'no'"):
        change(tracker, write, ident, name="b", tags={"t": "1"}, untag=["no"])
    found = tracker.experiments.get(ident)
    assert (found.name, found.tags) == ("a", {})


def test_unknown_ones_are_named(tracker: Tracker, write: Any) -> None:
    write(tracker.experiments.create, "credit")
    with pytest.raises(NotFound):
        tracker.experiments.get("0")
    with pytest.raises(NotFound, match="Did you mean 'credit'"):
        tracker.experiments.named("creditt")


def test_the_default_one_is_made_once(tracker: Tracker, write: Any, store: Store) -> None:
    tracker.experiments.ensure_default()
    size = store.ledger.size()
    tracker.experiments.ensure_default()
    assert (tracker.experiments.get("0").name, store.ledger.size()) == ("Default", size)


def test_the_default_one_gives_way_to_one_that_has_its_name(tracker: Tracker, write: Any) -> None:
    write(tracker.experiments.create, "Default")
    tracker.experiments.ensure_default()
    assert tracker.experiments.get("0").name == "Default (0)"


def test_pairs_of_more_owners_than_a_statement_takes(tracker: Tracker, write: Any, store: Store) -> None:
    owners = [f"r{number:04}" for number in range(1201)]
    for owner in (owners[0], owners[600], owners[-1]):
        assert write(set_pairs, "run_tags", "run", owner, {"a": "1", "b": owner}) == {"a": "1", "b": owner}
        assert write(set_pairs, "run_tags", "run", owner, {"a": "1", "b": "2"}) == {"b": "2"}
    found = pairs(store.database, "run_tags", "run", owners)
    assert found == {owner: {"a": "1", "b": "2"} for owner in (owners[0], owners[600], owners[-1])}
    assert among(store.database, "SELECT * FROM runs WHERE id IN", []) == []
    write(drop_pair, "run_tags", "run", owners[0], "a")
    with pytest.raises(NotFound, match="'a'"):
        write(drop_pair, "run_tags", "run", owners[0], "a")
