from __future__ import annotations

from typing import Any

from interlock.store import Store
from interlock.track.links import Dataset, Link
from interlock.track.records import Start
from interlock.track.tracker import Tracker

PEOPLE = Dataset("people", "abc", "local", "people.csv", '{"age":"long"}', None)


def read(context: str = "", **more: str) -> Link:
    tags = {"mlflow.data.context": context, **more} if context else more
    return Link("dataset", PEOPLE.name, PEOPLE.digest, tags=tags, dataset=PEOPLE)


def test_links_are_kept_in_order_with_what_was_said(tracker: Tracker, write: Any, run: str) -> None:
    links = [Link("output", "m-2", step=7), Link("model", "m-1"), read("training")]
    write(tracker.links.add, run, tracker.experiments.named("e").id, links)
    assert tracker.links.of([run, "other"]) == {
        run: [read("training"), Link("model", "m-1"), Link("output", "m-2", step=7)]
    }


def test_the_same_links_again_are_no_event(tracker: Tracker, write: Any, store: Store, run: str) -> None:
    experiment, links = tracker.experiments.named("e").id, [read("training"), Link("output", "m-2", step=7)]
    write(tracker.links.add, run, experiment, links)
    size = store.ledger.size()
    write(tracker.links.add, run, experiment, links)
    write(tracker.links.add, run, experiment, [])
    assert store.ledger.size() == size
    write(tracker.links.add, run, experiment, [read("eval"), Link("output", "m-2", step=7)])
    (event,) = store.ledger.events(subject=f"run:{run}", after=size - 1)
    assert event.data == {"datasets": ["people@abc"], "models": [], "outputs": []}
    assert tracker.links.of([run])[run][0].tags == {"mlflow.data.context": "eval"}


def test_datasets_of_experiments_are_told_once(tracker: Tracker, write: Any) -> None:
    runs = [write(tracker.runs.create, Start("e")) for _ in range(3)]
    experiment = tracker.experiments.named("e").id
    for run, link in zip(runs, [read("training", a="1"), read("training", a="2"), read("eval")], strict=True):
        write(tracker.links.add, run, experiment, [link, Link("model", "m-1")])
    found = tracker.links.seen([experiment, "other"], 10)
    assert sorted(found) == [(experiment, "people", "abc", "eval"), (experiment, "people", "abc", "training")]
    assert len(tracker.links.seen([experiment], 1)) == 1
    assert tracker.links.seen([], 10) == []
