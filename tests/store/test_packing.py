from __future__ import annotations

from typing import Any

import pytest

from interlock.core.errors import Corrupt, Invalid
from interlock.store import Store, packing
from interlock.store.inbox import columns, pack_batch
from interlock.store.packing import Packing, plan, seal, sealed
from interlock.store.segments import MAX_POINTS, pack
from interlock.store.settling import Stale


def add(store: Store, key: str, *steps: int) -> None:
    segment = seal("r", key, pack(steps, steps, [1.0] * len(steps)))
    store.database.write(lambda tx: store.series.append(tx, "r", segment, "e"))


def put(store: Store, key: str, *steps: int) -> None:
    batch = pack_batch([key] * len(steps), steps, steps, [1.0] * len(steps))
    store.database.write(lambda tx: store.series.put(tx, "r", batch))


def settle(store: Store, packed: Packing) -> list[str]:
    return store.database.write(lambda tx: store.series.settle(tx, packed, "e"))


def held(store: Store) -> int:
    return len(store.database.all("SELECT digest FROM metric_segments"))


def steps(store: Store, key: str = "a") -> list[int]:
    return list(store.series.points("r", key).steps)


def test_what_comes_between_stays_as_it_is(store: Store) -> None:
    put(store, "a", 1, 2)
    add(store, "a", 3)
    (packed,) = plan(store.database, "r", merge=True)
    put(store, "a", 4)
    add(store, "a", 5)
    assert len(settle(store, packed)) == 1
    assert (steps(store), held(store)) == ([1, 2, 3, 4, 5], 2)
    with pytest.raises(Stale):
        settle(store, packed)
    assert (steps(store), held(store)) == ([1, 2, 3, 4, 5], 2)


@pytest.mark.parametrize("merge", [False, True])
def test_of_two_who_pack_the_same_one_does(store: Store, merge: bool) -> None:
    put(store, "a", 1)
    add(store, "a", 2)
    ((first,), (second,)) = (plan(store.database, "r", merge=merge) for _ in range(2))
    settle(store, first)
    with pytest.raises(Stale):
        settle(store, second)
    assert steps(store) == [1, 2]


def test_segments_that_somebody_merged_are_not_merged_again(store: Store) -> None:
    add(store, "a", 1)
    add(store, "a", 2)
    (packed,) = plan(store.database, "r", merge=True)
    store.database.write(lambda tx: tx.run("DELETE FROM metric_segments WHERE first_step = 1"))
    with pytest.raises(Stale):
        settle(store, packed)
    assert steps(store) == [2]


def test_very_many_segments_give_way_in_several_transactions(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "AT_ONCE", 6)
    for step in range(10):
        for key in "abc":
            add(store, key, step)
    put(store, "a", 10)
    put(store, "b", 10)
    packings = plan(store.database, "r", merge=True)
    assert all(len(packed.replaced) <= 6 for packed in packings)
    assert [bool(packed.batches) for packed in packings] == [True, *[False] * (len(packings) - 1)]
    for packed in reversed(packings):
        settle(store, packed)
    assert [steps(store, key) for key in "abc"] == [[*range(11)], [*range(11)], [*range(10)]]
    assert held(store) < 10
    assert store.database.all("SELECT * FROM metric_inbox") == []


def test_what_makes_no_fewer_stays(store: Store) -> None:
    add(store, "a", 1)
    for segment in sealed("big", columns([(step, 0, 1.0) for step in range(MAX_POINTS + 10)])):
        store.database.write(lambda tx, one=segment: store.series.append(tx, "r", one, "e"))  # type: ignore[misc]
    (packed,) = plan(store.database, "r", merge=True)
    assert (packed.replaced, packed.segments, packed.batches) == ((), (), ())


@pytest.mark.parametrize("damage", [lambda s: b"", lambda s: s[:-1], lambda s: s[:-1] + bytes([s[-1] ^ 1])])
def test_what_was_changed_on_the_way_is_refused(damage: Any) -> None:
    with pytest.raises(Invalid) as caught:
        seal("r", "loss", damage(pack([1], [1], [1.0])))
    assert caught.value.facts == {"run": "r", "key": "loss"}


def test_what_was_changed_in_the_database_is_left_as_it_is(store: Store) -> None:
    """The run can end; who reads the metric is told."""
    for key in "ab":
        add(store, key, 1)
        add(store, key, 2)
    store.database.write(
        lambda tx: tx.run("UPDATE metric_segments SET data = :data WHERE key = 'a'", {"data": b"none"})
    )
    store.database.write(lambda tx: store.series.put(tx, "r", pack_batch(["a"], [3], [3], [1.0])))
    (packed,) = plan(store.database, "r", merge=True)
    assert [key for key, _, _ in packed.replaced] == ["b", "b"]
    assert [(segment.key, segment.summary.points) for segment in packed.segments] == [("a", 1), ("b", 2)]
    with pytest.raises(Corrupt, match="'a' of run r"):
        store.series.points("r", "a")
