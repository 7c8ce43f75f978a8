"""Every stored byte counts: whatever is changed, `verify` says no, and names the first index that is wrong."""

from __future__ import annotations

import contextlib
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.core.clock import FixedClock
from interlock.core.errors import Error
from interlock.store.ledger import Ledger
from interlock.store.ledger_entries import Entry, Payload, decode, encode
from interlock.store.ledger_keys import LedgerKeys
from interlock.store.ledger_verify import Verification, verify
from interlock.store.merkle import leaf_hash, node_hash
from interlock.store.notes import PrivateKey, sign_note
from interlock.store.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from interlock.core.ports import Transaction

    Row = dict[str, Any]

ENTRIES = 40
LONG = 2060
SIGNED = (0, 11, 26, 40)
ERASED = {9: 30, 12: 33}  # erased by these events
ORIGIN = "interlock/test"
TABLES = {
    "ledger_entries": ("idx", "at", "kind", "subject", "actor", "entry"),
    "ledger_payloads": ("idx", "hmac_key", "payload"),
    "ledger_nodes": ("level", "idx", "hash"),
    "ledger_checkpoints": ("size", "number", "root", "note", "signed_at"),
}


class Subject:
    """A ledger to be tampered with, and the means to check it."""

    def __init__(self, folder: Path, entries: int) -> None:
        self.database = SqliteDatabase(folder / "w.db")
        self.clock = FixedClock(datetime(2026, 11, 22, 12, tzinfo=UTC))
        self.ledger = Ledger(self.database, self.clock, folder / "keys", ORIGIN)
        self.keys = LedgerKeys(folder / "keys", ORIGIN)
        self.ledger.checkpoint()
        self.grow(entries)
        assert self.ledger.verify().ok

    def grow(self, entries: int) -> None:
        erasers = {event: target for target, event in ERASED.items()}

        def one(tx: Transaction, index: int) -> None:
            if index in erasers:
                self.ledger.erase(tx, erasers[index], "asked for")
            else:
                self.ledger.append(tx, "run.finished", f"run:{index % 7}", {"status": "done", "reason": "r" * index})

        for index in range(entries):
            self.clock.at += timedelta(seconds=1)
            self.database.write(lambda tx, index=index: one(tx, index))
            if index + 1 in SIGNED:
                self.ledger.checkpoint()

    def check(self, tx: Transaction) -> Verification:
        return verify(tx, self.keys.public(), self.keys.remembered())

    def after_change(self, change: Callable[[Transaction], None]) -> Verification:
        """Return what verifying finds after a change, which is then undone."""
        found: list[Verification] = []

        def change_and_check(tx: Transaction) -> None:
            change(tx)
            found.append(self.check(tx))
            raise Undo

        with contextlib.suppress(Undo):
            self.database.write(change_and_check)
        return found[0]

    def after(self, *changes: tuple[str, Row]) -> Verification | None:
        """Return what verifying finds after some statements, which are then undone; None if the database refuses."""

        def change(tx: Transaction) -> None:
            for sql, values in changes:
                tx.run(sql, values)

        try:
            return self.after_change(change)
        except Error:
            return None


class Undo(Exception):
    """Takes a transaction back."""


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    found = Subject(tmp_path_factory.mktemp("small"), ENTRIES)
    yield found
    found.database.close()


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    """A ledger of several chunks."""
    found = Subject(tmp_path_factory.mktemp("long"), ENTRIES)
    found.database.write(
        lambda tx: [
            found.ledger.append(tx, "run.finished", f"run:{index}", {"status": "done", "reason": ""})
            for index in range(LONG - ENTRIES)
        ]
    )
    found.ledger.checkpoint()
    yield found
    found.database.close()


def rows(subject: Subject, table: str) -> list[Row]:
    return subject.database.all(f"SELECT rowid AS rowid_, {', '.join(TABLES[table])} FROM {table}")


def place(table: str, row: Row) -> int:
    """The index that a finding about this row should name."""
    if table == "ledger_nodes":
        return row["idx"] << row["level"]
    return row["size"] if table == "ledger_checkpoints" else row["idx"]


def assert_named(found: Verification | None, table: str, row: Row, what: str) -> None:
    if found is None:
        return  # refused: a key that exists already
    assert not found.ok, f"{table} {row}: {what} was not noticed"
    assert found.problems
    expected = {place(table, row)}
    if table == "ledger_entries" and what.startswith(("deleted", "idx")):
        # Without the event that says why, the payload that it erased is missing too.
        expected |= {target for target, event in ERASED.items() if event == row["idx"]}
    if table == "ledger_payloads" and what.startswith("idx"):
        expected |= set(ERASED)  # moved to where a payload was erased, it is wrong there too
    assert found.first_bad in expected, f"{table} {row}: {what}: {found.problems}"


def flipped(value: object, rng: random.Random) -> tuple[str, object]:
    """Return an SQL expression and its value: the stored value with one bit flipped."""
    if isinstance(value, int):
        changed = value ^ 1 << rng.randrange(63)
        return ":value", changed
    data = bytearray(value.encode() if isinstance(value, str) else value)
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return ("CAST(:value AS TEXT)" if isinstance(value, str) else ":value"), bytes(data)


def replacements(value: object, rng: random.Random) -> list[tuple[str, object]]:
    """Return other values for a column: of the same type, of another, longer, shorter, empty."""
    if isinstance(value, int):
        return [
            (":value", other) for other in (value + 1, value - 1, -value - 5, 10**12 + value, value + 0.5, "x", b"x")
        ]
    if isinstance(value, str):
        return [(":value", other) for other in (value + " ", value[:-1], value.upper() + "X", value.encode(), 7, "")]
    other = rng.randbytes(len(value))
    return [(":value", other) for other in (value + b"\0", value[:-1], other, b"", 7, value.hex())] + [
        ("CAST(:value AS TEXT)", value)
    ]


@pytest.mark.parametrize("table", TABLES)
def test_every_column_of_every_row(subject: Subject, table: str) -> None:
    """Each row, each column: one bit flipped; in every third, something of another kind or length put in its place."""
    rng, refused, done = random.Random(table), 0, 0
    for row in rows(subject, table):
        for column in TABLES[table]:
            changes = [flipped(row[column], rng)]
            if rng.random() < 1 / 3:
                changes.append(rng.choice(replacements(row[column], rng)))
            for expression, value in changes:
                sql = f"UPDATE {table} SET {column} = {expression} WHERE rowid = :rowid"
                found = subject.after((sql, {"value": value, "rowid": row["rowid_"]}))
                assert_named(found, table, row, f"{column} = {value!r}")
                refused += found is None
                done += 1
    assert refused < done / 4


@pytest.mark.parametrize("table", TABLES)
def test_every_row_deleted(subject: Subject, table: str) -> None:
    for row in rows(subject, table):
        found = subject.after((f"DELETE FROM {table} WHERE rowid = :rowid", {"rowid": row["rowid_"]}))
        assert found is not None
        if table == "ledger_checkpoints":  # missed by its number: blame falls on the one that comes after it
            after = [size for size in SIGNED if size > row["size"]] or [row["size"]]
            row |= {"size": after[0]}
        assert_named(found, table, row, "deleted")
        assert found.entries == ENTRIES, "one row more or less does not move the end"


@pytest.mark.parametrize(
    ("table", "column"), [(table, column) for table, columns in TABLES.items() for column in columns]
)
def test_rows_that_swap_a_value(subject: Subject, table: str, column: str) -> None:
    rng, everything = random.Random(column), rows(subject, table)
    for _ in range(12):
        pair = rng.sample(everything, 2)
        one, other = sorted(pair, key=lambda row: place(table, row))
        if one[column] == other[column] or (table == "ledger_nodes" and column != "hash"):
            continue
        sql = f"UPDATE {table} SET {column} = :value WHERE rowid = :rowid"
        aside = -999 if isinstance(one[column], int) else one[column]
        found = subject.after(
            (sql, {"value": aside, "rowid": other["rowid_"]}),
            (sql, {"value": other[column], "rowid": one["rowid_"]}),
            (sql, {"value": one[column], "rowid": other["rowid_"]}),
        )
        assert found is not None
        assert not found.ok
        assert found.first_bad == place(table, one) or found.first_bad in ERASED


@pytest.mark.parametrize(
    ("table", "row", "first_bad"),
    [
        ("ledger_entries", {"idx": 40}, 40),
        ("ledger_entries", {"idx": 41}, 41),
        ("ledger_entries", {"idx": 10**12}, 10**12),
        ("ledger_entries", {"idx": -1}, 40),
        ("ledger_payloads", {"idx": 40}, 40),
        ("ledger_payloads", {"idx": 9}, 9),
        ("ledger_payloads", {"idx": 5.5}, 40),
        ("ledger_payloads", {"idx": -1}, 40),
        ("ledger_nodes", {"level": 0, "idx": 40}, 40),
        ("ledger_nodes", {"level": 0, "idx": 45}, 45),
        ("ledger_nodes", {"level": 1, "idx": 20}, 40),
        ("ledger_nodes", {"level": 2, "idx": 12}, 48),
        ("ledger_nodes", {"level": 5, "idx": 1}, 40),
        ("ledger_nodes", {"level": 6, "idx": 0}, 40),
        ("ledger_nodes", {"level": -1, "idx": 3}, 40),
        ("ledger_nodes", {"level": 1 << 40, "idx": 3}, 40),
        ("ledger_nodes", {"level": "x", "idx": 3}, 40),
        ("ledger_checkpoints", {"size": 17, "number": 5}, 17),
        ("ledger_checkpoints", {"size": 41, "number": 5}, 41),
        ("ledger_checkpoints", {"size": -3, "number": 5}, 40),
    ],
)
def test_rows_put_in(subject: Subject, table: str, row: Row, first_bad: int) -> None:
    columns = TABLES[table]
    pattern = {name: value for name, value in rows(subject, table)[-1].items() if name in columns} | row
    sql = f"INSERT INTO {table} ({', '.join(columns)}) VALUES (:{', :'.join(columns)})"
    found = subject.after((sql, pattern))
    assert found is not None
    expected = 40 if table == "ledger_checkpoints" else first_bad  # the copied note says 40, which is its size
    assert (found.ok, found.first_bad) == (False, expected)


def forge(tx: Transaction, index: int, payload: Payload, levels: int = 64) -> None:
    """Put another entry in the place of one, and mend so many levels of the tree above it, as who has the disk can."""
    row = tx.one("SELECT entry FROM ledger_entries WHERE idx = :idx", {"idx": index})
    old = decode(row["entry"])
    new = encode(Entry(1, index, old.at, "user:mallory", old.kind, old.subject, payload.commitment))
    tx.run(
        "UPDATE ledger_entries SET entry = :entry, actor = 'user:mallory' WHERE idx = :idx",
        {"entry": new, "idx": index},
    )
    tx.run(
        "UPDATE ledger_payloads SET hmac_key = :key, payload = :data WHERE idx = :idx",
        {"key": payload.key, "data": payload.data, "idx": index},
    )
    level, place, found = 0, index, leaf_hash(new)
    while level < levels:
        tx.run(
            "UPDATE ledger_nodes SET hash = :hash WHERE level = :level AND idx = :idx",
            {"hash": found, "level": level, "idx": place},
        )
        sibling = tx.one(
            "SELECT hash FROM ledger_nodes WHERE level = :level AND idx = :idx", {"level": level, "idx": place ^ 1}
        )
        if sibling is None:
            return
        found = node_hash(sibling["hash"], found) if place & 1 else node_hash(found, sibling["hash"])
        level, place = level + 1, place >> 1


@pytest.mark.parametrize(("index", "signed"), [(0, 11), (10, 11), (11, 26), (25, 26), (26, 40), (39, 40)])
def test_history_rewritten_consistently_is_told_by_the_next_checkpoint(
    subject: Subject, index: int, signed: int
) -> None:
    payload = Payload(b"k" * 32, b'{"status":"done","reason":"all is well"}')
    found = subject.after_change(lambda tx: forge(tx, index, payload))
    assert [(problem.rule, problem.rows[0]) for problem in found.problems] == [
        ("root", size) for size in SIGNED if size > index
    ]
    assert found.first_bad == signed


@pytest.mark.parametrize(
    ("sql", "first_bad"),
    [
        ("UPDATE ledger_entries SET entry = x'00' || substr(entry, 2) WHERE idx = 21", 21),
        ("UPDATE ledger_entries SET entry = x'00' || substr(entry, 2) WHERE idx = 10", 10),
        ("UPDATE ledger_nodes SET hash = zeroblob(32) WHERE level = 0 AND idx = 21", 21),
        ("UPDATE ledger_nodes SET hash = zeroblob(32) WHERE level = 0 AND idx = 10", 10),
        ("UPDATE ledger_nodes SET hash = zeroblob(32) WHERE level = 1 AND idx = 12", 24),
        ("UPDATE ledger_nodes SET hash = zeroblob(32) WHERE level = 2 AND idx = 5", 20),
        ("DELETE FROM ledger_nodes WHERE level = 1 AND idx = 12", 24),
        ("DELETE FROM ledger_nodes WHERE level = 2 AND idx = 5", 20),
        ("UPDATE ledger_payloads SET payload = x'00' WHERE idx = 21", 21),
        ("UPDATE ledger_entries SET subject = 'event:13' WHERE idx = 33", 33),
        ("UPDATE ledger_checkpoints SET signed_at = signed_at + 1 WHERE size = 26", 26),
        ("UPDATE ledger_checkpoints SET number = -5 WHERE size = 40", 40),
        # Two rows of one place.
        ("UPDATE ledger_nodes SET hash = zeroblob(32) WHERE (level, idx) IN ((0, 10), (1, 5))", 10),
    ],
)
def test_one_change_is_one_finding(subject: Subject, sql: str, first_bad: int) -> None:
    """Blame does not spread from an entry to the nodes above it, from a node to its parents, or to checkpoints."""
    found = subject.after((sql, {}))
    assert found is not None
    assert {problem.rows for problem in found.problems} == {(first_bad,)}, found.problems


def test_a_damaged_node_above_other_damage_is_named_too(subject: Subject) -> None:
    sql = "UPDATE ledger_nodes SET hash = zeroblob(32) WHERE (level, idx) IN ((0, 21), (2, 5))"
    found = subject.after((sql, {}))
    assert found is not None
    assert sorted(problem.rows[0] for problem in found.problems) == [20, 21]
    sql = "UPDATE ledger_entries SET entry = x'00' || substr(entry, 2) WHERE idx = 21"
    found = subject.after((sql, {}), ("UPDATE ledger_nodes SET hash = zeroblob(32) WHERE level = 0 AND idx = 21", {}))
    assert found is not None
    assert found.first_bad == 21


def test_an_entry_and_its_leaf_forged_are_told_by_the_node_above(subject: Subject) -> None:
    def forged(tx: Transaction) -> None:
        forge(tx, 21, Payload(b"k" * 32, b"{}"), levels=1)

    found = subject.after_change(forged)
    assert [(problem.rule, problem.rows) for problem in found.problems] == [("node", (20,))]


def test_an_erasure_made_to_name_another_event_is_blamed_on_itself(subject: Subject) -> None:
    sql = "UPDATE ledger_entries SET entry = CAST(replace(CAST(entry AS TEXT), 'event:12', 'event:13') AS BLOB)"
    found = subject.after((f"{sql} WHERE idx = 33", {}))
    assert found is not None
    assert found.first_bad == 33


@pytest.mark.parametrize("size", SIGNED)
@pytest.mark.parametrize("number", [-5, 0, 2, 3, 99, "x"])
def test_a_checkpoint_with_another_number(subject: Subject, size: int, number: object) -> None:
    if SIGNED.index(size) + 1 == number:
        return
    sql = "UPDATE ledger_checkpoints SET number = :number WHERE size = :size"
    found = subject.after((sql, {"number": number, "size": size}))
    assert found is not None
    assert found.first_bad == size


@pytest.mark.parametrize("size", SIGNED)
@pytest.mark.parametrize("value", [26.5, -3, 17, 39, 41, 10**15, "x"])
def test_a_checkpoint_with_another_size(subject: Subject, size: int, value: object) -> None:
    sql = "UPDATE ledger_checkpoints SET size = :value WHERE size = :size"
    found = subject.after((sql, {"value": value, "size": size}))
    assert found is not None
    assert found.first_bad == size


def test_a_signature_of_somebody_else_put_under_a_checkpoint_is_a_change(subject: Subject) -> None:
    text = subject.ledger.newest_checkpoint().note.partition("\n\n")[0] + "\n"
    line = sign_note(text, PrivateKey("witness/one", bytes(32))).rpartition("\n\n")[2]
    found = subject.after(("UPDATE ledger_checkpoints SET note = note || :line WHERE size = 40", {"line": line}))
    assert found is not None
    assert found.first_bad == 40


def test_signatures_that_changed_places_are_a_change(subject: Subject) -> None:
    text, _, tail = subject.ledger.newest_checkpoint().note.partition("\n\n")
    first, second, _ = tail.split("\n")
    swapped = {"note": f"{text}\n\n{second}\n{first}\n"}
    found = subject.after(("UPDATE ledger_checkpoints SET note = :note WHERE size = 40", swapped))
    assert found is not None
    assert found.first_bad == 40


def test_an_erasure_is_explained_only_by_a_later_event(subject: Subject) -> None:
    def change(tx: Transaction) -> None:
        subject.ledger.append(tx, "payload.erased", "event:42", {"reason": "too early"})
        for _ in range(3):
            subject.ledger.append(tx, "run.finished", "run:1", {"status": "done", "reason": ""})

    assert subject.after_change(change).ok

    def change_and_delete(tx: Transaction) -> None:
        change(tx)
        tx.run("DELETE FROM ledger_payloads WHERE idx = 42")

    assert subject.after_change(change_and_delete).first_bad == 42


def test_the_root_is_told_while_it_is_beyond_doubt(subject: Subject) -> None:
    root = subject.ledger.root().hex()
    assert subject.ledger.verify().root == root
    found = subject.after(("UPDATE ledger_payloads SET payload = x'00' WHERE idx = 21", {}))
    assert found is not None
    assert found.root == root


def test_every_row_of_the_edges_of_a_long_ledger(long: Subject) -> None:
    """Chunks of the check meet at 1024 and 2048; nodes above a chunk are read one by one."""
    rng = random.Random(4)
    for index in (1023, 1024, 2047, LONG - 1):
        row = {"idx": index}
        for table in ("ledger_entries", "ledger_payloads"):
            assert_named(long.after((f"DELETE FROM {table} WHERE idx = :idx", row)), table, row, "deleted")
        sql = "UPDATE ledger_entries SET entry = substr(entry, 2) WHERE idx = :idx"
        assert_named(long.after((sql, row)), "ledger_entries", row, "cut")
    for row in rows(long, "ledger_nodes"):
        if row["level"] >= 9 or (row["level"] >= 5 and rng.random() < 0.02):
            values = {"hash": rng.randbytes(32), "level": row["level"], "idx": row["idx"]}
            sql = rng.choice(["UPDATE ledger_nodes SET hash = :hash", "DELETE FROM ledger_nodes"])
            found = long.after((f"{sql} WHERE level = :level AND idx = :idx", values))
            assert_named(found, "ledger_nodes", row, sql)


@pytest.mark.parametrize("column", ["kind", "subject", "actor", "entry"])
def test_bytes_that_are_no_text_are_named(subject: Subject, long: Subject, column: str) -> None:
    sql = f"UPDATE ledger_entries SET {column} = CAST(x'72ff' AS TEXT) WHERE idx = :idx"
    for ledger, index in ((subject, 33), (long, 1500)):  # 33 erased 12, which stays explained unless its entry is gone
        found = ledger.after((sql, {"idx": index}))
        assert found is not None
        assert found.first_bad == index


def test_much_damage_is_counted_and_the_first_named(long: Subject) -> None:
    found = long.after(("UPDATE ledger_payloads SET payload = x'00' WHERE idx >= 77", {}))
    assert found is not None
    assert found.first_bad == 77
    assert len(found.problems) == 100
    assert long.after(("DELETE FROM ledger_nodes", {})).first_bad == 0
    assert long.after(("DELETE FROM ledger_entries", {})).first_bad == 0
    assert long.after(("DELETE FROM ledger_payloads", {})).first_bad == 0


def test_a_checkpoint_of_the_newest_state_that_was_taken_away_is_remembered(subject: Subject) -> None:
    found = subject.after(("DELETE FROM ledger_checkpoints", {}))
    assert found is not None
    assert (found.ok, found.first_bad) == (False, 40)


def test_checkpoints_without_a_key_prove_nothing(subject: Subject) -> None:
    found = verify(subject.database, None, None)
    assert (found.ok, found.checkpoints, found.first_bad) == (False, 0, 0)


def test_an_unfit_memory_of_the_key_is_a_finding(subject: Subject) -> None:
    assert not verify(subject.database, subject.keys.public(), "spoiled").ok


def test_an_event_that_claims_an_erasure_which_was_not_done(subject: Subject) -> None:
    found = subject.after_change(lambda tx: subject.ledger.append(tx, "payload.erased", "event:3", {"reason": "a lie"}))
    assert found.first_bad == 3


@pytest.fixture(scope="module")
def writable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a ledger that nobody has open."""
    folder = tmp_path_factory.mktemp("file")
    original = Subject(folder, ENTRIES)
    original.database.close()
    return folder


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_change_in_the_file_itself_is_named(writable: Path, tmp_path: Path, data: st.DataObject) -> None:
    """The same through the file: a bit of a stored value is flipped on disk, then the workspace is opened again."""
    path = tmp_path / "w.db"
    content = bytearray((writable / "w.db").read_bytes())
    database = SqliteDatabase(writable / "w.db")
    table = data.draw(st.sampled_from(["ledger_entries", "ledger_payloads", "ledger_nodes", "ledger_checkpoints"]))
    column = {"ledger_entries": "entry", "ledger_payloads": "payload", "ledger_nodes": "hash"}.get(table, "root")
    found = database.all(f"SELECT {', '.join(TABLES[table])} FROM {table}")
    database.close()
    row = data.draw(st.sampled_from(found))
    at = content.find(row[column])
    if column == "payload" or at < 0 or content.find(row[column], at + 1) >= 0:
        return  # not found in one piece, or not only here
    bit = data.draw(st.integers(0, len(row[column]) * 8 - 1))
    content[at + bit // 8] ^= 1 << bit % 8
    for old in tmp_path.glob("w.*"):
        old.unlink()
    path.write_bytes(bytes(content))
    ledger = SqliteDatabase(path)
    try:
        result = Ledger(ledger, FixedClock(datetime(2026, 11, 23, tzinfo=UTC)), writable / "keys", ORIGIN).verify()
    finally:
        ledger.close()
    assert_named(result, table, row, f"{column} bit {bit}")
    assert not result.ok
