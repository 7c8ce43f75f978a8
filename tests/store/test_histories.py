from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.core.errors import Corrupt
from interlock.core.ids import new_id
from interlock.store import histories
from interlock.store.histories import Page, Place
from interlock.store.inbox import pack_batch
from interlock.store.packing import plan, seal
from interlock.store.segments import pack
from interlock.store.series import Series
from interlock.store.sqlite import SqliteDatabase

NAN = float("nan")
Row = tuple[int, int, float]


@pytest.fixture
def database(tmp_path: Any) -> Any:
    opened = SqliteDatabase(tmp_path / "interlock.db")
    yield opened
    opened.close()


@pytest.fixture
def series(database: SqliteDatabase) -> Series:
    return Series(database)


def rows(page: Page) -> list[Any]:
    """Points as (instant, step, value)."""
    return [(at, step, "nan" if math.isnan(value) else value) for step, at, value in page.points]


def all_pages(series: Series, run: str, most: int) -> list[Any]:
    found: list[Any] = []
    after: Place | None = None
    while True:
        page = series.page(run, "m", after, most)
        assert len(page.points) <= most
        found += rows(page)
        if page.last is None:
            return found
        assert len(page.points) == most
        after = page.last


def ordered(points: list[Row]) -> list[Any]:
    unique = {(at, step, not math.isnan(value), 0.0 if math.isnan(value) else value) for step, at, value in points}
    return [(at, step, value if known else "nan") for at, step, known, value in sorted(unique)]


def append(database: SqliteDatabase, series: Series, run: str, *points: Row) -> None:
    database.write(lambda tx: series.append(tx, run, seal(run, "m", pack(*zip(*points, strict=True))), "e"))


def fold(tx: Any, series: Series, run: str, *, merge: bool = False) -> None:
    for packing in plan(tx, run, merge=merge):
        series.settle(tx, packing, "e")


EDGES = st.sampled_from([NAN, math.inf, -math.inf, -1.0, 0.5])
SMALL = st.integers(0, 4) | st.sampled_from([-(1 << 63), (1 << 63) - 1])
PART = st.lists(st.tuples(SMALL, SMALL, EDGES), min_size=1, max_size=6)
STEP = st.tuples(st.sampled_from(["put", "append", "append", "old", "fold", "merge"]), PART)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(STEP, max_size=10), st.integers(1, 7))
def test_pages_are_those_of_a_sorted_list(database: Any, series: Series, steps: list[Any], most: int) -> None:
    run, known = new_id(), []
    for act, part in steps:
        if act == "fold":
            database.write(lambda tx: fold(tx, series, run))
        elif act == "merge":
            database.write(lambda tx: fold(tx, series, run, merge=True))
        elif act == "put":
            columns = [list(column) for column in zip(*part, strict=True)]
            database.write(lambda tx, c=columns: series.put(tx, run, pack_batch(["m"] * len(c[0]), *c)))
        else:
            append(database, series, run, *part)
        if act == "old":  # as it was before segments knew their instants
            database.write(lambda tx: tx.run("UPDATE metric_segments SET first_at = NULL, last_at = NULL"))
        known += part if act in {"put", "append", "old"} else []
        assert all_pages(series, run, most) == ordered(known)
    assert rows(series.page(run, "m")) == ordered(known)


@pytest.mark.parametrize("place", [(1 << 200, 0, 1.0), (-(1 << 70), 0, NAN), (3, -(1 << 99), 0.0)])
def test_places_that_no_point_has(database: SqliteDatabase, series: Series, place: Place) -> None:
    append(database, series, "r", *[(step, step, 1.0) for step in range(5)])
    wanted = [row for row in range(5) if row > place[0] or (row == place[0] and place[1] < 0)]
    assert [step for _, step, _ in rows(series.page("r", "m", place, 9))] == wanted


def test_a_late_page_unpacks_no_more_than_the_first(
    database: SqliteDatabase, series: Series, monkeypatch: pytest.MonkeyPatch
) -> None:
    for start in range(0, 1000, 10):
        append(database, series, "r", *[(step, step * 5, 1.0) for step in range(start, start + 10)])
    unpacked: list[int] = []
    plain = histories.unpack_stored
    monkeypatch.setattr(histories, "unpack_stored", lambda *words: (unpacked.append(1), plain(*words))[1])
    for after in (None, (2500, 500, 1.0), (4800, 960, 1.0)):
        unpacked.clear()
        assert len(series.page("r", "m", after, 25).points) == 25
        assert len(unpacked) <= 5


def test_a_late_page_of_equal_instants_unpacks_no_more_than_the_first(
    database: SqliteDatabase, series: Series, monkeypatch: pytest.MonkeyPatch
) -> None:
    for start in range(0, 1000, 10):
        append(database, series, "r", *[(step, 7, 1.0) for step in range(start, start + 10)])
    unpacked: list[int] = []
    plain = histories.unpack_stored
    monkeypatch.setattr(histories, "unpack_stored", lambda *words: (unpacked.append(1), plain(*words))[1])
    for after in (None, (7, 500, 1.0), (7, 960, 1.0)):
        unpacked.clear()
        assert next(step for _, step, _ in rows(series.page("r", "m", after, 25))) == (after[1] + 1 if after else 0)
        assert len(unpacked) <= 5


def test_segments_that_are_merged_while_they_are_read(
    database: SqliteDatabase, series: Series, monkeypatch: pytest.MonkeyPatch
) -> None:
    for start in range(0, 30, 10):
        append(database, series, "r", *[(step, step, 1.0) for step in range(start, start + 10)])
    plain, turn = database.one, itertools.count()

    def interrupted(*words: Any) -> Any:
        if next(turn) == 1:
            database.write(lambda tx: fold(tx, series, "r", merge=True))
        return plain(*words)

    monkeypatch.setattr(database, "one", interrupted)
    assert [step for _, step, _ in rows(series.page("r", "m"))] == list(range(30))


def test_what_was_changed_in_the_database_is_corrupt(database: SqliteDatabase, series: Series) -> None:
    append(database, series, "r", (1, 1, 1.0))
    database.write(lambda tx: tx.run("UPDATE metric_segments SET data = :data", {"data": b"none"}))
    with pytest.raises(Corrupt, match="'m' of run r"):
        series.page("r", "m")
