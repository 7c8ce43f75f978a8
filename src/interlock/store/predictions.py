"""The prediction log: what every deployment answered, from what, and when.

Each process that answers writes files of its own with a `PredictionWriter`; housekeeping makes Parquet of what is
finished; a `PredictionLog` reads both, also while they are written.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

from interlock.core.errors import NotFound
from interlock.store.blocklog import SUFFIX
from interlock.store.compact import Compacted, Compactor, Erased, compact_folder, erase_subject, settle_folder
from interlock.store.label_owners import owners
from interlock.store.prediction_files import PARQUET, LogFile, ParquetFile, identity, stems
from interlock.store.prediction_frames import inputs_of, join, need_polars
from interlock.store.prediction_rows import Answered, Filter, Prediction, Scalar, Source
from interlock.store.prediction_writer import PredictionWriter, PromptWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    import polars as pl

    T = TypeVar("T")

__all__ = [
    "Answered",
    "Compacted",
    "Compactor",
    "Erased",
    "Prediction",
    "PredictionLog",
    "PredictionWriter",
    "PromptWriter",
    "Scalar",
    "Source",
    "inputs_of",
]


class PredictionLog:
    """All predictions of a workspace. Any thread may read it, any process may open it.

    Opening cuts off what dead writers had not acknowledged. Instants are microseconds since 1970 UTC; a range is
    `since <= occurred_at < until`; deployment "" means all. Reading goes file by file, and skips files and blocks
    whose range of ids or instants says that they hold nothing wanted.

    Args:
        folder: where it rests; made if it is missing.

    Raises (any reading method):
        Corrupt: a file is damaged in the middle; the error names file and place.
        MissingExtra: there are Parquet files, and Polars is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._files: dict[str, LogFile | ParquetFile] = {}
        folder.mkdir(parents=True, exist_ok=True)
        settle_folder(folder)

    def rows(self, deployment: str = "", since: int | None = None, until: int | None = None) -> Iterator[Prediction]:
        """Yield predictions: oldest file first, inside a file by id or in the order of writing.

        Args:
            deployment: who answered, or "" for all.
            since: the first `occurred_at` wanted, or None.
            until: the first `occurred_at` not wanted, or None.

        Cost: memory for one file's rows at a time.
        """
        return self._select(Filter(deployment, since, until))

    def get(self, id: str) -> Prediction:
        """Return one prediction.

        Raises:
            NotFound: there is none of this id.
        """
        for row in self._select(Filter(id=id)):
            return row
        raise NotFound.named("prediction", id)

    def by_subject(self, subject: str) -> list[Prediction]:
        """Return all predictions about a subject, by `occurred_at`.

        Cost: one pass over the subject column of every file.
        """
        return sorted(self._select(Filter(subject=subject)), key=lambda row: (row.occurred_at, row.id))

    def frame(self, deployment: str = "", since: int | None = None, until: int | None = None) -> pl.DataFrame:
        """Return predictions as a frame: the fields, and a column `inputs.NAME` for each input; by `occurred_at`, id.

        `at` and `occurred_at` are datetimes in UTC. An input that is a number in some rows and a text in others is
        a text.

        Raises:
            MissingExtra: Polars is not installed.
        """
        need_polars()
        wanted = Filter(deployment, since, until)
        found = [self._read(stem, lambda file: _frame(file, wanted)) for stem in stems(self.folder)]
        return join([frame for frame in found if frame is not None])

    def inputs_frame(self, deployment: str = "", since: int | None = None, until: int | None = None) -> pl.DataFrame:
        """Return the inputs of the same predictions in the same order, each column under its own name.

        For both at once, call `frame` and take `inputs_of` of it.
        """
        return inputs_of(self.frame(deployment, since, until))

    def request_ids(self, deployment: str = "") -> set[str]:
        """Return the ids of all requests that were answered."""
        wanted = Filter(deployment)
        found: set[str] = set()
        for stem in stems(self.folder):
            found |= self._read(stem, lambda file: file.request_ids(wanted)) or set()
        return found

    def watermark(self, deployment: str = "") -> int | None:
        """Return the latest `occurred_at` on record, or None when there is no prediction.

        Cost: reads only what was written since this log was last asked.
        """
        marks = []
        for stem in stems(self.folder):
            facts = self._read(stem, lambda file: file.facts()) or []
            marks += [mark for part in facts if (mark := part.watermark(deployment)) is not None]
        return max(marks, default=None)

    def owners(self, ids: Collection[str]) -> dict[str, str]:
        """Return which deployment answered each of these predictions; those that are not on record are missing.

        Cost: files whose ids are of another time are not read.
        """
        wanted = sorted(ids)
        found: dict[str, str] = {}
        for stem in stems(self.folder) if wanted else ():
            found |= self._read(stem, lambda file: owners(file, wanted)) or {}
            if len(found) == len(wanted):
                break
        return found

    def compact(self, min_bytes: int = 0) -> list[Compacted]:
        """Return the logs that became Parquet files; those of living writers are left alone. See `compact_folder`."""
        return compact_folder(self.folder, min_bytes)

    def erase_subject(self, subject: str) -> Erased:
        """Return how many predictions about a subject were erased, and how many must wait. See `erase_subject`."""
        return erase_subject(self.folder, subject)

    def _select(self, wanted: Filter) -> Iterator[Prediction]:
        for stem in stems(self.folder):
            yield from self._read(stem, lambda file: file.rows(wanted)) or []

    def _read(self, stem: str, ask: Callable[[LogFile | ParquetFile], T]) -> T | None:
        """Return what a file answers, or None when it is gone; a log may become Parquet while it is asked."""
        for _ in range(2):
            try:
                return ask(self._file(stem))
            except FileNotFoundError:
                continue
        return None

    def _file(self, stem: str) -> LogFile | ParquetFile:
        path = self.folder / (stem + PARQUET)
        with self._lock:
            known = self._files.get(stem)
            try:
                if not isinstance(known, ParquetFile) or known.identity != identity(path):
                    known = ParquetFile(path)
            except FileNotFoundError:
                if not isinstance(known, LogFile):
                    known = LogFile(self.folder / (stem + SUFFIX))
            self._files[stem] = known
            return known


def _frame(file: LogFile | ParquetFile, wanted: Filter) -> pl.DataFrame | None:
    frame = file.frame(wanted) if any(facts.may_match(wanted) for facts in file.facts()) else None
    return frame if frame is not None and frame.height else None
