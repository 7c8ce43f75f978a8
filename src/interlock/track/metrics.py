"""Metric points of runs: in by the batch or packed, out as series and latest values."""

from __future__ import annotations

import collections
import contextlib
import functools
from typing import TYPE_CHECKING, Final

from interlock.core.errors import StorageFull
from interlock.store.inbox import pack_batch
from interlock.store.packing import AT_ONCE, SMALL, plan, seal
from interlock.store.settling import Stale, settled
from interlock.track.experiments import among, check_active
from interlock.track.runs import check_names, run_row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from interlock.core.ports import Reader, Row, Transaction
    from interlock.store import Store
    from interlock.store.packing import Packing, Segment

_BATCHES: Final = 64  # so many wait at most before they are packed
_POINTS: Final = 16_384
_A_METRIC: Final = 64  # points of each, where a batch has many metrics: segments of fewer cost more than they hold
_MOST_POINTS: Final = 65_536
_PATIENCE: Final = 4  # times as much may wait while it is being packed
_RUNS: Final = 64  # packed in one transaction
_PACKER: Final = "interlock:tracking"  # packing is nobody's deed: a search may happen to start it
_SMALL_ONES: Final = "SELECT COUNT(*) AS n FROM metric_segments WHERE run = :run AND points < :small"
Columns = tuple["Sequence[str]", "Sequence[int]", "Sequence[int]", "Sequence[float]"]


class Metrics:
    """The metric points of a workspace's runs.

    Args:
        store: what the workspace remembers.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: collections.Counter[str] = collections.Counter()  # in points, of this process's runs
        self._batches: collections.Counter[str] = collections.Counter()
        self._enough: collections.Counter[str] = collections.Counter()
        self._packing: set[str] = set()

    def log(self, tx: Transaction, row: Row, points: Columns) -> None:
        """Add points to a run in the caller's transaction; the same points again are nothing new.

        Args:
            tx: the transaction.
            row: the run's row.
            points: their metrics, steps, instants (microseconds since 1970 UTC) and values, of equal lengths.

        Raises:
            OverflowError: a number needs more than 64 bits.

        Cost: one row. Whoever logs much asks `due` afterwards and packs; where nobody does, or too slowly, the batch
            that is too many packs those before it, and other writers wait.
        """
        run = row["id"]
        self._store.series.put(tx, run, pack_batch(*points))
        self._waiting[run] += len(points[0])
        self._batches[run] += 1
        self._enough[run] = min(max(_POINTS, _A_METRIC * len(set(points[0]))), _MOST_POINTS)
        if self._batches[run] >= _PATIENCE * _BATCHES or self._waiting[run] >= _PATIENCE * self._enough[run]:
            self.fold(tx, row)

    def due(self, run: str) -> bool:
        """Return whether so much waits of a run that it should be packed, and nobody does. Cost: two look-ups."""
        if self._batches[run] < _BATCHES and self._waiting[run] < max(_POINTS, self._enough[run]):
            return False
        return run not in self._packing

    def pack(self, run: str) -> None:
        """Pack what waits of a run, worked out in front of the writer; where the disk is full it goes on waiting."""
        if run in self._packing:
            return
        self._packing.add(run)
        try:
            row = run_row(self._store.database, run)
            with contextlib.suppress(StorageFull):
                settled(
                    self._store.database,
                    functools.partial(_plan, run),
                    lambda tx, packing: self.settle(tx, row, packing),
                )
        finally:
            self._packing.discard(run)

    def fold(self, tx: Transaction, row: Row) -> None:
        """Pack what waits of a run."""
        (packing,) = plan(tx, row["id"])
        self.settle(tx, row, packing)

    def settle(self, tx: Transaction, row: Row, packing: Packing) -> None:
        """Write what was worked out of a run (`packing.plan`).

        Raises:
            Stale: some of what it was worked out from is packed already.
        """
        run = row["id"]
        self._note(tx, run, self._store.series.settle(tx, packing, row["experiment"]), _PACKER)
        del self._waiting[run], self._batches[run], self._enough[run]

    def merge(self, row: Row) -> None:
        """Make the small segments of a run few where they are very many: more than one transaction should replace."""
        database = self._store.database
        small = database.one(_SMALL_ONES, {"run": row["id"], "small": SMALL})
        for packing in plan(database, row["id"], merge=True)[1:] if small and small["n"] > AT_ONCE else ():
            with contextlib.suppress(Stale):  # somebody else has made them few
                database.write(functools.partial(self.settle, row=row, packing=packing))

    def fold_all(self, experiments: Sequence[str] | None = None) -> None:
        """Pack what waits of all runs, or of those of some experiments, so that searches see it.

        Where the disk is full it stays as it is: searches go on without it until there is room.

        Cost: a commit for each 64 runs that have something waiting.
        """
        database = self._store.database
        waiting = [row["run"] for row in database.all("SELECT DISTINCT run FROM metric_inbox")]
        rows = among(database, "SELECT id, experiment FROM runs WHERE id IN", waiting)
        rows = [row for row in rows if experiments is None or row["experiment"] in experiments]
        with contextlib.suppress(StorageFull):
            for start in range(0, len(rows), _RUNS):
                some = rows[start : start + _RUNS]
                settled(database, functools.partial(_plans, some), functools.partial(self._settle_each, some))

    def _settle_each(self, rows: Sequence[Row], tx: Transaction, packings: Sequence[Packing]) -> None:
        for row, packing in zip(rows, packings, strict=True):
            self.settle(tx, row, packing)

    def append(self, tx: Transaction, row: Row, segments: Sequence[Segment]) -> None:
        """Add packed points (`sealed`) to a run in the caller's transaction."""
        series = self._store.series
        self._note(tx, row["id"], [series.append(tx, row["id"], one, row["experiment"]) for one in segments])

    def active_row(self, tx: Transaction, run: str) -> Row:
        """Return the row of a run that may be logged to.

        Raises:
            NotFound: there is none.
            Conflict: it is deleted.
        """
        row = run_row(tx, run)
        check_active(row, "run", run)
        return row

    def _note(self, tx: Transaction, run: str, digests: list[str], actor: str = "") -> None:
        if digests:
            data = {"params": {}, "tags": {}, "segments": digests}
            self._store.ledger.append(tx, "run.logged", f"run:{run}", data, actor)


def sealed(run: str, segments: Mapping[str, bytes]) -> list[Segment]:
    """Return segments that somebody sent, by metric, once they are seen to be whole.

    Raises:
        Invalid: a segment is not whole, or a metric's name is blank.
    """
    check_names(segments, "metric")
    return [seal(run, name, data) for name, data in segments.items()]


def _plan(run: str, reader: Reader) -> Packing:
    return plan(reader, run)[0]


def _plans(rows: Sequence[Row], reader: Reader) -> list[Packing]:
    return [plan(reader, row["id"])[0] for row in rows]
