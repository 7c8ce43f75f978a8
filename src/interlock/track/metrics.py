"""Metric points of runs: in by the batch or packed, out as series and latest values."""

from __future__ import annotations

import collections
import contextlib
import functools
from typing import TYPE_CHECKING, Final

from interlock.core.errors import StorageFull
from interlock.store.inbox import pack_batch
from interlock.track.experiments import among, check_active
from interlock.track.runs import check_names, run_row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from interlock.core.ports import Row, Transaction
    from interlock.store import Store

_BATCHES: Final = 64  # so many wait at most before they are packed
_POINTS: Final = 16_384
_RUNS: Final = 64  # packed in one transaction
_PACKER: Final = "interlock:tracking"  # packing is nobody's deed: a search may happen to start it
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

    def log(self, tx: Transaction, row: Row, points: Columns) -> None:
        """Add points to a run in the caller's transaction; the same points again are nothing new.

        Args:
            tx: the transaction.
            row: the run's row.
            points: their metrics, steps, instants (microseconds since 1970 UTC) and values, of equal lengths.

        Raises:
            OverflowError: a number needs more than 64 bits.

        Cost: one row; every 64th batch packs those before it.
        """
        run = row["id"]
        self._store.series.put(tx, run, pack_batch(*points))
        self._waiting[run] += len(points[0])
        self._batches[run] += 1
        if self._batches[run] >= _BATCHES or self._waiting[run] >= _POINTS:
            self.fold(tx, row)

    def fold(self, tx: Transaction, row: Row) -> None:
        """Pack what waits of a run."""
        run = row["id"]
        self._note(tx, run, self._store.series.fold(tx, run, row["experiment"]), _PACKER)
        del self._waiting[run], self._batches[run]

    def merge(self, tx: Transaction, row: Row) -> None:
        """Pack what waits of a run, and make its small segments few."""
        self.fold(tx, row)
        self._note(tx, row["id"], self._store.series.merge(tx, row["id"], row["experiment"]), _PACKER)

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
                database.write(functools.partial(self._fold_each, rows[start : start + _RUNS]))

    def _fold_each(self, rows: Sequence[Row], tx: Transaction) -> None:
        for row in rows:
            self.fold(tx, row)

    def append(self, tx: Transaction, row: Row, segments: Mapping[str, bytes]) -> None:
        """Add packed points to a run in the caller's transaction.

        Raises:
            Invalid: a segment is not whole, or a metric's name is blank.
        """
        check_names(segments, "metric")
        series = self._store.series
        self._note(tx, row["id"], [series.append(tx, row["id"], k, s, row["experiment"]) for k, s in segments.items()])

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
