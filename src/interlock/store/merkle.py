"""The Merkle tree of RFC 9162 (section 2.1; the same tree as RFC 6962's): hashes, roots and both kinds of proof.

A leaf is data of any length, a hash has 32 bytes, a proof is a list of hashes. Which parts of the tree a proof
consists of is said once, by the two `*_spans` functions; leaves in memory and nodes in a database both follow them.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    Span = tuple[int, int]  # the leaves from the first number up to, not including, the second

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def fold(peaks: Sequence[bytes]) -> bytes:
    """Return the root above the hashes of full subtrees, the largest first, side by side."""
    if not peaks:
        return EMPTY_ROOT
    found = peaks[-1]
    for peak in reversed(peaks[:-1]):
        found = node_hash(peak, found)
    return found


def full_subtrees(span: Span) -> list[tuple[int, int]]:
    """Return level and index of the full subtrees that a span of the tree consists of, the largest first.

    The subtree of level `l` and index `i` holds the leaves from `i << l` up to `(i + 1) << l`.
    """
    low, high = span
    found = []
    for level in range((high - low).bit_length() - 1, -1, -1):
        if (high - low) >> level & 1:
            found.append((level, low >> level))
            low += 1 << level
    return found


def inclusion_spans(index: int, size: int) -> list[Span]:
    """Return the spans whose hashes prove that leaf `index` is in a tree of `size` leaves, in the proof's order."""
    low, high = 0, size
    spans = []
    while high - low > 1:
        middle = _middle(low, high)
        if index < middle:
            spans.append((middle, high))
            high = middle
        else:
            spans.append((low, middle))
            low = middle
    return spans[::-1]


def consistency_spans(size1: int, size2: int) -> list[Span]:
    """Return the spans whose hashes prove that a tree of `size1` leaves grew into one of `size2`, in order."""
    if size1 in {0, size2}:
        return []
    low, high = 0, size2
    spans = []
    while size1 != high:
        middle = _middle(low, high)
        if size1 <= middle:
            spans.append((middle, high))
            high = middle
        else:
            spans.append((low, middle))
            low = middle
    if low:  # otherwise it is the whole first tree, whose root the verifier has
        spans.append((low, high))
    return spans[::-1]


def root(leaves: Sequence[bytes]) -> bytes:
    """Return the root of the tree over all leaves; of no leaves, the hash of nothing."""
    return _span_hash([leaf_hash(leaf) for leaf in leaves], (0, len(leaves)))


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Return the proof that leaf `index` is in the tree over all leaves.

    Raises:
        IndexError: there is no such leaf.

    Cost: O(n).
    """
    if not 0 <= index < len(leaves):
        raise IndexError(f"there is no leaf {index} among {len(leaves)}")
    hashes = [leaf_hash(leaf) for leaf in leaves]
    return [_span_hash(hashes, span) for span in inclusion_spans(index, len(leaves))]


def consistency_proof(leaves: Sequence[bytes], size1: int) -> list[bytes]:
    """Return the proof that the tree over the first `size1` leaves grew into the tree over all of them.

    It is empty where `size1` is 0 or all leaves.

    Raises:
        IndexError: there are fewer leaves.

    Cost: O(n).
    """
    if not 0 <= size1 <= len(leaves):
        raise IndexError(f"there is no tree of {size1} leaves among {len(leaves)}")
    hashes = [leaf_hash(leaf) for leaf in leaves]
    return [_span_hash(hashes, span) for span in consistency_spans(size1, len(leaves))]


def verify_inclusion(index: int, size: int, leaf: bytes, proof: list[bytes], root: bytes) -> bool:
    """Return whether a proof shows that a leaf is in a tree. Whatever is malformed proves nothing; nothing is raised.

    Args:
        index: the leaf's place, from 0.
        size: how many leaves the tree has.
        leaf: the leaf's hash.
        proof: the hashes, from the leaf's sibling upwards.
        root: the tree's root.

    Source: RFC 9162, section 2.1.3.2.
    """
    if not (_are_sizes(index, size) and index < size and _are_hashes(proof, leaf, root)):
        return False
    place, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            found = node_hash(sibling, found)
            place, last = _climb(place, last)
        else:
            found = node_hash(found, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and found == root


def verify_consistency(size1: int, size2: int, root1: bytes, root2: bytes, proof: list[bytes]) -> bool:
    """Return whether a proof shows that the first tree grew into the second. Nothing malformed proves anything.

    The RFC says nothing of empty trees: every tree has grown out of the empty one, so `size1` 0 needs an empty proof
    and, for `root1`, the hash of nothing. Equal sizes need an empty proof and equal roots.

    Source: RFC 9162, section 2.1.4.2.
    """
    if not (_are_sizes(size1, size2) and size1 <= size2 and _are_hashes(proof, root1, root2)):
        return False
    if size1 == 0:
        return not proof and root1 == EMPTY_ROOT and (size2 > 0 or root2 == EMPTY_ROOT)
    if size1 == size2:
        return not proof and root1 == root2
    if size1 & (size1 - 1) == 0:  # a full tree is itself the proof's first hash, and is left out
        proof = [root1, *proof]
    if not proof:
        return False
    place, last = size1 - 1, size2 - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    found1 = found2 = proof[0]
    for sibling in proof[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            found1, found2 = node_hash(sibling, found1), node_hash(sibling, found2)
            place, last = _climb(place, last)
        else:
            found2 = node_hash(found2, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and found1 == root1 and found2 == root2


def _middle(low: int, high: int) -> int:
    """Return where RFC 9162 splits a span: after the largest power of two that is smaller than its length."""
    return low + (1 << ((high - low - 1).bit_length() - 1))


def _span_hash(hashes: Sequence[bytes], span: Span) -> bytes:
    low, high = span
    if high - low <= 1:
        return hashes[low] if high > low else EMPTY_ROOT
    middle = _middle(low, high)
    return node_hash(_span_hash(hashes, (low, middle)), _span_hash(hashes, (middle, high)))


def _climb(place: int, last: int) -> tuple[int, int]:
    """Return both places, raised to the level where `place` is a right child or the root."""
    while place and not place & 1:
        place, last = place >> 1, last >> 1
    return place, last


def _are_sizes(*numbers: int) -> bool:
    return all(type(number) is int and number >= 0 for number in numbers)


def _are_hashes(proof: list[bytes], *others: bytes) -> bool:
    return type(proof) is list and all(type(item) is bytes and len(item) == HASH_BYTES for item in (*proof, *others))
