from __future__ import annotations

import pytest

from interlock.core.errors import Conflict, Invalid, NotFound
from interlock.store import Store
from interlock.track.experiment_service import ExperimentService
from interlock.track.records import Start
from interlock.track.service import TrackService


@pytest.fixture
def experiments(store: Store) -> ExperimentService:
    return ExperimentService(store)


@pytest.fixture
def track(store: Store) -> TrackService:
    return TrackService(store)


def names(experiments: ExperimentService, filter: str = "", **words: object) -> list[str]:
    return [one.name for one in experiments.search(filter, **words).experiments]  # type: ignore[arg-type]


def test_an_experiment_is_made_and_shown_by_name_and_by_id(experiments: ExperimentService, track: TrackService) -> None:
    made = experiments.create("credit", {"team": "risk"})
    assert (made.name, made.runs, made.lifecycle, made.tags) == ("credit", 0, "active", {"team": "risk"})
    track.start(Start("credit"))
    for text in ("credit", made.id, f"experiment:{made.id}"):
        found = experiments.show(text)
        assert (found.id, found.runs) == (made.id, 1)
    with pytest.raises(NotFound, match="Did you mean 'credit'"):
        experiments.show("credti")


def test_an_id_counts_before_a_name(experiments: ExperimentService) -> None:
    first = experiments.create("first")
    second = experiments.create(first.id)
    assert experiments.show(first.id).name == "first"
    assert experiments.show(f"experiment:{second.id}").name == first.id


def test_experiments_are_found_page_by_page(experiments: ExperimentService) -> None:
    for number in range(5):
        experiments.create(f"e{number}", {"odd": str(number % 2)})
    assert names(experiments) == ["e4", "e3", "e2", "e1", "e0"]
    assert names(experiments, "tags.odd = '1'", order_by=["name ASC"]) == ["e1", "e3"]
    page, seen = experiments.search(limit=2), []
    while page.next_page_token:
        seen += [one.name for one in page.experiments]
        page = experiments.search(limit=2, page_token=page.next_page_token)
    assert [*seen, *(one.name for one in page.experiments)] == ["e4", "e3", "e2", "e1", "e0"]
    with pytest.raises(Invalid):
        experiments.search("name <")


def test_a_rename_keeps_the_runs(experiments: ExperimentService, track: TrackService) -> None:
    run = track.start(Start("old"))
    assert experiments.rename("old", "new").runs == 1
    assert track.run(run.id).experiment == "new"
    experiments.create("other")
    with pytest.raises(Conflict):
        experiments.rename("new", "other")
    for bad in ("", " ", "a\nb"):
        with pytest.raises(Invalid):
            experiments.rename("new", bad)
    assert names(experiments) == ["other", "new"]


def test_tags_come_and_go_together_or_not_at_all(experiments: ExperimentService, store: Store) -> None:
    experiments.create("e", {"a": "1", "b": "2"})
    assert experiments.tag("e", {"a": "3"}, remove=["b"]).tags == {"a": "3"}
    size = store.ledger.size()
    with pytest.raises(NotFound):
        experiments.tag("e", {"a": "4"}, remove=["c"])
    with pytest.raises(Invalid):
        experiments.tag("e", {" ": "4"})
    assert (experiments.show("e").tags, store.ledger.size()) == ({"a": "3"}, size)


def test_what_is_deleted_comes_back_with_its_runs(experiments: ExperimentService, track: TrackService) -> None:
    run = track.start(Start("e"))
    assert experiments.delete("e").lifecycle == "deleted"
    assert (names(experiments), names(experiments, deleted=True)) == ([], ["e"])
    assert track.run(run.id).lifecycle == "deleted"
    for call in (lambda: experiments.rename("e", "f"), lambda: experiments.tag("e", {"a": "b"})):
        with pytest.raises(Conflict):
            call()
    assert (experiments.restore("e").runs, track.run(run.id).lifecycle) == (1, "active")
