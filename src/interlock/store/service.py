"""The ledger service: what happened, and the proof of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from interlock.core.errors import Invalid, NotFound
from interlock.core.events import KINDS, Event
from interlock.core.operations import Permission, operation
from interlock.store.ledger_checkpoints import Checkpoint
from interlock.store.ledger_proof import format_proof
from interlock.store.ledger_verify import Verification
from interlock.store.merkle import leaf_hash

if TYPE_CHECKING:
    from interlock.store import Store

Events = list[Event]
_MOST_EVENTS = 10_000


class EventProof(msgspec.Struct, frozen=True):
    """Proof that the ledger holds an event.

    Attributes:
        text: the whole proof as a C2SP `.tlog-proof` file, to be checked with the vkey alone.
        vkey: the ledger's key. Whoever checks should have it from another time or by another way.
        index: the event's place.
        size: how many events the checkpoint covers.
        entry: the leaf, canonical JSON.
        leaf: the leaf's hash, in hexadecimal.
        hashes: the inclusion proof, from the leaf's sibling upwards, in hexadecimal.
        checkpoint: the signed note.
        payload: the event's data, JSON, whose HMAC-SHA-256 the entry holds; None after an erasure.
        payload_key: the key of the HMAC, in hexadecimal; None after an erasure.
    """

    text: str
    vkey: str
    index: int
    size: int
    entry: str
    leaf: str
    hashes: tuple[str, ...]
    checkpoint: str
    payload: str | None
    payload_key: str | None


class GrowthProof(msgspec.Struct, frozen=True):
    """Proof that the ledger only grew since it had `size` events.

    Attributes:
        size: how many events it had.
        hashes: the consistency proof between that state and the checkpoint's, in hexadecimal.
        checkpoint: a newer state, signed.
    """

    size: int
    hashes: tuple[str, ...]
    checkpoint: Checkpoint


class LedgerService:
    """The ledger: everything that happened, provable to people who do not trust the operator."""

    name = "ledger"

    def __init__(self, store: Store) -> None:
        self._store = store
        self._ledger = store.ledger

    @operation(Permission.LEDGER_READ)
    def events(
        self,
        after: int = -1,
        kinds: list[str] | None = None,
        subject: str = "",
        limit: int = 100,
        newest: bool = False,
    ) -> Events:
        """Return events in the order they happened, or the newest first.

        Args:
            after: only events of a larger index.
            kinds: only events of these kinds; by default of all.
            subject: only events about this reference, such as model:credit@3.
            limit: how many at most, up to 10000.
            newest: begin with the event that happened last.

        Raises:
            NotFound: there is no such kind of event.
            Invalid: the limit is out of range.
        """
        for kind in kinds or ():
            if kind not in KINDS:
                raise NotFound.named("event_kind", kind, KINDS)
        if not 1 <= limit <= _MOST_EVENTS:
            raise Invalid(f"A limit of {limit} is not between 1 and {_MOST_EVENTS}.", about="event")
        return self._ledger.events(after, kinds or (), subject, limit, newest=newest)

    @operation(Permission.LEDGER_READ)
    def event(self, index: int) -> Event:
        """Return one event.

        Args:
            index: its place in the ledger, from 0.

        Raises:
            NotFound: there is none of this index.
        """
        return self._ledger.event(index)

    @operation(Permission.LEDGER_READ)
    def verify(self) -> Verification:
        """Recompute the whole ledger from its entries, and name the first thing that was changed.

        It finds what was done to the stored bytes. What it cannot find is a ledger rewritten as a whole by somebody who
        has the signing key too: against that, keep a checkpoint elsewhere and ask for `growth` since.
        """
        return self._ledger.verify()

    @operation(Permission.LEDGER_READ)
    def checkpoint(self) -> Checkpoint:
        """Return the ledger's present state, signed.

        It needs no more than reading: signing again and again adds no event and changes no state but the list of
        checkpoints, which says nothing that the events do not.

        Raises:
            Corrupt: the ledger did not grow out of what was signed before, so nothing is signed.
        """
        return self._ledger.checkpoint()

    @operation(Permission.LEDGER_READ)
    def proof(self, index: int) -> EventProof:
        """Return the proof that the ledger holds an event, as a file and in its parts.

        Args:
            index: the event's place in the ledger, from 0.

        Raises:
            NotFound: there is none of this index.
        """
        stored = self._ledger.stored(index)
        checkpoint = self._ledger.newest_checkpoint()
        if checkpoint is None or checkpoint.size <= index:
            checkpoint = self._ledger.checkpoint()
        hashes = self._ledger.inclusion_proof(index, checkpoint.size)
        return EventProof(
            text=format_proof(stored.entry, index, hashes, checkpoint.note),
            vkey=checkpoint.vkey,
            index=index,
            size=checkpoint.size,
            entry=stored.entry.decode(),
            leaf=leaf_hash(stored.entry).hex(),
            hashes=tuple(item.hex() for item in hashes),
            checkpoint=checkpoint.note,
            payload=None if stored.payload is None else stored.payload.decode(),
            payload_key=None if stored.payload_key is None else stored.payload_key.hex(),
        )

    @operation(Permission.LEDGER_READ)
    def growth(self, size: int) -> GrowthProof:
        """Return the proof that the ledger only grew since it had so many events: for those who kept a checkpoint.

        Args:
            size: the size of the checkpoint that was kept.

        Raises:
            Invalid: the ledger has fewer events, so some were removed.
        """
        checkpoint = self._ledger.checkpoint()
        hashes = self._ledger.consistency_proof(size, checkpoint.size)
        return GrowthProof(size, tuple(item.hex() for item in hashes), checkpoint)

    @operation(Permission.LEDGER_ERASE, emits=("payload.erased",))
    def erase(self, index: int, reason: str) -> Event:
        """Erase an event's data for good; its leaf stays, and every proof still holds. Return the event that says so.

        Args:
            index: the event's place in the ledger, from 0.
            reason: why; it stays in the ledger, so name no person in it.

        Raises:
            NotFound: there is none of this index.
            Conflict: its data were erased before.
            Invalid: no reason is given.
        """
        if not reason.strip():
            raise Invalid("An erasure needs a reason.", about="event")
        return self._ledger.event(self._store.database.write(lambda tx: self._ledger.erase(tx, index, reason)))
