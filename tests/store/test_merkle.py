"""The tree against the published vectors of Certificate Transparency, against the RFC's recursive words, and broken."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.store.merkle import (
    EMPTY_ROOT,
    consistency_proof,
    fold,
    full_subtrees,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root,
    verify_consistency,
    verify_inclusion,
)

# The reference trees of Certificate Transparency (transparency-dev/merkle, proof/verify_test.go).
LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    bytes.fromhex(text)
    for text in (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    )
]
A = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
B = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
C = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
D = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
E = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
F = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
G = "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f"
INCLUSION = [
    (0, 1, []),
    (0, 8, [A, B, C]),
    (5, 8, [D, E, ROOTS[4].hex()]),
    (2, 3, [ROOTS[2].hex()]),
    (1, 5, [ROOTS[1].hex(), B, D]),
]
CONSISTENCY = [
    (1, 1, []),
    (1, 8, [A, B, C]),
    (6, 8, [F, E, ROOTS[4].hex()]),
    (2, 5, [B, D]),
    (6, 7, [F, G, ROOTS[4].hex()]),
]
HASH = hashlib.sha256(b"something").digest()

sizes = st.integers(1, 70)


def leaves_of(size: int) -> list[bytes]:
    return [f"leaf {number}".encode() for number in range(size)]


def split(size: int) -> int:
    """The largest power of two smaller than `size`, counted up as the RFC says it."""
    found = 1
    while found * 2 < size:
        found *= 2
    return found


def rfc_root(leaves: list[bytes]) -> bytes:
    if len(leaves) < 2:
        return hashlib.sha256(b"\x00" + leaves[0] if leaves else b"").digest()
    k = split(len(leaves))
    return hashlib.sha256(b"\x01" + rfc_root(leaves[:k]) + rfc_root(leaves[k:])).digest()


def rfc_path(m: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*rfc_path(m, leaves[:k]), rfc_root(leaves[k:])]
    return [*rfc_path(m - k, leaves[k:]), rfc_root(leaves[:k])]


def rfc_subproof(m: int, leaves: list[bytes], whole: bool) -> list[bytes]:
    if m == len(leaves):
        return [] if whole else [rfc_root(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*rfc_subproof(m, leaves[:k], whole), rfc_root(leaves[k:])]
    return [*rfc_subproof(m - k, leaves[k:], False), rfc_root(leaves[:k])]


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8 % len(data)] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("size", range(9))
def test_roots_of_the_reference_trees(size: int) -> None:
    assert root(LEAVES[:size]) == ROOTS[size]


@pytest.mark.parametrize(("index", "size", "proof"), INCLUSION)
def test_inclusion_proofs_of_the_reference_trees(index: int, size: int, proof: list[str]) -> None:
    hashes = [bytes.fromhex(text) for text in proof]
    assert inclusion_proof(LEAVES[:size], index) == hashes
    assert verify_inclusion(index, size, leaf_hash(LEAVES[index]), hashes, ROOTS[size])


@pytest.mark.parametrize(("size1", "size2", "proof"), CONSISTENCY)
def test_consistency_proofs_of_the_reference_trees(size1: int, size2: int, proof: list[str]) -> None:
    hashes = [bytes.fromhex(text) for text in proof]
    assert consistency_proof(LEAVES[:size2], size1) == hashes
    assert verify_consistency(size1, size2, ROOTS[size1], ROOTS[size2], hashes)


@pytest.mark.parametrize("size", [*range(1, 34), 63, 64, 65])
def test_trees_and_proofs_are_those_of_the_recursive_definition(size: int) -> None:
    leaves = leaves_of(size)
    assert root(leaves) == rfc_root(leaves)
    for index in range(size):
        assert inclusion_proof(leaves, index) == rfc_path(index, leaves)
    for size1 in range(1, size + 1):
        assert consistency_proof(leaves, size1) == rfc_subproof(size1, leaves, whole=True)


@settings(deadline=None, max_examples=25)
@given(size=sizes)
def test_every_leaf_and_every_earlier_tree_verifies(size: int) -> None:
    leaves = leaves_of(size)
    whole = root(leaves)
    for index in range(size):
        assert verify_inclusion(index, size, leaf_hash(leaves[index]), inclusion_proof(leaves, index), whole)
    for size1 in range(size + 1):
        assert verify_consistency(size1, size, root(leaves[:size1]), whole, consistency_proof(leaves, size1))


@settings(deadline=None, max_examples=40)
@given(size=sizes, data=st.data())
def test_an_inclusion_proof_with_any_bit_flipped_or_any_number_changed_fails(size: int, data: st.DataObject) -> None:
    leaves = leaves_of(size)
    index = data.draw(st.integers(0, size - 1))
    bit = data.draw(st.integers(0, 255))
    other = data.draw(st.integers(0, 80).filter(lambda number: number != index))
    leaf, proof, whole = leaf_hash(leaves[index]), inclusion_proof(leaves, index), root(leaves)
    assert not verify_inclusion(index, size, flipped(leaf, bit), proof, whole)
    assert not verify_inclusion(index, size, leaf, proof, flipped(whole, bit))
    assert not verify_inclusion(other, size, leaf, proof, whole)
    for place in range(len(proof)):
        assert not verify_inclusion(
            index, size, leaf, [*proof[:place], flipped(proof[place], bit), *proof[place + 1 :]], whole
        )
        assert not verify_inclusion(index, size, leaf, proof[:place], whole)
    assert not verify_inclusion(index, size, leaf, [*proof, HASH], whole)
    assert not verify_inclusion(index, size, leaf, [HASH, *proof], whole)


@settings(deadline=None, max_examples=40)
@given(size2=sizes, data=st.data())
def test_a_consistency_proof_with_any_bit_flipped_or_any_part_missing_fails(size2: int, data: st.DataObject) -> None:
    leaves = leaves_of(size2)
    size1 = data.draw(st.integers(1, size2))
    bit = data.draw(st.integers(0, 255))
    root1, root2, proof = root(leaves[:size1]), root(leaves), consistency_proof(leaves, size1)
    assert not verify_consistency(size1, size2, flipped(root1, bit), root2, proof)
    assert not verify_consistency(size1, size2, root1, flipped(root2, bit), proof)
    for place in range(len(proof)):
        assert not verify_consistency(
            size1, size2, root1, root2, [*proof[:place], flipped(proof[place], bit), *proof[place + 1 :]]
        )
        assert not verify_consistency(size1, size2, root1, root2, proof[:place])
    assert not verify_consistency(size1, size2, root1, root2, [*proof, HASH])
    assert not verify_consistency(size2 + 1, size2, root1, root2, proof)


@settings(deadline=None, max_examples=40)
@given(size1=sizes, size2=sizes, changed=st.integers(0, 69))
def test_a_tree_that_was_changed_below_is_not_consistent(size1: int, size2: int, changed: int) -> None:
    size1, size2 = sorted((size1, size2))
    changed %= size1
    leaves = leaves_of(size2)
    forged = [*leaves[:changed], b"forged", *leaves[changed + 1 :]]
    assert not verify_consistency(size1, size2, root(leaves[:size1]), root(forged), consistency_proof(forged, size1))


def test_the_empty_tree_grew_into_every_tree() -> None:
    assert verify_consistency(0, 0, EMPTY_ROOT, EMPTY_ROOT, [])
    assert verify_consistency(0, 5, EMPTY_ROOT, ROOTS[5], [])
    assert not verify_consistency(0, 5, ROOTS[5], ROOTS[5], [])
    assert not verify_consistency(0, 5, EMPTY_ROOT, ROOTS[5], [HASH])
    assert not verify_consistency(0, 0, EMPTY_ROOT, HASH, [])


def test_equal_sizes_need_an_empty_proof_and_equal_roots() -> None:
    assert verify_consistency(4, 4, ROOTS[4], ROOTS[4], [])
    assert not verify_consistency(4, 4, ROOTS[4], ROOTS[5], [])
    assert not verify_consistency(4, 4, ROOTS[4], ROOTS[4], [HASH])


def test_different_sizes_need_a_proof() -> None:
    assert not verify_consistency(3, 4, ROOTS[3], ROOTS[4], [])
    assert not verify_consistency(2, 4, ROOTS[2], ROOTS[4], [])
    assert not verify_consistency(4, 3, ROOTS[4], ROOTS[3], [])


def test_there_is_no_proof_of_what_is_not_there() -> None:
    for index in (-1, 8):
        with pytest.raises(IndexError):
            inclusion_proof(LEAVES, index)
    for size in (-1, 9):
        with pytest.raises(IndexError):
            consistency_proof(LEAVES, size)


def test_a_leaf_is_not_taken_for_a_node() -> None:
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert node_hash(left, right) != leaf_hash(left + right)


@settings(deadline=None, max_examples=40)
@given(size=st.integers(0, 300), data=st.data())
def test_full_subtrees_cover_a_span_once_and_fold_to_its_root(size: int, data: st.DataObject) -> None:
    leaves = leaves_of(size)
    found = full_subtrees((0, size))
    covered = [index for level, place in found for index in range(place << level, (place + 1) << level)]
    assert covered == list(range(size))
    assert fold([root(leaves[place << level : (place + 1) << level]) for level, place in found]) == root(leaves)


nonsense = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 80), 1 << 80),
    st.floats(),
    st.text(),
    st.binary(max_size=40),
    st.just(HASH),
    st.lists(st.one_of(st.none(), st.integers(), st.text(), st.binary(max_size=33), st.just(HASH)), max_size=5),
    st.tuples(st.just(HASH)),
    st.dictionaries(st.text(), st.integers(), max_size=2),
)


@settings(max_examples=200, deadline=None)
@given(first=nonsense, second=nonsense, third=nonsense, fourth=nonsense, fifth=nonsense)
def test_nonsense_proves_nothing_and_raises_nothing(first, second, third, fourth, fifth) -> None:
    assert verify_inclusion(first, second, third, fourth, fifth) in {True, False}
    assert verify_consistency(first, second, third, fourth, fifth) in {True, False}


@settings(deadline=None, max_examples=40)
@given(place=st.integers(0, 4), value=nonsense)
def test_one_nonsense_argument_spoils_a_good_proof(place: int, value) -> None:
    inclusion = [5, 8, leaf_hash(LEAVES[5]), inclusion_proof(LEAVES, 5), ROOTS[8]]
    consistency = [6, 8, ROOTS[6], ROOTS[8], consistency_proof(LEAVES, 6)]
    for good, check in ((inclusion, verify_inclusion), (consistency, verify_consistency)):
        assert check(*good)
        spoiled = [*good[:place], value, *good[place + 1 :]]
        assert spoiled == good or not check(*spoiled)


def test_bytes_moved_from_a_hash_to_its_neighbour_are_noticed() -> None:
    leaf, sibling = leaf_hash(b"a"), leaf_hash(b"b")
    assert verify_inclusion(0, 2, leaf, [sibling], node_hash(leaf, sibling))
    assert not verify_inclusion(0, 2, leaf[:31], [leaf[31:] + sibling], node_hash(leaf, sibling))


def test_true_is_no_size_and_a_tuple_is_no_proof() -> None:
    proof = inclusion_proof(LEAVES[:3], 1)
    assert verify_inclusion(1, 3, leaf_hash(LEAVES[1]), proof, ROOTS[3])
    assert not verify_inclusion(True, 3, leaf_hash(LEAVES[1]), proof, ROOTS[3])
    assert not verify_inclusion(1, 3, leaf_hash(LEAVES[1]), tuple(proof), ROOTS[3])
