"""Changes that are worked out in front of their transaction, so that the one writer is not held up by long work.

What is read meanwhile may change before the transaction begins; so it looks again, and says `Stale` where that is so.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from interlock.core.ports import Database, Reader, Transaction

P = TypeVar("P")
T = TypeVar("T")
_TRIES: Final = 3


class Stale(Exception):
    """What a change was worked out from is no longer what the database holds: it has to be worked out again."""


def settled(database: Database, prepare: Callable[[Reader], P], change: Callable[[Transaction, P], T]) -> T:
    """Return what a change returns, after it is on disk.

    Args:
        database: where it is written.
        prepare: reads what is needed and works out what is to be written; raises `Stale` where it saw halves of
            another's change.
        change: looks whether that still holds, raises `Stale` where it does not, and writes.

    Cost: the writer is held for `change` alone; only where three tries came too late does it wait for `prepare` too.
    """
    for _ in range(_TRIES):
        try:
            return database.write(functools.partial(_pass_on, change, prepare(database)))
        except Stale:
            continue
    return database.write(lambda tx: change(tx, prepare(tx)))


def _pass_on(change: Callable[[Transaction, P], T], prepared: P, tx: Transaction) -> T:
    return change(tx, prepared)
