"""Points on their way into segments: each call's points are one row, durable with its answer, packed later together.

A segment for each call would cost a row for each of its metrics; here a call of a thousand points is one row. Points
that come twice are one point: the same bytes are one row, and equal points are dropped when they are packed.
"""

from __future__ import annotations

import operator
from array import array
from collections import Counter
from itertools import accumulate, islice, pairwise
from typing import TYPE_CHECKING

import msgspec

from interlock.core.canonical import digest
from interlock.core.errors import Corrupt
from interlock.store.segments import Points, concatenate
from interlock.store.settling import Stale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.core.ports import Reader, Row, Transaction

Point = tuple[int, int, float]
_FEW = 16  # points of a metric in a batch; as many are gathered by the column, fewer one by one
_ADD = "INSERT INTO metric_inbox (run, digest, data) VALUES (:run, :digest, :data) ON CONFLICT (run, digest) DO NOTHING"


class _Batch(msgspec.Struct, frozen=True, array_like=True):
    """Points by column, those of one key beside each other; `counts` says how many each key has.

    Batches that waited when the program was older have instead, as uint32, the place of each point's key in `keys`.
    """

    keys: tuple[str, ...]
    counts: tuple[int, ...] | bytes
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

    Cost: about 0.1 us a point where those of a key come together, and three times as much where they do not.
    """
    counts = Counter(keys)
    if any(map(operator.ne, keys, counts.elements())):
        place = {key: number for number, key in enumerate(counts)}
        order = sorted(range(len(keys)), key=[place[key] for key in keys].__getitem__)
        steps, ats = ([column[number] for number in order] for column in (steps, ats))
        values = [values[number] for number in order]
    batch = _Batch(
        tuple(counts),
        tuple(counts.values()),
        array("q", steps).tobytes(),
        array("q", ats).tobytes(),
        array("d", values).tobytes(),
    )
    return _ENCODER.encode(batch)


def put(tx: Transaction, run: str, batch: bytes) -> None:
    """Keep a batch of a run in the caller's transaction; the same bytes again are nothing new."""
    tx.run(_ADD, {"run": run, "digest": digest(batch), "data": batch})


def waiting(reader: Reader, run: str) -> dict[str, Points]:
    """Return the points of a run that wait to be packed, by metric: by step, instant and value, each once.

    Raises:
        Corrupt: stored bytes are not what was written.
    """
    return batches(reader, run)[1]


def batches(reader: Reader, run: str) -> tuple[list[str], dict[str, Points]]:
    """Return the digests of a run's batches that wait to be packed, and their points as `waiting` does.

    Raises:
        Corrupt: stored bytes are not what was written.
    """
    rows = reader.all("SELECT digest, data FROM metric_inbox WHERE run = :run", {"run": run})
    parts: dict[str, list[Points]] = {}
    single: dict[str, list[Point]] = {}
    for row in rows:
        keys, counts, points = _batch(row, run)
        bounds = pairwise(accumulate(counts, initial=0))
        if len(points) < _FEW * len(keys):
            listed = list(points)
            for key, (start, end) in zip(keys, bounds, strict=True):
                single.setdefault(key, []).extend(listed[start:end])
        else:
            for key, (start, end) in zip(keys, bounds, strict=True):
                parts.setdefault(key, []).append(points.part(start, end))
    found = {key: in_order([*parts.get(key, []), *_alone(single.get(key))]) for key in {**parts, **single}}
    return [row["digest"] for row in rows], found


def _alone(points: list[Point] | None) -> list[Points]:
    return [columns(points)] if points else []


def waiting_of(reader: Reader, run: str, key: str) -> Points:
    """Return the points of one metric that wait to be packed, as they came.

    Raises:
        Corrupt: stored bytes are not what was written.
    """
    parts = []
    for row in reader.all("SELECT data FROM metric_inbox WHERE run = :run", {"run": run}):
        keys, counts, points = _batch(row, run)
        if key in keys:
            place = keys.index(key)
            start = sum(counts[:place])
            parts.append(points.part(start, start + counts[place]))
    return concatenate(sorted(parts, key=_first_step))  # near their order: the sort after this is short


def clear(tx: Transaction, run: str, packed: Sequence[str]) -> None:
    """Take batches of a run away, which are packed by then.

    Raises:
        Stale: one is not there.
    """
    held = {row["digest"] for row in tx.all("SELECT digest FROM metric_inbox WHERE run = :run", {"run": run})}
    if not held.issuperset(packed):
        raise Stale
    if len(held) == len(packed):
        tx.run("DELETE FROM metric_inbox WHERE run = :run", {"run": run})
        return
    gone = ({"run": run, "digest": name} for name in packed)
    tx.run_many("DELETE FROM metric_inbox WHERE run = :run AND digest = :digest", gone)


def columns(points: Sequence[Point]) -> Points:
    """Return points by column."""
    steps = array("q", [step for step, _, _ in points])
    ats = array("q", [at for _, at, _ in points])
    return Points(steps, ats, array("d", [value for _, _, value in points]))


def in_order(parts: Sequence[Points]) -> Points:
    """Return the points of some parts in order of step, instant and value, each once."""
    joined = concatenate(sorted(parts, key=_first_step))
    if all(map(operator.lt, joined.steps, islice(joined.steps, 1, None))):
        return joined
    return columns(distinct(list(joined)))


def _first_step(part: Points) -> int:
    return part.steps[0] if part.steps else 0


def distinct(points: list[Point]) -> list[Point]:
    """Return points in order of step, instant and value, each once."""
    ordered = sorted(points)
    if all(map(operator.lt, ordered, islice(ordered, 1, None))):  # false where a NaN or an equal point might confuse
        return ordered
    # NaN equals nothing, so it is told by its place in a pair: (False, 0.0) comes first and equals itself.
    seen = {(step, at, value == value, value if value == value else 0.0): value for step, at, value in points}  # noqa: PLR0124
    return [(step, at, seen[step, at, known, value]) for step, at, known, value in sorted(seen)]


def _batch(row: Row, run: str) -> tuple[tuple[str, ...], tuple[int, ...], Points]:
    """Return the keys and counts of a batch, and its points."""
    try:
        batch = _DECODER.decode(row["data"])
        points = Points(array("q"), array("q"), array("d"))
        points.steps.frombytes(batch.steps)
        points.ats.frombytes(batch.ats)
        points.values.frombytes(batch.values)
        counts, points = _grouped(batch, points) if isinstance(batch.counts, bytes) else (batch.counts, points)
        lengths = {len(points.steps), len(points.ats), len(points.values), sum(counts)}
        if len(lengths) > 1 or len(batch.keys) != len(counts) or min(counts, default=0) < 0:
            raise ValueError("its columns do not go together")  # noqa: TRY301 - one sentence for all that is wrong
    except (msgspec.MsgspecError, ValueError) as error:
        raise Corrupt(
            f"Points of run {run} that were not packed yet are damaged: {error}.",
            about="segment",
            hint="Restore the database from a backup.",
            run=run,
        ) from None
    return batch.keys, counts, points


def _grouped(batch: _Batch, points: Points) -> tuple[tuple[int, ...], Points]:
    """Return the counts and points of an older batch, those of one key beside each other."""
    which = array("I")
    which.frombytes(bytes(batch.counts))
    if len(which) != len(points.steps):
        raise ValueError("its columns do not go together")
    found = Counter(which)
    order = sorted(range(len(which)), key=which.__getitem__)
    listed = list(points)
    return tuple(found[place] for place in range(len(batch.keys))), columns([listed[number] for number in order])
