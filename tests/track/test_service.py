from __future__ import annotations

import io
import math

import msgspec
import pytest

from interlock.core.errors import Conflict, Invalid, NotFound
from interlock.core.files import StoredFile
from interlock.core.ids import new_id
from interlock.store import Store
from interlock.track.environment import Environment, environment
from interlock.track.experiment_service import ExperimentService
from interlock.track.records import Delivery, Start
from interlock.track.service import TrackService


@pytest.fixture
def track(store: Store) -> TrackService:
    return TrackService(store)


def test_a_run_keeps_what_it_is_told(store: Store, track: TrackService) -> None:
    run = track.start(Start("credit", params={"lr": "0.1"}, inputs=("data:people@1",), cause="event:3"))
    assert (run.status, run.experiment, run.params, run.inputs, run.cause) == (
        "running",
        "credit",
        {"lr": "0.1"},
        ("data:people@1",),
        "event:3",
    )
    track.log(run.ref, {"depth": "3"}, {"note": "first"})
    track.log(run.ref, tags={"note": "second"})
    track.log_metrics(run.id, {"auc": 0.5, "loss": math.inf}, step=1)
    track.log_metrics(run.id, {"auc": 0.75}, step=2)
    done = track.finish(run.ref)
    assert done.params == {"lr": "0.1", "depth": "3"}
    assert done.tags == {"note": "second"}
    assert done.metrics == {"auc": 0.75, "loss": math.inf}
    assert done.ended_at is not None
    points = track.metric(run.id, "auc")
    assert (points.steps, points.values) == ((1, 2), (0.5, 0.75))
    kinds = [event.kind for event in store.ledger.events(subject=run.ref)]
    assert kinds == ["run.started", *["run.logged"] * 5, "run.finished"]  # the last packs the points of both


def test_params_never_change(track: TrackService) -> None:
    run = track.start(Start("credit", params={"lr": "0.1"}))
    track.log(run.id, {"lr": "0.1"})
    with pytest.raises(Conflict, match="'lr'"):
        track.log(run.id, {"lr": "0.2", "new": "1"})
    assert track.run(run.id).params == {"lr": "0.1"}


def test_an_ended_run_ends_once(store: Store, track: TrackService) -> None:
    run = track.start(Start("credit"))
    track.finish(run.id, "failed", "no rows")
    size = store.ledger.size()
    assert track.finish(run.id, "failed").reason == "no rows"
    with pytest.raises(Conflict):
        track.finish(run.id)
    assert store.ledger.size() == size


def test_artifacts_are_objects_under_safe_paths(store: Store, track: TrackService) -> None:
    run = track.start(Start("credit"))
    file = StoredFile("x.txt", store.objects.put(b"hello"), 5)
    assert track.log_artifact(run.id, "plots/x.txt", file).size_bytes == 5
    assert [a.name for a in track.run(run.id).artifacts] == ["plots/x.txt"]
    for path in ("../x", "/etc/passwd", "a//b", ""):
        with pytest.raises(Invalid):
            track.log_artifact(run.id, path, file)
    with pytest.raises(NotFound):
        track.log_artifact(run.id, "y", StoredFile("y", "0" * 64, 1))


def test_logs_are_searched(track: TrackService) -> None:
    run = track.start(Start("credit"))
    track.set_log(run.id, b"epoch 1\nloss 3\nepoch 2\n")
    assert track.logs(run.id, "epoch") == "epoch 1\nepoch 2"


def test_runs_and_experiments_are_listed_newest_first(store: Store, track: TrackService) -> None:
    first, second = track.start(Start("a")), track.start(Start("b"))
    third = track.start(Start("a", name="mine"))
    assert [r.id for r in track.runs()] == [third.id, second.id, first.id]
    assert [r.name for r in track.runs("a", limit=1)] == ["mine"]
    assert [(e.name, e.runs) for e in ExperimentService(store).search().experiments] == [("b", 1), ("a", 2)]


def test_what_does_not_exist(track: TrackService) -> None:
    run = track.start(Start("a"))
    for call in (
        lambda: track.run("01JD"),
        lambda: track.metric(run.id, "x"),
        lambda: track.log_metrics("01JD", {"x": 1.0}),
        lambda: track.finish("01JD"),
        lambda: track.log("01JD", {"a": "b"}),
    ):
        with pytest.raises(NotFound):
            call()


def test_the_environment_names_interpreter_and_packages() -> None:
    found = environment()
    assert found.packages["msgspec"] == msgspec.__version__
    assert msgspec.json.decode(msgspec.json.encode(found), type=Environment) == found


def test_an_end_that_is_none_leaves_nothing_behind(store: Store, track: TrackService) -> None:
    run = track.start(Start("credit"))
    track.deliver(run.id, Delivery("w", 1, log="printed\n"))
    size = store.ledger.size()
    with pytest.raises(Invalid, match="does not end as running"):
        track.finish(run.id, "running")
    assert (store.ledger.size(), list(store.objects.digests())) == (size, [])
    track.finish(run.id)
    track.deliver(run.id, Delivery("w", 2, log="more\n"))
    kept = set(store.objects.digests())
    with pytest.raises(Conflict, match="has ended already"):
        track.finish(run.id, "failed")
    assert set(store.objects.digests()) == kept


def test_a_file_that_has_no_place_is_not_kept(store: Store, track: TrackService) -> None:
    run = track.start(Start("credit"))

    def sent(data: bytes) -> StoredFile:
        return StoredFile("x", *store.uploads.put(io.BytesIO(data), new_id()))

    track.log_artifact(run.id, "a/b", sent(b"one"))
    for path in ("a", "a/b/c", "../x"):
        with pytest.raises(Invalid):
            track.log_artifact(run.id, path, sent(b"two"))
    assert len(list(store.objects.digests())) == 1
