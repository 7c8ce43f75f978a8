from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.errors import Corrupt
from interlock.store import Store, inbox
from interlock.store.inbox import Point, distinct, pack_batch

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
    assert repr(found["a"]) == "[(0, 9, nan), (1, 3, -1.0), (1, 3, 2.0), (1, 5, 2.0)]"
    assert found["b"] == [(2, 0, 1.0)]
    assert inbox.waiting(store.database, "nobody") == {}


def test_the_same_batch_is_one_row_and_clearing_takes_one_run(store: Store) -> None:
    for _ in range(3):
        put(store, "r", ("a", 1, 1, 0.5))
        put(store, "other", ("a", 1, 1, 0.5))
    assert rows(store) == 2
    store.database.write(lambda tx: inbox.clear(tx, "r"))
    assert inbox.waiting(store.database, "r") == {}
    assert rows(store) == 1


@given(st.lists(st.tuples(st.text(max_size=3), INT64, INT64, st.floats()), min_size=1, max_size=20))
def test_what_is_packed_comes_back(points: list[tuple[str, int, int, float]]) -> None:
    batch = pack_batch(*(list(column) for column in zip(*points, strict=True)))
    back = inbox._points({"data": batch}, "r")
    assert repr(back) == repr([(key, (step, at, value)) for key, step, at, value in points])


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
