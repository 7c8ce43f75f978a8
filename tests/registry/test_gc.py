from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.core.errors import Corrupt, NotFound
from interlock.core.files import StoredFile
from interlock.registry.gc import DAY_S, collect
from interlock.registry.references import closure, digests_in, roots
from interlock.registry.service import RegistryService
from interlock.store import Store
from interlock.store.manifests import Entry, put_entries
from interlock.track.records import Start
from interlock.track.service import TrackService


def path_of(store: Store, digest: str) -> Path:
    return store.root / "objects" / digest[:2] / digest[2:]


def make_old(store: Store) -> None:
    then = time.time() - 2 * DAY_S
    for digest in store.objects.digests():
        os.utime(path_of(store, digest), (then, then))


def test_nothing_is_removed_unless_told_so(store: Store, registry: RegistryService) -> None:
    old, young = store.objects.put(b"old"), None
    make_old(store)
    young = store.objects.put(b"young")
    looked = registry.gc()
    assert [item.digest for item in looked.garbage] == [old]
    assert (looked.objects, looked.named, looked.young, looked.size_bytes, looked.removed) == (2, 0, 1, 3, 0)
    assert store.objects.size(old) == 3
    done = registry.gc(apply=True)
    assert done.removed == 1
    assert store.objects.size(old) is None
    assert store.objects.get(young) == b"young"
    event = store.ledger.events(kinds=("objects.removed",))[-1]
    assert event.data["count"] == 1
    assert msgspec.json.decode(store.objects.get(event.data["list"]))[0]["digest"] == old


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


def test_a_table_that_nobody_thought_of_is_searched(store: Store, registry: RegistryService) -> None:
    digests = [store.objects.put(text) for text in (b"1", b"2", b"3", b"4")]
    make_old(store)
    statements = [
        "CREATE TABLE new_room (name TEXT PRIMARY KEY, record BYTEA, note VARCHAR, at BIGINT)",
        f"INSERT INTO new_room VALUES ('sha256:{digests[0]}', NULL, '', 1)",
        f"INSERT INTO new_room VALUES ('x', CAST('{{\"a\": \"{digests[1]}\"}}' AS BLOB), 'see {digests[2]}', 1)",
    ]
    for statement in statements:
        store.database.write(lambda tx, statement=statement: tx.run(statement))
    assert [item.digest for item in registry.gc().garbage] == [digests[3]]


def test_what_only_an_event_names_stays(store: Store, registry: RegistryService) -> None:
    policy = store.objects.put(b"policy")
    make_old(store)
    data = {"digest": policy, "gates": []}
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


def test_left_overs_are_swept_and_an_undecided_removal_comes_back(store: Store, registry: RegistryService) -> None:
    digest = store.objects.put(b"kept")
    incoming = store.root / "objects" / "incoming"
    path_of(store, digest).rename(incoming / f"removed.{digest}")  # as if killed right after the rename
    for name, age in (("tmpold", 2 * DAY_S), ("tmpyoung", 0)):
        (incoming / name).write_bytes(b"half")
        os.utime(incoming / name, (time.time() - age, time.time() - age))
    registry.gc(apply=True)
    assert store.objects.get(digest) == b"kept"
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
    found = closure(store.objects, {digests[node] for node in start} | {"0" * 64}, {})
    assert found == {digests[node] for node in wanted}


def test_digests_are_told_from_longer_and_shorter_runs() -> None:
    digest = "0123456789abcdef" * 4
    text = f"{digest} sha256:{digest[::-1]}; {digest}a {digest[1:]} {digest.upper()}"
    assert digests_in(text.encode()) == {digest, digest[::-1]}


def test_an_empty_workspace_names_nothing(store: Store) -> None:
    assert {digest for digest in roots(store.database) if store.objects.size(digest) is not None} == set()
