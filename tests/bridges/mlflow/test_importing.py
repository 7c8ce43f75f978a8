"""Import from sources made here; stores made by MLflow itself are taken over in tests/contracts/test_moving.py."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import apsw
import pytest

from interlock.bridges.mlflow import Importer, Report, intake, open_source, taking_runs
from interlock.bridges.mlflow.places import LocalPlaces
from interlock.bridges.mlflow.records import (
    Overview,
    Point,
    TheirExperiment,
    TheirFile,
    TheirInput,
    TheirLoggedModel,
    TheirModel,
    TheirModelPoint,
    TheirOutput,
    TheirRun,
    TheirVersion,
)
from interlock.core.errors import Invalid, NotFound, Unavailable
from interlock.core.files import StoredFile
from interlock.registry.catalogue import Catalogue
from interlock.store import Store
from interlock.store.manifests import read_manifest
from interlock.track.tracker import Tracker


class Source:
    """A small store: one run with a deleted twin, one model whose version 2 is gone."""

    def __init__(self) -> None:
        self.broken: set[str] = set()
        self.left: list[str] = []

    def overview(self) -> Overview:
        return Overview(2, {"traces": 3})

    def experiments(self) -> Iterator[TheirExperiment]:
        yield TheirExperiment("7", "exp", "active", {"a": "b"})

    def runs(self, experiment: str) -> Iterator[TheirRun]:
        for ident, lifecycle in (("f" * 32, "active"), ("e" * 32, "deleted")):
            yield TheirRun(
                ident,
                experiment,
                "r",
                "ann",
                "FINISHED",
                lifecycle,
                1000,
                2000,
                ident,
                {"p": "1"},
                {"t": "x"},
                inputs=(TheirInput("people", "d1", "code", "{}", tags={"mlflow.data.context": "training"}),),
                models=("m-1",),
                outputs=(TheirOutput("m-1", 7),),
            )

    def metrics(self, run: TheirRun) -> Iterator[tuple[str, list[Point]]]:
        yield "loss", [(0, 1400, math.nan)]
        yield "loss", [(1, 1500, 0.5)]

    def logged_models(self, experiment: str) -> Iterator[TheirLoggedModel]:
        yield TheirLoggedModel(
            "m-1", experiment, "model", "", "f" * 32, "LOGGED_MODEL_READY", "active", "m-1", {"q": "2"}, {}
        )

    def model_points(self, model: TheirLoggedModel) -> Iterator[TheirModelPoint]:
        yield TheirModelPoint("acc", 1, 1500, 0.5, "f" * 32, "people", "d1")
        yield TheirModelPoint("acc", 2, 1600, math.nan, "f" * 32)

    def models(self) -> Iterator[tuple[TheirModel, list[TheirVersion]]]:
        versions = [
            TheirVersion("shop", n, "", "ann", "Staging", "models:/m-1", "m-1", "f" * 32, "READY", "", {})
            for n in (1, 3)
        ]
        yield TheirModel("shop", "text", {"k": "v"}, {"champion": 3}), versions

    def files(self, place: str) -> Iterator[TheirFile]:
        if place in self.broken:
            raise Invalid(f"{place} is on no disk of this machine.", about="import")
        data = f"flavors: {place}".encode()
        yield TheirFile("MLmodel", len(data), partial(io.BytesIO, data))

    def close(self) -> None:
        pass


def counts(store: Store, source: Source) -> tuple[bool, dict[str, tuple[int, int]]]:
    report = Importer(store, source).run()
    return report.complete, {count.what: (count.there, count.here) for count in report.counts}


def test_everything_is_taken_over_once(store: Store) -> None:
    complete, found = counts(store, Source())
    assert complete
    assert found["points"] == (4, 4)
    size = store.ledger.size()
    assert counts(store, Source()) == (complete, found)
    assert store.ledger.size() == size
    tracker, catalogue = Tracker(store), Catalogue(store)
    rows = store.database.all("SELECT * FROM runs ORDER BY id")
    deleted, kept = tracker.runs.load(rows)
    assert (kept.id, kept.status, kept.started_at, kept.ended_at) == ("f" * 32, "finished", 1_000_000, 2_000_000)
    assert (kept.params, kept.tags["t"], kept.owner, deleted.lifecycle) == ({"p": "1"}, "x", "ann", "deleted")
    assert kept.metrics["loss"].value == 0.5
    versions = catalogue.versions.of(store.database, "shop")
    assert [(v.version, v.mlflow_stage, v.origin) for v in versions] == [(1, "Staging", "m-1"), (3, "Staging", "m-1")]
    assert catalogue.aliases.get(store.database, "shop", "champion").version == 3
    assert store.ledger.verify().ok


def test_what_cannot_be_read_is_told_and_stops_nothing(store: Store) -> None:
    source = Source()
    source.broken.add("f" * 32)
    report = Importer(store, source).run()
    assert not report.complete
    assert [line for line in report.left if "on no disk" in line]
    assert {c.what: c.here for c in report.counts}["versions"] == 2
    source.broken.clear()
    assert Importer(store, source).run().complete


def test_addresses_that_lead_nowhere(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        open_source(f"sqlite:///{tmp_path}/no.db")
    with pytest.raises(NotFound):
        open_source(str(tmp_path / "no"))
    (tmp_path / "text.db").write_text("no database, by no means, however long it is")
    with pytest.raises(Invalid, match="SQLite"):
        open_source(str(tmp_path / "text.db"))
    apsw.Connection(str(tmp_path / "other.db")).execute("CREATE TABLE x (y)")
    with pytest.raises(Invalid, match="no MLflow store"):
        open_source(f"sqlite:///{tmp_path}/other.db")
    (tmp_path / "empty").mkdir()
    with pytest.raises(Invalid, match="mlruns"):
        open_source(str(tmp_path / "empty"))
    with pytest.raises(Invalid, match="its server"):
        open_source("postgresql://host/db")


def test_places_do_not_lead_out_of_themselves(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "secret").write_text("x")
    (tmp_path / "run/link").symlink_to(tmp_path / "secret")
    (tmp_path / "run/file").write_text("y")
    places = LocalPlaces(tmp_path)
    assert [file.path for file in places.files("run")] == ["file"]
    with pytest.raises(Invalid, match="--artifacts"):
        list(places.files("mlflow-artifacts:/0/r/artifacts"))
    with pytest.raises(Invalid, match="no disk"):
        list(places.files("s3://bucket/x"))
    assert [file.path for file in LocalPlaces(tmp_path, tmp_path).files("mlflow-artifacts:/run")] == ["file"]


def test_names_that_would_lead_elsewhere_are_not_written(store: Store, tmp_path: Path) -> None:
    from interlock.bridges.mlflow import Exporter
    from interlock.track.records import Start

    tracker = Tracker(store)
    tags = {"../../../../evil": "x", f"{tmp_path}/evil": "x", "a": "1", "a/b": "2", "kind": "tree"}
    run = store.database.write(lambda tx: tracker.runs.create(tx, Start("e", tags=tags)))
    exporter = Exporter(store, tmp_path / "out")
    exporter.run()
    (folder,) = (tmp_path / "out/mlruns").glob(f"*/{run}/tags")
    assert (folder / "kind").read_text() == "tree"
    assert len(exporter.left) == 3
    assert list(tmp_path.rglob("evil")) == []


def test_what_was_deleted_there_is_deleted_here(store: Store) -> None:
    class Deleted(Source):
        def experiments(self) -> Iterator[TheirExperiment]:
            yield TheirExperiment("7", "exp", "deleted", {})

    assert Importer(store, Deleted()).run().complete
    assert Tracker(store).experiments.named("exp").lifecycle == "deleted"
    assert Importer(store, Deleted()).run().complete


def test_a_record_that_makes_no_sense_stops_nothing_else(store: Store) -> None:
    class Strange(Source):
        def runs(self, experiment: str) -> Iterator[TheirRun]:
            yield TheirRun("d" * 32, experiment, "r", "", "DANCING", "active", 10**18, None, "x", {}, {})
            yield from super().runs(experiment)

    report = Importer(store, Strange()).run()
    assert [line for line in report.left if "d" * 32 in line]
    assert {count.what: count.here for count in report.counts}["runs"] == 2


def report_of(store: Store, source: Source, *, dry: bool = False) -> tuple[Report, dict[str, tuple[int, int]]]:
    report = Importer(store, source, dry=dry).run()
    return report, {count.what: (count.there, count.here) for count in report.counts}


def test_links_and_logged_models_come_whole(store: Store) -> None:
    report, found = report_of(store, Source())
    assert report.complete
    assert (found["inputs"], found["outputs"]) == ((4, 4), (2, 2))
    assert (found["logged model params"], found["logged model points"]) == ((1, 1), (2, 2))
    tracker = Tracker(store)
    dataset, read, made = tracker.links.of(["f" * 32])["f" * 32]
    assert (dataset.name, dataset.tags, dataset.dataset.source_type) == (
        "people",
        {"mlflow.data.context": "training"},
        "code",
    )
    assert ((read.kind, read.name), (made.kind, made.name, made.step)) == (("model", "m-1"), ("output", "m-1", 7))
    model = tracker.logged_models.get("m-1")
    first, second = sorted(model.metrics, key=lambda metric: metric.point.step)
    assert (first.key, first.point.step, first.point.at, first.point.value) == ("acc", 1, 1_500_000, 0.5)
    assert (first.run, first.dataset_name, first.dataset_digest) == ("f" * 32, "people", "d1")
    assert math.isnan(second.point.value)
    assert (model.params, model.status) == ({"q": "2"}, "ready")


@pytest.mark.parametrize(
    ("lost", "where"),
    [
        ("artifacts", "interlock.track.artifacts.Artifacts.put"),
        ("points", "interlock.track.metrics.Metrics.append"),
        ("outputs", "interlock.track.links.Links.add"),
        ("logged model points", "interlock.track.logged_models.LoggedModels.log_metric"),
        ("logged models", "interlock.track.logged_models.LoggedModels.create"),
        ("aliases", "interlock.registry.aliases.AliasBook.set"),
        ("versions", "interlock.registry.versions.VersionBook.create"),
        ("models", "interlock.registry.models.ModelBook.create"),
        ("runs", "interlock.track.runs.Runs.create"),
        ("experiment tags", "interlock.track.experiments.Experiments.create"),
    ],
)
def test_our_side_is_counted_in_the_database(
    store: Store, monkeypatch: pytest.MonkeyPatch, lost: str, where: str
) -> None:
    """Whatever says that it wrote: if it is not there, the report says so."""
    Tracker(store).experiments.ensure_default()

    class Nothing(str):
        __slots__ = ("version",)

    nothing = Nothing("nothing")
    nothing.version = 1

    monkeypatch.setattr(where, lambda *_, **__: nothing)
    report, found = report_of(store, Source())
    there, here = found[lost]
    assert here < there
    assert not report.complete


def test_a_dry_run_counts_and_writes_nothing(store: Store) -> None:
    report, found = report_of(store, Source(), dry=True)
    assert (report.dry, report.complete, report.left, report.others) == (True, False, (), {"traces": 3})
    assert {here for _, here in found.values()} == {0}
    assert (found["runs"], found["points"], found["artifacts"], found["versions"]) == ((2, 0), (4, 0), (3, 0), (2, 0))
    assert store.ledger.size() == 0
    assert list(store.objects.digests()) == []
    assert report_of(store, Source())[0].complete
    size = store.ledger.size()
    report, found = report_of(store, Source(), dry=True)
    assert report.complete
    assert found["points"] == (4, 4)
    assert store.ledger.size() == size


class Breaking(Source):
    """Two experiments; reading the first breaks off in the middle."""

    def experiments(self) -> Iterator[TheirExperiment]:
        yield TheirExperiment("7", "exp", "active", {})
        yield TheirExperiment("8", "next", "active", {})

    def runs(self, experiment: str) -> Iterator[TheirRun]:
        if experiment == "8":
            yield TheirRun("d" * 32, experiment, "r", "", "FINISHED", "active", 1000, 2000, "x", {}, {})
            return
        yield next(super().runs(experiment))
        raise Unavailable("The server went away.", about="import")


def test_where_reading_breaks_off_the_rest_is_named_and_the_next_goes_on(store: Store) -> None:
    report, found = report_of(store, Breaking())
    assert not report.complete
    assert (
        "runs of experiment exp: reading broke off after 1, so all after these are left: The server went away."
        in report.left
    )
    assert found["runs"] == (2, 2)
    assert found["logged models"] == (2, 2)
    assert store.database.one("SELECT id FROM runs WHERE id = :id", {"id": "d" * 32})
    assert found["versions"] == (2, 2)


@pytest.mark.parametrize("part", ["experiments", "models", "logged_models"])
def test_lists_that_break_off_are_told(store: Store, part: str) -> None:
    source = Source()
    whole = getattr(source, part)

    def broken(*words: str) -> Iterator[object]:
        yield from whole(*words)
        raise OSError("gone")

    setattr(source, part, broken)
    report, _ = report_of(store, source)
    assert not report.complete
    assert [line for line in report.left if "broke off after 1" in line and "gone" in line]


class Large(Source):
    """One run with many points, of which reading breaks off once."""

    def __init__(self, points: int, broken: bool = False) -> None:
        super().__init__()
        self.points, self.breaks = points, broken

    def runs(self, experiment: str) -> Iterator[TheirRun]:
        yield TheirRun("f" * 32, experiment, "r", "", "FINISHED", "active", 1000, 2000, "x", {"p": "1"}, {})

    def metrics(self, run: TheirRun) -> Iterator[tuple[str, list[Point]]]:
        for start in range(0, self.points, 10):
            if self.breaks and start == self.points // 20 * 10:
                raise Unavailable("The server went away.", about="import")
            yield "loss", [(step, 1000 + step, step / 2) for step in range(start, start + 10)]
        yield "other", [(0, 1000, 1.0)]


def test_a_large_run_comes_in_pieces_and_is_completed_later(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taking_runs, "_AT_ONCE", 30)
    report, found = report_of(store, Large(200, broken=True))
    assert not report.complete
    assert found["points"][0] == 100
    assert 0 < found["points"][1] < 100
    row = store.database.one("SELECT status, ended_at FROM runs")
    assert (row["status"], row["ended_at"]) == ("running", None)  # so that it is seen to be incomplete
    for _ in range(2):
        report, found = report_of(store, Large(200))
        assert report.complete, report.left
        assert found["points"] == (201, 201)
        size = store.ledger.size()
    report_of(store, Large(200))
    assert store.ledger.size() == size
    row = store.database.one("SELECT status, ended_at FROM runs")
    assert (row["status"], row["ended_at"]) == ("finished", 2_000_000)
    assert [*store.series.points("f" * 32, "loss").steps] == [*range(200)]
    counted = store.database.one("SELECT sum(points) AS n FROM metric_segments WHERE key = 'loss'")
    assert counted["n"] == 200, "points are there twice"


def test_what_somebody_changed_here_since_stays(store: Store) -> None:
    assert report_of(store, Source())[0].complete
    tracker, catalogue = Tracker(store), Catalogue(store)

    def change(tx) -> None:
        catalogue.aliases.set(tx, "shop", "champion", 1)
        tracker.runs.log(tx, "f" * 32, {}, {"t": "mine"})
        tracker.artifacts.put(tx, "run", "f" * 32, StoredFile("MLmodel", store.objects.put(b"mine"), 4))

    store.database.write(change)
    report, found = report_of(store, Source())
    assert catalogue.aliases.get(store.database, "shop", "champion").version == 1
    assert tracker.artifacts.find("f" * 32, "MLmodel").size_bytes == 4
    left = "\n".join(report.left)
    assert "points to version 1 here, to 3 there" in left
    assert "'MLmodel' is here and is another file" in left
    assert (found["aliases"], found["tags"]) == ((1, 0), (2, 1))


def test_an_experiment_that_was_deleted_here_stays_deleted(store: Store) -> None:
    report_of(store, Source())
    tracker = Tracker(store)
    ident = tracker.experiments.named("exp").id
    store.database.write(lambda tx: tracker.experiments.change(tx, ident, lifecycle="deleted"))
    report, _ = report_of(store, Source())
    assert [line for line in report.left if line.startswith("experiment exp: It is deleted here")]
    assert tracker.experiments.named("exp").lifecycle == "deleted"


def test_versions_of_runs_and_of_prompts(store: Store) -> None:
    """Files of a version that names a run or another version are those that came with it; a prompt has none."""
    run = "f" * 32

    class Named(Source):
        def experiments(self) -> Iterator[TheirExperiment]:
            yield TheirExperiment("7", "exp", "active", {})

        def files(self, place: str) -> Iterator[TheirFile]:
            if place.startswith(("runs:", "models:", "dummy")):
                raise Invalid(f"{place} is no place.", about="import")
            for path in ("model/MLmodel", "model/data/w.bin", "other.txt"):
                yield TheirFile(path, None, partial(io.BytesIO, path.encode()))

        def models(self) -> Iterator[tuple[TheirModel, list[TheirVersion]]]:
            def version(model: str, place: str, **tags: str) -> TheirVersion:
                return TheirVersion(model, 1, "", "", "None", place, place, run, "READY", "", tags)

            yield TheirModel("shop", "", {}, {}), [version("shop", f"runs:/{run}/model")]
            yield TheirModel("copy", "", {}, {}), [version("copy", "models:/shop/1")]
            prompt = {"mlflow.prompt.is_prompt": "true", "_mlflow_experiment_ids": ",7,9,"}
            yield (
                TheirModel("greet", "", prompt, {"prod": 1}),
                [version("greet", "dummy-source", **{"mlflow.prompt.is_prompt": "true", "mlflow.prompt.text": "Hi"})],
            )

    report, found = report_of(store, Named())
    assert report.complete, report.left
    assert found["versions"] == (3, 3)
    catalogue = Catalogue(store)
    shop, copy, greet = (catalogue.versions.get(store.database, name, 1) for name in ("shop", "copy", "greet"))
    assert shop.bundle == copy.bundle
    assert [file.path for file in read_manifest(store.objects, shop.bundle).files] == ["MLmodel", "data/w.bin"]
    assert (greet.bundle, greet.tags["mlflow.prompt.text"]) == ("", "Hi")
    ident = Tracker(store).experiments.named("exp").id
    tags = catalogue.models.get(store.database, "greet").tags
    assert tags["_mlflow_experiment_ids"] == f",{ident},9,"


def test_the_list_of_what_is_left_has_an_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "_MOST_LEFT", 2)

    class Bad(Source):
        def runs(self, experiment: str) -> Iterator[TheirRun]:
            for number in range(5):
                yield TheirRun(f"{number}", experiment, "r", "", "DANCING", "active", 1, None, "x", {}, {})

    report, _ = report_of(store, Bad())
    assert len(report.left) == 3
    assert report.left[-1] == "3 more."
