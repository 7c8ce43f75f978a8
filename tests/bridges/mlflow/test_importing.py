"""Import from sources made here; stores made by MLflow itself are taken over in tests/contracts/test_moving.py."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import apsw
import pytest

from interlock.bridges.mlflow import Importer, open_source
from interlock.bridges.mlflow.places import LocalPlaces
from interlock.bridges.mlflow.records import (
    Point,
    TheirExperiment,
    TheirLoggedModel,
    TheirModel,
    TheirRun,
    TheirVersion,
)
from interlock.core.errors import Invalid, NotFound
from interlock.registry.catalogue import Catalogue
from interlock.store import Store
from interlock.track.tracker import Tracker


class Source:
    """A small store: one run with a deleted twin, one model whose version 2 is gone."""

    def __init__(self) -> None:
        self.broken: set[str] = set()

    def experiments(self) -> Iterator[TheirExperiment]:
        yield TheirExperiment("7", "exp", "active", {"a": "b"})

    def runs(self, experiment: str) -> Iterator[TheirRun]:
        for ident, lifecycle in (("f" * 32, "active"), ("e" * 32, "deleted")):
            yield TheirRun(
                ident, experiment, "r", "ann", "FINISHED", lifecycle, 1000, 2000, ident, {"p": "1"}, {"t": "x"}
            )

    def metrics(self, run: TheirRun) -> Iterator[tuple[str, list[Point]]]:
        yield "loss", [(1, 1500, 0.5), (0, 1400, math.nan), (1, 1500, 0.5)]

    def logged_models(self, experiment: str) -> Iterator[TheirLoggedModel]:
        yield TheirLoggedModel(
            "m-1", experiment, "model", "", "f" * 32, "LOGGED_MODEL_READY", "active", "m-1", {"q": "2"}, {}
        )

    def models(self) -> Iterator[tuple[TheirModel, list[TheirVersion]]]:
        versions = [
            TheirVersion("shop", n, "", "ann", "Staging", "models:/m-1", "m-1", "f" * 32, "READY", "", {})
            for n in (1, 3)
        ]
        yield TheirModel("shop", "text", {"k": "v"}, {"champion": 3}), versions

    def files(self, place: str) -> Iterator[tuple[str, BinaryIO]]:
        if place in self.broken:
            raise Invalid(f"{place} is on no disk of this machine.", about="import")
        yield "MLmodel", io.BytesIO(f"flavors: {place}".encode())

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
    assert [(v.version, v.label, v.origin) for v in versions] == [(1, "Staging", "m-1"), (3, "Staging", "m-1")]
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
    assert [path for path, _ in places.files("run")] == ["file"]
    with pytest.raises(Invalid, match="--artifacts"):
        list(places.files("mlflow-artifacts:/0/r/artifacts"))
    with pytest.raises(Invalid, match="no disk"):
        list(places.files("s3://bucket/x"))
    assert [path for path, _ in LocalPlaces(tmp_path, tmp_path).files("mlflow-artifacts:/run")] == ["file"]


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
