"""Signing the ledger's state, and never one that did not grow out of every state that was signed before."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from interlock.core.clock import from_micros, to_micros
from interlock.core.errors import Corrupt, Invalid
from interlock.store import ledger_tree
from interlock.store.merkle import verify_consistency
from interlock.store.notes import Head, sign_checkpoint, verify_checkpoint

if TYPE_CHECKING:
    from interlock.core.ports import Database, Reader, Row, Transaction
    from interlock.store.ledger_keys import LedgerKeys
    from interlock.store.notes import PrivateKey


class Checkpoint(msgspec.Struct, frozen=True):
    """A signed state of the ledger. Whoever keeps one can tell later whether anything before it was changed.

    Attributes:
        size: how many entries it covers.
        root: the root of the tree over them, in hexadecimal.
        note: the signed text.
        vkey: the key that verifies it.
        signed_at: when it was signed, in whole seconds.
    """

    size: int
    root: str
    note: str
    vkey: str
    signed_at: datetime


def newest(reader: Reader, vkey: str) -> Checkpoint | None:
    """Return the checkpoint that covers the most entries, or None before the first."""
    row = _newest(reader)
    return _record(row, vkey) if row else None


def sign(database: Database, keys: LedgerKeys, at: datetime) -> Checkpoint:
    """Sign the present state, unless that was done before; return the checkpoint, which is on disk by then.

    Raises:
        Corrupt: the present state did not grow out of one that was signed, or the key that signed is gone.
    """
    if not keys.is_made and (keys.remembered() or _newest(database)):
        raise Corrupt(
            "The key that signed this ledger's checkpoints is not here.",
            about="ledger",
            hint="Put ledger.key back from a backup; another key would make it another ledger.",
        )
    key, remembered = keys.private(), keys.remembered()
    at = at.replace(microsecond=0)
    found = database.write(lambda tx: _sign(tx, key, remembered, at))
    keys.remember(found.note)
    return found


def _sign(tx: Transaction, key: PrivateKey, remembered: str | None, at: datetime) -> Checkpoint:
    size, last = ledger_tree.size(tx), _newest(tx)
    head = Head(key.name, size, ledger_tree.root(tx, size))
    for note in (last["note"] if last else None, remembered):
        if note is not None:
            _check_grown(tx, note, head, key)
    if last and last["size"] == size:
        return _record(last, key.public.vkey)
    row = {
        "size": size,
        "number": last["number"] + 1 if last else 1,
        "root": head.root,
        "note": sign_checkpoint(head, key, at),
        "signed_at": to_micros(at),
    }
    tx.run(
        "INSERT INTO ledger_checkpoints (size, number, root, note, signed_at)"
        " VALUES (:size, :number, :root, :note, :signed_at)",
        row,
    )
    return _record(row, key.public.vkey)


def _newest(reader: Reader) -> Row | None:
    return reader.one("SELECT size, number, root, note, signed_at FROM ledger_checkpoints ORDER BY size DESC LIMIT 1")


def _check_grown(tx: Transaction, note: str, head: Head, key: PrivateKey) -> None:
    try:
        old = verify_checkpoint(note, key.public).head
    except Invalid as error:
        raise Corrupt(
            f"A checkpoint that was signed before was changed. {error.message}", about="ledger", hint=ledger_tree.HINT
        ) from None
    proof = ledger_tree.consistency_proof(tx, old.size, head.size) if old.size <= head.size else []
    if not verify_consistency(old.size, head.size, old.root, head.root, proof):
        raise Corrupt(
            f"The ledger's {head.size} entries did not grow out of the {old.size} that were signed.",
            about="ledger",
            hint=ledger_tree.HINT,
            signed=old.size,
            present=head.size,
        )


def _record(row: Row, vkey: str) -> Checkpoint:
    return Checkpoint(row["size"], row["root"].hex(), row["note"], vkey, from_micros(row["signed_at"]))
