"""The ledger's operations, on a real store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from interlock.core.errors import Conflict, Invalid, NotFound
from interlock.core.operations import Permission, operations
from interlock.store.ledger_entries import is_commitment
from interlock.store.ledger_proof import check_proof
from interlock.store.merkle import verify_consistency, verify_inclusion
from interlock.store.notes import parse_public_key, verify_checkpoint
from interlock.store.service import LedgerService

if TYPE_CHECKING:
    from interlock.store import Store


@pytest.fixture
def service(store: Store) -> LedgerService:
    fill(store, 10)
    return LedgerService(store)


def fill(store: Store, count: int) -> None:
    data = {"status": "done", "reason": "it was over"}
    store.database.write(
        lambda tx: [store.ledger.append(tx, "run.finished", f"run:{number}", data) for number in range(count)]
    )


def test_the_operations_and_what_they_need() -> None:
    found = {name: operation.permission for name, operation in operations(LedgerService).items()}
    assert found.pop("erase") is Permission.LEDGER_ERASE
    assert set(found) == {"events", "event", "verify", "checkpoint", "proof", "growth"}
    assert set(found.values()) == {Permission.LEDGER_READ}
    assert operations(LedgerService)["erase"].emits == ("payload.erased",)


def test_events_are_listed_and_filtered(service: LedgerService) -> None:
    assert [event.index for event in service.events()] == [*range(10)]
    assert [event.index for event in service.events(after=6, limit=2)] == [7, 8]
    assert [event.index for event in service.events(kinds=["run.finished"], subject="run:4")] == [4]
    assert [event.index for event in service.events(limit=3, newest=True)] == [9, 8, 7]
    kinds = ["run.finished", "run.started"]
    assert [event.index for event in service.events(after=6, kinds=kinds, limit=2, newest=True)] == [9, 8]
    assert service.events(kinds=["run.started"]) == []
    assert service.event(3).data == {"status": "done", "reason": "it was over"}


def test_an_unknown_kind_or_limit_is_refused(service: LedgerService) -> None:
    with pytest.raises(NotFound, match=r"run\.finished"):
        service.events(kinds=["run.finnished"])
    for limit in (0, -1, 10_001):
        with pytest.raises(Invalid):
            service.events(limit=limit)
    with pytest.raises(NotFound):
        service.event(10)


def test_a_proof_holds_for_who_has_the_file_and_the_vkey(service: LedgerService) -> None:
    proof = service.proof(4)
    proven = check_proof(proof.text, service.checkpoint().vkey)
    assert (proven.entry.index, proven.entry.subject, proven.size) == (4, "run:4", proof.size)
    root = verify_checkpoint(proof.checkpoint, parse_public_key(proof.vkey)).head.root
    hashes = [bytes.fromhex(item) for item in proof.hashes]
    assert verify_inclusion(proof.index, proof.size, bytes.fromhex(proof.leaf), hashes, root)
    assert proof.payload == '{"status":"done","reason":"it was over"}'
    assert is_commitment(proven.entry.payload, bytes.fromhex(proof.payload_key), proof.payload.encode())


def test_a_proof_uses_the_checkpoint_that_is_there(service: LedgerService, store: Store) -> None:
    first = service.checkpoint()
    fill(store, 3)
    assert service.proof(9).checkpoint == first.note
    assert service.proof(10).size == 13
    assert service.verify().checkpoints == 2
    with pytest.raises(NotFound):
        service.proof(13)


def test_who_kept_a_checkpoint_sees_that_the_ledger_only_grew(service: LedgerService, store: Store) -> None:
    kept = service.checkpoint()
    fill(store, 7)
    grown = service.growth(kept.size)
    newer = verify_checkpoint(grown.checkpoint.note, parse_public_key(kept.vkey)).head
    hashes = [bytes.fromhex(item) for item in grown.hashes]
    assert (grown.size, newer.size) == (10, 17)
    assert verify_consistency(10, 17, bytes.fromhex(kept.root), newer.root, hashes)
    with pytest.raises(Invalid):
        service.growth(18)


def test_erasing_keeps_the_proof_and_drops_the_data(service: LedgerService) -> None:
    before = service.proof(4)
    event = service.erase(4, "the person asked for it")
    assert (event.kind, event.subject, event.data) == (
        "payload.erased",
        "event:4",
        {"reason": "the person asked for it"},
    )
    after = service.proof(4)
    assert (after.entry, after.leaf) == (before.entry, before.leaf)
    assert (after.payload, after.payload_key) == (None, None)
    assert check_proof(before.text, before.vkey).entry == check_proof(after.text, after.vkey).entry
    found = service.verify()
    assert (found.ok, found.erased, found.entries) == (True, 1, 11)
    with pytest.raises(Conflict):
        service.erase(4, "again")
    with pytest.raises(Invalid):
        service.erase(5, "  ")
    with pytest.raises(NotFound):
        service.erase(99, "nothing there")


def test_verifying_names_what_was_changed(service: LedgerService, store: Store) -> None:
    assert service.verify().ok
    store.database.write(lambda tx: tx.run("UPDATE ledger_entries SET actor = 'user:eve' WHERE idx = 6"))
    found = service.verify()
    assert (found.ok, found.first_bad) == (False, 6)
    assert found.problems[0].rule == "column"
    assert "actor" in found.problems[0].message
