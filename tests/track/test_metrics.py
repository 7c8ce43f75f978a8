from __future__ import annotations

import math
from typing import Any

import pytest

from interlock.core.errors import Invalid, StorageFull
from interlock.store import Store
from interlock.store.segments import pack
from interlock.store.series import LatestValue
from interlock.track.metrics import _BATCHES, _PATIENCE, _POINTS, sealed
from interlock.track.records import Start
from interlock.track.runs import run_row
from interlock.track.tracker import Tracker

NAN = float("nan")


def waiting(store: Store) -> int:
    found = store.database.one("SELECT count(*) AS n FROM metric_inbox")
    assert found
    return int(found["n"])


def log(tracker: Tracker, write: Any, store: Store, run: str, *points: tuple[str, int, int, float]) -> None:
    columns = tuple(list(column) for column in zip(*points, strict=True))
    write(tracker.metrics.log, run_row(store.database, run), columns)


def test_points_are_seen_at_once_and_packed_later(tracker: Tracker, write: Any, store: Store, run: str) -> None:
    for step in range(_BATCHES - 1):
        log(tracker, write, store, run, ("a", step, step, float(step)), ("b", 0, step, 0.5))
    assert waiting(store) == _BATCHES - 1
    assert list(store.series.points(run, "a").steps) == list(range(_BATCHES - 1))
    assert not tracker.metrics.due(run)
    log(tracker, write, store, run, ("a", 99, 0, NAN))
    assert tracker.metrics.due(run)
    tracker.metrics.pack(run)
    assert (waiting(store), tracker.metrics.due(run)) == (0, False)
    assert list(store.series.points(run, "a").steps) == [*range(_BATCHES - 1), 99]
    assert store.series.latest(run)["b"] == LatestValue(0, _BATCHES - 2, 0.5)
    assert math.isnan(store.series.latest(run)["a"].value)
    events = store.ledger.events(subject=f"run:{run}", kinds=["run.logged"])
    assert [len(event.data["segments"]) for event in events if event.data] == [2]


def test_many_points_at_once_do_not_wait(tracker: Tracker, write: Any, store: Store, run: str) -> None:
    log(tracker, write, store, run, *(("a", step, 0, 1.0) for step in range(_POINTS)))
    assert tracker.metrics.due(run)
    log(tracker, write, store, run, *((f"k{key}", 0, 0, 1.0) for key in range(1000)))
    assert not tracker.metrics.due(run)  # a thousand metrics are packed when each has some points
    tracker.metrics.pack(run)
    assert waiting(store) == 0
    assert len(store.series.points(run, "a")) == _POINTS


def test_where_nobody_packs_no_more_than_some_waits(tracker: Tracker, write: Any, store: Store, run: str) -> None:
    for step in range(_PATIENCE * _BATCHES - 1):
        log(tracker, write, store, run, ("a", step, step, float(step)))
    assert waiting(store) == _PATIENCE * _BATCHES - 1
    log(tracker, write, store, run, ("a", -1, 0, 0.5))
    assert waiting(store) == 0
    assert len(store.series.points(run, "a")) == _PATIENCE * _BATCHES


def test_the_same_batch_again_is_nothing_new(tracker: Tracker, write: Any, store: Store, run: str) -> None:
    batch = [("a", 1, 1, NAN), ("a", 1, 1, 0.5), ("b", 2, 2, math.inf)]
    for packs in (False, False, True, False, True):
        log(tracker, write, store, run, *batch)
        if packs:
            write(tracker.metrics.fold, run_row(store.database, run))
    points = list(store.series.points(run, "a"))
    assert [(step, at) for step, at, _ in points] == [(1, 1), (1, 1)]
    assert math.isnan(points[0][2])
    assert points[1][2] == 0.5
    tracker.end(run, lambda tx, ending: tracker.metrics.settle(tx, run_row(tx, run), ending.packing))
    assert len(store.series.points(run, "a")) == 2
    assert list(store.series.points(run, "b")) == [(2, 2, math.inf)]


@pytest.mark.parametrize("point", [("a", 1 << 63, 0, 1.0), ("a", 0, -(1 << 63) - 1, 1.0)])
def test_what_needs_more_than_64_bits_changes_nothing(
    tracker: Tracker, write: Any, store: Store, run: str, point: Any
) -> None:
    with pytest.raises(OverflowError):
        log(tracker, write, store, run, point)
    assert (waiting(store), list(store.series.latest(run))) == (0, [])


def test_what_waits_of_some_experiments_is_packed(tracker: Tracker, write: Any, store: Store) -> None:
    runs = {name: write(tracker.runs.create, Start(name)) for name in ("a", "b", "c")}
    for run in runs.values():
        log(tracker, write, store, run, ("m", 0, 0, 1.0))
    tracker.metrics.fold_all([tracker.experiments.named("a").id])
    assert waiting(store) == 2
    tracker.metrics.fold_all()
    assert waiting(store) == 0
    tracker.metrics.fold_all()
    latest = store.database.all("SELECT run, experiment FROM metric_latest")
    wanted = {(run, tracker.experiments.named(name).id) for name, run in runs.items()}
    assert {(row["run"], row["experiment"]) for row in latest} == wanted


def test_a_damaged_segment_takes_the_others_with_it(tracker: Tracker, write: Any, store: Store, run: str) -> None:
    segments = {"a": pack([1], [1], [1.0]), "b": b"no segment"}
    size = store.ledger.size()
    with pytest.raises(Invalid):
        write(tracker.metrics.append, run_row(store.database, run), sealed(run, segments))
    assert (list(store.series.latest(run)), store.ledger.size()) == ([], size)
    write(tracker.metrics.append, run_row(store.database, run), [])
    assert store.ledger.size() == size


def test_a_full_disk_leaves_what_waits_to_a_later_search(
    tracker: Tracker, write: Any, store: Store, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log(tracker, write, store, run, ("a", 1, 1, 0.5))

    def full(_: Any) -> None:
        raise StorageFull("no room")

    with monkeypatch.context() as patched:
        patched.setattr(store.database, "write", full)
        tracker.metrics.fold_all()
    assert waiting(store) == 1
    tracker.metrics.fold_all()
    assert waiting(store) == 0
