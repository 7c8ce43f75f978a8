from __future__ import annotations

import math
from array import array
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.core.errors import Corrupt
from interlock.core.ids import new_id
from interlock.store import Store, inbox
from interlock.store.inbox import Point, distinct, pack_batch
from interlock.store.settling import Stale

NAN = float("nan")
INT64 = st.integers(-(1 << 63), (1 << 63) - 1)


def put(store: Store, run: str, *points: tuple[str, int, int, float]) -> None:
    batch = pack_batch(*(list(column) for column in zip(*points, strict=True)))
    store.database.write(lambda tx: inbox.put(tx, run, batch))


def rows(store: Store) -> int:
    return len(store.database.all("SELECT digest FROM metric_inbox"))


def test_points_wait_by_metric_in_order(store: Store) -> None:
    put(store, "r", ("b", 2, 0, 1.0), ("a", 1, 5, 2.0), ("a", 1, 3, 2.0), ("a", 0, 9, NAN))
    put(store, "r", ("a", 1, 3, -1.0))
    put(store, "other", ("a", 0, 0, 0.0))
    found = inbox.waiting(store.database, "r")
    assert repr(list(found["a"])) == "[(0, 9, nan), (1, 3, -1.0), (1, 3, 2.0), (1, 5, 2.0)]"
    assert list(found["b"]) == [(2, 0, 1.0)]
    assert inbox.waiting(store.database, "nobody") == {}


def test_the_same_batch_is_one_row_and_clearing_takes_one_run(store: Store) -> None:
    for _ in range(3):
        put(store, "r", ("a", 1, 1, 0.5))
        put(store, "other", ("a", 1, 1, 0.5))
    assert rows(store) == 2
    packed, _ = inbox.batches(store.database, "r")
    put(store, "r", ("a", 2, 2, 0.5))
    store.database.write(lambda tx: inbox.clear(tx, "r", packed))
    assert {key: list(points) for key, points in inbox.waiting(store.database, "r").items()} == {"a": [(2, 2, 0.5)]}
    assert rows(store) == 2
    with pytest.raises(Stale):
        store.database.write(lambda tx: inbox.clear(tx, "r", packed))


POINT = st.tuples(st.sampled_from("abc"), INT64 | st.integers(0, 3), INT64, st.floats())


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(POINT, min_size=1, max_size=50), min_size=1, max_size=4))
def test_what_is_put_comes_back(store: Store, batches: list[list[tuple[str, int, int, float]]]) -> None:
    """By metric and in order, whether a batch has few points of a metric or many, beside each other or not."""
    run, known = new_id(), dict[str, list[Point]]()
    for points in batches:
        put(store, run, *points)
        for key, *point in points:
            known.setdefault(key, []).append(tuple(point))  # type: ignore[arg-type]
    wanted = {key: repr(distinct(points)) for key, points in known.items()}
    assert {key: repr(list(points)) for key, points in inbox.waiting(store.database, run).items()} == wanted
    for key in "abc":
        found = distinct(list(inbox.waiting_of(store.database, run, key)))
        assert repr(found) == wanted.get(key, "[]")


def test_batches_that_waited_when_the_program_was_older_are_read(store: Store) -> None:
    """These bytes were acknowledged: keys, the place of each point's key, steps, instants, values."""
    columns = [array("I", [1, 0, 1]), array("q", [5, 6, 4]), array("q", [50, 60, 40]), array("d", [0.5, NAN, 1.5])]
    data = msgspec.msgpack.encode([["a", "b"], *(column.tobytes() for column in columns)])
    row = {"run": "r", "digest": "d", "data": data}
    store.database.write(
        lambda tx: tx.run("INSERT INTO metric_inbox (run, digest, data) VALUES (:run, :digest, :data)", row)
    )
    put(store, "r", ("b", 3, 30, 2.5))
    found = {key: repr(list(points)) for key, points in inbox.waiting(store.database, "r").items()}
    assert found == {"a": "[(6, 60, nan)]", "b": "[(3, 30, 2.5), (4, 40, 1.5), (5, 50, 0.5)]"}
    assert len(inbox.waiting_of(store.database, "r", "b")) == 3


@pytest.mark.parametrize("column", [([1 << 63], [0], [0.0]), ([0], [-(1 << 63) - 1], [0.0])])
def test_numbers_beyond_64_bits(column: Any) -> None:
    with pytest.raises(OverflowError):
        pack_batch(["a"], *column)


@pytest.mark.parametrize(
    "damage", [lambda b: b"", lambda b: b[:-3], lambda b: b"\xc1" + b, lambda b: b[:3] + b"\xff" + b[4:]]
)
def test_damaged_rows_are_named(store: Store, damage: Any) -> None:
    put(store, "r", ("a", 1, 1, 0.5), ("b", 1, 1, 0.5))
    (row,) = store.database.all("SELECT data FROM metric_inbox")
    store.database.write(lambda tx: tx.run("UPDATE metric_inbox SET data = :data", {"data": damage(row["data"])}))
    with pytest.raises(Corrupt, match="Points of run r that were not packed yet are damaged"):
        inbox.waiting(store.database, "r")


POINTS = st.lists(
    st.tuples(st.integers(-2, 2), st.integers(-2, 2), st.sampled_from([NAN, math.inf, -math.inf, 0.0, 1.5]))
)


@given(POINTS, st.randoms())
def test_distinct_points_do_not_depend_on_their_order(points: list[Point], chance: Any) -> None:
    found = distinct(points)
    shuffled = points * 2
    chance.shuffle(shuffled)
    assert repr(distinct(shuffled)) == repr(found) == repr(distinct(found))
    assert len(found) == len({repr(point) for point in points})
