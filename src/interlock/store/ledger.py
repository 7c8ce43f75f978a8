"""The ledger: everything that changed the state of the world, in the order it happened, provable to outsiders.

Each event is a leaf of an RFC 9162 tree, written in the transaction of the change it records. A checkpoint signs the
tree's root. An event's data rest beside the tree and can be erased, while every proof still holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from interlock.core.actor import current_actor
from interlock.core.clock import from_micros, to_micros
from interlock.core.errors import Conflict, Corrupt, Invalid, NotFound
from interlock.core.events import Event, check
from interlock.store import ledger_checkpoints, ledger_tree
from interlock.store.ledger_entries import ERASED, VERSION, Entry, encode, seal
from interlock.store.ledger_keys import LedgerKeys
from interlock.store.ledger_verify import Verification, verify
from interlock.store.merkle import leaf_hash

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from interlock.core.clock import Clock
    from interlock.core.ports import Database, Reader, Row, Transaction
    from interlock.store.ledger_checkpoints import Checkpoint


class StoredEntry(msgspec.Struct, frozen=True):
    """An event as it is stored: its leaf and, unless erased, its payload with the key that binds them."""

    entry: bytes
    payload: bytes | None
    payload_key: bytes | None


class Ledger:
    """The ledger of one workspace.

    Args:
        database: where its tables are.
        clock: where the time comes from.
        keys: the folder of the signing key, which is made on first use.
        origin: the ledger's name in checkpoints; it never changes.

    Raises:
        Invalid: the origin has spaces or a plus.
    """

    def __init__(self, database: Database, clock: Clock, keys: Path, origin: str) -> None:
        self._database = database
        self._clock = clock
        self._keys = LedgerKeys(keys, origin)

    def append(self, tx: Transaction, kind: str, subject: str, data: dict[str, Any], actor: str = "") -> int:
        """Write an event in the caller's transaction; return its index.

        Args:
            tx: the transaction of the change that the event records.
            kind: a name of `core.events.KINDS`.
            subject: the reference of what it is about.
            data: what the kind declares.
            actor: who did it; empty: `current_actor()`.

        Raises:
            Invalid: the kind is unknown, or data, subject or actor are not fit for it.
            Corrupt: the end of the ledger is not as it was written.

        Cost: amortised constant; at most log2(size) look-ups.
        """
        check(kind, data)
        index = ledger_tree.size(tx)
        at, actor, payload = to_micros(self._clock.now()), actor or current_actor(), seal(data)
        entry = encode(Entry(VERSION, index, at, actor, kind, subject, payload.commitment))
        tx.run(
            "INSERT INTO ledger_entries (idx, at, kind, subject, actor, entry)"
            " VALUES (:idx, :at, :kind, :subject, :actor, :entry)",
            {"idx": index, "at": at, "kind": kind, "subject": subject, "actor": actor, "entry": entry},
        )
        tx.run(
            "INSERT INTO ledger_payloads (idx, hmac_key, payload) VALUES (:idx, :key, :payload)",
            {"idx": index, "key": payload.key, "payload": payload.data},
        )
        ledger_tree.add_leaf(tx, index, leaf_hash(entry))
        return index

    def erase(self, tx: Transaction, index: int, reason: str, actor: str = "") -> int:
        """Delete an event's data and the key that bound them; return the index of the event that says so.

        The bytes are overwritten before they are deleted. They are gone from the database file itself once its
        write-ahead log has been written back.

        Raises:
            NotFound: there is no such event.
            Conflict: its payload was erased before.
        """
        stored = _stored(tx, index)
        if stored.payload is None or stored.payload_key is None:
            raise Conflict(f"The payload of event {index} was erased before.", about="event", index=index)
        tx.run(
            "UPDATE ledger_payloads SET hmac_key = :key, payload = :payload WHERE idx = :idx",
            {"idx": index, "key": bytes(len(stored.payload_key)), "payload": bytes(len(stored.payload))},
        )
        tx.run("DELETE FROM ledger_payloads WHERE idx = :idx", {"idx": index})
        return self.append(tx, ERASED, f"event:{index}", {"reason": reason}, actor)

    def events(
        self,
        after: int = -1,
        kinds: Sequence[str] = (),
        subject: str = "",
        limit: int = 1000,
        *,
        newest: bool = False,
    ) -> list[Event]:
        """Return events in their order, or the newest first.

        Args:
            after: only events of a larger index.
            kinds: only events of these kinds; empty: of all.
            subject: only events about this reference; empty: about all.
            limit: how many at most.
            newest: begin at the end of the ledger.

        Cost: through an index; it does not grow with the ledger.
        """
        names = {f"kind{number}": kind for number, kind in enumerate(dict.fromkeys(kinds))}
        rows = self._database.all(
            _query(tuple(names), about=bool(subject), newest=newest),
            {"after": after, "subject": subject, "limit": limit, **names},
        )
        return [_event(row) for row in rows]

    def event(self, index: int) -> Event:
        """Return one event.

        Raises:
            NotFound: there is none of this index.
        """
        row = self._database.one(
            "SELECT e.idx, e.at, e.kind, e.subject, e.actor, p.payload FROM ledger_entries e"
            " LEFT JOIN ledger_payloads p ON p.idx = e.idx WHERE e.idx = :idx",
            {"idx": index},
        )
        if row is None:
            raise _no_event(index)
        return _event(row)

    def stored(self, index: int) -> StoredEntry:
        """Return an event as it is stored, for those who check it themselves.

        Raises:
            NotFound: there is none of this index.
        """
        return _stored(self._database, index)

    def size(self) -> int:
        """Return how many events there are."""
        return ledger_tree.size(self._database)

    def root(self, size: int | None = None) -> bytes:
        """Return the root of the tree over the first `size` events, by default over all."""
        return ledger_tree.root(self._database, self._within(size))

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """Return the proof that an event is in the tree over the first `size` events, by default over all.

        Raises:
            NotFound: the tree has no such event.
        """
        size = self._within(size)
        if not 0 <= index < size:
            raise _no_event(index)
        return ledger_tree.inclusion_proof(self._database, index, size)

    def consistency_proof(self, size1: int, size2: int | None = None) -> list[bytes]:
        """Return the proof that the tree over `size1` events grew into that over `size2`, by default over all."""
        size2 = self._within(size2)
        if not 0 <= size1 <= size2:
            raise Invalid(f"A ledger of {size2} events did not grow out of one of {size1}.", about="ledger")
        return ledger_tree.consistency_proof(self._database, size1, size2)

    def vkey(self) -> str:
        """Return the text of the key that verifies this ledger's checkpoints; outsiders keep it."""
        return self._keys.private().public.vkey

    def newest_checkpoint(self) -> Checkpoint | None:
        """Return the checkpoint that covers the most entries, or None before the first."""
        return ledger_checkpoints.newest(self._database, self.vkey())

    def checkpoint(self) -> Checkpoint:
        """Sign the present state, unless that was done before; return the checkpoint, which is on disk by then.

        Raises:
            Corrupt: the present state did not grow out of one that was signed, or the key that signed is gone.
        """
        return ledger_checkpoints.sign(self._database, self._keys, self._clock.now())

    def checkpoint_if_due(self, every: int) -> Checkpoint | None:
        """Sign the present state if it has `every` entries more than the newest checkpoint; else return None."""
        newest = self.newest_checkpoint()
        return self.checkpoint() if self.size() - (newest.size if newest else 0) >= every else None

    def verify(self) -> Verification:
        """Return whether everything stored is what was written, after recomputing all of it from the entries.

        Writers go on meanwhile. Only if something seems wrong is it all looked at again with writers held back, so
        that what one of them was just doing is not taken for damage.

        Cost: reads everything once; memory for a thousand entries.
        """
        key, remembered = self._keys.public(), self._keys.remembered()
        found = verify(self._database, key, remembered)
        return found if found.ok else self._database.write(lambda tx: verify(tx, key, remembered))

    def _within(self, size: int | None) -> int:
        present = self.size()
        if size is not None and not 0 <= size <= present:
            raise Invalid(f"The ledger has {present} events, not {size}.", about="ledger")
        return present if size is None else size


def _query(names: tuple[str, ...], *, about: bool, newest: bool) -> str:
    """Return the query for events, filtered by the kinds that the placeholders `names` hold, and by subject."""
    order = "DESC" if newest else "ASC"
    columns = "SELECT idx, at, kind, subject, actor FROM ledger_entries WHERE idx > :after"
    columns += " AND subject = :subject" if about else ""
    found = f"{columns} ORDER BY idx {order} LIMIT :limit"
    if names:  # each kind by itself walks along its index; together they would be sorted
        found = " UNION ALL ".join(
            f"SELECT * FROM ({columns} AND kind = :{name} ORDER BY idx {order} LIMIT :limit) AS {name}"  # noqa: S608 - our names
            for name in names
        )
    return (
        f"SELECT e.*, p.payload FROM (SELECT * FROM ({found}) AS found ORDER BY idx {order} LIMIT :limit) AS e"  # noqa: S608
        f" LEFT JOIN ledger_payloads p ON p.idx = e.idx ORDER BY e.idx {order}"
    )


def _stored(reader: Reader, index: int) -> StoredEntry:
    row = reader.one(
        "SELECT e.entry, p.payload, p.hmac_key FROM ledger_entries e LEFT JOIN ledger_payloads p ON p.idx = e.idx"
        " WHERE e.idx = :idx",
        {"idx": index},
    )
    if row is None:
        raise _no_event(index)
    return StoredEntry(row["entry"], row["payload"], row["hmac_key"])


def _event(row: Row) -> Event:
    try:
        data = None if row["payload"] is None else msgspec.json.decode(row["payload"], type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise Corrupt(
            f"The payload of event {row['idx']} is not what was written.",
            about="event",
            hint="Run `interlock ledger verify`.",
            index=row["idx"],
        ) from None
    return Event(
        index=row["idx"],
        at=from_micros(row["at"]),
        actor=row["actor"],
        kind=row["kind"],
        subject=row["subject"],
        data=data,
    )


def _no_event(index: int) -> NotFound:
    return NotFound(f"There is no event {index}.", about="event", hint="Events are numbered from 0.", index=index)
