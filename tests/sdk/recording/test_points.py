"""Points on their way into segments."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from interlock.sdk.recording import points as module
from interlock.sdk.recording.points import Gathered, following, segments
from interlock.store.segments import unpack

POINT = st.tuples(st.sampled_from(["a", "b"]), st.none() | st.integers(-(2**62), 2**62), st.floats())


@given(st.lists(st.lists(POINT, max_size=8), max_size=4))
def test_what_was_gathered_is_in_the_segments_to_the_bit(looks) -> None:
    gathered = Gathered(lambda run, key: 10)
    wanted: dict[str, list[tuple[int, int, bytes]]] = {}
    parts = []
    following: dict[str, int] = {}
    at = 0
    for look in looks:
        for key, step, value in look:
            at += 1
            assert gathered.add("run", at * 1000, step, {key: value}) == []
            place = following.get(key, 10) if step is None else step
            following[key] = place + 1
            wanted.setdefault(key, []).append((place, at, struct.pack("d", value)))
        parts += gathered.take()
    packed = segments(parts)
    assert len(packed) <= 1
    found = {key: unpack(segment) for part in packed for key, segment in part.items()}
    assert {
        key: [(step, when, struct.pack("d", value)) for step, when, value in points] for key, points in found.items()
    } == wanted


def test_more_points_than_a_segment_holds_make_several(monkeypatch) -> None:
    monkeypatch.setattr(module, "MAX_POINTS", 4)
    gathered = Gathered(lambda run, key: 0)
    for step in range(10):
        gathered.add("run", step, step, {"long": 1.0} | ({"short": 2.0} if step < 3 else {}))
    packed = segments(gathered.take())
    assert [{key: len(unpack(segment)) for key, segment in part.items()} for part in packed] == [
        {"long": 4, "short": 3},
        {"long": 4},
        {"long": 2},
    ]


def test_runs_are_kept_apart_and_taken_once() -> None:
    gathered = Gathered(lambda run, key: 0)
    gathered.add("one", 0, None, {"x": 1.0})
    gathered.add("two", 0, None, {"x": 2.0, "y": 3.0})
    assert gathered.count == 3
    assert [(part.run, sorted(part.columns)) for part in gathered.take()] == [("one", ["x"]), ("two", ["x", "y"])]
    assert (gathered.take(), gathered.count) == ([], 0)


def test_where_only_the_workspace_knows_the_first_step_points_follow_what_it_has(monkeypatch) -> None:
    monkeypatch.setattr(module, "MAX_POINTS", 4)
    gathered = Gathered(lambda run, key: None)
    parts = []
    for value in range(6):
        gathered.add("run", value, None, {"x": float(value)})
        if value == 2:
            parts += gathered.take()
    gathered.add("run", 6, 50, {"x": 6.0})
    gathered.add("run", 7, None, {"x": 7.0, "new": 0.0})
    parts += gathered.take()
    has = {"x": [7, 8]}
    for packed in following(parts, lambda key: has.get(key, [None])[-1]):
        for key, segment in packed.items():
            has.setdefault(key, []).extend(step for step, _, _ in unpack(segment))
    assert has == {"x": [7, 8, *range(9, 15)], "new": [0]}
    assert [(step, value) for step, _, value in unpack(segments(parts)[0]["x"])] == [(50, 6.0), (51, 7.0)]
