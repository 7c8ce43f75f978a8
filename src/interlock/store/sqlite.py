"""The database on one machine: SQLite through apsw, in WAL mode with `synchronous=FULL`.

One writer thread a process takes whatever changes its callers have handed in, runs each in its own savepoint
and commits them together, so that sixty-four callers share one fsync. Across processes a lock file orders
the writers; so SQLITE_BUSY reaches nobody. Readers have a connection a thread and run beside the writer.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import fcntl
import os
import queue
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

import apsw

from interlock.core.errors import Corrupt, Error, StorageFull, Unavailable
from interlock.store.migrations import migrate
from interlock.store.objects import NO_ROOM
from interlock.store.search.patterns import regexp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from interlock.core.ports import Reader, Row, Transaction

T = TypeVar("T")
_GROUP = 256
_BUSY_MS = 60_000
_REGEXP: Callable[..., Any] = regexp  # what SQL of ours calls


class _Connection:
    """A reader or, inside a transaction, a `Transaction`, over one apsw connection."""

    def __init__(self, raw: apsw.Connection) -> None:
        self.raw = raw

    def all(self, sql: str, values: Mapping[str, Any] | None = None) -> list[Row]:
        cursor = self.raw.cursor()
        cursor.execute(sql, values or {})
        names: list[str] = []
        rows = []
        for row in cursor:
            names = names or [column[0] for column in cursor.getdescription()]
            rows.append(dict(zip(names, row, strict=True)))
        return rows

    def one(self, sql: str, values: Mapping[str, Any] | None = None) -> Row | None:
        cursor = self.raw.cursor()
        cursor.execute(sql, values or {})
        row = cursor.fetchone()
        if row is None:
            return None
        names = [column[0] for column in cursor.getdescription()]
        cursor.close()
        return dict(zip(names, row, strict=True))

    def run(self, sql: str, values: Mapping[str, Any] | None = None) -> None:
        self.raw.execute(sql, values or {})

    def run_many(self, sql: str, rows: Iterable[Mapping[str, Any]]) -> None:
        self.raw.executemany(sql, (dict(row) for row in rows))


class _Change:
    """A caller's change on its way through the writer thread; `done` belongs to a thread, or to an event loop."""

    def __init__(self, function: Callable[[Transaction], Any], done: Future[Any] | asyncio.Future[Any]) -> None:
        self.function = function
        self.context = contextvars.copy_context()  # who is acting travels with the change into the writer thread
        self.done = done
        self.result: Any = None
        self.error: BaseException | None = None

    def begin(self) -> bool:
        """Return whether it is still wanted."""
        return self.done.set_running_or_notify_cancel() if isinstance(self.done, Future) else not self.done.cancelled()

    def tell(self) -> None:
        """Answer the caller; in the caller's event loop, if that is where it waits."""
        if self.done.cancelled():
            return
        if self.error is not None:
            self.done.set_exception(self.error)
        else:
            self.done.set_result(self.result)


def _tell(changes: Iterable[_Change]) -> None:
    """Answer the callers of changes; each event loop is woken once for all of its own."""
    waiting: dict[asyncio.AbstractEventLoop, list[_Change]] = {}
    for change in changes:
        if isinstance(change.done, Future):
            change.tell()
        else:
            waiting.setdefault(change.done.get_loop(), []).append(change)
    for loop, told in waiting.items():
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits there any more
            loop.call_soon_threadsafe(_tell_here, told)


def _tell_here(changes: Iterable[_Change]) -> None:
    for change in changes:
        change.tell()


class SqliteDatabase:
    """A `Database` in one file.

    Args:
        path: the file; its folder exists.

    Raises:
        Corrupt: the file is no database, or a migration differs from the one that was applied.
        Unavailable: the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        self._readers: list[apsw.Connection] = []
        self._readers_lock = threading.Lock()
        self._queue: queue.SimpleQueue[_Change | None] = queue.SimpleQueue()
        self._closed = False
        self._lock_file = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._writer = self._open(apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
            self._locked(lambda: migrate(_Connection(self._writer)))
        except apsw.Error as error:
            os.close(self._lock_file)
            raise _translate(error, path) from error
        self._thread = threading.Thread(target=self._serve, name="interlock-writer", daemon=True)
        self._thread.start()

    def write(self, change: Callable[[Transaction], T]) -> T:
        """Return what `change` returns, after its transaction is on disk; nothing is changed if it raises."""
        if threading.current_thread() is self._thread:
            raise RuntimeError("a change may not start another change: pass the transaction on")
        done: Future[T] = Future()
        self._hand_in(_Change(change, done))
        return done.result()

    def submit(self, change: Callable[[Transaction], T]) -> asyncio.Future[T]:
        """Return at once what will hold the result of `change`, after its transaction is on disk."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._hand_in(_Change(change, done))
        return done

    def _hand_in(self, item: _Change) -> None:
        if self._closed:
            raise Unavailable("The database is closed.", about="database")
        self._queue.put(item)
        if not self._thread.is_alive():  # it was closed between the two: nobody else would answer
            self._refuse_waiting()

    def all(self, sql: str, values: Mapping[str, Any] | None = None) -> list[Row]:
        """Return all rows of a query, as they stood at the last commit."""
        try:
            return self._reader().all(sql, values)
        except apsw.Error as error:
            raise _translate(error, self.path) from error

    def one(self, sql: str, values: Mapping[str, Any] | None = None) -> Row | None:
        """Return the first row of a query, or None."""
        try:
            return self._reader().one(sql, values)
        except apsw.Error as error:
            raise _translate(error, self.path) from error

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Reader]:
        """Give a reader that sees the database as it stands now, whatever is written while it reads.

        Cost: a connection of its own; the WAL grows until it ends.
        """
        try:
            raw = self._open(apsw.SQLITE_OPEN_READWRITE)
            try:
                raw.execute("PRAGMA query_only=ON")
                raw.execute("BEGIN")
                raw.execute("SELECT version FROM schema_migrations LIMIT 1").fetchall()  # the first read takes it
                yield _Connection(raw)
            finally:
                raw.close()
        except apsw.Error as error:
            raise _translate(error, self.path) from error

    def close(self) -> None:
        """Finish the changes handed in so far, then close every connection."""
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        self._thread.join()
        self._refuse_waiting()
        with self._readers_lock:
            for reader in self._readers:
                reader.close()
        self._writer.close()
        os.close(self._lock_file)

    def _refuse_waiting(self) -> None:
        """Tell those whose changes came too late."""
        with contextlib.suppress(queue.Empty):
            while True:
                item = self._queue.get_nowait()
                if item is not None and item.begin():
                    item.error = Unavailable("The database is closed.", about="database")
                    _tell([item])

    def _open(self, flags: int) -> apsw.Connection:
        connection = apsw.Connection(str(self.path), flags=flags)
        connection.set_busy_timeout(_BUSY_MS)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.create_scalar_function("regexp", _REGEXP, 2, deterministic=True)
        return connection

    def _reader(self) -> _Connection:
        found: _Connection | None = getattr(self._local, "reader", None)
        if found is None:
            if self._closed:
                raise Unavailable("The database is closed.", about="database")
            raw = self._open(apsw.SQLITE_OPEN_READWRITE)
            raw.execute("PRAGMA query_only=ON")
            with self._readers_lock:
                self._readers.append(raw)
            found = self._local.reader = _Connection(raw)
        return found

    def _serve(self) -> None:
        """Run in the writer thread: take what waits, commit it together, answer."""
        while (first := self._queue.get()) is not None:
            group = [first]
            while len(group) < _GROUP and not self._queue.empty():
                item = self._queue.get()
                if item is None:
                    self._queue.put(None)
                    break
                group.append(item)
            # Whoever gave up before it began gets nothing done; from here on nobody can.
            group = [item for item in group if item.begin()]
            if not group:
                continue
            try:
                self._locked(lambda group=group: self._commit(group))  # type: ignore[misc]
            except Exception as error:  # noqa: BLE001 - the border of the background thread: every caller is told
                answer = self._told(error)
                for item in group:
                    item.error = answer
            _tell(group)

    def _commit(self, group: list[_Change]) -> None:
        writer, transaction = self._writer, _Connection(self._writer)
        writer.execute("BEGIN IMMEDIATE")
        try:
            for item in group:
                self._change(item, transaction, alone=len(group) == 1)
            writer.execute("COMMIT")
        except BaseException:
            if writer.in_transaction:
                writer.execute("ROLLBACK")
            raise

    def _change(self, item: _Change, transaction: _Connection, *, alone: bool) -> None:
        """Run a change; what it wrote is taken back if it fails, and nothing of the others in its group."""
        writer = self._writer
        if not alone:
            writer.execute("SAVEPOINT change")
        try:
            item.result = item.context.run(item.function, transaction)
        except Exception as error:
            if alone or not writer.in_transaction:  # SQLite gives all of it up where the disk is full in its middle
                raise
            item.error = self._told(error)
            writer.execute("ROLLBACK TO change")
        if not alone:
            writer.execute("RELEASE change")

    def _told(self, error: Exception) -> Exception:
        """Return what an error of the writer's is in our words."""
        if not isinstance(error, apsw.Error):
            return error
        if isinstance(error, apsw.FullError) or (
            isinstance(error, apsw.IOError) and self._writer.system_errno in NO_ROOM
        ):
            return StorageFull(
                f"The disk has no room for {self.path.name}.",
                about="database",
                hint="Make room on the server's disk, then try again; reading goes on.",
                path=self.path.name,
            )
        return _translate(error, self.path)

    def _locked(self, work: Callable[[], None]) -> None:
        fcntl.flock(self._lock_file, fcntl.LOCK_EX)
        try:
            work()
        finally:
            fcntl.flock(self._lock_file, fcntl.LOCK_UN)


def _translate(error: apsw.Error, path: Path) -> Error:
    if isinstance(error, apsw.NotADBError | apsw.CorruptError):
        return Corrupt(f"{path.name} is not a sound database: {error}.", about="database", path=path.name)
    if isinstance(
        error,
        (
            apsw.CantOpenError | apsw.FullError | apsw.IOError | apsw.ReadOnlyError | apsw.BusyError,
            apsw.ConnectionClosedError,
        ),
    ):
        return Unavailable(f"{path.name} cannot be used now: {error}.", about="database", path=path.name)
    return Error(f"The database refused a statement: {error}.", about="database")
