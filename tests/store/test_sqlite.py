from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from interlock.core.actor import acting_as, current_actor
from interlock.core.errors import Conflict, Corrupt, Error, StorageFull, Unavailable
from interlock.core.ports import Transaction
from interlock.store.sqlite import SqliteDatabase

CREATE = "CREATE TABLE IF NOT EXISTS t (k BIGINT PRIMARY KEY, v TEXT)"


@pytest.fixture
def database(tmp_path: Path) -> SqliteDatabase:
    made = SqliteDatabase(tmp_path / "w.db")
    made.write(lambda tx: tx.run(CREATE))
    yield made
    made.close()


def put(tx: Transaction, key: int, value: str = "") -> int:
    tx.run("INSERT INTO t VALUES (:k, :v)", {"k": key, "v": value})
    return key


def test_what_a_change_returns_is_returned_and_stays(tmp_path: Path, database: SqliteDatabase) -> None:
    assert database.write(lambda tx: put(tx, 1, "a")) == 1
    again = SqliteDatabase(tmp_path / "w.db")
    assert again.all("SELECT * FROM t") == [{"k": 1, "v": "a"}]
    assert again.one("SELECT v FROM t WHERE k = :k", {"k": 2}) is None
    again.close()


def test_a_change_that_raises_changes_nothing_and_hurts_nobody_else(database: SqliteDatabase) -> None:
    def bad(tx: Transaction) -> None:
        put(tx, 100)
        raise Conflict("no")

    results: list[object] = []

    def call(number: int) -> None:
        try:
            results.append(database.write(bad if number % 2 else lambda tx: put(tx, number)))
        except Conflict as error:
            results.append(error)

    threads = [threading.Thread(target=call, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [row["k"] for row in database.all("SELECT k FROM t ORDER BY k")] == list(range(0, 20, 2))
    assert sum(isinstance(r, Conflict) for r in results) == 10


def test_a_failing_statement_is_an_error_of_ours_and_rolls_back(database: SqliteDatabase) -> None:
    database.write(lambda tx: put(tx, 1))
    with pytest.raises(Error, match="UNIQUE"):
        database.write(lambda tx: [put(tx, 2), put(tx, 1)])
    assert database.all("SELECT k FROM t") == [{"k": 1}]


def test_readers_see_only_what_was_committed_and_cannot_write(database: SqliteDatabase) -> None:
    inside, go = threading.Event(), threading.Event()

    def slow(tx: Transaction) -> None:
        put(tx, 1)
        inside.set()
        go.wait(10)

    thread = threading.Thread(target=lambda: database.write(slow))
    thread.start()
    inside.wait(10)
    assert database.all("SELECT * FROM t") == []  # a reader is not held up by the writer
    go.set()
    thread.join()
    assert len(database.all("SELECT * FROM t")) == 1
    with pytest.raises(Exception, match="readonly|query"):
        database.all("DELETE FROM t")


def test_callers_share_commits(database: SqliteDatabase) -> None:
    """While one commit is under way, whoever comes is committed together with the others."""
    gate = threading.Event()
    first = threading.Thread(target=lambda: database.write(lambda _: gate.wait(10)))
    first.start()
    threads = [threading.Thread(target=lambda n=n: database.write(lambda tx: put(tx, n))) for n in range(30)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 10
    while database._queue.qsize() < 30 and time.monotonic() < deadline:
        time.sleep(0.01)
    before = database.one("PRAGMA data_version")
    gate.set()
    for thread in [first, *threads]:
        thread.join()
    after = database.one("PRAGMA data_version")
    assert before is not None
    assert after is not None
    assert after["data_version"] - before["data_version"] <= 2
    assert len(database.all("SELECT * FROM t")) == 30


def test_a_change_inside_a_change_is_refused_and_a_closed_database_says_so(database: SqliteDatabase) -> None:
    with pytest.raises(RuntimeError, match="pass the transaction on"):
        database.write(lambda _: database.write(lambda tx: put(tx, 1)))
    database.close()
    with pytest.raises(Unavailable, match="closed"):
        database.write(lambda tx: put(tx, 1))


def test_the_settings_that_durability_rests_on(database: SqliteDatabase) -> None:
    seen = database.write(lambda tx: (tx.one("PRAGMA synchronous"), tx.one("PRAGMA journal_mode")))
    assert seen == ({"synchronous": 2}, {"journal_mode": "wal"})


def test_a_file_that_is_no_database_is_corrupt(tmp_path: Path) -> None:
    (tmp_path / "w.db").write_bytes(b"not a database, by far" * 100)
    with pytest.raises(Corrupt, match=r"w\.db"):
        SqliteDatabase(tmp_path / "w.db")


def _count_up(path: str, start: int, count: int) -> None:
    database = SqliteDatabase(Path(path))
    for number in range(count):
        database.write(lambda tx, n=start + number: put(tx, n))
    database.close()


def test_many_processes_write_and_none_is_told_busy(tmp_path: Path, database: SqliteDatabase) -> None:
    context = multiprocessing.get_context("spawn")
    path = str(tmp_path / "w.db")
    processes = [context.Process(target=_count_up, args=(path, 1000 * n, 60)) for n in range(3)]
    for process in processes:
        process.start()
    for number in range(60):
        database.write(lambda tx, n=9000 + number: put(tx, n))
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert len(database.all("SELECT * FROM t")) == 240


CHILD = """
import sys
from pathlib import Path
from interlock.store.sqlite import SqliteDatabase
database = SqliteDatabase(Path(sys.argv[1]))
last = database.one("SELECT max(k) AS k FROM t")["k"] or 0
while True:
    last += 1
    database.write(lambda tx: tx.run("INSERT INTO t VALUES (:k, '')", {"k": last}))
    print(last, flush=True)
"""


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path, database: SqliteDatabase) -> None:
    acknowledged = 0
    for attempt in range(6):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path / "w.db")],
            stdout=subprocess.PIPE,
            text=True,
            env=dict(os.environ),
        )
        assert child.stdout is not None
        for _ in range(20 + 7 * attempt):
            acknowledged = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read().split("\n")
        acknowledged = max([acknowledged, *(int(line) for line in rest[:-1] if line)])
        child.wait()
        child.stdout.close()
        keys = [row["k"] for row in database.all("SELECT k FROM t ORDER BY k")]
        assert keys == list(range(1, len(keys) + 1))
        assert len(keys) >= acknowledged


def test_who_is_acting_travels_into_the_writer_thread(database: SqliteDatabase) -> None:
    with acting_as("user:ann"):
        assert database.write(lambda _: current_actor()) == "user:ann"
    assert database.write(lambda _: current_actor()) != "user:ann"


@contextlib.contextmanager
def no_room(path: Path) -> Iterator[None]:
    """Let no file of this process grow beyond what the database's log has now, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.with_name("w.db-wal").stat().st_size + 5000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("size", [20_000, 8_000_000], ids=["met at the commit", "met in the middle of a statement"])
def test_a_full_disk_refuses_writes_and_goes_on_reading(database: SqliteDatabase, size: int) -> None:
    database.write(lambda tx: put(tx, 1))
    with no_room(database.path):
        for _ in range(3):
            with pytest.raises(StorageFull, match=r"no room for w\.db"):
                database.write(lambda tx: put(tx, 2, "x" * size))
        assert database.all("SELECT k FROM t") == [{"k": 1}]
    database.write(lambda tx: put(tx, 2, "x" * size))
    assert database.all("SELECT k, length(v) AS n FROM t") == [{"k": 1, "n": 0}, {"k": 2, "n": size}]


def test_whoever_shares_a_commit_with_what_fills_the_disk_is_told_so(database: SqliteDatabase) -> None:
    begun, go = threading.Event(), threading.Event()

    def wait(_: Transaction) -> None:
        begun.set()
        go.wait(20)

    with ThreadPoolExecutor(4) as pool, no_room(database.path):
        first = pool.submit(database.write, wait)
        assert begun.wait(20)
        texts = ["", "x" * 8_000_000, ""]
        others = [
            pool.submit(database.write, lambda tx, key=key, text=text: put(tx, key, text))
            for key, text in enumerate(texts)
        ]
        while database._queue.qsize() < len(others):
            time.sleep(0.001)
        go.set()
        first.result(20)
        assert [type(other.exception(20)) for other in others] == [StorageFull] * 3
    assert database.all("SELECT k FROM t") == []


def test_a_change_that_comes_while_it_closes_is_answered(tmp_path: Path) -> None:
    import threading

    from interlock.core.errors import Unavailable
    from interlock.store.sqlite import SqliteDatabase

    database = SqliteDatabase(tmp_path / "x.db")
    queue, answers = database._queue, []

    class Late:
        """A queue in which a change arrives when the database has just been closed."""

        def put(self, item: object) -> None:
            if item is not None:
                database._queue = queue
                database.close()
            queue.put(item)

        get, get_nowait, empty = queue.get, queue.get_nowait, queue.empty

    database._queue = Late()

    def write() -> None:
        try:
            answers.append(database.write(lambda tx: 1))
        except Unavailable as error:
            answers.append(error)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    thread.join(5)
    assert [type(answer) for answer in answers] == [Unavailable]


def test_who_gives_up_before_the_writer_begins_gets_nothing_done_and_hurts_nobody(database: SqliteDatabase) -> None:
    begun, gate = threading.Event(), threading.Event()

    def slow(tx: Transaction) -> int:
        begun.set()
        gate.wait(30)
        return put(tx, 1)

    async def callers() -> tuple[int, int]:
        first = database.submit(slow)
        assert await asyncio.to_thread(begun.wait, 30)
        gone, kept = database.submit(lambda tx: put(tx, 2)), database.submit(lambda tx: put(tx, 3))
        gone.cancel()
        gate.set()
        return await first, await kept

    assert asyncio.run(callers()) == (1, 3)
    assert database.write(lambda tx: put(tx, 4)) == 4
    assert [row["k"] for row in database.all("SELECT k FROM t ORDER BY k")] == [1, 3, 4]


def test_who_gives_up_after_the_writer_began_hurts_nobody(database: SqliteDatabase) -> None:
    begun, gate = threading.Event(), threading.Event()

    def slow(tx: Transaction) -> int:
        begun.set()
        gate.wait(30)
        return put(tx, 1)

    async def callers() -> int:
        gone = database.submit(slow)
        assert await asyncio.to_thread(begun.wait, 30)
        gone.cancel()
        gate.set()
        return await database.submit(lambda tx: put(tx, 2))

    assert asyncio.run(callers()) == 2
    assert [row["k"] for row in database.all("SELECT k FROM t ORDER BY k")] == [1, 2]


def test_a_caller_whose_event_loop_is_gone_hurts_nobody(database: SqliteDatabase) -> None:
    begun, gate = threading.Event(), threading.Event()

    def slow(tx: Transaction) -> int:
        begun.set()
        gate.wait(30)
        return put(tx, 1)

    async def leave() -> None:
        database.submit(slow)
        assert await asyncio.to_thread(begun.wait, 30)

    asyncio.run(leave())
    gate.set()
    assert database.write(lambda tx: put(tx, 2)) == 2
