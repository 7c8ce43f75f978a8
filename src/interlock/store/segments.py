"""Metric segments: many points of one metric as one small run of bytes.

    header   magic, points, first and last step, first and last instant, the latest point's instant and value,
             low, high, flags, crc32
    payload  zstd( steps | instants | values ), each column as its eight byte planes

Steps and instants are kept as differences, so equal strides all but vanish; planes bring bytes that look alike
together. The checksum covers header and payload, so that a store can take a segment as it comes without unpacking it.
"""

from __future__ import annotations

import math
import operator
import struct
import sys
import threading
import zlib
from array import array
from itertools import accumulate, chain, islice
from typing import TYPE_CHECKING, Final

import msgspec

from interlock.core.errors import Corrupt, Invalid

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MAX_POINTS: Final = 1 << 16
_MAGIC: Final = b"ILS2"
_HEAD: Final = struct.Struct("<4sIqqqqqdddI")
_FORMS: Final = {_MAGIC: _HEAD, b"ILS1": struct.Struct("<4sIqqqdddI")}  # the older one has no first and last instant
_CRC: Final = struct.Struct("<I")
_LEVEL: Final = 1
_STEPS_ARE_DELTAS: Final = 1
_ATS_ARE_DELTAS: Final = 2
_POINT_BYTES: Final = 24
_LITTLE: Final = sys.byteorder == "little"


class _Ours(threading.local):
    """A thread's compressor, since to make one costs more than to pack a few points.

    The lock of one for all would stay shut in a process that was forked meanwhile.
    """

    def __init__(self) -> None:
        self.compressor = zstd.ZstdCompressor(_LEVEL)


_ours: Final = _Ours()


class Points(msgspec.Struct, frozen=True):
    """Points of one metric, by column; the arrays have equal lengths.

    Attributes:
        steps: int64 (points,).
        ats: int64 (points,), microseconds since 1970 UTC.
        values: float64 (points,); NaN and the infinities are values like others.
    """

    steps: array[int]
    ats: array[int]
    values: array[float]

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[tuple[int, int, float]]:
        return zip(self.steps, self.ats, self.values, strict=True)

    def part(self, start: int, end: int) -> Points:
        """Return the points of some places."""
        return Points(self.steps[start:end], self.ats[start:end], self.values[start:end])


class Summary(msgspec.Struct, frozen=True):
    """What a segment's header says without unpacking it.

    Attributes:
        points: how many points it holds.
        first_step: the lowest step.
        last_step: the highest step.
        first_at: the lowest instant, in microseconds since 1970 UTC; None where an older form does not say.
        last_at: the highest instant, likewise.
        latest_at: the instant of its latest point (highest step, then instant, then value), in microseconds.
        latest_value: the value of that point.
        low: the smallest value, NaN when all are NaN.
        high: the largest value, NaN when all are NaN.
    """

    points: int
    first_step: int
    last_step: int
    first_at: int | None
    last_at: int | None
    latest_at: int
    latest_value: float
    low: float
    high: float


def pack(steps: Iterable[int], ats: Iterable[int], values: Iterable[float]) -> bytes:
    """Return points as one segment, in the order given.

    Args:
        steps: int64 (points,).
        ats: int64 (points,), microseconds since 1970 UTC.
        values: float64 (points,); every bit is kept, of NaN and -0.0 too.

    Raises:
        Invalid: there is no point or more than `MAX_POINTS`, lengths differ, or a number does not fit its column.

    Cost: about 0.3 us a point in pure Python; numpy arrays are taken but not needed.
    """
    try:
        points = Points(array("q", steps), array("q", ats), array("d", values))
    except (OverflowError, TypeError) as error:
        raise _invalid(f"a number does not fit its column: {error}") from None
    count = len(points)
    if not count == len(points.ats) == len(points.values):
        raise _invalid(f"{count} steps, {len(points.ats)} instants and {len(points.values)} values do not go together")
    if not 1 <= count <= MAX_POINTS:
        raise _invalid(f"a segment holds 1 to {MAX_POINTS} points, not {count}")
    steps_kept, steps_flag = _deltas(points.steps, _STEPS_ARE_DELTAS)
    ats_kept, ats_flag = _deltas(points.ats, _ATS_ARE_DELTAS)
    planes = _planes(steps_kept) + _planes(ats_kept) + _planes(points.values)
    payload = _ours.compressor.compress(planes, zstd.ZstdCompressor.FLUSH_FRAME)
    seen = summarize(points)
    head = _HEAD.pack(_MAGIC, *msgspec.structs.astuple(seen), steps_flag | ats_flag)
    return head + _CRC.pack(zlib.crc32(payload, zlib.crc32(head))) + payload


def unpack(segment: bytes) -> Points:
    """Return the points of a segment, in the order in which they were packed.

    Raises:
        Corrupt: any byte differs from what was packed.
    """
    summary, flags, start = _head(segment)
    count = summary.points
    size = count * _POINT_BYTES
    unpacker = zstd.ZstdDecompressor()
    try:
        planes = unpacker.decompress(memoryview(segment)[start:], max_length=size + 1)
    except zstd.ZstdError as error:
        raise _corrupt(f"its columns do not unpack: {error}") from None
    if len(planes) != size or not unpacker.eof or unpacker.unused_data:
        raise _corrupt("its columns are not as long as it says")
    steps, ats, values = array("q"), array("q"), array("d")
    third = count * 8
    _fill(steps, planes[:third])
    _fill(ats, planes[third : 2 * third])
    _fill(values, planes[2 * third :])
    try:
        if flags & _STEPS_ARE_DELTAS:
            steps = array("q", accumulate(steps))
        if flags & _ATS_ARE_DELTAS:
            ats = array("q", accumulate(ats))
    except OverflowError:
        raise _corrupt("its differences add up to more than a number holds") from None
    return Points(steps, ats, values)


def read_summary(segment: bytes) -> Summary:
    """Return what a segment's header says, its checksum being right.

    Raises:
        Corrupt: any byte differs from what was packed.

    Cost: one crc32 over the bytes; nothing is unpacked.
    """
    return _head(segment)[0]


def unpack_stored(segment: bytes, run: str, key: str) -> Points:
    """Return the points of a segment that a database kept.

    Raises:
        Corrupt: any byte differs from what was packed; it says whose points they were.
    """
    try:
        return unpack(segment)
    except Corrupt as error:
        raise Corrupt(
            f"Metric {key!r} of run {run} has a damaged segment: {error.message}",
            about="segment",
            hint="Restore the database from a backup.",
            run=run,
            key=key,
        ) from None


def summarize(points: Points) -> Summary:
    """Return the summary of points, of which there is at least one."""
    steps, ats, values = points.steps, points.ats, points.values
    first, last = min(steps), max(steps)
    if steps[-1] == last and (len(steps) == 1 or steps.count(last) == 1):
        place = len(steps) - 1
    else:
        place = max((i for i, step in enumerate(steps) if step == last), key=lambda i: rank(ats[i], values[i]))
    real: Sequence[float] = values
    if math.isnan(sum(values)):  # where one is NaN, and where both infinities are
        real = [value for value in values if value == value] or [math.nan]  # noqa: PLR0124 - false for NaN only
    return Summary(len(steps), first, last, min(ats), max(ats), ats[place], values[place], min(real), max(real))


def rank(at: int, value: float) -> tuple[int, bool, float]:
    """Return what orders points of equal step: instant, then value, NaN being the lowest."""
    known = value == value  # noqa: PLR0124 - false for NaN only
    return (at, known, value if known else 0.0)


def concatenate(parts: Iterable[Points]) -> Points:
    """Return the points of several segments, one after the other."""
    steps, ats, values = array("q"), array("q"), array("d")
    for part in parts:
        steps.extend(part.steps)
        ats.extend(part.ats)
        values.extend(part.values)
    return Points(steps, ats, values)


def _head(segment: bytes) -> tuple[Summary, int, int]:
    """Return what the header says, its flags, and where the payload begins.

    Raises:
        Corrupt: any byte differs from what was packed.
    """
    form = _FORMS.get(segment[:4])
    if form is None or len(segment) <= form.size + _CRC.size:
        raise _corrupt("it does not begin as one")
    start = form.size + _CRC.size
    (crc,) = _CRC.unpack_from(segment, form.size)
    view = memoryview(segment)
    if zlib.crc32(view[start:], zlib.crc32(view[: form.size])) != crc:
        raise _corrupt("its checksum is not that of its bytes")
    _, count, first, last, *ats, latest_at, latest_value, low, high, flags = form.unpack_from(segment)
    first_at, last_at = ats or (None, None)
    summary = Summary(count, first, last, first_at, last_at, latest_at, latest_value, low, high)
    backwards = first > last or (first_at is not None and last_at is not None and first_at > last_at)
    if backwards or not 1 <= count <= MAX_POINTS:
        raise _corrupt("its header contradicts itself")
    return summary, flags, start


def _deltas(column: array[int], flag: int) -> tuple[array[int], int]:
    """Return first value and differences with `flag`, or the column itself with 0 where a difference needs 65 bits."""
    try:
        return array("q", chain(column[:1], map(operator.sub, islice(column, 1, None), column))), flag
    except OverflowError:
        return column, 0


def _planes(column: array[int] | array[float]) -> bytes:
    if not _LITTLE:
        column = column[:]
        column.byteswap()
    raw = column.tobytes()
    return b"".join([raw[plane::8] for plane in range(8)])


def _fill(column: array[int] | array[float], planes: bytes) -> None:
    raw = bytearray(len(planes))
    count = len(planes) // 8
    for plane in range(8):
        raw[plane::8] = planes[plane * count : (plane + 1) * count]
    column.frombytes(raw)
    if not _LITTLE:
        column.byteswap()


def _invalid(why: str) -> Invalid:
    return Invalid(f"These points make no segment: {why}.", about="segment")


def _corrupt(why: str) -> Corrupt:
    return Corrupt(f"This metric segment is damaged: {why}.", about="segment", hint="Send or restore it again.")
