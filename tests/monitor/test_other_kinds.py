"""Monitors of regressions and of models of more than two classes: truth, measured quality, and what is left out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from interlock.core.clock import to_micros
from interlock.core.errors import Invalid
from interlock.core.files import StoredFile
from interlock.core.ids import new_id
from interlock.monitor.kinds import Task, left_out, task_by_opening, task_on_record
from interlock.monitor.labels import add_labels
from interlock.monitor.measured import Measured, measure
from interlock.monitor.records import MonitorPlan
from interlock.monitor.replay import answer_rows
from interlock.monitor.service import MonitorService
from interlock.registry.flavors.build import build_bundle
from interlock.registry.service import ModelVersion, RegistryService
from interlock.store import Store
from interlock.store.label_truths import Class, Number, Truth
from interlock.store.labels import PREDICTION, Body, Label, Labels
from interlock.store.manifests import put_folder
from interlock.store.predictions import Prediction, PredictionWriter
from interlock.track.environment import environment
from interlock.track.records import Start
from interlock.track.service import TrackService

TARGETS = {"spend": "number", "mood": "class", "size": "class"}


@pytest.fixture(scope="module")
def crowd(people: pl.DataFrame) -> pl.DataFrame:
    """People with what three kinds of models predict: a number, a class that is a text, a class that is a number."""
    noise = np.random.default_rng(3).normal(0, 1, people.height)
    total = people["age"] + people["income"] + noise
    place = (total > 60).cast(pl.Int64) + (total > 80).cast(pl.Int64)
    return people.with_columns(
        spend=2 * people["income"] + noise,
        mood=place.replace_strict([0, 1, 2], ["sad", "so-so", "glad"]),
        size=10 * (place + 1),
    )


@pytest.fixture(scope="module")
def folders(crowd: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    from sklearn.linear_model import LinearRegression, LogisticRegression

    found = {}
    inputs = crowd.head(2000).select("age", "income")
    for target, kind in TARGETS.items():
        model = LinearRegression() if kind == "number" else LogisticRegression(max_iter=5000)
        model.fit(inputs.to_numpy(), crowd.head(2000)[target].to_numpy())
        found[target] = tmp_path_factory.mktemp(target)
        build_bundle(model, inputs=inputs, target=target, evaluation=crowd.tail(1000), folder=found[target])
    return found


class World:
    """A deployment whose model predicts one of the targets."""

    def __init__(self, store: Store, target: str, folder: Path) -> None:
        self.store, self.target, self.registry = store, target, RegistryService(store)
        self.monitor = MonitorService(store)
        self.version = self.register(folder)
        self.monitor.set(target, MonitorPlan(target, "person", target, "1 month", 0.01, 0.6))
        self.monitor.watch(target, self.version.ref)

    def register(self, folder: Path) -> ModelVersion:
        track = TrackService(self.store)
        run = track.start(Start(self.target, environment=self.store.objects.put(msgspec.json.encode(environment()))))
        track.finish(run.id)
        digest = put_folder(self.store.objects, folder)
        return self.registry.register(self.target, run.ref, digest, ["data:people@1"])

    def month(self, month: int, rows: pl.DataFrame) -> list[str]:
        """Let people be scored in a month of 2026; return the predictions' ids."""
        scores, codes = answer_rows(self.registry, self.version.bundle, rows)
        start = datetime(2026, month, 1, tzinfo=UTC)
        made = [
            Prediction(
                id=new_id(),
                at=to_micros(datetime.now(UTC)),
                occurred_at=to_micros(start + timedelta(minutes=number)),
                deployment=self.target,
                model=self.version.ref,
                bundle=self.version.bundle,
                revision=1,
                request_id=f"{month}-{number}",
                row=0,
                subject=str(row["person"]),
                inputs={"age": row["age"], "income": row["income"]},
                score=float(scores[number]),
                label=codes[number],
                route="champion",
            )
            for number, row in enumerate(rows.iter_rows(named=True))
        ]
        writer = PredictionWriter(self.store.predictions.folder)
        writer.append(made).result(10)
        writer.close()
        return [row.id for row in made]

    def file(self, rows: pl.DataFrame, name: str = "labels.csv") -> StoredFile:
        content = rows.select("person", self.target).write_csv().encode()
        return StoredFile(name, self.store.objects.put(content), len(content))

    def say(self, prediction: str, truth: Truth) -> None:
        Labels(self.store).take(Body(self.target, [Label(PREDICTION + prediction, truth)]), lambda _tx, _taken: None)


@pytest.fixture
def world(store: Store, folders: dict[str, Path]) -> Callable[[str], World]:
    return lambda target: World(store, target, folders[target])


def test_errors_of_a_regression_are_measured_once_labels_came(
    world: Callable[[str], World], crowd: pl.DataFrame
) -> None:
    here, rows = world("spend"), crowd.head(300)
    ids = here.month(1, rows)
    (before,) = here.monitor.look("spend", "2026-02-01")
    assert (before.labels, before.measured, before.realised, before.estimated) == (0, None, None, None)
    assert "a regression; quality before labels is estimated for two classes only" in before.distrust
    batch = here.monitor.label("spend", here.file(rows.head(200)))
    assert (batch.rows, batch.joined) == (200, 200)
    (report,) = here.monitor.look("spend", "2026-02-01")
    scores, _ = answer_rows(here.registry, here.version.bundle, rows.head(200))
    errors = rows.head(200)["spend"].to_numpy() - scores
    assert report.measured is not None
    assert report.measured.mean_absolute_error == pytest.approx(np.abs(errors).mean())
    assert report.measured.rmse == pytest.approx(np.sqrt((errors**2).mean()))
    assert (report.labels, report.positives, report.realised, report.brier, report.left_out) == (200, 0, None, None, "")
    assert report.verdict.action == "keep"
    assert "this is a regression, whose quality is measured and not judged" in report.verdict.reason
    assert here.monitor.look("spend", "2026-02-01") == []
    here.say(ids[0], Number(1e6))  # a correction: as many labels as before
    (again,) = here.monitor.look("spend", "2026-02-01")
    assert again.looks == 3
    assert again.measured is not None
    assert again.measured.mean_absolute_error == pytest.approx(1e6 / 200, rel=0.01)
    assert here.monitor.prediction(ids[0]).truth == 1e6
    assert here.monitor.prediction(ids[1]).truth == pytest.approx(rows["spend"][1])
    assert here.monitor.prediction(ids[-1]).truth is None


@pytest.mark.parametrize("target", ["mood", "size"])
def test_accuracy_of_more_classes_is_measured_once_labels_came(
    world: Callable[[str], World], crowd: pl.DataFrame, target: str
) -> None:
    here, rows = world(target), crowd.head(300)
    ids = here.month(1, rows)
    here.monitor.label(target, here.file(rows))
    (report,) = here.monitor.look(target, "2026-02-01")
    bundle = here.registry.read_bundle(here.version.bundle)
    _, codes = answer_rows(here.registry, here.version.bundle, rows)
    chosen = [bundle.classes[code] for code in codes] if target == "mood" else codes
    right = float(np.mean([a == b for a, b in zip(chosen, rows[target], strict=True)]))
    assert 0.5 < right < 1.0
    assert report.measured is not None
    assert report.measured.accuracy == pytest.approx(right)
    assert report.measured.low is not None
    assert report.measured.high is not None
    assert report.measured.low < right < report.measured.high
    assert (report.labels, report.positives, report.realised, report.brier) == (300, 0, None, None)
    assert here.monitor.prediction(ids[0]).truth == rows[target][0]
    assert str(report.measured).startswith(f"accuracy {right:.3f}")


def test_truths_of_another_kind_are_left_out_and_said_to_be(world: Callable[[str], World], crowd: pl.DataFrame) -> None:
    here, rows = world("spend"), crowd.head(50)
    ids = here.month(1, rows)
    here.say(ids[0], 1)
    here.say(ids[1], Class("glad"))
    (report,) = here.monitor.look("spend", "2026-02-01")
    told = "2 labels are left out: what they say is of two classes and of more than two classes, and the model is"
    assert (report.labels, report.measured, report.left_out) == (0, None, f"{told} a regression.")
    replayed = here.monitor.replay("spend", here.version.ref)
    assert (replayed.rows, replayed.labels, replayed.note) == (50, 0, f"{told} a regression.")
    assert here.monitor.labelled("spend").height == 0
    here.say(ids[0], Number(3.0))
    (again,) = here.monitor.look("spend", "2026-02-01")
    assert (again.labels, again.left_out.split(":")[0]) == (1, "1 label is left out")


def test_no_other_truth_counts_as_positive_or_negative_of_two_classes(
    store: Store, register: Callable[[], ModelVersion], people: pl.DataFrame
) -> None:
    monitor, version, registry = MonitorService(store), register(), RegistryService(store)
    monitor.set("happy", MonitorPlan("happy", "person", "happy"))
    monitor.watch("happy", version.ref)
    here = World.__new__(World)
    here.store, here.target, here.registry, here.version = store, "happy", registry, version
    ids = here.month(1, people.head(6))
    for name, truth in zip(ids, (1, 0, Class(1), Class(2), Number(1.0), Number(0.0)), strict=True):
        here.say(name, truth)
    (report,) = monitor.look("happy", "2026-02-01")
    assert (report.labels, report.positives, report.realised is None, report.measured) == (2, 1, False, None)
    assert report.left_out.startswith("4 labels are left out: what they say is of more than two classes and numbers")
    assert report.left_out.endswith("the model has two classes.")
    replayed = monitor.replay("happy", version.ref)
    assert (replayed.labels, replayed.logged is None) == (2, False)
    assert replayed.note == report.left_out
    assert monitor.labelled("happy")["happy"].to_list() == [1, 0]


def test_one_truth_is_whole_where_a_prediction_and_its_subject_have_truths_of_two_kinds(
    world: Callable[[str], World], crowd: pl.DataFrame
) -> None:
    here = world("spend")
    (mine,) = here.month(1, crowd.head(1))
    here.monitor.label("spend", here.file(crowd.head(1)))  # of the subject
    here.say(mine, 1)  # its own wins
    (report,) = here.monitor.look("spend", "2026-02-01")
    assert (report.labels, report.measured) == (0, None)
    assert here.monitor.prediction(mine).truth == 1
    (other,) = here.month(2, crowd[1:2])
    about = Label(f"subject:{crowd['person'][1]}", 1)
    Labels(here.store).take(Body("spend", [about]), lambda _tx, _taken: None)
    here.say(other, Number(2.0))
    report = here.monitor.look("spend", "2026-03-01")[-1]
    assert (report.labels, report.positives, report.left_out) == (1, 0, "")


def test_drift_of_a_regression_is_found_and_its_quality_not_judged(
    world: Callable[[str], World], crowd: pl.DataFrame
) -> None:
    here = world("spend")
    strange = crowd.head(500).with_columns(income=pl.col("income") + 200)
    here.month(1, strange)
    here.monitor.label("spend", here.file(strange))
    (report,) = here.monitor.look("spend", "2026-02-01")
    assert report.severity == "alarm"
    assert report.verdict.action == "wait for labels"
    assert "this is a regression, whose quality is measured and not judged" in report.verdict.reason


def test_retraining_gets_the_truths_as_they_are(world: Callable[[str], World], crowd: pl.DataFrame) -> None:
    for target in TARGETS:
        here, rows = world(target), crowd.head(20)
        here.month(1, rows)
        here.monitor.label(target, here.file(rows))
        found = here.monitor.labelled(target).sort(pl.col("person").cast(pl.Int64))
        assert found.schema[target] == rows.schema[target]
        assert found[target].to_list() == pytest.approx(rows[target].to_list())


def test_a_replay_measures_both_versions_on_the_same_truths(world: Callable[[str], World], crowd: pl.DataFrame) -> None:
    for target in TARGETS:
        here, rows = world(target), crowd.head(100)
        here.month(1, rows)
        here.monitor.label(target, here.file(rows))
        found = here.monitor.replay(target, here.version.ref)
        assert (found.rows, found.labels, found.flips, found.note) == (100, 100, 0, "")
        assert found.largest_difference < 1e-9
        assert found.logged_measured == found.replayed_measured
        assert found.logged_measured is not None
        assert (found.logged, found.replayed) == (None, None)


def test_a_replay_leaves_out_what_models_of_another_kind_answered(
    world: Callable[[str], World], crowd: pl.DataFrame, folders: dict[str, Path]
) -> None:
    here = world("spend")
    here.month(1, crowd.head(10))
    other = here.register(folders["mood"])
    found = here.monitor.replay("spend", other.ref)
    assert (found.rows, found.note) == (0, "10 predictions are left out: a model of another kind made them.")


@pytest.mark.parametrize(
    ("target", "wrong", "words"),
    [
        ("spend", "secret", "'spend' is no number"),
        ("spend", "true", "'spend' is no number"),
        ("spend", "nan", "'spend' is no "),
        ("mood", "secret", "'mood' is none of the model's classes, 'glad', 'sad' and 'so-so'"),
        ("mood", "1", "'mood' is none"),
        ("size", "40", "'size' is none of the model's classes, 10, 20 and 30"),
        ("size", "", "'size' is none"),
    ],
)
def test_a_file_with_a_wrong_truth_is_refused_by_its_row(
    world: Callable[[str], World], crowd: pl.DataFrame, target: str, wrong: str, words: str
) -> None:
    here = world(target)
    here.month(1, crowd.head(3))
    text = here.file(crowd.head(2))
    content = here.store.objects.get(text.digest) + f"77,{wrong}\n".encode()
    file = StoredFile("wrong.csv", here.store.objects.put(content), len(content))
    with pytest.raises(Invalid, match=r"1 row of wrong.csv say no truth") as caught:
        here.monitor.label(target, file)
    assert words in caught.value.message
    assert "line 4" in caught.value.message
    assert "secret" not in str(caught.value.message)
    assert here.store.database.one("SELECT COUNT(*) AS n FROM labels") == {"n": 0}


def test_before_a_version_is_watched_the_one_that_answered_last_says_what_a_truth_is(
    world: Callable[[str], World], crowd: pl.DataFrame
) -> None:
    here, rows = world("mood"), crowd.head(5)
    here.monitor.set("second", MonitorPlan("mood", "person", "mood"))
    with pytest.raises(Invalid, match="neither 0 nor 1"):  # nothing answered yet
        here.monitor.label("second", here.file(rows))
    here.month(1, rows)
    assert here.monitor.label("second", here.file(rows)).joined == 5


def test_the_same_file_says_other_truths_of_a_model_of_another_kind(store: Store) -> None:
    plan = MonitorPlan("shop", "person", "buys")
    content = b"person,buys\n1,0\n2,1\n"
    file = StoredFile("labels.csv", store.objects.put(content), len(content))
    for _ in range(2):
        for task in (Task(), Task("number"), Task("class", (0, 1, 2))):
            add_labels(store, "shop", plan, file, task)
    said = [(x.label, type(x.label), x.counts) for x in Labels(store).said("subject:2")]
    assert said == [(1, int, False), (1.0, float, False), (1, int, True)]


def test_a_model_that_came_from_elsewhere_says_what_its_truths_are(
    store: Store, folders: dict[str, Path], tmp_path: Path
) -> None:
    for target, task in (("spend", Task("number")), ("size", Task("class", (10, 20, 30)))):
        folder = tmp_path / target
        folder.mkdir()
        shutil.copy(folders[target] / "model.onnx", folder)
        digest = put_folder(store.objects, folder)
        assert task_on_record(RegistryService(store), digest) is None
        found = task_by_opening(store.objects, digest)
        assert found is not None
        assert (found.kind, len(found.classes)) == (task.kind, len(task.classes))
    assert task_by_opening(store.objects, store.objects.put(b"nothing")) is None


def test_measures_of_errors_that_no_square_holds() -> None:
    rows = pl.DataFrame(
        {"kind of truth?": ["number"] * 2, "true number?": [1e308, 1.0], "score": [-1e308, 1.0], "id": ["a", "b"]}
    )
    found = measure(rows, Task("number"))
    assert found is not None
    assert found.mean_absolute_error == pytest.approx(np.finfo(float).max / 2)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Measured) == found
    assert measure(rows, Task()) is None
    assert left_out(rows, Task("number")) == ""


@pytest.mark.parametrize("target", ["spend", "size"])
def test_two_versions_on_the_same_requests_settle_a_canary(
    world: Callable[[str], World], crowd: pl.DataFrame, tmp_path: Path, target: str
) -> None:
    from sklearn.linear_model import LinearRegression, LogisticRegression

    from interlock.loop.arcs.canary import _compared

    here, rows = world(target), crowd.head(200)
    inputs = crowd.head(60).select("age", "income")
    model = LinearRegression() if target == "spend" else LogisticRegression(max_iter=5000)
    model.fit(inputs.to_numpy()[:, ::-1], crowd.head(60)[target].to_numpy())  # it takes one column for the other
    build_bundle(model, inputs=inputs, target=target, evaluation=crowd.tail(100), folder=tmp_path / "worse")
    worse = here.register(tmp_path / "worse")
    here.month(1, rows)
    here.monitor.label(target, here.file(rows))
    old, new = (here.monitor.replay(target, version) for version in (here.version.ref, worse.ref))
    verdict = _compared(old, new)
    assert verdict is not None
    assert verdict[0] is False
    assert verdict[1].startswith(f"{new.replayed_measured}, champion {old.replayed_measured}; difference of the ")
    turned = _compared(new, old)
    assert turned is not None
    assert turned[0] is True
