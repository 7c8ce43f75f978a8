from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from interlock.core.errors import Conflict, Invalid, NotFound
from interlock.registry.catalogue import Catalogue
from interlock.registry.service import RegistryService
from interlock.store import Store

SCRIPT = """
import sys
from pathlib import Path
from interlock.registry.catalogue import Catalogue
from interlock.store import open_store

store = open_store(Path(sys.argv[1]))
books = Catalogue(store)
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[2])):
    draft = books.versions.draft("m", source=f"{sys.argv[3]}{number}")
    print(store.database.write(lambda tx: books.versions.create(tx, draft, make=True)).version)
store.close()
"""


def test_a_version_needs_its_model(store: Store, books: Catalogue) -> None:
    draft = books.versions.draft("credit", source="runs:/x/model")
    with pytest.raises(NotFound, match="credit"):
        store.database.write(lambda tx: books.versions.create(tx, draft))
    made = store.database.write(lambda tx: books.versions.create(tx, draft, make=True))
    assert (made.ref, made.source, made.run, made.bundle, made.status, made.mlflow_stage) == (
        "model:credit@1",
        "runs:/x/model",
        "",
        "",
        "READY",
        "None",
    )


def test_all_that_was_said_is_kept(store: Store, books: Catalogue, make, manifest) -> None:
    texts = {
        "source": "models:/m-1",
        "location": "mlflow-artifacts:/1/m-1",
        "origin": "m-1",
        "run_link": "link",
        "description": "text",
        "owner": "user:ann",
        "tags": {"a": "b"},
        "run": "0" * 32,
    }
    made = make(bundle=manifest(MLmodel=b"flavors: {}"), data=["data:people@1"], **texts)
    assert {name: getattr(made, name) for name in texts} == texts | {"run": "run:" + "0" * 32}
    assert (made.format, made.stage, made.data) == ("opaque", "registered", ("data:people@1",))
    assert books.versions.get(store.database, "m", 1) == made
    event = store.ledger.events(kinds=("model_version.created",))[-1]
    assert made.bundle in event.data.pop("signature")
    assert event.data == {
        "run": made.run,
        "bundle": made.bundle,
        "data": ["data:people@1"],
        "source": "models:/m-1",
        "format": "opaque",
        "pins": made.pins,
        "description": "text",
        "tags": {"a": "b"},
    }


def test_an_unpinned_version_goes_nowhere(store: Store, make, registry: RegistryService) -> None:
    made = make()
    assert (made.format, made.stage) == ("unpinned", "created")
    with pytest.raises(Conflict, match="not pinned"):
        store.database.write(lambda tx: registry.advance(tx, made.ref, "registered", "please"))
    with pytest.raises(Invalid, match="not pinned"):
        registry.bundle(made.ref)
    assert registry.move(made.ref, "retired", "old").stage == "retired"


def test_files_that_are_not_here_are_refused(store: Store, books: Catalogue, manifest) -> None:
    digest = manifest(a=b"abc")
    with pytest.raises(NotFound):
        books.versions.draft("m", bundle="0" * 64)
    with pytest.raises(Invalid, match="digest"):
        books.versions.draft("m", bundle="../../etc/passwd")
    for stored in list(store.objects.digests()):
        if stored != digest:
            (store.root / "objects" / stored[:2] / stored[2:]).unlink()
    with pytest.raises(NotFound, match="object"):
        books.versions.draft("m", bundle=digest)


def test_a_run_may_have_several_versions_but_register_takes_the_same_files_once(registry, manifest) -> None:
    run, one, two = "01ARZ3NDEKTSV4RRFFQ69G5FAV", manifest(a=b"1"), manifest(a=b"2")
    assert [registry.register("m", run, bundle).version for bundle in (one, two, one, two)] == [1, 2, 1, 2]
    registry.archive("m@1")
    assert registry.register("m", run, one).version == 3
    with pytest.raises(Invalid, match="needs its files"):
        registry.register("m", run, "")


def test_texts_tags_stages_and_status_change_and_bytes_do_not(store: Store, books: Catalogue, make) -> None:
    made, write, versions = make(tags={"a": "1"}), store.database.write, books.versions
    write(lambda tx: versions.describe(tx, "m", 1, description="text", owner="user:ann"))
    write(lambda tx: versions.tag(tx, "m", 1, {"b": "2"}))
    write(lambda tx: versions.untag(tx, "m", 1, ["a", "z"]))
    write(lambda tx: versions.status(tx, "m", 1, "FAILED_REGISTRATION", "the copy broke off"))
    after = write(lambda tx: versions.mlflow_stage(tx, "m", 1, "Staging"))
    assert (after.description, after.owner, after.tags, after.mlflow_stage) == (
        "text",
        "user:ann",
        {"b": "2"},
        "Staging",
    )
    assert (after.status, after.status_reason) == ("FAILED_REGISTRATION", "the copy broke off")
    assert (after.bundle, after.pins, after.created_at) == (made.bundle, made.pins, made.created_at)
    assert after.updated_at >= made.updated_at
    with pytest.raises(Invalid, match="no stage 'production'"):
        write(lambda tx: versions.mlflow_stage(tx, "m", 1, "production"))
    with pytest.raises(Invalid, match="no status"):
        write(lambda tx: versions.status(tx, "m", 1, "DONE"))
    changed = [event.data["changes"] for event in store.ledger.events(kinds=("model_version.updated",)) if event.data]
    assert changed[-1] == {"mlflow_stage": "Staging"}
    for missing in (lambda tx: versions.tag(tx, "m", 2, {}), lambda tx: versions.describe(tx, "x", 1)):
        with pytest.raises(NotFound):
            write(missing)


def test_a_stage_of_mlflow_can_push_others_into_its_archive(store: Store, books: Catalogue, make) -> None:
    for _ in range(4):
        make()
    for number in (1, 2, 3):
        store.database.write(lambda tx, number=number: books.versions.mlflow_stage(tx, "m", number, "Production"))
    store.database.write(lambda tx: books.versions.mlflow_stage(tx, "m", 4, "Production", archive_existing=True))
    assert [v.mlflow_stage for v in books.versions.of(store.database, "m")] == ["Archived"] * 3 + ["Production"]
    make("other")
    newest = books.versions.newest_by_mlflow_stage(store.database, ["other", "m", "none"])
    assert {name: [(v.mlflow_stage, v.version) for v in found] for name, found in newest.items()} == {
        "other": [("None", 1)],
        "m": [("Archived", 3), ("Production", 4)],
        "none": [],
    }


def test_archiving_a_version_hides_it_and_keeps_its_number(store: Store, books: Catalogue, make, registry) -> None:
    make(), make()
    registry.alias("m", "best", 2)
    registry.archive("m@best", "wrong data")
    assert books.versions.newest(store.database, "m").version == 1
    assert registry.model("m").aliases == {}
    assert registry.version("m@2").archived_at
    with pytest.raises(NotFound, match="archived"):
        books.versions.get(store.database, "m", 2)
    with pytest.raises(NotFound, match="archived"):
        registry.tag("m@2", {"a": "b"})
    with pytest.raises(Conflict, match="is archived"):
        store.database.write(lambda tx: registry.advance(tx, "m@2", "retired", "x"))
    with pytest.raises(NotFound):
        registry.alias("m", "best", 2)
    assert make().version == 3
    back = registry.restore("m@2").version
    assert (back.archived_at, back.aliases) == (None, ())
    with pytest.raises(Conflict, match="not archived"):
        registry.restore("m@2")
    assert [event.data for event in store.ledger.events(kinds=("model_version.archived",))] == [
        {"reason": "wrong data"}
    ]


def test_bulk_reads_keep_the_order(store: Store, books: Catalogue, make) -> None:
    for number in range(3):
        make("a", tags={"n": str(number)})
        make("b")
    keys = [("b", 2), ("a", 3), ("a", 9), ("a", 1)]
    found = books.versions.at(store.database, keys)
    assert [(v.model, v.version, v.tags) for v in found] == [("b", 2, {}), ("a", 3, {"n": "2"}), ("a", 1, {"n": "0"})]


def test_numbers_have_no_gaps_under_threads_of_which_some_fail(store: Store, books: Catalogue) -> None:
    start = threading.Barrier(16)

    def work(worker: int) -> list[int]:
        start.wait()
        made = []
        for number in range(20):
            draft = books.versions.draft("m", source=f"{worker}.{number}")

            def change(tx, draft=draft, fail=number % 5 == 4):
                version = books.versions.create(tx, draft, make=True).version
                if fail:
                    raise RuntimeError("the client went away")
                return version

            try:
                made.append(store.database.write(change))
            except RuntimeError:
                continue
        return made

    with ThreadPoolExecutor(16) as pool:
        numbers = [number for made in pool.map(work, range(16)) for number in made]
    assert sorted(numbers) == list(range(1, 16 * 16 + 1))
    assert store.ledger.verify().ok


def test_numbers_have_no_gaps_under_processes(store: Store, books: Catalogue) -> None:
    command = [sys.executable, "-c", SCRIPT, str(store.root), "40"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    workers = [subprocess.Popen([*command, name], **pipes) for name in ("left", "right")]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    printed = []
    for worker in workers:
        worker.stdin.write("\n")
        worker.stdin.flush()
    for worker in workers:
        out, _ = worker.communicate(timeout=60)
        assert worker.returncode == 0
        printed += map(int, out.split())
    assert sorted(printed) == list(range(1, 81))
    assert books.models.get(store.database, "m").last == 80


def test_an_old_workspace_keeps_its_versions(tmp_path: Path) -> None:
    """The migration numbers on where the old tables ended, and guards models that had a policy."""
    import apsw

    from interlock.store import create_store
    from interlock.store.migrations import migrations

    root = tmp_path / ".interlock"
    create_store(root).close()
    (root / "interlock.db").unlink()
    for name in ("interlock.db-wal", "interlock.db-shm"):
        (root / name).unlink(missing_ok=True)
    raw = apsw.Connection(str(root / "interlock.db"))
    raw.execute(
        "CREATE TABLE schema_migrations (version BIGINT PRIMARY KEY, name TEXT, digest TEXT, applied_at BIGINT)"
    )
    for migration in migrations():
        if migration.version < 10:
            for statement in migration.statements:
                raw.execute(statement)
            values = (migration.version, migration.name, migration.digest, 1)
            raw.execute("INSERT INTO schema_migrations VALUES (?, ?, ?, ?)", values)
    raw.execute("INSERT INTO models VALUES ('m', 5), ('empty', 6)")
    raw.execute("INSERT INTO model_versions VALUES ('m', 1, 'r', 'b', '', 'approved', 'why', 7, 7)")
    raw.execute("INSERT INTO applied VALUES ('policy:m', 'd', 1), ('pipeline:m', 'd', 1)")
    raw.close()
    store = create_store(root)
    registry = RegistryService(store)
    assert [(m.name, m.last, m.gated, m.versions) for m in registry.models()] == [
        ("empty", 0, False, 0),
        ("m", 1, True, 1),
    ]
    assert registry.version("m@1").format == "bundle"
    store.close()
