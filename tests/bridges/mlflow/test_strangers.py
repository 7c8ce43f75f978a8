"""Stores that a stranger made: nothing outside is read, and a bad record costs only itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from interlock.bridges.mlflow import Importer, careful, folder, open_source, taking_registry
from interlock.bridges.mlflow.places import LocalPlaces
from interlock.core.errors import Invalid
from interlock.registry.catalogue import Catalogue
from interlock.store import Store
from interlock.track.tracker import Tracker

GOOD, BAD = "a" * 32, "b" * 32


def write(path: Path, text: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


@pytest.fixture
def mlruns(tmp_path: Path) -> Path:
    """A store in a folder: two runs, a model with a version and an alias; a secret beside it."""
    root = tmp_path / "there/mlruns"
    write(tmp_path / "secret/MLmodel", "hidden")
    write(root / "1/meta.yaml", "experiment_id: '1'\nname: exp\nlifecycle_stage: active\n")
    for run in (GOOD, BAD):
        write(root / f"1/{run}/meta.yaml", f"run_id: {run}\nrun_name: r\nstatus: 3\nstart_time: 1000\nend_time: 2000\n")
        write(root / f"1/{run}/params/p", "1")
        write(root / f"1/{run}/metrics/loss", "1000 0.5 0\n")
        write(root / f"1/{run}/artifacts/f.txt", "file")
    write(root / "models/shop/meta.yaml", "name: shop\n")
    write(root / "models/shop/version-1/meta.yaml", f"version: 1\nsource: runs:/{GOOD}/m\nrun_id: {GOOD}\n")
    place = root / f"1/{GOOD}/artifacts"
    write(root / "models/shop/version-1/meta.yaml", f"version: 1\nstorage_location: {place}\n")
    write(root / "models/shop/aliases/good", "1")
    return root


def taken(store: Store, address: Path, artifacts: Path | None = None) -> tuple[dict[str, int], str]:
    """Return how many of each kind are here after an import, and what was left."""
    source = open_source(str(address), artifacts)
    try:
        report = Importer(store, source).run()
    finally:
        source.close()
    assert report.complete == (not report.left)
    return {count.what: count.here for count in report.counts}, "\n".join(report.left)


def test_a_sound_store_is_taken_over_whole(store: Store, mlruns: Path) -> None:
    here, left = taken(store, mlruns)
    assert (here["runs"], here["params"], here["points"], here["artifacts"], here["aliases"]) == (2, 2, 2, 2, 1)
    assert left == ""


@pytest.mark.parametrize("part", ["tags/leak", "params/leak", "metrics/leak", "tags", "artifacts/leak", "artifacts"])
def test_links_that_leave_are_not_followed(store: Store, mlruns: Path, part: str) -> None:
    link = mlruns / f"1/{BAD}" / part
    target = mlruns.parent.parent / "secret"
    if link.is_dir():
        (link / "f.txt").unlink()
        link.rmdir()
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(target / "MLmodel" if link.name == "leak" else target)
    here, left = taken(store, mlruns)
    assert here["runs"] == 2
    assert here["artifacts"] == (1 if part == "artifacts" else 2)
    assert str(link) in left
    assert "hidden" not in str(Tracker(store).runs.load(store.database.all("SELECT * FROM runs")))
    assert {file.name for file in Tracker(store).artifacts.all(BAD)} <= {"f.txt"}


@pytest.mark.parametrize("part", [f"{BAD}/meta.yaml", f"{BAD}"])
def test_records_that_are_links_that_leave_are_left(store: Store, mlruns: Path, part: str) -> None:
    outside = mlruns.parent.parent / "moved"
    (mlruns / "1" / part).rename(outside)
    (mlruns / "1" / part).symlink_to(outside)
    here, left = taken(store, mlruns)
    assert here["runs"] == 1
    assert "leaves the store" in left


def test_an_experiment_does_not_lead_elsewhere(store: Store, mlruns: Path) -> None:
    write(mlruns / "1/meta.yaml", "experiment_id: ../..\nname: exp\n")
    assert "leads out" in taken(store, mlruns)[1]


def test_a_dataset_does_not_lead_elsewhere(store: Store, mlruns: Path) -> None:
    write(mlruns / f"1/{BAD}/inputs/i/meta.yaml", "source_id: ../../../..\n")
    write(mlruns.parent / "meta.yaml", "name: hidden\n")
    here, left = taken(store, mlruns)
    assert here["runs"] == 1
    assert f"run {BAD}" in left


def test_files_outside_are_taken_only_from_the_named_folder(store: Store, mlruns: Path) -> None:
    secret = mlruns.parent.parent / "secret"
    write(mlruns / "models/shop/version-2/meta.yaml", f"version: 2\nstorage_location: file://{secret}\n")
    here, left = taken(store, mlruns)
    assert here["versions"] == 2
    assert "outside the store" in left
    assert "--artifacts" in left
    assert not Catalogue(store).versions.get(store.database, "shop", 2).bundle
    places = LocalPlaces(mlruns, secret)
    assert [file.path for file in places.files(str(secret))] == ["MLmodel"]
    with pytest.raises(Invalid, match="outside"):
        list(places.files("mlflow-artifacts:/../there"))
    with pytest.raises(Invalid, match="outside"):
        list(places.files("nul\0"))


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ("meta.yaml", "start_time: abc\n"),
        ("meta.yaml", "start_time: 1" + "0" * 5000 + "\n"),
        ("meta.yaml", "start_time: 1" + "0" * 40 + "\n"),
        ("meta.yaml", b"\xff"),
        ("metrics/loss", b"\xff 1 2\n"),
        ("metrics/loss", "1" + "0" * 40 + " 1 2\n"),
        ("metrics/loss", "1 1 1" + "0" * 40 + "\n"),
        ("metrics/loss", "no point\n"),
    ],
)
def test_a_bad_run_costs_only_itself(store: Store, mlruns: Path, part: str, text: str | bytes) -> None:
    write(mlruns / f"1/{BAD}" / part, text)
    here, left = taken(store, mlruns)
    assert (here["runs"], here["versions"]) == (1, 1)
    assert BAD in left


def test_bad_aliases_and_versions_cost_only_themselves(store: Store, mlruns: Path) -> None:
    write(mlruns / "models/shop/aliases/bad", "xx")
    write(mlruns / "models/shop/version-x/meta.yaml", "source: y\n")
    write(mlruns / "models/shop/version-9/meta.yaml", "version: 3000000\n")
    here, left = taken(store, mlruns)
    assert (here["aliases"], here["versions"]) == (1, 1)
    assert "alias bad of shop" in left
    assert "version-x of model shop" in left
    assert "10,000 numbers" in left


def test_gaps_are_counted_over_all_versions(store: Store, monkeypatch: pytest.MonkeyPatch, mlruns: Path) -> None:
    monkeypatch.setattr(taking_registry, "MAX_GAPS", 2)
    for number in (4, 7, 5):
        write(mlruns / f"models/shop/version-{number}/meta.yaml", f"version: {number}\n")
    here, left = taken(store, mlruns)
    assert here["versions"] == 3
    assert "version 7 of model shop" in left


TABLES = """
CREATE TABLE experiments (experiment_id INTEGER PRIMARY KEY, name VARCHAR, lifecycle_stage VARCHAR);
CREATE TABLE runs (run_uuid VARCHAR PRIMARY KEY, name VARCHAR, user_id VARCHAR, status VARCHAR,
    lifecycle_stage VARCHAR, start_time BIGINT, end_time BIGINT, artifact_uri VARCHAR, experiment_id INTEGER);
CREATE TABLE metrics (key VARCHAR, value FLOAT, timestamp BIGINT, run_uuid VARCHAR, step BIGINT, is_nan BOOLEAN);
CREATE TABLE params (key VARCHAR, value VARCHAR, run_uuid VARCHAR);
CREATE TABLE tags (key VARCHAR, value VARCHAR, run_uuid VARCHAR);
INSERT INTO experiments VALUES (1, 'exp', 'active');
"""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[tuple[Path, apsw.Connection]]:
    """A store in a database, open for changes: two runs."""
    path = tmp_path / "there/mlflow.db"
    path.parent.mkdir()
    connection = apsw.Connection(str(path))
    connection.execute(TABLES)
    for run in (GOOD, BAD):
        row = (run, "r", "u", "FINISHED", "active", 1000, 2000, f"mlruns/{run}", 1)
        connection.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        connection.execute("INSERT INTO metrics VALUES ('loss', 0.5, 1000, ?, 0, 0)", (run,))
        connection.execute("INSERT INTO params VALUES ('p', '1', ?)", (run,))
    yield path, connection
    connection.close()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE runs SET start_time = 'abc'",
        "UPDATE runs SET start_time = x'ff'",
        "UPDATE runs SET start_time = 9223372036854775807",
        "UPDATE runs SET name = x'ff'",
        "UPDATE runs SET name = CAST(x'ff' AS TEXT)",
        "UPDATE runs SET status = 'DANCING'",
        "UPDATE params SET value = x'ff'",
        "UPDATE params SET value = CAST(x'ff' AS TEXT)",
        "UPDATE metrics SET value = 'abc'",
        "UPDATE metrics SET value = NULL",
        "UPDATE metrics SET step = 'abc'",
        "UPDATE metrics SET timestamp = 9223372036854775807",
        "UPDATE metrics SET key = x'ff'",
    ],
)
def test_a_bad_row_costs_only_its_run(store: Store, database: tuple[Path, apsw.Connection], change: str) -> None:
    path, connection = database
    connection.execute(f"{change} WHERE run_uuid = ?", (BAD,))
    here, left = taken(store, path)
    assert (here["experiments"], here["runs"]) == (1, 1)
    assert left


def test_a_bad_experiment_costs_only_itself(store: Store, database: tuple[Path, apsw.Connection]) -> None:
    path, connection = database
    connection.execute("INSERT INTO experiments VALUES (0, x'ff', 'active')")
    here, left = taken(store, path)
    assert (here["experiments"], here["runs"]) == (1, 2)
    assert "row 0 of experiments" in left


def test_a_view_is_no_table(database: tuple[Path, apsw.Connection]) -> None:
    path, connection = database
    connection.execute(
        "DROP TABLE params; CREATE VIEW params AS WITH RECURSIVE n(key, value, run_uuid) AS"
        " (SELECT '1', '', '' UNION ALL SELECT key || '1', '', '' FROM n) SELECT * FROM n"
    )
    with pytest.raises(Invalid, match="no MLflow store"):
        open_source(str(path))


def test_places_of_a_database_lie_beside_it(store: Store, database: tuple[Path, apsw.Connection]) -> None:
    path, connection = database
    write(path.parent.parent / "secret/x", "hidden")
    write(path.parent / f"mlruns/{GOOD}/f", "file")
    connection.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", (str(path.parent.parent / "secret"), BAD))
    here, left = taken(store, path)
    assert (here["runs"], here["artifacts"]) == (2, 1)
    assert "outside the store" in left
    assert taken(store, path, path.parent.parent / "secret") == (here | {"artifacts": 2}, "")


@pytest.mark.parametrize(
    ("part", "size"),
    [
        (f"1/{BAD}/meta.yaml", careful.LARGEST_RECORD),
        (f"1/{BAD}/params/p", careful.LARGEST_TEXT),
        (f"1/{BAD}/tags/deep/t", careful.LARGEST_TEXT),
        ("models/shop/aliases/good", careful.LARGEST_TEXT),
        ("2/meta.yaml", careful.LARGEST_RECORD),
    ],
)
def test_records_larger_than_mlflows_are_left_unread(store: Store, mlruns: Path, part: str, size: int) -> None:
    path = mlruns / part
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size + 1)  # holes: it takes no disk
    here, left = taken(store, mlruns)
    assert f"{path} is larger than {size:,} bytes" in left
    assert here["runs"] == (1 if BAD in part else 2)


def test_a_value_of_a_database_that_is_larger_is_left(store: Store, database: tuple[Path, apsw.Connection]) -> None:
    path, connection = database
    connection.execute("UPDATE params SET value = zeroblob(?) WHERE run_uuid = ?", (careful.LARGEST_RECORD + 1, BAD))
    here, left = taken(store, path)
    assert here["runs"] == 1
    assert "row 2 of runs" in left


def test_points_of_a_folder_come_in_order_and_once(store: Store, mlruns: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for small in (1 << 20, 0):
        monkeypatch.setattr(folder, "_SMALL", small)
        write(mlruns / f"1/{GOOD}/metrics/loss", "2000 0.5 1\n1000 nan\n3000 inf 2\n2000 0.5 1\n\n1000 nan 0\n")
        write(mlruns / f"1/{GOOD}/metrics/long", "".join(f"{1000 + step} {step} {step}\n" for step in range(70_000)))
        found = dict[str, list[list[tuple[int, int, float]]]]()
        source = open_source(str(mlruns))
        (run,) = [run for run in source.runs("1") if run.id == GOOD]
        for name, piece in source.metrics(run):
            found.setdefault(name, []).append(piece)
        assert str(found["loss"]) == "[[(0, 1000, nan), (1, 2000, 0.5), (2, 3000, inf)]]"
        assert [len(piece) for piece in found["long"]] == [1 << 16, 70_000 - (1 << 16)]
    here, left = taken(store, mlruns)
    assert (here["points"], left) == (3 + 70_000 + 1, "")


def test_a_metric_without_line_breaks_is_refused(store: Store, mlruns: Path) -> None:
    write(mlruns / f"1/{BAD}/metrics/loss", "1" * 1_000_000)
    here, left = taken(store, mlruns)
    assert here["runs"] == 1
    assert "no point" in left


def test_links_and_logged_models_of_a_folder(store: Store, mlruns: Path) -> None:
    model = "m-" + "1" * 32
    base = mlruns / "1" / "models" / model
    write(base / "meta.yaml", f"model_id: {model}\nname: net\nstatus: 2\nsource_run_id: {GOOD}\nmodel_type: agent\n")
    write(base / "params/a/b", "1")
    write(base / "tags/t", "x")
    write(base / "metrics/acc", f"1000 0.5 1 {GOOD} my data d1\n1000 0.25 1 {BAD}\n2000 0.75 2 {GOOD} ones d2\n")
    write(mlruns / f"1/{GOOD}/inputs/i/meta.yaml", f"source_id: {model}\nsource_type: MODEL\ntags: {{}}\n")
    write(
        mlruns / "1/datasets/d/meta.yaml", "name: 'people: all'\ndigest: d1\nschema: '{\"a\": 1}'\nsource_type: code\n"
    )
    write(
        mlruns / f"1/{GOOD}/inputs/j/meta.yaml",
        "source_id: d\nsource_type: DATASET\ntags:\n  mlflow.data.context: eval\n",
    )
    write(mlruns / f"1/{GOOD}/outputs/{model}/meta.yaml", "source_type: RUN_OUTPUT\nstep: 9\ntags: {}\n")
    here, left = taken(store, mlruns)
    assert left == ""
    assert (here["inputs"], here["outputs"], here["logged model points"], here["logged model params"]) == (2, 1, 3, 1)
    tracker = Tracker(store)
    points = [
        (m.key, m.point.step, m.run, m.dataset_name, m.dataset_digest) for m in tracker.logged_models.get(model).metrics
    ]
    assert sorted(points) == [
        ("acc", 1, GOOD, "my data", "d1"),
        ("acc", 1, BAD, "", ""),
        ("acc", 2, GOOD, "ones", "d2"),
    ]
    links = {link.kind: link for link in tracker.links.of([GOOD])[GOOD]}
    assert (links["dataset"].name, links["dataset"].tags) == ("people: all", {"mlflow.data.context": "eval"})
    assert links["dataset"].dataset.schema == '{"a": 1}'
    assert (links["model"].name, links["output"].step) == (model, 9)


def test_two_models_of_one_name_in_two_workspaces_keep_their_own(tmp_path: Path, store: Store) -> None:
    """MLflow 3.10 and on keeps workspaces apart; ours has one, so the second is told to be another."""
    path = tmp_path / "there/mlflow.db"
    path.parent.mkdir()
    connection = apsw.Connection(str(path))
    connection.execute(TABLES)
    connection.execute(
        """
        CREATE TABLE registered_models (name TEXT, creation_time BIGINT, description TEXT, workspace TEXT);
        CREATE TABLE registered_model_tags (key TEXT, value TEXT, name TEXT, workspace TEXT);
        CREATE TABLE registered_model_aliases (alias TEXT, version INTEGER, name TEXT, workspace TEXT);
        CREATE TABLE model_versions (name TEXT, version INTEGER, description TEXT, user_id TEXT, current_stage TEXT,
            source TEXT, run_id TEXT, status TEXT, run_link TEXT, storage_location TEXT, workspace TEXT);
        CREATE TABLE model_version_tags (key TEXT, value TEXT, name TEXT, version INTEGER, workspace TEXT);
        """
    )
    for number, workspace in enumerate(("default", "other")):
        connection.execute("INSERT INTO registered_models VALUES ('shop', ?, '', ?)", (number, workspace))
        connection.execute("INSERT INTO registered_model_tags VALUES ('in', ?, 'shop', ?)", (workspace, workspace))
        values = ("shop", 1, "", "", "None", f"s3://{workspace}", "", "READY", "", f"s3://{workspace}", workspace)
        connection.execute("INSERT INTO model_versions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
    connection.close()
    source = open_source(str(path))
    models = [(model.tags, [version.source for version in versions]) for model, versions in source.models()]
    source.close()
    assert models == [({"in": "default"}, ["s3://default"]), ({"in": "other"}, ["s3://other"])]
    _, left = taken(store, path)
    assert "model:shop@1 is here and is another one" in left
