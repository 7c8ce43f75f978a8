"""What every database must do."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

from interlock.core.errors import Conflict, Error
from interlock.testing.raises import raises

if TYPE_CHECKING:
    from interlock.core.ports import Database, Transaction

_ADD = "INSERT INTO conformance (k, v) VALUES (:k, :v)"


def check_database(database: Database) -> None:
    """Accept an open database that keeps the port's promises; it makes and drops one table of its own.

    Args:
        database: the database.

    Raises:
        AssertionError: it breaks one.
    """
    database.write(lambda tx: tx.run("CREATE TABLE conformance (k BIGINT PRIMARY KEY, v BYTEA)"))
    try:
        _check_writes(database)
        _check_rollback(database)
        _check_snapshot(database)
        _check_threads(database)
    finally:
        database.write(lambda tx: tx.run("DROP TABLE conformance"))


def _check_writes(database: Database) -> None:
    assert database.write(lambda tx: tx.one("SELECT 1 AS one")) == {"one": 1}, "a change returns what it returns"
    database.write(lambda tx: tx.run_many(_ADD, [{"k": 1, "v": b"\x00\xff"}, {"k": 2, "v": None}]))
    rows = database.all("SELECT k, v FROM conformance ORDER BY k")
    assert rows == [{"k": 1, "v": b"\x00\xff"}, {"k": 2, "v": None}], "bytes and nulls come back as they went"
    assert database.one("SELECT k FROM conformance WHERE k = :k", {"k": 9}) is None, "no row is None"
    assert database.all("SELECT k FROM conformance WHERE k = :k", {"k": 9}) == [], "no rows is an empty list"


def _check_rollback(database: Database) -> None:
    def bad(tx: Transaction) -> None:
        tx.run(_ADD, {"k": 3, "v": None})
        raise Conflict("no")

    raises(Conflict, lambda: database.write(bad))
    raises(Error, lambda: database.write(lambda tx: tx.run(_ADD, {"k": 1, "v": None})))
    assert len(database.all("SELECT k FROM conformance")) == 2, "a change that raises changes nothing"


def _check_snapshot(database: Database) -> None:
    with database.snapshot() as snapshot:
        database.write(lambda tx: tx.run("DELETE FROM conformance WHERE k = 2"))
        database.write(lambda tx: tx.run("INSERT INTO conformance (k, v) VALUES (2, NULL), (4, NULL)"))
        rows = snapshot.all("SELECT k FROM conformance ORDER BY k")
        assert [row["k"] for row in rows] == [1, 2], "a snapshot shows nothing that is written after it was taken"
    assert database.one("SELECT max(k) AS k FROM conformance") == {"k": 4}, "and nobody waits for it"
    database.write(lambda tx: tx.run("DELETE FROM conformance WHERE k = 4"))


def _add(key: int, tx: Transaction) -> None:
    tx.run(_ADD, {"k": key, "v": None})


def _check_threads(database: Database) -> None:
    def work(start: int) -> None:
        for number in range(start, start + 10):
            database.write(partial(_add, number))

    threads = [threading.Thread(target=work, args=(1000 * n,)) for n in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(database.all("SELECT k FROM conformance WHERE k >= 1000")) == 40, "no change of any thread is lost"
