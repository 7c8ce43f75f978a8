"""Housekeeping of the prediction log: settling what dead writers left, turning it into Parquet, erasing a subject.

Each step may be cut short anywhere. A Parquet file gets its name when it is whole, then its log is removed; where
both are found, the log is what was not removed yet. One process at a time keeps house (`house.lock`).
"""

from __future__ import annotations

import contextlib
import fcntl
import threading
from typing import TYPE_CHECKING, Final

import msgspec

from interlock.core.canonical import digest
from interlock.core.errors import Corrupt, Error, Invalid
from interlock.store.blocklog import SUFFIX, remove_unnamed, settle
from interlock.store.objects import sync_folder
from interlock.store.prediction_files import PARQUET, TEMPORARY, LogFile, ParquetFile, stems, write_parquet
from interlock.store.prediction_frames import need_polars, to_frame
from interlock.store.prediction_rows import Filter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EVERY_S: Final = 10.0
_ALL: Final = Filter()


class Compacted(msgspec.Struct, frozen=True):
    """A log that became a Parquet file.

    Attributes:
        file: the name of the Parquet file.
        rows: how many predictions it holds.
        log_bytes: the size of the log.
        size_bytes: the size of the Parquet file.
        digest: its SHA-256.
    """

    file: str
    rows: int
    log_bytes: int
    size_bytes: int
    digest: str


class Erased(msgspec.Struct, frozen=True):
    """What erasing a subject came to.

    Attributes:
        rows: how many predictions are gone.
        waiting: how many are still in logs that a living deployment writes; erase again when it is replaced, or
            its log is full.
    """

    rows: int
    waiting: int


def settle_folder(folder: Path) -> None:
    """Remove what is not needed any more and cut off what was never acknowledged; skipped while another keeps house."""
    with contextlib.suppress(OSError), _housekeeping(folder, wait=False) as mine:  # a read-only folder can be read
        if not mine:
            return
        _sweep(folder)
        for stem in stems(folder):
            with contextlib.suppress(FileNotFoundError, Corrupt):  # whoever reads it is told
                settle(folder / (stem + SUFFIX))


def compact_folder(folder: Path, min_bytes: int = 0) -> list[Compacted]:
    """Return what became of the logs that nobody writes any more and that have at least `min_bytes`.

    Raises:
        Corrupt: a log is damaged; it is left as it is, after all others were done.
        MissingExtra: Polars is not installed, and there is something to do.

    Cost: about 10 us a row (see benchmarks/predictions.py).
    """
    with _housekeeping(folder):
        return _compact(folder, min_bytes)


def erase_subject(folder: Path, subject: str) -> Erased:
    """Return how many predictions about a subject were erased, and how many must wait for a living writer.

    Raises:
        Invalid: the subject is "".
        Corrupt: a file is damaged; files after it are not done.
    """
    if not subject:
        raise Invalid("A subject to erase needs a name.", about="subject")
    need_polars()
    import polars as pl

    wanted = Filter(subject=subject)
    erased = waiting = 0
    with _housekeeping(folder):
        _compact(folder, 0)
        for stem in stems(folder):
            path = folder / (stem + PARQUET)
            if not path.exists():
                waiting += len(LogFile(folder / (stem + SUFFIX)).rows(wanted))
                continue
            frame = ParquetFile(path).frame(_ALL)
            kept = frame.filter(pl.col("subject") != subject)
            if kept.height < frame.height:
                write_parquet(kept, path)
                erased += frame.height - kept.height
    return Erased(erased, waiting)


class Compactor:
    """A thread that compacts again and again until it is stopped.

    Args:
        folder: the prediction log's folder.
        min_bytes: smaller logs are left alone.
        every_s: seconds between two turns.
    """

    def __init__(self, folder: Path, min_bytes: int = 0, every_s: float = EVERY_S) -> None:
        self.error: Exception | None = None
        self.rows = 0
        self._folder = folder
        self._min_bytes = min_bytes
        self._every_s = every_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="interlock-compactor", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Return when the turn it is in is finished and no other will begin."""
        self._stopped.set()
        self._thread.join()

    def _serve(self) -> None:
        while not self._stopped.wait(self._every_s):
            try:
                self.rows += sum(done.rows for done in compact_folder(self._folder, self._min_bytes))
                self.error = None
            except Exception as error:  # noqa: BLE001 - the border of the background loop: the next turn tries again
                self.error = error


def _compact(folder: Path, min_bytes: int) -> list[Compacted]:
    _sweep(folder)
    done: list[Compacted] = []
    problem: Error | None = None
    for stem in stems(folder):
        path = folder / (stem + SUFFIX)
        try:
            if path.exists() and path.stat().st_size >= min_bytes and settle(path):
                done += _compact_log(path)
        except Corrupt as error:
            problem = problem or error
        except FileNotFoundError:  # its writer had nothing to say and removed it
            continue
    if problem:
        raise problem
    return done


def _compact_log(path: Path) -> list[Compacted]:
    rows = sorted(LogFile(path).rows(_ALL), key=lambda row: row.id)
    log_bytes = path.stat().st_size
    done = []
    if rows:
        target = path.with_suffix(PARQUET)
        size = write_parquet(to_frame(rows), target)
        done.append(Compacted(target.name, len(rows), log_bytes, size, digest(target.read_bytes())))
    path.unlink()
    sync_folder(path.parent)
    return done


def _sweep(folder: Path) -> None:
    """Remove what earlier housekeeping did not get to, and files that never got their name."""
    for path in folder.glob("*" + TEMPORARY):
        path.unlink()
    left = [log for path in folder.glob("*" + PARQUET) if (log := path.with_suffix(SUFFIX)).exists()]
    if left:
        sync_folder(folder)
    for log in left:
        log.unlink()
    remove_unnamed(folder)


@contextlib.contextmanager
def _housekeeping(folder: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the folder's lock; yield whether it was to be had."""
    with (folder / "house.lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
