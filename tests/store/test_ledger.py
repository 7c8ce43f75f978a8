"""The ledger as its users see it: append, read, prove, sign, erase; alone, together, and after a roll-back."""

from __future__ import annotations

import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest

from interlock.core.actor import acting_as
from interlock.core.clock import FixedClock, to_micros
from interlock.core.errors import Conflict, Corrupt, Invalid, NotFound
from interlock.store import merkle
from interlock.store.ledger import Ledger
from interlock.store.ledger_entries import is_commitment
from interlock.store.notes import parse_note, parse_public_key, verify_checkpoint
from interlock.store.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOON = datetime(2026, 11, 22, 12, 0, 0, 250, tzinfo=UTC)
ORIGIN = "interlock/test"


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOON)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqliteDatabase]:
    database = SqliteDatabase(tmp_path / "w.db")
    yield database
    database.close()


@pytest.fixture
def ledger(database: SqliteDatabase, clock: FixedClock, tmp_path: Path) -> Ledger:
    return Ledger(database, clock, tmp_path / "keys", ORIGIN)


@pytest.fixture
def fill(database: SqliteDatabase, ledger: Ledger):
    def fill(count: int) -> list[int]:
        return database.write(lambda tx: [finish(ledger, tx, number) for number in range(count)])

    return fill


def finish(ledger: Ledger, tx, number: int) -> int:
    return ledger.append(tx, "run.finished", f"run:{number}", {"status": "done", "reason": ""})


def add(database: SqliteDatabase, ledger: Ledger, kind: str, subject: str, **data: object) -> int:
    return database.write(lambda tx: ledger.append(tx, kind, subject, data))


def leaves(database: SqliteDatabase) -> list[bytes]:
    return [row["entry"] for row in database.all("SELECT entry FROM ledger_entries ORDER BY idx")]


# ---------------------------------------------------------------- append and read


def test_an_event_is_read_as_it_was_written(database, ledger, clock) -> None:
    with acting_as("user:ann"):
        index = add(database, ledger, "experiment.created", "experiment:e1", name='churn ü \u2028 "quoted"')
    event = ledger.event(index)
    assert (event.index, event.at, event.actor) == (0, clock.at, "user:ann")
    assert (event.kind, event.subject, event.data) == (
        "experiment.created",
        "experiment:e1",
        {"name": 'churn ü \u2028 "quoted"'},
    )
    assert ledger.events() == [event]


def test_a_given_actor_wins(database, ledger) -> None:
    index = database.write(
        lambda tx: ledger.append(tx, "experiment.created", "experiment:e", {"name": "x"}, actor="loop:retrain")
    )
    assert ledger.event(index).actor == "loop:retrain"


def test_data_may_hold_floats_and_nested_values(database, ledger) -> None:
    params = {"depth": 3, "rate": 0.1, "layers": [1, None, {"a": 1e-9}]}
    index = add(database, ledger, "run.logged", "run:1", params=params, tags={}, segments=[])
    assert ledger.event(index).data["params"] == params


def test_the_leaf_is_canonical_and_holds_no_data_but_their_commitment(database, ledger) -> None:
    index = add(database, ledger, "experiment.created", "experiment:e1", name="secret")
    stored = ledger.stored(index)
    entry = msgspec.json.decode(stored.entry)
    assert stored.entry == msgspec.json.encode(entry, order="sorted")
    assert set(entry) == {"v", "index", "at", "actor", "kind", "subject", "payload"}
    assert (entry["v"], entry["index"], entry["at"]) == (1, 0, to_micros(NOON))
    assert b"secret" not in stored.entry
    assert is_commitment(entry["payload"], stored.payload_key, stored.payload)
    assert not is_commitment(entry["payload"], stored.payload_key + b"\0", stored.payload), "HMAC pads with zeros"


def test_equal_data_have_different_commitments(database, ledger, fill) -> None:
    fill(2)
    first, second = (msgspec.json.decode(ledger.stored(index).entry)["payload"] for index in (0, 1))
    assert first != second


@pytest.mark.parametrize(
    ("kind", "subject", "data"),
    [
        ("run.exploded", "run:1", {}),
        ("run.finished", "run:1", {"status": "done"}),
        ("run.finished", "run:1", {"status": "done", "reason": "", "more": 1}),
        ("run.finished", "", {"status": "done", "reason": ""}),
        ("run.finished", "run:\n1", {"status": "done", "reason": ""}),
        ("run.finished", "run:\ud800", {"status": "done", "reason": ""}),
        ("run.finished", "run:1", {"status": "done", "reason": "\ud800"}),
        ("run.finished", "run:1", {"status": "done", "reason": object()}),
    ],
)
def test_what_is_no_event_is_refused_and_leaves_nothing(database, ledger, fill, kind, subject, data) -> None:
    fill(1)
    with pytest.raises(Invalid):
        database.write(lambda tx: ledger.append(tx, kind, subject, data))
    assert ledger.size() == 1
    assert ledger.verify().ok


def test_an_event_goes_with_the_change_that_it_records(database, ledger, fill) -> None:
    fill(5)

    def change(tx) -> None:
        for number in range(7):
            finish(ledger, tx, number)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        database.write(change)
    assert ledger.size() == 5
    fill(6)
    assert ledger.size() == 11
    assert ledger.root() == merkle.root(leaves(database))
    assert ledger.verify().ok


def test_events_are_found_by_kind_subject_and_place(database, ledger, fill) -> None:
    fill(3)
    add(database, ledger, "experiment.created", "experiment:e", name="e")
    add(database, ledger, "job.finished", "job:1", status="done", reason="")
    fill(3)

    def found(**filters: object) -> list[int]:
        return [event.index for event in ledger.events(**filters)]

    assert found() == [*range(8)]
    assert found(after=5) == [6, 7]
    assert found(limit=2) == [0, 1]
    assert found(kinds=["job.finished"]) == [4]
    assert found(kinds=["job.finished", "experiment.created", "job.finished"]) == [3, 4]
    assert found(kinds=["job.finished", "run.finished"], after=1, limit=3) == [2, 4, 5]
    assert found(subject="run:1") == [1, 6]
    assert found(subject="run:1", kinds=["run.finished"], after=1) == [6]
    assert found(subject="run:9") == []
    assert found(kinds=["alarm.raised"]) == []


def test_there_is_no_event_that_is_not_there(ledger, fill) -> None:
    fill(2)
    for index in (-1, 2):
        with pytest.raises(NotFound):
            ledger.event(index)
        with pytest.raises(NotFound):
            ledger.stored(index)
        with pytest.raises(NotFound):
            ledger.inclusion_proof(index)


# ---------------------------------------------------------------- proofs


def test_roots_and_proofs_from_nodes_are_those_of_the_leaves(database, ledger, fill) -> None:
    fill(37)
    data = leaves(database)
    for size in range(38):
        assert ledger.root(size) == merkle.root(data[:size])
        for index in range(size):
            assert ledger.inclusion_proof(index, size) == merkle.inclusion_proof(data[:size], index)
        for size1 in range(size + 1):
            assert ledger.consistency_proof(size1, size) == merkle.consistency_proof(data[:size], size1)
    assert ledger.root() == ledger.root(37)
    assert ledger.inclusion_proof(5) == ledger.inclusion_proof(5, 37)
    assert ledger.consistency_proof(5) == ledger.consistency_proof(5, 37)


def test_sizes_that_never_were_are_refused(ledger, fill) -> None:
    fill(3)
    for wrong in (-1, 4):
        with pytest.raises(Invalid):
            ledger.root(wrong)
        with pytest.raises(Invalid):
            ledger.consistency_proof(wrong)


def test_a_node_that_was_taken_away_is_corrupt_not_wrong(database, ledger, fill) -> None:
    fill(8)
    database.write(lambda tx: tx.run("DELETE FROM ledger_nodes WHERE level = 2 AND idx = 0"))
    with pytest.raises(Corrupt, match="level 2"):
        ledger.inclusion_proof(5)
    database.write(lambda tx: tx.run("INSERT INTO ledger_nodes VALUES (2, 0, zeroblob(31))"))
    with pytest.raises(Corrupt, match="level 2"):
        ledger.inclusion_proof(5)


def test_a_ledger_whose_end_was_cut_takes_no_more_events(database, ledger, fill) -> None:
    fill(8)
    database.write(lambda tx: tx.run("DELETE FROM ledger_entries WHERE idx = 7"))
    with pytest.raises(Corrupt):
        fill(1)


# ---------------------------------------------------------------- checkpoints


def test_a_checkpoint_signs_the_present_root(ledger, fill, clock) -> None:
    fill(11)
    checkpoint = ledger.checkpoint()
    assert (checkpoint.size, checkpoint.root) == (11, ledger.root().hex())
    assert checkpoint.signed_at == NOON.replace(microsecond=0)
    signed = verify_checkpoint(checkpoint.note, parse_public_key(checkpoint.vkey))
    assert (signed.head.origin, signed.head.size, signed.head.root) == (ORIGIN, 11, ledger.root())
    assert signed.signed_at == checkpoint.signed_at
    assert parse_note(checkpoint.note)[0].startswith("interlock/test\n11\n")
    assert checkpoint.vkey == ledger.vkey()
    assert ledger.newest_checkpoint() == checkpoint


def test_the_same_size_is_signed_once(ledger, fill, clock) -> None:
    fill(3)
    first = ledger.checkpoint()
    clock.at += timedelta(hours=1)
    assert ledger.checkpoint() == first
    fill(1)
    assert ledger.checkpoint().size == 4
    assert ledger.verify().checkpoints == 2


def test_an_empty_ledger_can_be_signed_and_grown(ledger, fill) -> None:
    assert ledger.newest_checkpoint() is None
    assert ledger.checkpoint().root == merkle.EMPTY_ROOT.hex()
    assert ledger.verify().ok
    fill(3)
    assert ledger.checkpoint().size == 3
    assert ledger.verify().checkpoints == 2


def test_a_checkpoint_is_signed_when_it_is_due(ledger, fill) -> None:
    assert ledger.checkpoint_if_due(5) is None
    fill(4)
    assert ledger.checkpoint_if_due(5) is None
    fill(1)
    assert ledger.checkpoint_if_due(5).size == 5
    fill(4)
    assert ledger.checkpoint_if_due(5) is None
    fill(3)
    assert ledger.checkpoint_if_due(5).size == 12


def rewrite(database: SqliteDatabase, keep: int) -> None:
    """Cut the ledger to its first entries without a trace: entries, payloads, nodes and checkpoints."""

    def change(tx) -> None:
        tx.run("DELETE FROM ledger_entries WHERE idx >= :keep", {"keep": keep})
        tx.run("DELETE FROM ledger_payloads WHERE idx >= :keep", {"keep": keep})
        for level in range(20):
            tx.run(
                "DELETE FROM ledger_nodes WHERE level = :level AND idx >= :first",
                {"level": level, "first": keep >> level},
            )

    database.write(change)


def test_a_ledger_that_was_cut_is_not_signed(database, ledger, fill) -> None:
    fill(20)
    ledger.checkpoint()
    rewrite(database, 13)
    with pytest.raises(Corrupt, match="did not grow"):
        ledger.checkpoint()
    found = ledger.verify()
    assert (found.ok, found.first_bad, found.problems[0].rule) == (False, 13, "removed")


def test_a_ledger_that_was_cut_and_grown_again_is_not_signed(database, ledger, fill) -> None:
    fill(20)
    ledger.checkpoint()
    rewrite(database, 13)
    fill(30)
    with pytest.raises(Corrupt, match="did not grow"):
        ledger.checkpoint()
    found = ledger.verify()
    assert (found.ok, found.first_bad, found.problems[0].rule) == (False, 20, "root")


def test_the_key_remembers_what_the_database_was_made_to_forget(database, ledger, fill) -> None:
    fill(20)
    ledger.checkpoint()
    rewrite(database, 13)
    database.write(lambda tx: tx.run("DELETE FROM ledger_checkpoints"))
    assert ledger.verify().first_bad == 13
    fill(30)
    with pytest.raises(Corrupt, match="did not grow"):
        ledger.checkpoint()
    assert ledger.verify().first_bad == 20


def test_a_spoiled_checkpoint_stops_the_next(database, ledger, fill) -> None:
    fill(3)
    ledger.checkpoint()
    database.write(lambda tx: tx.run("UPDATE ledger_checkpoints SET note = replace(note, '3', '4')"))
    fill(1)
    with pytest.raises(Corrupt, match="changed"):
        ledger.checkpoint()


def test_nothing_is_signed_by_another_key(ledger, fill, tmp_path, database) -> None:
    fill(3)
    ledger.checkpoint()
    (tmp_path / "keys" / "ledger.key").unlink()
    with pytest.raises(Corrupt, match="key that signed"):
        ledger.checkpoint()
    assert ledger.verify().ok, "the vkey file is enough to verify"
    (tmp_path / "keys" / "ledger.vkey").unlink()
    assert not ledger.verify().ok


# ---------------------------------------------------------------- erasure


def test_an_erased_payload_is_gone_and_everything_still_proves(database, ledger, fill, tmp_path, clock) -> None:
    fill(5)
    index = add(database, ledger, "experiment.created", "experiment:e", name="Erika Mustermann " * 400)
    small = add(database, ledger, "experiment.created", "experiment:f", name="Erika Mustermann")
    fill(5)
    before, root = ledger.checkpoint(), ledger.root()
    key = ledger.stored(index).payload_key
    with acting_as("user:dpo"):
        events = [database.write(lambda tx, at=at: ledger.erase(tx, at, "asked for")) for at in (index, small)]
    assert events == [12, 13]
    event = ledger.event(12)
    assert (event.kind, event.subject, event.data) == ("payload.erased", "event:5", {"reason": "asked for"})
    assert event.actor == "user:dpo"
    assert ledger.event(index).data is None
    assert (ledger.stored(index).payload, ledger.stored(index).payload_key) == (None, None)
    assert ledger.root(12) == root
    entry = ledger.stored(index).entry
    assert merkle.verify_inclusion(5, 12, merkle.leaf_hash(entry), ledger.inclusion_proof(5, 12), root)
    found = ledger.verify()
    assert (found.ok, found.erased, found.entries) == (True, 2, 14)
    assert ledger.checkpoint().size > before.size
    database.close()
    for file in tmp_path.iterdir():
        if file.is_file():
            assert b"Mustermann" not in file.read_bytes()
            assert key not in file.read_bytes()


def test_erasing_twice_or_nothing_is_refused(database, ledger, fill) -> None:
    fill(3)
    database.write(lambda tx: ledger.erase(tx, 1, "asked for"))
    with pytest.raises(Conflict):
        database.write(lambda tx: ledger.erase(tx, 1, "again"))
    with pytest.raises(NotFound):
        database.write(lambda tx: ledger.erase(tx, 9, "not there"))
    assert ledger.size() == 4


def test_an_erasure_can_be_erased_too(database, ledger, fill) -> None:
    fill(3)
    second = database.write(lambda tx: ledger.erase(tx, 1, "asked for by Erika"))
    database.write(lambda tx: ledger.erase(tx, second, "named a person"))
    found = ledger.verify()
    assert (found.ok, found.erased) == (True, 2)


# ---------------------------------------------------------------- together


def test_verifying_while_others_write_raises_no_false_alarm(database, ledger, fill) -> None:
    fill(2000)
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            fill(7)
            if number < 2000:
                database.write(lambda tx, number=number: ledger.erase(tx, number, "asked for"))
            ledger.checkpoint_if_due(5)
            number += 1

    writers = [threading.Thread(target=write)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(4):
            found = ledger.verify()
            assert found.ok, found.problems
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert ledger.verify().erased > 0


WRITER = """
import sys
from pathlib import Path
from interlock.core.clock import SystemClock
from interlock.store.ledger import Ledger
from interlock.store.sqlite import SqliteDatabase
folder = Path(sys.argv[1])
database = SqliteDatabase(folder / "w.db")
ledger = Ledger(database, SystemClock(), folder / "keys", "interlock/test")
data = {"status": "done", "reason": ""}
for number in range(25):
    database.write(lambda tx: ledger.append(tx, "run.finished", f"run:{number}", data))
    ledger.checkpoint_if_due(3)
print(ledger.vkey())
database.close()
"""


def test_several_processes_write_one_ledger_under_one_key(tmp_path, database, ledger) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    vkeys = {process.communicate(timeout=60)[0] for process in processes}
    assert [process.returncode for process in processes] == [0, 0]
    assert vkeys == {ledger.vkey() + "\n"}
    found = ledger.verify()
    assert (found.ok, found.entries, found.problems) == (True, 50, ())
    assert found.checkpoints >= 5


def test_a_payload_that_is_no_json_any_more_is_corrupt_and_named(database, ledger, fill) -> None:
    fill(3)
    database.write(lambda tx: tx.run("UPDATE ledger_payloads SET payload = :p WHERE idx = 1", {"p": b'{"status\xff'}))
    for read in (ledger.events, lambda: ledger.event(1)):
        with pytest.raises(Corrupt, match="event 1 is not what was written"):
            read()
    assert ledger.verify().first_bad == 1
