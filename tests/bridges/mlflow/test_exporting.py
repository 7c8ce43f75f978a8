"""Folders for MLflow; that MLflow itself reads them is shown in tests/contracts/test_moving.py."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from interlock.bridges.mlflow import Exporter, Importer, Watch, open_source
from interlock.bridges.mlflow.exporting import _locked
from interlock.bridges.mlflow.flat_yaml import read_flat
from interlock.core.errors import Conflict
from interlock.core.files import StoredFile
from interlock.registry.catalogue import Catalogue
from interlock.store import Store, create_store
from interlock.store.inbox import pack_batch
from interlock.store.series import LatestValue
from interlock.track.links import Dataset, Link
from interlock.track.logged_models import ModelChange, ModelDraft, ModelMetric
from interlock.track.records import Start
from interlock.track.tracker import Tracker

MODEL, RUN = "m-" + "1" * 32, "a" * 32


@pytest.fixture
def filled(store: Store) -> Store:
    tracker, catalogue = Tracker(store), Catalogue(store)

    def fill(tx: Any) -> None:
        experiment = tracker.experiments.create(tx, "exp \U0001f600: 'x'", {"owner": "ann"})
        tracker.runs.create(tx, Start("", "line\nbreak \u2028", {"p": "1"}, {"t": "x"}, id=RUN), experiment, "ann")
        store.series.put(tx, RUN, pack_batch(["loss"] * 3, [0, 1, 2], [1000, 2000, 3000], [0.5, math.nan, -math.inf]))
        tracker.artifacts.put(tx, "run", RUN, StoredFile("model/w.bin", store.objects.put(b"weights"), 7))
        tracker.runs.create(tx, Start("", "bare", id="b" * 32), experiment)
        draft = ModelDraft(experiment, "model", "agent", RUN, {"q": "2"}, {"mt": "mv"}, MODEL)
        tracker.logged_models.create(tx, draft)
        for step, name in ((3, "people"), (4, "")):
            point = LatestValue(step, 4000, math.nan if name else 0.75)
            tracker.logged_models.log_metric(tx, MODEL, ModelMetric("acc", point, RUN, name, "d1" if name else ""))
        tracker.logged_models.change(tx, MODEL, ModelChange("ready"))
        data = Dataset("people", "d1", "code", '{"a": "\x7f\u0085"}', '{"schema": 1}', None)
        links = [Link("dataset", "people", "d1", tags={"k: v": "a\nb"}, dataset=data), Link("model", MODEL)]
        tracker.links.add(tx, RUN, experiment, [*links, Link("output", MODEL, step=7)])
        tracker.runs.finish(tx, RUN, "finished", "", 5_000_000)
        catalogue.models.create(tx, "shop", description="What\npeople: buy", tags={"team": "red"})

    store.database.write(fill)
    draft = catalogue.versions.draft("shop", source="s3://b/x", location="s3://b/x", tags={"n": "1"}, description="v")
    store.database.write(lambda tx: catalogue.versions.create(tx, draft))
    store.database.write(lambda tx: catalogue.aliases.set(tx, "shop", "best", 1))
    return store


def test_what_was_exported_is_imported_as_it_was(filled: Store, tmp_path: Path) -> None:
    exporter = Exporter(filled, tmp_path / "out")
    counts = exporter.run()
    assert exporter.left == []
    assert (counts["runs"], counts["points"], counts["inputs"], counts["outputs"]) == (2, 3, 2, 1)
    assert (counts["logged models"], counts["logged model points"], counts["versions"]) == (1, 2, 1)
    other = create_store(tmp_path / "other/.interlock")
    source = open_source(str(tmp_path / "out/mlruns"))
    report = Importer(other, source).run()
    assert [line for line in report.left if "s3://" not in line] == []
    assert [count for count in report.counts if count.there != count.here] == []
    here, there = Tracker(other), Tracker(filled)
    for run in (RUN, "b" * 32):
        facts = [
            t.runs.load([t.store.database.one("SELECT * FROM runs WHERE id = :id", {"id": run})])[0]
            for t in (here, there)
        ]
        named = [(f.name, f.params, f.status, f.owner, f.ended_at, repr(f.metrics)) for f in facts]
        assert named[0] == named[1]
        assert facts[0].tags == facts[1].tags | {"mlflow.runName": facts[1].name}
        assert here.links.of([run]) == there.links.of([run])
    models = [t.logged_models.get(MODEL) for t in (here, there)]
    assert len({(m.name, m.type, m.run, m.status, str(m.params), str(m.tags), repr(m.metrics)) for m in models}) == 1
    assert here.experiments.named("exp \U0001f600: 'x'").tags == {"owner": "ann"}
    assert Catalogue(other).models.get(other.database, "shop").description == "What\npeople: buy"
    other.close()


def test_records_hold_nothing_that_yaml_does_not_take(filled: Store, tmp_path: Path) -> None:
    Exporter(filled, tmp_path / "out").run()
    for path in (tmp_path / "out").rglob("meta.yaml"):
        text = path.read_text("utf-8")
        assert "\x7f" not in text
        assert read_flat(text)


def test_a_run_without_anything_is_one_that_mlflow_sees(filled: Store, tmp_path: Path) -> None:
    Exporter(filled, tmp_path / "out").run()
    (folder,) = (tmp_path / "out/mlruns").glob(f"*/{'b' * 32}")
    assert {path.name for path in folder.iterdir()} == {"artifacts", "meta.yaml", "metrics", "params", "tags"}


def test_a_folder_that_is_there_is_left_alone(filled: Store, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(Conflict):
        Exporter(filled, tmp_path / "out")


def test_somebody_may_watch(filled: Store, tmp_path: Path) -> None:
    told: list[object] = []

    class Watching(Watch):
        def expects(self, runs: int | None) -> None:
            told.append(runs)

        def began(self, what: str) -> None:
            told.append(what.partition(" ")[0])

        def took(self, what: str) -> None:
            told.append("run")

        def ended(self) -> None:
            told.append("end")

    Exporter(filled, tmp_path / "out", Watching()).run()
    assert (told[0], told[-1]) == (2, "end")
    assert sorted(map(str, told)) == ["2", "end", "experiment", "experiment", "model", "run", "run"]
    told.clear()
    other = create_store(tmp_path / "other/.interlock")
    Importer(other, open_source(str(tmp_path / "out/mlruns")), Watching()).run()
    other.close()
    assert sorted(map(str, told)) == ["2", "end", "experiment", "experiment", "model", "run", "run"]


def test_an_export_that_breaks_off_leaves_nothing_and_may_be_tried_again(filled: Store, tmp_path: Path) -> None:
    class Breaking(Watch):
        def took(self, what: str) -> None:
            raise OSError(28, "No space left on device")

    folder = tmp_path / "exports"
    with pytest.raises(OSError, match="No space"):
        Exporter(filled, folder / "out", Breaking()).run()
    assert list(folder.iterdir()) == []
    killed = folder / ".out.export-killed" / "out" / "mlruns"
    killed.mkdir(parents=True)
    running = folder / ".out.export-running"
    running.mkdir()
    with _locked(running):
        Exporter(filled, folder / "out").run()
    assert {path.name for path in folder.iterdir()} == {"out", running.name}
    texts = [path.read_text("utf-8") for path in (folder / "out").rglob("meta.yaml")]
    assert not any(".export-" in text for text in texts)
    assert any(f"{(folder / 'out/mlruns').as_uri()}/" in text for text in texts)


def test_a_folder_that_came_meanwhile_is_left_alone(filled: Store, tmp_path: Path) -> None:
    exporter = Exporter(filled, tmp_path / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").touch()
    with pytest.raises(Conflict):
        exporter.run()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]
    assert not list(tmp_path.glob(".out.export-*"))
