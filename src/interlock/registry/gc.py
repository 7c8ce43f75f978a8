"""Collection of garbage: objects that nothing names and nobody touched for a day.

Whoever is about to name an object has put or held it a moment before, which makes it young; and what is named is looked
up in the transaction that records the collection. So an object goes only when nothing names it and nothing is about to.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar, Final, cast

import msgspec

from interlock.registry.references import closure, roots

if TYPE_CHECKING:
    from interlock.core.ports import Removable, Transaction
    from interlock.store import Store

DAY_S: Final = 24 * 3600.0


class Garbage(msgspec.Struct, frozen=True):
    """An object that nothing names."""

    digest: str
    size_bytes: int
    touched_at: datetime


class Collection(msgspec.Struct, frozen=True):
    """What a look for garbage found.

    Attributes:
        objects: how many objects there are.
        named: how many of them something names, directly or through others.
        young: how many nothing names yet, put within the last day.
        garbage: what nothing names, oldest first.
        size_bytes: how many bytes the garbage has.
        removed: how many of the garbage were removed; 0 when that was not asked for.
    """

    TABLE: ClassVar = ("objects", "named", "young", "size_bytes", "removed")

    objects: int
    named: int
    young: int
    garbage: tuple[Garbage, ...]
    size_bytes: int
    removed: int = 0


def collect(store: Store, *, apply: bool) -> Collection:
    """Return what nothing names; it is removed when that is asked for.

    Raises:
        Corrupt: an object that others need has changed, so nobody can say what it named.

    Cost: see `roots` and `closure`; writers wait while the tables are searched, when something is removed.
    """
    removable, before = cast("Removable", store.objects), time.time() - DAY_S
    known: dict[str, set[str]] = {}
    named = closure(store.objects, roots(store.database), known)
    if not apply:
        return _look(store, named, before)

    def change(tx: Transaction) -> Collection:
        found = _look(store, closure(store.objects, roots(tx), known), before)
        listed = store.objects.put(msgspec.json.encode(found.garbage))
        data = {"count": len(found.garbage), "size_bytes": found.size_bytes, "list": listed}
        store.ledger.append(tx, "objects.removed", f"workspace:{store.identity.id}", data)
        return found

    found = store.database.write(change)
    removed = sum(removable.remove(item.digest, before) for item in found.garbage)
    removable.sweep(before)
    return msgspec.structs.replace(found, removed=removed)


def _look(store: Store, named: set[str], before: float) -> Collection:
    removable = cast("Removable", store.objects)
    count, young, garbage = 0, 0, []
    for digest in store.objects.digests():
        count += 1
        touched = None if digest in named else removable.age(digest)
        size = store.objects.size(digest)
        if touched is None or size is None:
            continue
        if touched >= before:
            young += 1
        else:
            garbage.append(Garbage(digest, size, datetime.fromtimestamp(touched, UTC)))
    garbage.sort(key=lambda item: item.touched_at)
    return Collection(count, len(named), young, tuple(garbage), sum(item.size_bytes for item in garbage))
