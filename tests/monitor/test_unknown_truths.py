"""What a truth is where no model can be asked: it is not guessed, and looking for it is cheap."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from interlock.core.clock import to_micros
from interlock.core.errors import Conflict
from interlock.core.files import StoredFile
from interlock.core.ids import new_id
from interlock.monitor import kinds
from interlock.monitor.kinds import UNKNOWN, Task, known_task
from interlock.monitor.records import MonitorPlan
from interlock.monitor.service import MonitorService
from interlock.registry.service import ModelVersion, RegistryService
from interlock.store import Store
from interlock.store.label_truths import Number
from interlock.store.labels import PREDICTION, Body, Label, Labels
from interlock.store.manifests import put_folder
from interlock.store.predictions import Prediction, PredictionWriter

PLAN = MonitorPlan("happy", "person", "happy")


@pytest.fixture
def monitor(store: Store) -> MonitorService:
    found = MonitorService(store)
    found.set("happy", PLAN)
    return found


def answered(store: Store, model: str, bundle: str, days: int = 0, rows: int = 1) -> list[str]:
    """Let a model answer some days after the first of January; return the predictions' ids."""
    start = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=days)
    made = [
        Prediction(
            id=new_id(),
            at=to_micros(start),
            occurred_at=to_micros(start + timedelta(minutes=number)),
            deployment="happy",
            model=model,
            bundle=bundle,
            revision=1,
            request_id=str(number),
            row=0,
            subject=str(number),
            inputs={"age": 1, "income": 2.0},
            score=0.7,
            label=1,
            route="champion",
        )
        for number in range(rows)
    ]
    writer = PredictionWriter(store.predictions.folder)
    writer.append(made).result(10)
    writer.close()
    return [row.id for row in made]


def file(store: Store) -> StoredFile:
    content = b"person,happy\n0,1\n"
    return StoredFile("labels.csv", store.objects.put(content), len(content))


def test_labels_of_a_model_that_cannot_be_read_are_not_taken_for_two_classes(
    store: Store, monitor: MonitorService
) -> None:
    answered(store, "model:gone@1", "0" * 64)
    with pytest.raises(Conflict, match="Nothing says what a truth of deployment:happy is"):
        monitor.label("happy", file(store))
    with pytest.raises(Conflict):
        monitor.labelled("happy")
    assert store.database.one("SELECT COUNT(*) AS n FROM labels") == {"n": 0}


def test_the_newest_answer_says_it_however_old_the_others_are(
    store: Store, monitor: MonitorService, register: Callable[[], ModelVersion], monkeypatch: pytest.MonkeyPatch
) -> None:
    version = register()
    answered(store, "model:gone@1", "0" * 64, days=1, rows=3)
    answered(store, version.ref, version.bundle, days=2)
    answered(store, "model:gone@2", "1" * 64)
    answered(store, version.ref, version.bundle, days=1, rows=2)
    seen = []
    log = type(store.predictions)
    real = log.frame
    monkeypatch.setattr(log, "frame", lambda *args, **more: seen.append(args) or real(*args, **more))
    assert monitor._expected("", PLAN) == Task("", (0, 1))
    assert seen == []  # the whole log is not read for one row
    assert monitor._expected("model:gone@3", PLAN) == Task("", (0, 1))


def test_before_anything_has_answered_truths_are_those_of_two_classes(store: Store, monitor: MonitorService) -> None:
    assert monitor.label("happy", file(store)).rows == 1


def test_a_version_that_has_gone_is_known_by_what_it_answered(
    store: Store, monitor: MonitorService, register: Callable[[], ModelVersion]
) -> None:
    bundle = register().bundle
    answered(store, "model:gone@1", bundle)
    answered(store, "model:gone@2", "0" * 64)
    frame = store.predictions.frame("happy")
    tasks = monitor._tasks({"model:gone@1", "model:gone@2", "model:gone@3"}, frame)
    assert tasks == {"model:gone@1": Task("", (0, 1))}


def test_windows_of_an_unknown_model_count_what_its_reference_knows(
    store: Store, monitor: MonitorService, register: Callable[[], ModelVersion], monkeypatch: pytest.MonkeyPatch
) -> None:
    version = register()
    monitor.watch("happy", version.ref)
    ids = answered(store, version.ref, version.bundle, days=40, rows=4)
    truths = (1, 0, Number(2.0))
    said = [Label(PREDICTION + ids[place], truth, position=place) for place, truth in enumerate(truths)]
    Labels(store).take(Body("happy", said), lambda _tx, _taken: None)
    monkeypatch.setattr("interlock.monitor.service.known_task", lambda *_: None)
    (report,) = monitor.look("happy", "2026-04-01")
    assert report.labels == 2
    assert report.left_out.startswith("1 label is left out")


def test_no_truth_is_one_of_an_unknown_model() -> None:
    assert str(UNKNOWN) == "a model that cannot be read here"
    assert str(Task("class")) == "more than two classes"
    assert str(Task("class", ("a",))) == "a model of 1 class"
    frame = pl.DataFrame({"kind of truth?": ["", "number", None]})
    assert kinds.with_truth_of(frame, UNKNOWN.kind).height == 0
    assert kinds.left_out(frame, UNKNOWN).endswith("and the model is a model that cannot be read here.")


def test_a_model_from_elsewhere_is_loaded_once(
    store: Store, bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bare").mkdir()
    shutil.copy(bundle_folder / "model.onnx", tmp_path / "bare")
    digest = put_folder(store.objects, tmp_path / "bare")
    loaded = []
    real = kinds.task_by_opening
    monkeypatch.setattr(kinds, "task_by_opening", lambda *args: loaded.append(args) or real(*args))
    found = [known_task(RegistryService(store), store.objects, digest) for _ in range(3)]
    assert found[0] is not None
    assert found == [found[0]] * 3
    assert len(loaded) == 1
    assert known_task(RegistryService(store), store.objects, store.objects.put(b"nothing")) is None
