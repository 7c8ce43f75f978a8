"""The ledger's tree in the database: every full subtree's hash is one row, found by level and index.

Nothing is held in memory between calls: transactions may roll back, and other processes append too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from interlock.core.errors import Corrupt
from interlock.store.merkle import HASH_BYTES, consistency_spans, fold, full_subtrees, inclusion_spans, node_hash

if TYPE_CHECKING:
    from interlock.core.ports import Reader, Transaction
    from interlock.store.merkle import Span


HINT: Final = "Run `interlock ledger verify` to see what was changed; then put the database back from a backup."


def size(reader: Reader) -> int:
    """Return how many entries the ledger has.

    Raises:
        Corrupt: entries and tree do not end at the same place.
    """
    row = reader.one(
        "SELECT (SELECT MAX(idx) FROM ledger_entries) AS entry,"
        " (SELECT MAX(idx) FROM ledger_nodes WHERE level = 0) AS leaf"
    )
    last = row["entry"] if row else None
    if row is None or last != row["leaf"] or not isinstance(last, int | None):
        raise Corrupt("The ledger's entries do not end where its tree ends.", about="ledger", hint=HINT)
    return 0 if last is None else last + 1


def add_leaf(tx: Transaction, index: int, leaf: bytes) -> None:
    """Store a leaf's hash and that of every subtree which it completes.

    Cost: on average one look-up and two rows; at most log2(index) of each.
    """
    nodes, found, level = [(0, index, leaf)], leaf, 0
    while index & 1:
        found = node_hash(_node(tx, level, index - 1), found)
        level, index = level + 1, index >> 1
        nodes.append((level, index, found))
    tx.run_many(
        "INSERT INTO ledger_nodes (level, idx, hash) VALUES (:level, :idx, :hash)",
        [{"level": at, "idx": place, "hash": value} for at, place, value in nodes],
    )


def root(reader: Reader, size: int) -> bytes:
    """Return the root over the first `size` leaves. Cost: log2(size) look-ups."""
    return _span_hash(reader, (0, size))


def inclusion_proof(reader: Reader, index: int, size: int) -> list[bytes]:
    """Return the proof that a leaf is in the tree of `size` leaves. Cost: at most 2 log2(size) look-ups."""
    return [_span_hash(reader, span) for span in inclusion_spans(index, size)]


def consistency_proof(reader: Reader, size1: int, size2: int) -> list[bytes]:
    """Return the proof that the tree of `size1` leaves grew into that of `size2`. Cost: O(log size2) look-ups."""
    return [_span_hash(reader, span) for span in consistency_spans(size1, size2)]


def _span_hash(reader: Reader, span: Span) -> bytes:
    return fold([_node(reader, level, index) for level, index in full_subtrees(span)])


def _node(reader: Reader, level: int, index: int) -> bytes:
    row = reader.one(
        "SELECT hash FROM ledger_nodes WHERE level = :level AND idx = :idx", {"level": level, "idx": index}
    )
    found = row["hash"] if row else None
    if not isinstance(found, bytes) or len(found) != HASH_BYTES:
        raise Corrupt(
            f"The ledger's tree has no hash at level {level}, place {index}.",
            about="ledger",
            hint=HINT,
            index=index << level,
        )
    return found
