from __future__ import annotations

import hashlib
import io
import os
import random
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.core.errors import Conflict, Corrupt, NotFound
from interlock.core.files import StoredFile
from interlock.registry import gc
from interlock.registry.gc import DAY_S, Collection, Share, collect
from interlock.registry.references import Name, digests_in, reached, scan
from interlock.registry.service import RegistryService
from interlock.store import Store
from interlock.store.manifests import Entry, put_entries
from interlock.store.migrations import Migration, migrations
from interlock.store.tables import TABLES
from interlock.track.records import Start
from interlock.track.service import TrackService

if TYPE_CHECKING:
    from interlock.core.ports import Reader, Transaction


def path_of(store: Store, digest: str) -> Path:
    return store.root / "objects" / digest[:2] / digest[2:]


def make_old(store: Store) -> None:
    then = time.time() - 2 * DAY_S
    for digest in store.objects.digests():
        os.utime(path_of(store, digest), (then, then))


def test_nothing_is_removed_unless_told_so(store: Store, registry: RegistryService) -> None:
    old = store.objects.put(b"old")
    make_old(store)
    young = store.objects.put(b"young")
    looked = registry.gc()
    assert [item.digest for item in looked.oldest] == [old]
    assert {share.kind: (share.objects, share.size_bytes) for share in looked.shares} == {
        "garbage": (1, 3),
        "not named yet": (1, 5),
    }
    assert (looked.removed, looked.removed_bytes) == (0, 0)
    assert store.objects.size(old) == 3
    done = registry.gc(apply=True)
    assert (done.removed, done.removed_bytes) == (1, 3)
    assert store.objects.size(old) is None
    assert store.objects.get(young) == b"young"
    event = store.ledger.events(kinds=("objects.removed",))[-1]
    assert event.data["count"] == 1
    assert msgspec.json.decode(store.objects.get(event.data["list"]))[0]["digest"] == old


def test_bytes_are_counted_by_what_they_are_for(store: Store, registry: RegistryService, make, manifest) -> None:
    track = TrackService(store)
    run = track.start(Start("e"))
    log = store.objects.put(b"a file" * 100)
    track.log_artifact(run.id, "a.txt", StoredFile("a.txt", log, 600))
    version = make(bundle=manifest(weights=bytes(5000), same=b"a file" * 100))  # a model's first, then an artifact
    store.objects.put(b"young")
    found = registry.gc()
    assert found.share("models").objects == 3
    size = store.objects.size(version.bundle) + 5000 + 600
    assert found.share("models").size_bytes == size
    assert found.share("artifacts") == Share("artifacts", 0, 0)
    assert found.share("pins").objects == 1
    assert found.share("not named yet") == Share("not named yet", 1, 5)
    assert sum(share.objects for share in found.shares) == len(list(store.objects.digests()))
    assert found.shares[0].kind == "models"


def test_what_was_removed_is_told_for_good_and_not_kept_by_that(store: Store, registry: RegistryService) -> None:
    """The list of what went stays; the same bytes may come, and go, again."""
    for _ in range(2):
        store.objects.put(b"comes and goes")
        make_old(store)
        assert registry.gc(apply=True).removed == 1
    lists = [event.data["list"] for event in store.ledger.events(kinds=("objects.removed",))]
    assert len(lists) == 2
    assert all(b"digest" in store.objects.get(digest) for digest in lists)


def test_whatever_a_loop_left_stays(store: Store, registry: RegistryService, register, books, make, manifest) -> None:
    """Every object that a registered, judged and described model rests on is there after a collection."""
    version = register()
    make("big", bundle=manifest(weights=bytes(3_000_000)))
    made = registry.pins(version.ref)
    kept = {version.bundle, version.pins, made.environment}
    make_old(store)
    garbage = store.objects.put(b"nobody")
    make_old(store)
    before = set(store.objects.digests())
    assert registry.gc(apply=True).removed == 1
    assert before - set(store.objects.digests()) == {garbage}
    assert kept <= set(store.objects.digests())
    assert registry.part(version.bundle, "serving")


def test_a_file_that_was_taken_away_goes_and_what_was_archived_stays(store: Store, registry, make, manifest) -> None:
    track = TrackService(store)
    run = track.start(Start("e"))
    for content in (b"first", b"second"):  # the second takes the first's place
        digest = store.objects.put(content)
        track.log_artifact(run.id, "a.txt", StoredFile("a.txt", digest, len(content)))
    archived = make(bundle=manifest(a=b"archived"))
    registry.archive(archived.ref)
    make_old(store)
    assert registry.gc(apply=True).removed == 1
    assert b"second" in {store.objects.get(digest) for digest in store.objects.digests()}
    assert registry.restore(archived.ref).version.bundle == archived.bundle


def test_every_table_that_names_objects_is_read_through(store: Store, registry: RegistryService) -> None:
    """Whatever column an object stands in, and on whichever page: it stays."""
    kept, statements = {}, []
    for table, declared in TABLES.items():
        for column, naming in declared.names.items():
            digest = store.objects.put(f"{table}.{column}".encode())
            value = f'{{"x": "sha256:{digest}"}}' if naming.how == "inside" else digest
            row = {"number": len(kept), "value": value}
            kept[digest] = f"{table}.{column}"
            statements.append((table, column, row))
    garbage = store.objects.put(b"nobody")

    def fill(tx: Transaction) -> None:
        for table, column, row in statements:
            held = tx.all(f"SELECT name, type FROM pragma_table_info('{table}')")
            texts = [one["name"] for one in held if one["type"] in {"TEXT", "BYTEA"} and one["name"] != column]
            numbers = [one["name"] for one in held if one["type"] not in {"TEXT", "BYTEA"}]
            values = {**dict.fromkeys(texts, f"x{row['number']}"), **dict.fromkeys(numbers, row["number"] + 1000)}
            values[column] = row["value"].encode() if column in {"payload", "record", "tree", "said"} else row["value"]
            names = ", ".join(values)
            tx.run(f"INSERT INTO {table} ({names}) VALUES ({', '.join(':' + name for name in values)})", values)
        for digest, place in kept.items():  # an event without its entry is no event
            if place == "ledger_payloads.payload":
                tx.run(
                    "INSERT INTO ledger_entries (idx, at, kind, subject, actor, entry)"
                    " SELECT max(idx), 1, 'policy.set', 'model:m', 'user:a', 'x' FROM ledger_payloads"
                )
                assert digest

    store.database.write(fill)
    make_old(store)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("interlock.registry.references._PAGE", 1)
        assert [item.digest for item in registry.gc().oldest] == [garbage]


def test_a_column_of_which_nobody_says_what_it_holds_stops_it(
    store: Store, registry: RegistryService, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = Migration(9999, "later", "ALTER TABLE runs ADD COLUMN picture TEXT NOT NULL DEFAULT '';")
    monkeypatch.setattr("interlock.registry.references.migrations", lambda: [*migrations(), new])
    store.objects.put(b"old")
    make_old(store)
    for apply in (False, True):
        with pytest.raises(Conflict, match=r"runs\.picture"):
            registry.gc(apply=apply)
    assert len(list(store.objects.digests())) == 1


def test_what_only_an_event_names_stays(store: Store, registry: RegistryService) -> None:
    policy = store.objects.put(b"policy")
    make_old(store)
    data = {"digest": policy, "gates": [], "weaker": []}
    store.database.write(lambda tx: store.ledger.append(tx, "policy.set", "model:m", data))
    assert registry.gc(apply=True).removed == 0


def test_a_broken_object_that_others_need_stops_it(store: Store, registry: RegistryService, make, manifest) -> None:
    version = make(bundle=manifest(a=b"a"))
    make_old(store)
    store.objects.put(b"old")
    make_old(store)
    path = path_of(store, version.bundle)
    path.chmod(0o644)
    path.write_bytes(b"{}")
    count = len(list(store.objects.digests()))
    for apply in (False, True):
        with pytest.raises(Corrupt):
            registry.gc(apply=apply)
    assert len(list(store.objects.digests())) == count


def test_naming_an_object_makes_it_young(store: Store, registry: RegistryService, books) -> None:
    held, _, kept, drafted = (store.objects.put(text) for text in (b"hold", b"put", b"keep", b"draft"))
    bundle = put_entries(store.objects, [Entry("a", 5, drafted)])
    make_old(store)
    assert store.objects.hold(held)
    store.objects.put(b"put")
    store.uploads.keep([kept])
    books.versions.draft("m", bundle=bundle)
    assert registry.gc(apply=True).removed == 0
    assert not store.objects.hold("0" * 64)


def test_what_is_named_while_it_walks_stays(
    store: Store, registry: RegistryService, books, make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version, a row and an event that come after the walk has read the tables keep what they name."""
    texts = (b"registered", b"by row", b"by event", b"nobody")
    drafted, rowed, told, garbage = (store.objects.put(text) for text in texts)
    bundle = put_entries(store.objects, [Entry("a", 10, drafted)])
    make("other")
    make_old(store)
    walk = gc.reached

    def meanwhile(*given: object) -> dict[str, str]:
        found = walk(*given)
        draft = books.versions.draft("m", bundle=bundle)  # holds what it names

        def change(tx: Transaction) -> None:
            books.versions.create(tx, draft, make=True)
            tx.run("UPDATE model_versions SET pins = :pins WHERE model = 'other'", {"pins": rowed})  # holds nothing
            store.ledger.append(tx, "policy.set", "model:m", {"digest": told, "gates": [], "weaker": []})

        store.database.write(change)
        return found

    monkeypatch.setattr(gc, "reached", meanwhile)
    assert registry.gc(apply=True).removed == 1
    assert {drafted, rowed, told, bundle} <= set(store.objects.digests())
    assert garbage not in set(store.objects.digests())


def test_a_row_that_moves_while_it_reads_is_not_missed(
    store: Store, registry: RegistryService, make, manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that is renamed from behind the page to before it: the walk reads the database as it stood."""
    for name in ("b", "y", "z"):
        make(name, bundle=manifest(weights=name.encode()))
    wanted = registry.gc().share("models")
    monkeypatch.setattr("interlock.registry.references._PAGE", 1)
    read, moved = gc.names, []

    def moving(snapshot: Reader) -> Iterator[Name]:
        for name in read(snapshot):
            yield name
            if not moved:
                moved.append(registry.rename("z", "a"))

    monkeypatch.setattr(gc, "names", moving)
    assert registry.gc().share("models") == wanted
    assert moved


def test_the_writer_reads_no_objects(
    store: Store, registry: RegistryService, make, manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(bundle=manifest(a=b"a"))
    store.objects.put(b"old")
    make_old(store)
    readers, opened = set(), store.objects.open

    def noted(digest: str) -> BinaryIO:
        readers.add(threading.current_thread().name)
        return opened(digest)

    monkeypatch.setattr(store.objects, "open", noted)
    assert registry.gc(apply=True).removed == 1
    assert readers == {threading.current_thread().name}


def test_garbage_goes_in_batches_each_an_event(
    store: Store, registry: RegistryService, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(25):
        store.objects.put(f"garbage {number}".encode())
    make_old(store)
    monkeypatch.setattr(gc, "_BATCH", 10)
    assert registry.gc(apply=True).removed == 25
    events = store.ledger.events(kinds=("objects.removed",))
    assert [event.data["count"] for event in events] == [10, 10, 5]


def test_the_writer_compares_no_columns_and_writes_no_objects(
    store: Store, registry: RegistryService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What takes long is done before it: comparing 1,000 digests with 100,000 runs, and syncing the list."""
    store.objects.put(b"old")
    make_old(store)
    put, write, places, statements = store.objects.put, store.database.write, set(), []

    def noted_put(source: bytes) -> str:
        places.add(threading.current_thread().name)
        return put(source)

    class Noted:
        def __init__(self, tx: Transaction) -> None:
            self.tx = tx

        def __getattr__(self, name: str) -> object:
            def call(sql: str, *values: object) -> object:
                statements.append(sql)
                return getattr(self.tx, name)(sql, *values)

            return call

    monkeypatch.setattr(store.objects, "put", noted_put)
    monkeypatch.setattr(store.database, "write", lambda change: write(lambda tx: change(Noted(tx))))
    assert registry.gc(apply=True).removed == 1
    assert places == {threading.current_thread().name}
    assert statements
    tables = {table for sql in statements for table in TABLES if f" {table}" in sql}
    assert {table for table in tables if not table.startswith("ledger_")} == set()


def test_what_was_touched_meanwhile_is_not_told_as_removed(
    store: Store, registry: RegistryService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the walk, and after the batch was looked up: the event names what goes, and nothing else."""
    early, late, told, gone = (store.objects.put(text) for text in (b"early", b"late", b"told", b"gone"))
    make_old(store)
    walk, write = gc.reached, store.database.write

    def walking(*given: object) -> dict[str, str]:
        found = walk(*given)
        assert store.objects.hold(early)
        return found

    def writing(change):
        monkeypatch.setattr(store.database, "write", write)
        assert store.objects.hold(late)
        data = {"digest": told, "gates": [], "weaker": []}
        write(lambda tx: store.ledger.append(tx, "policy.set", "model:m", data))
        return write(change)

    monkeypatch.setattr(gc, "reached", walking)
    monkeypatch.setattr(store.database, "write", writing)
    assert registry.gc(apply=True).removed == 1
    events = store.ledger.events(kinds=("objects.removed",))
    assert [(event.data["count"], event.data["size_bytes"]) for event in events] == [(1, 4)]
    assert [item["digest"] for item in msgspec.json.decode(store.objects.get(events[0].data["list"]))] == [gone]
    assert {early, late, told} <= set(store.objects.digests())


def test_a_large_record_is_read_by_the_piece(store: Store, registry: RegistryService, make, tmp_path: Path) -> None:
    """A manifest and an artifact of many megabytes cost one piece of memory, and keep what they name."""
    named = store.objects.put(b"named far inside")
    blanks = tmp_path / "blanks.json"
    with blanks.open("wb") as file:
        file.write(b" " * 200 + b'{"far": "' + b"0.123 " * 4_000_000 + named.encode() + b'"}')
    track = TrackService(store)
    run = track.start(Start("e"))
    large = store.objects.put(blanks)
    track.log_artifact(run.id, "blanks.json", StoredFile("blanks.json", large, blanks.stat().st_size))
    make_old(store)
    tracemalloc.start()
    try:
        assert registry.gc(apply=True).removed == 0
        assert tracemalloc.get_traced_memory()[1] < 12 << 20
    finally:
        tracemalloc.stop()
    assert store.objects.get(named)


def test_a_record_whose_first_byte_changed_is_no_opaque_file(
    store: Store, registry: RegistryService, books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interlock.registry.references._SMALL", 10)
    file = store.objects.put(b"a")
    bundle = put_entries(store.objects, [Entry("a", 1, file)])
    draft = books.versions.draft("m", bundle=bundle)
    store.database.write(lambda tx: books.versions.create(tx, draft, make=True))
    path = path_of(store, bundle)
    path.chmod(0o644)
    path.write_bytes(b"x" + path.read_bytes()[1:])
    make_old(store)
    with pytest.raises(Corrupt, match=bundle):
        registry.gc(apply=True)
    assert store.objects.get(file) == b"a"


def test_left_overs_are_swept_and_an_undecided_removal_comes_back(store: Store, registry: RegistryService) -> None:
    """As if killed right after the rename: it is read all the while, and where it was put again, that one stays."""
    kept, again = store.objects.put(b"kept"), store.objects.put(b"again")
    make_old(store)
    incoming = store.root / "objects" / "incoming"
    for digest in (kept, again):
        path_of(store, digest).rename(incoming / f"removed.{digest}")
    assert store.objects.get(kept) == b"kept"
    assert not store.objects.hold(kept)
    store.objects.put(b"again")
    for name, age in (("tmpold", 2 * DAY_S), ("tmpyoung", 0)):
        (incoming / name).write_bytes(b"half")
        os.utime(incoming / name, (time.time() - age, time.time() - age))
    registry.gc(apply=True)
    assert path_of(store, kept).read_bytes() == b"kept"
    assert store.objects.look(again).touched_at > time.time() - DAY_S
    assert [path.name for path in incoming.iterdir()] == ["tmpyoung"]


def test_collections_and_registrations_at_once_lose_nothing(store: Store, books, registry: RegistryService) -> None:
    """Threads that register old garbage again, against collections without a pause: what was registered is there."""
    contents = [f"content {number}".encode() for number in range(30)]
    stop, a_day_passes, failures = threading.Event(), threading.Lock(), []

    def register(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(20):
            content = chance.choice(contents)
            with a_day_passes:  # never between a draft and its transaction
                manifest = put_entries(store.objects, [Entry("a", len(content), store.objects.put(content))])
                make_old(store)
                try:
                    draft = books.versions.draft("m", bundle=manifest)
                except NotFound:  # collected since it was put: the caller is told, and nothing was promised
                    continue
                version = store.database.write(lambda tx, draft=draft: books.versions.create(tx, draft, make=True))
            entries = msgspec.json.decode(store.objects.get(version.bundle))["files"]
            failures.extend(version.ref for entry in entries if store.objects.size(entry["digest"]) is None)

    def sweep() -> None:
        while not stop.is_set():
            collect(store, apply=True)

    workers = [threading.Thread(target=register, args=(seed,)) for seed in range(2)]
    sweeper = threading.Thread(target=sweep)
    for thread in (*workers, sweeper):
        thread.start()
    for thread in workers:
        thread.join()
    stop.set()
    sweeper.join()
    assert failures == []
    for version in registry.versions("m"):
        assert store.objects.get(version.bundle)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    graph=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=40), start=st.sets(st.integers(0, 30))
)
def test_the_closure_is_what_can_be_reached(store: Store, graph, start) -> None:
    """Objects that name others, built from the last to the first: reached is what a search by hand reaches."""
    digests: dict[int, str] = {}
    edges = {node: {to for origin, to in graph if origin == node and to > node} for node in range(31)}
    for node in range(30, -1, -1):
        record = {"node": node, "names": sorted(digests[to] for to in edges[node])}
        digests[node] = store.objects.put(msgspec.json.encode(record))
    wanted, waiting = set(), list(start)
    while waiting:
        node = waiting.pop()
        if node not in wanted:
            wanted.add(node)
            waiting += edges[node]
    named = [Name(digests[node], "x", "inside") for node in start]
    found = reached(store.objects, set(digests.values()), [*named, Name("0" * 64, "x", "records")])
    assert found == {digests[node]: "x" for node in wanted}


@given(
    words=st.lists(st.one_of(st.just("0123456789abcdef" * 4), st.text("af09 x", max_size=70)), max_size=8),
    piece=st.integers(1, 80),
)
def test_digests_are_found_across_pieces(words: list[str], piece: int) -> None:
    text = "".join(words).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("interlock.registry.references._CHUNK", piece)
        found = scan(io.BytesIO(text), hashlib.sha256(text).hexdigest())
    assert found == digests_in(text)


def test_digests_are_told_from_longer_and_shorter_runs() -> None:
    digest = "0123456789abcdef" * 4
    text = f"{digest} sha256:{digest[::-1]}; {digest}a {digest[1:]} {digest.upper()}"
    assert digests_in(text.encode()) == {digest, digest[::-1]}


def test_an_empty_workspace_names_nothing(store: Store, registry: RegistryService) -> None:
    assert registry.gc(apply=True) == Collection((), ())
