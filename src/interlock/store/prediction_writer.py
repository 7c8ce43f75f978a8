"""The writing ends of the prediction log: one for answers that wait for the disk, one for answers that do not."""

from __future__ import annotations

import os
import queue
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final

from interlock.core.errors import Error, Invalid, Unavailable
from interlock.store.blocklog import BlockWriter
from interlock.store.prediction_rows import Answered, Prediction, encode, encode_answered

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

BLOCK_ROWS: Final = 2000
ROLL_BYTES: Final = 8_000_000
SYNC_S: Final = 0.5
_Item = tuple["Sequence[Prediction] | Sequence[Answered]", "Future[None]"]


class _Answer(Future[None]):
    """A future that a caller who went away cannot cancel: the prediction was made, so it is recorded."""

    def cancel(self) -> bool:
        return False


class PredictionWriter:
    """Appends predictions to log files of its own; one a process that answers.

    A thread writes. Whatever was handed in while it synced goes into its next block (group commit), so that a lone
    caller waits for one sync and a thousand share one. `asyncio.wrap_future` makes an awaitable of the answer.

    Args:
        folder: the prediction log's folder, which is made if it is missing.
        block_rows: a block is written when it has so many rows, or when nobody has handed in more.
        roll_bytes: a file of this size is sealed, and the next one begun, so that it can be compacted.

    Raises:
        Unavailable: no file can be made there.
    """

    def __init__(self, folder: Path, block_rows: int = BLOCK_ROWS, roll_bytes: int = ROLL_BYTES) -> None:
        self._folder = folder
        self._block_rows = block_rows
        self._roll_bytes = roll_bytes
        self._pid = os.getpid()
        self._gate = threading.Lock()  # orders handing in before closing and failing: no answer is forgotten
        self._refusal: Error | None = None
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = BlockWriter(folder)
        except OSError as error:
            raise _unavailable(f"a file cannot be made: {error}") from error
        self._thread = threading.Thread(target=self._serve, name="interlock-predictions", daemon=True)
        self._thread.start()

    def append(self, rows: Sequence[Prediction] | Sequence[Answered]) -> Future[None]:
        """Return a future that is done when these predictions are on disk, all or none of them.

        It fails with `Invalid` when a row holds what cannot be stored, and with `Unavailable` when the writer is
        closed or a write or sync failed, now or before: what a disk holds after a failed sync is unknown, so it is
        not tried again, and a new writer (a new file) is the way on. It cannot be cancelled.

        Args:
            rows: the predictions, or answers by the request; not to be changed afterwards.

        Cost: 2 us for the caller, however many rows (see benchmarks/predictions.py).
        """
        future = _Answer()
        if os.getpid() != self._pid:
            future.set_exception(_unavailable("it was opened before a fork; open one in each process"))
            return future
        with self._gate:
            if self._refusal is None:
                self._queue.put((rows, future))
                return future
        future.set_exception(self._refusal)
        return future

    def close(self) -> None:
        """Finish what was handed in, seal the file and stop; later calls do nothing."""
        with self._gate:
            if self._refusal is None:
                self._refusal = _unavailable("it is closed")
                self._queue.put(None)
        self._thread.join()

    def _serve(self) -> None:
        """Run in the writer's thread."""
        try:
            while group := self._next_group():
                self._commit(group)
                if self._file.size >= self._roll_bytes:
                    self._roll()
            self._file.seal()
        except Exception as error:  # noqa: BLE001 - the border of the background thread: every caller is told
            self._fail(error)

    def _next_group(self) -> list[_Item]:
        """Return what shall go into the next block; nothing when the writer is to stop."""
        item = self._queue.get()
        group: list[_Item] = []
        rows = 0
        while item is not None:
            group.append(item)
            rows += sum(_rows_in(one) for one in item[0])
            if rows >= self._block_rows:
                return group
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return group
        if group:
            self._queue.put(None)  # stop after this group
        return group

    def _commit(self, group: list[_Item]) -> None:
        try:
            payload, group = _payload(group)
            if payload:
                self._file.append(payload)
        except Exception as error:
            refusal = self._refuse(error)
            for _, future in group:
                if not future.done():
                    future.set_exception(refusal)
            raise
        for _, future in group:
            future.set_result(None)

    def _roll(self) -> None:
        self._file.seal()
        self._file = BlockWriter(self._folder)

    def _refuse(self, error: Exception) -> Error:
        with self._gate:
            self._refusal = _unavailable(f"writing failed: {error}")
            return self._refusal

    def _fail(self, error: Exception) -> None:
        refusal = self._refuse(error)
        self._file.abandon()
        while True:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return
            if item is not None:
                item[1].set_exception(refusal)


def _payload(group: list[_Item]) -> tuple[bytes, list[_Item]]:
    """Return the block of a group, and the part of the group that is in it; the others' futures have failed."""
    rows: list[Any] = [row for part, _ in group for row in part]
    if not rows:
        return b"", group
    try:
        return _encode(rows), group
    except ValueError as error:
        if len(group) == 1:
            group[0][1].set_exception(_invalid(error))
            return b"", []
        return _payload([item for item in group if _storable(item)])


def _encode(rows: Sequence[Any]) -> bytes:
    """Return a block; answers and single predictions do not share one, so that the latter become the former's like."""
    if all(isinstance(row, Answered) for row in rows):
        return encode_answered(rows)
    return encode([one for row in rows for one in (row.predictions() if isinstance(row, Answered) else (row,))])


def _rows_in(one: Prediction | Answered) -> int:
    return len(one.ids) if isinstance(one, Answered) else 1


def _storable(item: _Item) -> bool:
    try:
        _encode(item[0])
    except ValueError as error:
        item[1].set_exception(_invalid(error))
        return False
    return True


class PromptWriter:
    """Appends answers before it returns, from one thread: they survive the end of this process, however it ends.

    A thread syncs what was written every half second, so that a power loss takes the last second at most.

    Args:
        folder: the prediction log's folder, which is made if it is missing.
        roll_bytes: a file of this size is sealed, and the next one begun.

    Raises:
        Unavailable: no file can be made there.
    """

    def __init__(self, folder: Path, roll_bytes: int = ROLL_BYTES) -> None:
        self._folder = folder
        self._roll_bytes = roll_bytes
        self._gate = threading.Lock()  # one file at a time has the next block
        self._refusal: Error | None = None
        self._stop = threading.Event()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = BlockWriter(folder)
        except OSError as error:
            raise _unavailable(f"a file cannot be made: {error}") from error
        self._thread = threading.Thread(target=self._keep, name="interlock-predictions", daemon=True)
        self._thread.start()

    def write(self, answered: Sequence[Answered]) -> None:
        """Return when these answers are with the kernel, all or none of them.

        Raises:
            Invalid: they hold what cannot be stored.
            Unavailable: they could not be written, or something before them: a new writer is the way on.

        Cost: 4 us for one row of 30 numbers, most of it the system call.
        """
        try:
            payload = encode_answered(answered)
        except ValueError as error:
            raise _invalid(error) from None
        with self._gate:
            if self._refusal is not None:
                raise self._refusal
            try:
                self._file.write(payload)
            except OSError as error:
                raise self._refuse(error) from None

    def close(self) -> None:
        """Sync, seal the file and stop; later calls do nothing."""
        with self._gate:
            sound = self._refusal is None
            self._refusal = self._refusal or _unavailable("it is closed")
        self._stop.set()
        self._thread.join()
        try:
            self._file.sync()  # what was written before a failure was acknowledged
            if sound:
                self._file.seal()
        except OSError as error:
            if sound:
                raise _unavailable(f"sealing failed: {error}") from error
        finally:
            self._file.abandon()

    def _keep(self) -> None:
        """Run in the writer's thread."""
        while not self._stop.wait(SYNC_S):
            try:
                self._file.sync()
                if self._file.size >= self._roll_bytes:
                    following = BlockWriter(self._folder)
                    with self._gate:
                        full, self._file = self._file, following
                    try:
                        full.sync()
                        full.seal()
                    finally:
                        full.abandon()
            except OSError as error:
                with self._gate:
                    self._refuse(error)

    def _refuse(self, error: OSError) -> Error:
        """Return the error for all that follows; called inside the gate."""
        if self._refusal is None:
            self._refusal = _unavailable(f"writing failed: {error}")
            self._stop.set()  # its thread lets go of the file
        return self._refusal


def _invalid(error: ValueError) -> Invalid:
    return Invalid(f"These predictions cannot be stored: {error}.", about="prediction")


def _unavailable(why: str) -> Unavailable:
    return Unavailable(
        f"Predictions cannot be recorded: {why}.", about="prediction_log", hint="Answer nothing that must be on record."
    )
