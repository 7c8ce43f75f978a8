from __future__ import annotations

import math
import struct
import tracemalloc
import zlib
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.errors import Corrupt, Invalid
from interlock.store import segments
from interlock.store.segments import MAX_POINTS, Points, pack, read_summary, unpack

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
BITS = st.integers(0, (1 << 64) - 1)
NAN, INF = float("nan"), float("inf")


def bits(values):
    return struct.pack(f"{len(values)}d", *values)


def from_bits(numbers):
    return array("d", struct.pack(f"{len(numbers)}Q", *numbers))


def reseal(head, payload):
    """A segment with any header and payload, and the checksum that goes with them."""
    return head + struct.pack("<I", zlib.crc32(payload, zlib.crc32(head))) + payload


@given(st.lists(st.tuples(INT64, INT64, BITS), min_size=1, max_size=60))
def test_every_bit_comes_back(points):
    steps, ats, raw = zip(*points, strict=True)
    values = from_bits(raw)
    found = unpack(pack(steps, ats, values))
    assert (list(found.steps), list(found.ats), found.values.tobytes()) == (list(steps), list(ats), values.tobytes())


@pytest.mark.parametrize("values", [[NAN], [-NAN], [INF, -INF], [-0.0, 0.0], [5e-324, 1.7976931348623157e308]])
def test_unusual_floats_come_back_exactly(values):
    assert bits(unpack(pack(range(len(values)), range(len(values)), values)).values) == bits(values)


def test_differences_of_65_bits_come_back():
    ends = [-(1 << 63), (1 << 63) - 1, -(1 << 63)]
    found = unpack(pack(ends, ends, [1, 2, 3]))
    assert list(found.steps) == list(found.ats) == ends


def test_numpy_arrays_are_taken():
    np = pytest.importorskip("numpy")
    found = unpack(pack(np.arange(5), np.arange(5) * 1000, np.linspace(0, 1, 5, dtype=np.float32)))
    assert list(found) == [(i, i * 1000, i / 4) for i in range(5)]


def test_any_changed_byte_is_noticed():
    segment = pack(range(0, 300, 3), range(10**15, 10**15 + 100), [math.sin(i) for i in range(100)])
    for place in range(len(segment)):
        for change in (1, 0x80, 0xFF):
            damaged = bytearray(segment)
            damaged[place] ^= change
            for read in (unpack, read_summary):
                with pytest.raises(Corrupt):
                    read(bytes(damaged))


def test_any_cut_or_lengthened_segment_is_noticed():
    segment = pack([1, 2], [1, 2], [1, 2])
    for damaged in [segment[:n] for n in range(len(segment))] + [segment + b"\0", segment * 2, b""]:
        with pytest.raises(Corrupt):
            read_summary(damaged)


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 3), st.sampled_from([NAN, -1.0, 0.0, 2.0])), min_size=1))
def test_the_summary_says_what_the_points_say(points):
    steps, ats, values = zip(*points, strict=True)
    seen = read_summary(pack(steps, ats, values))
    best = max(points, key=lambda p: (p[0], p[1], -INF if math.isnan(p[2]) else p[2]))
    real = [v for v in values if not math.isnan(v)] or [NAN]
    assert (seen.points, seen.first_step, seen.last_step) == (len(points), min(steps), max(steps))
    assert (seen.latest_at, seen.first_at, seen.last_at) == (best[1], min(ats), max(ats))
    assert bits([seen.latest_value, seen.low, seen.high]) == bits([best[2], min(real), max(real)])


@pytest.mark.parametrize(
    "columns",
    [([], [], []), ([1], [1, 2], [1]), ([1], [1], []), ([1 << 63], [1], [1]), (["1"], [1], [1]), ([1.5], [1], [1])],
)
def test_what_makes_no_segment_is_refused(columns):
    with pytest.raises(Invalid) as caught:
        pack(*columns)
    assert caught.value.code == "segment.invalid"


def test_a_segment_has_a_largest_size():
    most = range(MAX_POINTS)
    assert len(unpack(pack(most, most, most))) == MAX_POINTS
    with pytest.raises(Invalid):
        pack(range(MAX_POINTS + 1), range(MAX_POINTS + 1), range(MAX_POINTS + 1))


@pytest.mark.parametrize(
    "payload", [segments.zstd.compress(bytes(1 << 26)), segments.zstd.compress(bytes(23)), b"no zstd"]
)
def test_a_payload_that_lies_about_its_length_is_refused_without_unpacking_it_all(payload):
    head = pack([1], [1], [1.0])[: segments._HEAD.size]
    tracemalloc.start()
    with pytest.raises(Corrupt):
        unpack(reseal(head, payload))
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("fields", [(0, 1, 1, 0, 0), (MAX_POINTS + 1, 1, 1, 0, 0), (1, 2, 1, 0, 0), (1, 1, 1, 1, 0)])
def test_a_header_that_contradicts_itself_is_refused(fields):
    count, first, last, *ats = fields
    head = segments._HEAD.pack(b"ILS2", count, first, last, *ats, 0, 0.0, 0.0, 0.0, 0)
    with pytest.raises(Corrupt, match="contradicts"):
        read_summary(reseal(head, segments.zstd.compress(bytes(24))))


def test_the_bytes_are_the_format_that_is_written_down():
    """Segments outlive the program: these must be readable for ever."""
    steps, instants = "0700000000000000 0900000000000000", "e703000000000000 e803000000000000"
    rest = "e803000000000000 000000000000e0bf 000000000000e0bf 000000000000f83f 03000000"
    older, newer = (
        bytes.fromhex(f"494c5331 02000000 {steps} {rest}"),
        bytes.fromhex(f"494c5332 02000000 {steps} {instants} {rest}"),
    )
    planes = b"".join(
        bytes(struct.pack("<2" + code, *column)[plane::8])
        for code, column in (("q", (7, 2)), ("q", (999, 1)), ("d", (1.5, -0.5)))
        for plane in range(8)
    )
    for head, ends in ((older, (None, None)), (newer, (999, 1000))):
        segment = reseal(head, segments.zstd.compress(planes))
        assert list(unpack(segment)) == [(7, 999, 1.5), (9, 1000, -0.5)]
        assert (read_summary(segment).first_at, read_summary(segment).last_at) == ends
    assert pack([7, 9], [999, 1000], [1.5, -0.5])[: len(newer)] == newer


def test_equal_strides_cost_next_to_nothing():
    count = 1000
    segment = pack(range(0, count * 10, 10), range(0, count * 1_000_000, 1_000_000), [0.5] * count)
    assert len(segment) < 200


def test_points_know_their_number():
    assert len(Points(array("q", [1]), array("q", [2]), array("d", [3.0]))) == 1
