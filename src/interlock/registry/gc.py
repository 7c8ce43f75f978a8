"""Collection of garbage: objects that nothing names and nobody touched for a day.

Whoever is about to name an object has put or held it a moment before, which makes it young, and what is young stays.
So the walk from the tables to all that they name needs to stop nobody: it reads a snapshot, and then objects. What it
did not reach goes by batches. Each is looked up again in the columns of a second snapshot; the transaction that records
that it goes looks only at the events since that one and at ages. What is recorded is what is about to be removed: where
that is broken off, the next collection records and removes it again.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final, cast

import msgspec

from interlock.registry.references import (
    LIST_EVENT,
    check_declared,
    events_after,
    last_event,
    named_among,
    names,
    reached,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.core.ports import Held, Removable, Transaction
    from interlock.store import Store

DAY_S: Final = 24 * 3600.0
GARBAGE: Final = "garbage"
YOUNG: Final = "not named yet"
_BATCH: Final = 1000
_SHOWN: Final = 100


class Garbage(msgspec.Struct, frozen=True):
    """An object that nothing names."""

    digest: str
    size_bytes: int
    touched_at: datetime


class Share(msgspec.Struct, frozen=True):
    """The objects of one kind; each object is of one kind only.

    Attributes:
        kind: what they are for, such as `models` or `artifacts`; `not named yet` for those put within the last day that
            nothing names; `garbage` for the rest.
        objects: how many there are.
        size_bytes: how many bytes they have together.
    """

    TABLE: ClassVar = ("kind", "objects", "size_bytes")

    kind: str
    objects: int
    size_bytes: int


class Collection(msgspec.Struct, frozen=True):
    """What a look for garbage found.

    Attributes:
        shares: all objects by kind, the largest share first.
        oldest: the garbage that nobody touched for the longest time, at most 100 of it.
        removed: how many objects were removed; 0 when that was not asked for.
        removed_bytes: how many bytes they had.
    """

    shares: tuple[Share, ...]
    oldest: tuple[Garbage, ...]
    removed: int = 0
    removed_bytes: int = 0

    def share(self, kind: str) -> Share:
        """Return the share of a kind."""
        return next((share for share in self.shares if share.kind == kind), Share(kind, 0, 0))


def collect(store: Store, *, apply: bool) -> Collection:
    """Return what nothing names; it is removed when that is asked for.

    Raises:
        Conflict: nothing says whether some column names objects.
        Corrupt: a record that others need has changed, so nobody can say what it named.

    Cost: see `names` and `reached`; nobody waits. Each 1,000 objects that are removed take a snapshot in which columns
    are compared with them (`named_among`), and one transaction that looks at their ages and at the newest events.
    """
    check_declared()
    before = time.time() - DAY_S
    here = _all(cast("Removable", store.objects))
    with store.database.snapshot() as snapshot:
        after = last_event(snapshot)
        named = list(dict.fromkeys(name for name in names(snapshot) if name.digest in here))
    kinds = reached(store.objects, here, named)
    garbage = [
        Garbage(digest, held.size_bytes, datetime.fromtimestamp(held.touched_at, UTC))
        for digest, held in here.items()
        if digest not in kinds and held.touched_at < before
    ]
    garbage.sort(key=lambda item: item.touched_at)
    found = Collection(_shares(here, kinds, {item.digest for item in garbage}), tuple(garbage[:_SHOWN]))
    if not apply:
        return found
    gone = [
        item
        for start in range(0, len(garbage) or 1, _BATCH)  # that somebody looked and found nothing is an event, too
        for item in _remove(store, garbage[start : start + _BATCH], after, before)
    ]
    cast("Removable", store.objects).sweep(before)
    return msgspec.structs.replace(found, removed=len(gone), removed_bytes=sum(item.size_bytes for item in gone))


def _all(objects: Removable) -> dict[str, Held]:
    return {digest: held for digest in objects.digests() if (held := objects.look(digest)) is not None}


def _shares(here: dict[str, Held], kinds: dict[str, str], garbage: set[str]) -> tuple[Share, ...]:
    totals: dict[str, tuple[int, int]] = {}
    for digest, held in here.items():
        kind = kinds.get(digest) or (GARBAGE if digest in garbage else YOUNG)
        objects, size = totals.get(kind, (0, 0))
        totals[kind] = (objects + 1, size + held.size_bytes)
    shares = [Share(kind, *total) for kind, total in totals.items()]
    return tuple(sorted(shares, key=lambda share: (-share.size_bytes, share.kind)))


def _remove(store: Store, batch: Sequence[Garbage], after: int, before: float) -> list[Garbage]:
    """Return what of a batch was removed: nothing that was named since the walk, nothing that was touched.

    What is put again in the instant after it was recorded stays, as if it had come back.
    """
    objects = cast("Removable", store.objects)
    with store.database.snapshot() as snapshot:
        seen = last_event(snapshot)
        left = _unnamed(batch, named_among(snapshot, [item.digest for item in batch], after))
    left = _old(objects, left, before)
    while True:  # each further turn has fewer of them
        now = store.database.write(
            partial(_settle, store, left, store.objects.put(msgspec.json.encode(left)), seen, before)
        )
        if len(now) == len(left):
            return [item for item in left if objects.remove(item.digest, before)]
        left = now


def _settle(
    store: Store, items: Sequence[Garbage], listed: str, seen: int, before: float, tx: Transaction
) -> list[Garbage]:
    """Return what is still to be removed; where that is all, it is recorded under its list."""
    named = {name.digest for name in events_after(tx, seen)}
    left = _old(cast("Removable", store.objects), _unnamed(items, named), before)
    if len(left) == len(items):
        data = {"count": len(left), "size_bytes": sum(item.size_bytes for item in left), "list": listed}
        store.ledger.append(tx, LIST_EVENT, f"workspace:{store.identity.id}", data)
    return left


def _unnamed(items: Sequence[Garbage], named: set[str]) -> list[Garbage]:
    return [item for item in items if item.digest not in named]


def _old(objects: Removable, items: Sequence[Garbage], before: float) -> list[Garbage]:
    """Return what is here and was not touched since. Cost: one look at each."""
    looks = ((item, objects.look(item.digest)) for item in items)
    return [item for item, held in looks if held is not None and held.touched_at < before]
