"""Packing: what waits of a run becomes segments, and many small segments few, all in front of the transaction."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

import msgspec

from interlock.core.canonical import digest
from interlock.core.errors import Corrupt, Invalid
from interlock.store import inbox
from interlock.store.inbox import in_order
from interlock.store.segments import MAX_POINTS, Points, Summary, concatenate, pack, read_summary, unpack_stored

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from interlock.core.ports import Reader, Row

SMALL: Final = 4096  # points; segments of more are about as small a point as they get
AT_ONCE: Final = 2_000  # segments that one transaction replaces
_SMALL_ONES: Final = (
    "SELECT key, first_step, digest, data FROM metric_segments WHERE run = :run AND key = :key AND points < :small"
    " ORDER BY first_step, digest"
)


class Segment(msgspec.Struct, frozen=True):
    """Packed points of one metric, looked at and ready to be written.

    Attributes:
        key: the metric.
        data: the bytes.
        digest: their SHA-256.
        summary: what their header says.
    """

    key: str
    data: bytes
    digest: str
    summary: Summary


class Packing(msgspec.Struct, frozen=True):
    """Segments of a run that take the place of others, and of what waits.

    Attributes:
        run: the run's id.
        batches: digests of the batches that it packs.
        replaced: key, first step and digest of the segments that it replaces.
        segments: the new ones.
    """

    run: str
    batches: tuple[str, ...]
    replaced: tuple[tuple[str, int, str], ...]
    segments: tuple[Segment, ...]


def seal(run: str, key: str, data: bytes) -> Segment:
    """Return a segment that somebody sent, if its checksum is that of its bytes; who reads it sees the rest.

    Raises:
        Invalid: the bytes are no segment, or were changed on the way.

    Cost: a checksum and a SHA-256; nothing is unpacked.
    """
    try:
        return Segment(key, data, digest(data), read_summary(data))
    except Corrupt as error:
        raise Invalid(error.message, about="segment", hint=error.hint, run=run, key=key) from None


def sealed(key: str, points: Points) -> Iterator[Segment]:
    """Yield points, in order, as segments of at most `MAX_POINTS`."""
    for start in range(0, len(points), MAX_POINTS):
        part = points if len(points) <= MAX_POINTS else points.part(start, start + MAX_POINTS)
        data = pack(part.steps, part.ats, part.values)
        yield Segment(key, data, digest(data), read_summary(data))


def plan(reader: Reader, run: str, *, merge: bool = False) -> list[Packing]:
    """Return how what waits of a run is packed; the first packing has all of it.

    Args:
        reader: the database.
        run: the run's id.
        merge: whether its small segments are made few too, with further packings where they are very many.

    Raises:
        Corrupt: stored bytes are not what was written.

    Cost: reads and packs what waits, and with `merge` the segments of fewer than 4,096 points of each metric that has
    more than one of them; larger ones would hardly get smaller.
    """
    batches, fresh = inbox.batches(reader, run)
    small = _small_keys(reader, run) if merge else {}
    most = max(2, AT_ONCE // max(1, len(fresh)))
    first: list[tuple[list[Row], tuple[Segment, ...]]] = []
    further: list[Packing] = []
    for key in sorted({*fresh, *(key for key, count in small.items() if count > 1)}):
        rows = reader.all(_SMALL_ONES, {"run": run, "key": key, "small": SMALL}) if key in small else []
        if key in fresh:
            first.append(_repacked(run, key, rows[:most], fresh[key]))
            rows = rows[most:]
        for start in range(0, len(rows), AT_ONCE):
            replaced, segments = _repacked(run, key, rows[start : start + AT_ONCE], concatenate([]))
            if replaced:
                further.append(_packing(run, (), [(replaced, segments)]))
    return list(_joined([_packing(run, batches, first), *further]))


def _small_keys(reader: Reader, run: str) -> dict[str, int]:
    rows = reader.all(
        "SELECT key, count(*) AS n FROM metric_segments WHERE run = :run AND points < :small GROUP BY key",
        {"run": run, "small": SMALL},
    )
    return {row["key"]: row["n"] for row in rows}


def _repacked(run: str, key: str, rows: list[Row], fresh: Points) -> tuple[list[Row], tuple[Segment, ...]]:
    """Return the segments that give way, and those that take their place; none give way where that makes no fewer."""
    with contextlib.suppress(Corrupt):  # whoever reads it is told; here it would keep the run from ending
        points = in_order([*(unpack_stored(row["data"], run, key) for row in rows), fresh])
        if rows and len(rows) + bool(len(fresh)) > -(-len(points) // MAX_POINTS):
            return rows, tuple(sealed(key, points))
    return [], tuple(sealed(key, fresh))


def _packing(run: str, batches: Sequence[str], parts: list[tuple[list[Row], tuple[Segment, ...]]]) -> Packing:
    replaced = tuple((row["key"], row["first_step"], row["digest"]) for rows, _ in parts for row in rows)
    return Packing(run, tuple(batches), replaced, tuple(segment for _, segments in parts for segment in segments))


def _joined(packings: list[Packing]) -> Iterator[Packing]:
    """Yield packings, of which there is one at least, as many together as one transaction replaces."""
    whole = packings[0]
    for packing in packings[1:]:
        if len(whole.replaced) + len(packing.replaced) > AT_ONCE:
            yield whole
            whole = packing
        else:
            replaced, segments = (*whole.replaced, *packing.replaced), (*whole.segments, *packing.segments)
            whole = Packing(whole.run, whole.batches, replaced, segments)
    yield whole
