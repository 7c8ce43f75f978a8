from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.core.canonical import digest
from interlock.core.errors import Corrupt, Invalid
from interlock.core.ids import new_id
from interlock.store.inbox import pack_batch
from interlock.store.packing import plan, seal
from interlock.store.segments import MAX_POINTS, pack
from interlock.store.series import LatestValue, Series
from interlock.store.sqlite import SqliteDatabase

NAN = float("nan")


@pytest.fixture
def database(tmp_path):
    opened = SqliteDatabase(tmp_path / "interlock.db")
    yield opened
    opened.close()


@pytest.fixture
def series(database):
    return Series(database)


def add(database, series, run, key, *points):
    segment = pack(*zip(*points, strict=True))
    return database.write(lambda tx: series.append(tx, run, seal(run, key, segment)))


def fold(tx, series, run, *, merge=False):
    return [name for packing in plan(tx, run, merge=merge) for name in series.settle(tx, packing, "e")]


def stored(database):
    return database.one("SELECT COUNT(*) AS n FROM metric_segments")["n"]


def test_points_come_back_by_step(database, series):
    add(database, series, "r", "loss", (2, 20, 0.2), (3, 30, 0.3))
    add(database, series, "r", "loss", (0, 0, 0.0), (1, 10, 0.1))
    add(database, series, "r", "accuracy", (0, 0, 1.0))
    add(database, series, "other", "loss", (0, 0, 9.0))
    assert list(series.points("r", "loss")) == [(i, i * 10, i / 10) for i in range(4)]
    assert list(series.points("r", "loss", 1, 2)) == [(1, 10, 0.1), (2, 20, 0.2)]
    assert list(series.points("r", "loss", first_step=3)) == [(3, 30, 0.3)]
    assert list(series.points("r", "loss", last_step=-1)) == []
    assert list(series.latest("r")) == ["accuracy", "loss"]


def test_nothing_is_known_of_an_unknown_run(series):
    assert (len(series.points("r", "loss")), series.latest("r"), list(series.latest("r"))) == (0, {}, [])


def test_the_same_segment_is_kept_once(database, series):
    first = add(database, series, "r", "loss", (1, 1, 1.0))
    assert add(database, series, "r", "loss", (1, 1, 1.0)) == first == digest(pack([1], [1], [1.0]))
    assert len(series.points("r", "loss")) == stored(database) == 1


def test_different_segments_of_equal_steps_are_all_kept(database, series):
    for value in range(20):
        add(database, series, "r", "loss", (0, 0, value))
    assert sorted(value for _, _, value in series.points("r", "loss")) == list(range(20))


def test_the_latest_value_does_not_depend_on_the_order_of_arrival(database, series):
    points = [(1, 9, 9.0), (2, 1, 5.0), (2, 2, NAN), (2, 2, 1.0), (2, 2, 3.0)]
    for order in itertools.permutations(points):
        run = new_id()
        for point in (*order, order[0]):
            add(database, series, run, "loss", point)
        assert series.latest(run) == {"loss": LatestValue(2, 2, 3.0)}


@pytest.mark.parametrize("value", [NAN, math.inf, -math.inf, 0.1, 5e-324])
def test_the_latest_value_may_be_any_float(database, series, value):
    add(database, series, "r", "loss", (1, 1, value))
    found = series.latest("r")["loss"].value
    assert found == value or (math.isnan(found) and math.isnan(value))


def test_a_segment_belongs_to_its_transaction(database, series):
    def change(tx):
        series.append(tx, "r", seal("r", "loss", pack([1], [1], [1.0])))
        raise Invalid("no")

    with pytest.raises(Invalid):
        database.write(change)
    assert (stored(database), list(series.latest("r"))) == (0, [])


@pytest.mark.parametrize("damage", [lambda s: b"", lambda s: s[:-1], lambda s: s[:-1] + bytes([s[-1] ^ 1])])
def test_what_was_changed_on_the_way_is_refused(database, series, damage):
    segment = damage(pack([1], [1], [1.0]))
    with pytest.raises(Invalid) as caught:
        seal("r", "loss", segment)
    assert caught.value.facts == {"run": "r", "key": "loss"}
    assert stored(database) == 0


def test_what_was_changed_in_the_database_is_corrupt(database, series):
    add(database, series, "r", "loss", (1, 1, 1.0))
    segment = bytearray(pack([1], [1], [1.0]))
    segment[-1] ^= 1
    database.write(lambda tx: tx.run("UPDATE metric_segments SET data = :data", {"data": bytes(segment)}))
    with pytest.raises(Corrupt) as caught:
        series.points("r", "loss")
    assert caught.value.facts == {"run": "r", "key": "loss"}


STEPS = st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=8), max_size=6)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS, st.none() | st.integers(-1, 31), st.none() | st.integers(-1, 31))
def test_any_range_of_any_segments_is_what_a_list_would_give(database, series, parts, first, last):
    run, numbers = new_id(), itertools.count()
    points = [[(step, next(numbers), 1.0) for step in part] for part in parts]
    for part in points:
        add(database, series, run, "loss", *part)
    low, high = -1 if first is None else first, 99 if last is None else last
    wanted = [point for part in points for point in part if low <= point[0] <= high]
    assert list(series.points(run, "loss", first, last)) == sorted(wanted)


# ---------------------------------------------------------------- batches, folds and merges, in any order

EDGES = [NAN, math.inf, -math.inf, -0.0, 0.0, 0.5, 1e308, 5e-324]
INT64 = st.integers(0, 1) | st.sampled_from([-(1 << 63), (1 << 63) - 1])
BATCH = st.lists(st.tuples(st.sampled_from("ab"), INT64, INT64, st.sampled_from(EDGES)), min_size=1, max_size=6)
STEP = st.tuples(st.sampled_from(["put", "put", "append", "again", "fold", "merge"]), BATCH)


def ordered(points):
    """Return distinct points as a plain list would have them: by step, instant and value, NaN first."""
    unique = {(step, at, not math.isnan(value), 0.0 if math.isnan(value) else value) for step, at, value in points}
    return [(step, at, value if known else "nan") for step, at, known, value in sorted(unique)]


def told(points):
    return [(step, at, "nan" if math.isnan(value) else value) for step, at, value in points]


def apply(database, series, run, act, batch):
    def change(tx):
        if act == "put":
            series.put(tx, run, pack_batch(*(list(column) for column in zip(*batch, strict=True))))
        elif act == "append":
            for key in {point[0] for point in batch}:
                columns = zip(*(point[1:] for point in batch if point[0] == key), strict=True)
                series.append(tx, run, seal(run, key, pack(*columns)), "e")
        elif act == "fold":
            fold(tx, series, run)
        else:
            fold(tx, series, run, merge=True)

    database.write(change)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(STEP, max_size=12))
def test_points_are_those_of_a_list_whatever_comes_in_whatever_order(database, series, steps):
    run, model, sent = new_id(), {"a": [], "b": []}, []
    for act, batch in steps:
        if act == "again":
            for before in sent[-3:]:
                apply(database, series, run, *before)
            continue
        if act in {"put", "append"}:
            sent.append((act, batch))
            for key, *point in batch:
                model[key].append(tuple(point))
        apply(database, series, run, act, batch)
        for key, points in model.items():
            assert told(series.points(run, key)) == ordered(points)
    known = {key: ordered(points)[-1] for key, points in model.items() if points}
    latest = series.latest(run)
    assert {key: told([(found.step, found.at, found.value)])[0] for key, found in latest.items()} == known
    assert list(series.latest(run)) == sorted(known)


def test_a_segment_with_equal_points_reads_the_same_before_and_after_a_merge(database, series):
    add(database, series, "r", "loss", (1, 1, 5.0), (1, 1, 3.0), (0, 0, NAN), (1, 1, 5.0), (0, 0, NAN))
    wanted = [(0, 0, "nan"), (1, 1, 3.0), (1, 1, 5.0)]
    assert told(series.points("r", "loss")) == wanted
    add(database, series, "r", "loss", (1, 1, 5.0))
    database.write(lambda tx: fold(tx, series, "r", merge=True))
    assert told(series.points("r", "loss")) == wanted
    assert stored(database) == 1


def test_what_is_packed_stays_within_segments_of_a_bounded_size(database, series):
    count = MAX_POINTS + 10
    batch = pack_batch(["loss"] * count, list(range(count)), [0] * count, [1.0] * count)
    database.write(lambda tx: series.put(tx, "r", batch))
    assert len(database.write(lambda tx: fold(tx, series, "r"))) == 2
    assert database.write(lambda tx: fold(tx, series, "r", merge=True)) == []  # two is as few as it gets
    assert len(series.points("r", "loss")) == count


def test_a_fold_that_does_not_commit_leaves_what_waits(database, series):
    database.write(lambda tx: series.put(tx, "r", pack_batch(["loss"], [1], [1], [0.5])))

    def change(tx):
        fold(tx, series, "r")
        raise Invalid("no")

    with pytest.raises(Invalid):
        database.write(change)
    assert stored(database) == 0
    assert list(series.points("r", "loss")) == [(1, 1, 0.5)]


@pytest.mark.parametrize("after", [1, 2])
@pytest.mark.parametrize("what", ["points", "latest"])
def test_points_are_never_missed_while_they_are_packed(
    database: SqliteDatabase, series: Series, monkeypatch: pytest.MonkeyPatch, what: str, after: int
) -> None:
    """A reader sees every acknowledged point, wherever between its queries a fold falls."""
    batch = pack_batch(["loss"], [1], [1], [0.5])
    database.write(lambda tx: series.put(tx, "r", batch))
    plain, asked = database.all, [0]

    def interrupted(*words: object) -> object:
        found = plain(*words)
        asked[0] += 1
        if asked[0] == after:
            database.write(lambda tx: fold(tx, series, "r"))
        return found

    monkeypatch.setattr(database, "all", interrupted)
    assert len(series.points("r", "loss") if what == "points" else series.latest("r")) == 1
