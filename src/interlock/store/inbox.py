"""Points on their way into segments: each call's points are one row, durable with its answer, packed later together.

A segment for each call would cost a row for each of its metrics; here a call of a thousand points is one row. Points
that come twice are one point: the same bytes are one row, and equal points are dropped when they are packed.
"""

from __future__ import annotations

import operator
from array import array
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from interlock.core.canonical import digest
from interlock.core.errors import Corrupt
from interlock.store.segments import Points, concatenate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.core.ports import Reader, Row, Transaction

Point = tuple[int, int, float]
_Columns = tuple["array[int]", "array[int]", "array[int]", "array[float]"]
_ADD = "INSERT INTO metric_inbox (run, digest, data) VALUES (:run, :digest, :data) ON CONFLICT (run, digest) DO NOTHING"


class _Batch(msgspec.Struct, frozen=True, array_like=True):
    """Points by column; `which` says for each point the place of its key in `keys`."""

    keys: tuple[str, ...]
    which: bytes
    steps: bytes
    ats: bytes
    values: bytes


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Batch)


def pack_batch(keys: Sequence[str], steps: Sequence[int], ats: Sequence[int], values: Sequence[float]) -> bytes:
    """Return points of several metrics as one run of bytes.

    Args:
        keys: the metric of each point.
        steps: int64 (points,).
        ats: int64 (points,), microseconds since 1970 UTC.
        values: float64 (points,).

    Raises:
        OverflowError: a number needs more than 64 bits.
    """
    places = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    which = array("I", [places[key] for key in keys])
    batch = _Batch(
        tuple(places),
        which.tobytes(),
        array("q", steps).tobytes(),
        array("q", ats).tobytes(),
        array("d", values).tobytes(),
    )
    return _ENCODER.encode(batch)


def put(tx: Transaction, run: str, batch: bytes) -> None:
    """Keep a batch of a run in the caller's transaction; the same bytes again are nothing new."""
    tx.run(_ADD, {"run": run, "digest": digest(batch), "data": batch})


def waiting(reader: Reader, run: str) -> dict[str, list[Point]]:
    """Return the points of a run that wait to be packed, by metric: (step, instant, value), each once, in order.

    Raises:
        Corrupt: stored bytes are not what was written.
    """
    found: dict[str, list[Point]] = {}
    for row in reader.all("SELECT data FROM metric_inbox WHERE run = :run", {"run": run}):
        for key, point in _points(row, run):
            found.setdefault(key, []).append(point)
    return {key: distinct(points) for key, points in found.items()}


def waiting_of(reader: Reader, run: str, key: str) -> Points:
    """Return the points of one metric that wait to be packed, as they came.

    Raises:
        Corrupt: stored bytes are not what was written.
    """
    parts = []
    for row in reader.all("SELECT data FROM metric_inbox WHERE run = :run", {"run": run}):
        batch, (which, steps, ats, values) = _columns(row, run)
        if key in batch.keys and len(batch.keys) > 1:
            place = batch.keys.index(key)
            mine = [number for number, found in enumerate(which) if found == place]
            steps, ats = (array("q", [column[number] for number in mine]) for column in (steps, ats))
            values = array("d", [values[number] for number in mine])
        if key in batch.keys and steps:
            parts.append(Points(steps, ats, values))
    return concatenate(sorted(parts, key=lambda part: part.steps[0]))  # near their order: the sort after this is short


def clear(tx: Transaction, run: str) -> None:
    """Take a run's waiting points away, which are packed by then."""
    tx.run("DELETE FROM metric_inbox WHERE run = :run", {"run": run})


def distinct(points: list[Point]) -> list[Point]:
    """Return points in order of step, instant and value, each once."""
    ordered = sorted(points)
    if all(map(operator.lt, ordered, islice(ordered, 1, None))):  # false where a NaN or an equal point might confuse
        return ordered
    # NaN equals nothing, so it is told by its place in a pair: (False, 0.0) comes first and equals itself.
    seen = {(step, at, value == value, value if value == value else 0.0): value for step, at, value in points}  # noqa: PLR0124
    return [(step, at, seen[step, at, known, value]) for step, at, known, value in sorted(seen)]


def _points(row: Row, run: str) -> list[tuple[str, Point]]:
    batch, (which, steps, ats, values) = _columns(row, run)
    keys = [batch.keys[place] for place in which]
    return list(zip(keys, zip(steps, ats, values, strict=True), strict=True))


def _columns(row: Row, run: str) -> tuple[_Batch, _Columns]:
    """Return a batch and its columns: places of keys, steps, instants, values."""
    try:
        batch = _DECODER.decode(row["data"])
        which, steps, ats, values = array("I"), array("q"), array("q"), array("d")
        which.frombytes(batch.which)
        steps.frombytes(batch.steps)
        ats.frombytes(batch.ats)
        values.frombytes(batch.values)
        if not len(which) == len(steps) == len(ats) == len(values) or max(which, default=-1) >= len(batch.keys):
            raise ValueError("its columns do not go together")  # noqa: TRY301 - one sentence for all that is wrong
    except (msgspec.MsgspecError, ValueError) as error:
        raise Corrupt(
            f"Points of run {run} that were not packed yet are damaged: {error}.",
            about="segment",
            hint="Restore the database from a backup.",
            run=run,
        ) from None
    return batch, (which, steps, ats, values)
