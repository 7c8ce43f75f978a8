"""Metric series: the points of runs, kept in segments as clients packed them, and the latest value of each metric."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Any

import msgspec

from interlock.store import inbox
from interlock.store.histories import Page, Place, read_page
from interlock.store.packing import SMALL
from interlock.store.segments import Points, rank, unpack_stored
from interlock.store.settling import Stale

if TYPE_CHECKING:
    from interlock.core.ports import Database, Transaction
    from interlock.store.packing import Packing, Segment

_BIGGEST = (1 << 63) - 1
_MANY = 500  # values in one IN list
_ADD = (
    "INSERT INTO metric_segments"
    " (run, key, first_step, digest, last_step, first_at, last_at, points, low, high, data) VALUES"
    " (:run, :key, :first_step, :digest, :last_step, :first_at, :last_at, :points, :low, :high, :data)"
    " ON CONFLICT (run, key, first_step, digest) DO NOTHING"
)
# The greatest (step, at, value) wins whatever the order in which segments come, so that a replay changes nothing.
_LATEST = (
    "INSERT INTO metric_latest (run, key, step, at, value, experiment)"
    " VALUES (:run, :key, :step, :at, :value, :experiment)"
    " ON CONFLICT (run, key) DO UPDATE SET step = excluded.step, at = excluded.at, value = excluded.value"
    " WHERE excluded.step > metric_latest.step OR (excluded.step = metric_latest.step"
    " AND (excluded.at > metric_latest.at OR (excluded.at = metric_latest.at AND excluded.value IS NOT NULL"
    " AND (metric_latest.value IS NULL OR excluded.value > metric_latest.value))))"
)
_SMALL_ONES = "SELECT first_step, digest FROM metric_segments WHERE run = :run AND key = :key AND points < :small"
_REMOVE = "DELETE FROM metric_segments WHERE run = :run AND key = :key AND first_step = :step AND digest = :digest"
_OVERLAPPING = (
    "SELECT data FROM metric_segments"
    " WHERE run = :run AND key = :key AND first_step <= :last AND last_step >= :first ORDER BY first_step, digest"
)


class LatestValue(msgspec.Struct, frozen=True):
    """The point of a metric with the highest step (then instant, then value).

    Attributes:
        step: its step.
        at: its instant, in microseconds since 1970 UTC.
        value: its value; NaN is one.
    """

    step: int
    at: int
    value: float


class Series:
    """The metric points of all runs.

    Args:
        database: where they rest.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, tx: Transaction, run: str, segment: Segment, experiment: str = "") -> str:
        """Return the digest of a segment, which belongs to its metric of the run when `tx` commits.

        The same bytes may come again: they are kept once.

        Args:
            tx: the transaction in which they are written, and with them the event that says so.
            run: the run's id.
            segment: what `packing.seal` returned.
            experiment: the id of the run's experiment, among whose runs searches compare.

        Cost: two rows a segment, however many points it holds.
        """
        seen = segment.summary
        row: dict[str, Any] = {"run": run, "key": segment.key, "digest": segment.digest, "data": segment.data}
        row |= {"first_step": seen.first_step, "last_step": seen.last_step, "points": seen.points}
        row |= {"first_at": seen.first_at, "last_at": seen.last_at}
        tx.run(_ADD, row | {"low": _known(seen.low), "high": _known(seen.high)})
        latest = {"step": seen.last_step, "at": seen.latest_at, "value": _known(seen.latest_value)}
        tx.run(_LATEST, {"run": run, "key": segment.key, "experiment": experiment} | latest)
        return segment.digest

    def put(self, tx: Transaction, run: str, batch: bytes) -> None:
        """Keep points of several metrics (`inbox.pack_batch`) until they are packed; reads see them at once.

        Cost: one row, however many points and metrics.
        """
        inbox.put(tx, run, batch)

    def settle(self, tx: Transaction, packing: Packing, experiment: str) -> list[str]:
        """Write what `packing.plan` worked out; return the digests of the new segments.

        Raises:
            Stale: some of what it was worked out from is packed already.

        Cost: two rows for each new segment, and a look at those that give way.
        """
        at = {"run": packing.run}
        if packing.batches:
            inbox.clear(tx, packing.run, packing.batches)
        if packing.replaced:
            held = set()
            for key in dict.fromkeys(key for key, _, _ in packing.replaced):
                rows = tx.all(_SMALL_ONES, at | {"key": key, "small": SMALL})
                held |= {(key, row["first_step"], row["digest"]) for row in rows}
            if not held.issuperset(packing.replaced):
                raise Stale
            tx.run_many(_REMOVE, ({**at, "key": k, "step": s, "digest": d} for k, s, d in packing.replaced))
        return [self.append(tx, packing.run, segment, experiment) for segment in packing.segments]

    def points(self, run: str, key: str, first_step: int | None = None, last_step: int | None = None) -> Points:
        """Return the points of one metric by step, instant and value, each once; none when there are none.

        Args:
            run: the run's id.
            key: the metric's name.
            first_step: the lowest step wanted, or None for all.
            last_step: the highest step wanted, or None for all.

        Raises:
            Corrupt: stored bytes are not what was written.
        """
        # What waits is read first: what is packed meanwhile is seen twice, which counts once, and never missed.
        fresh = inbox.waiting_of(self._database, run, key)
        first = -_BIGGEST - 1 if first_step is None else first_step
        last = _BIGGEST if last_step is None else last_step
        rows = self._database.all(_OVERLAPPING, {"run": run, "key": key, "first": first, "last": last})
        parts = [unpack_stored(row["data"], run, key) for row in rows]
        return _within(inbox.in_order([*parts, fresh]), first_step, last_step)

    def page(self, run: str, key: str, after: Place | None = None, most: int | None = None) -> Page:
        """Return points of one metric by instant, then step, then value: at most `most` of those after a place.

        Raises:
            Corrupt: stored bytes are not what was written.

        Cost: unpacks the segments that hold the page.
        """
        return read_page(self._database, run, key, after, most)

    def latest(self, run: str) -> dict[str, LatestValue]:
        """Return the latest value of each metric of a run, by name."""
        return self.latest_of([run]).get(run, {})

    def latest_of(self, runs: list[str]) -> dict[str, dict[str, LatestValue]]:
        """Return the latest values of many runs, by run and name; runs without metrics are left out.

        Cost: two queries for each 500 runs, and one more for each run whose points are not packed yet.
        """
        found: dict[str, dict[str, LatestValue]] = {}
        for start in range(0, len(runs), _MANY):
            values = {f"r{number}": run for number, run in enumerate(runs[start : start + _MANY])}
            named = f"run IN ({', '.join(f':{name}' for name in values)})"
            waits = self._database.all(f"SELECT DISTINCT run FROM metric_inbox WHERE {named}", values)  # noqa: S608
            fresh = {row["run"]: inbox.waiting(self._database, row["run"]) for row in waits}  # first, as in `points`
            query = f"SELECT run, key, step, at, value FROM metric_latest WHERE {named} ORDER BY run, key"  # noqa: S608 - our names
            for row in self._database.all(query, values):
                latest = LatestValue(row["step"], row["at"], _value(row["value"]))
                found.setdefault(row["run"], {})[row["key"]] = latest
            for run, waiting in fresh.items():
                self._overlay(waiting, found.setdefault(run, {}))
        return found

    def _overlay(self, waiting: dict[str, Points], found: dict[str, LatestValue]) -> None:
        """Add what waits of a run to its latest values."""
        for key, points in waiting.items():
            newest, held = LatestValue(points.steps[-1], points.ats[-1], points.values[-1]), found.get(key)
            if held is None or _rank(newest) > _rank(held):
                found[key] = newest
        ordered = sorted(found.items())
        found.clear()
        found.update(ordered)


def _rank(point: LatestValue) -> tuple[int, tuple[int, bool, float]]:
    return point.step, rank(point.at, point.value)


def _within(points: Points, first_step: int | None, last_step: int | None) -> Points:
    """Return the part of sorted points whose steps are in a range."""
    start = 0 if first_step is None else bisect_left(points.steps, first_step)
    end = len(points) if last_step is None else bisect_right(points.steps, last_step)
    if start == 0 and end == len(points):
        return points
    return Points(points.steps[start:end], points.ats[start:end], points.values[start:end])


def _known(value: float) -> float | None:
    """Return a value as databases keep it: NaN as NULL, which SQLite makes of it anyway."""
    return None if value != value else value  # noqa: PLR0124 - true for NaN only


def _value(stored: float | None) -> float:
    return float("nan") if stored is None else stored
