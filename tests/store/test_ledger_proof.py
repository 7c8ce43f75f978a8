"""A proof as a file: read by code that knows only the standards, and spoiled in every place."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import VerifyKey

from interlock.core.errors import Invalid
from interlock.store import merkle
from interlock.store.ledger_entries import Entry, encode, seal
from interlock.store.ledger_proof import check_proof, format_proof
from interlock.store.notes import Head, PrivateKey, sign_checkpoint, sign_note

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
KEY = PrivateKey("interlock/test", bytes(range(32)))
VKEY = KEY.public.vkey
LEAVES = [
    encode(Entry(1, index, 1000 + index, "user:ann", "run.finished", f"run:{index}", seal({}).commitment))
    for index in range(13)
]
NOTE = sign_checkpoint(Head("interlock/test", 13, merkle.root(LEAVES)), KEY, AT)
PROOFS = [format_proof(LEAVES[index], index, merkle.inclusion_proof(LEAVES, index), NOTE) for index in range(13)]


def outsider(proof: str, vkey: str) -> bytes:
    """What an auditor writes from the specifications alone: RFC 6962, C2SP signed-note, tlog-checkpoint, tlog-proof."""
    head, checkpoint = proof.split("\n\n", 1)
    version, extra, index_line, *hashes = head.split("\n")
    assert version == "c2sp.org/tlog-proof@v1"
    entry, index = base64.b64decode(extra.split(" ")[1]), int(index_line.split(" ")[1])
    text, signatures = checkpoint.split("\n\n")
    text += "\n"
    name, key_id, key = vkey.split("+", 2)
    raw_key = base64.b64decode(key)
    dash, signer, signature = signatures.split("\n")[0].split(" ")
    raw = base64.b64decode(signature)
    assert (dash, signer, raw[:4].hex()) == ("\u2014", name, key_id)
    VerifyKey(raw_key[1:]).verify(text.encode(), raw[4:])
    origin, size, root = text.splitlines()
    assert origin == name
    found, width = hashlib.sha256(b"\x00" + entry).digest(), int(size)
    for line in hashes:  # climb; a last node without a sibling goes up as it is
        while index % 2 == 0 and index == width - 1:
            index, width = index // 2, (width + 1) // 2
        pair = base64.b64decode(line) + found if index % 2 else found + base64.b64decode(line)
        found = hashlib.sha256(b"\x01" + pair).digest()
        index, width = index // 2, (width + 1) // 2
    assert found == base64.b64decode(root)
    return entry


@pytest.mark.parametrize("index", range(13))
def test_outsiders_and_we_accept_the_same_file(index: int) -> None:
    assert outsider(PROOFS[index], VKEY) == LEAVES[index]
    proven = check_proof(PROOFS[index], VKEY)
    assert encode(proven.entry) == LEAVES[index]
    assert (proven.size, proven.root, proven.signed_at) == (13, merkle.root(LEAVES).hex(), AT)


def test_a_ledger_of_one_entry_has_a_proof_without_hashes() -> None:
    note = sign_checkpoint(Head("interlock/test", 1, merkle.root(LEAVES[:1])), KEY, AT)
    proof = format_proof(LEAVES[0], 0, [], note)
    assert proof.split("\n")[2:4] == ["index 0", ""]
    assert check_proof(proof, VKEY).entry.index == 0
    assert outsider(proof, VKEY) == LEAVES[0]


def test_any_bit_flipped_is_refused_or_only_in_a_foreign_signature() -> None:
    proof = PROOFS[6].encode()
    stamp = proof.rindex("\u2014".encode())  # the last line; spoiled, it may pass for one of a key that is not ours
    for bit in range(0, len(proof) * 8, 7):
        changed = bytearray(proof)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            proven = check_proof(changed.decode(), VKEY)
        except (Invalid, UnicodeDecodeError):
            continue
        assert bit // 8 >= stamp
        assert (encode(proven.entry), proven.signed_at) == (LEAVES[6], None)


def test_another_place_entry_or_key_is_refused() -> None:
    hashes = merkle.inclusion_proof(LEAVES, 6)
    for proof in (
        format_proof(LEAVES[5], 6, hashes, NOTE),
        format_proof(LEAVES[6], 5, hashes, NOTE),
        format_proof(LEAVES[6], 6, hashes[:-1], NOTE),
        format_proof(LEAVES[6], 6, [*hashes, hashes[0]], NOTE),
    ):
        with pytest.raises(Invalid):
            check_proof(proof, VKEY)
    with pytest.raises(Invalid):
        check_proof(PROOFS[6], PrivateKey("interlock/test", bytes(32)).public.vkey)
    with pytest.raises(Invalid):
        check_proof(PROOFS[6], "nonsense")


def test_an_entry_in_a_place_it_does_not_name_is_refused() -> None:
    leaves = [LEAVES[1], LEAVES[0]]
    note = sign_checkpoint(Head("interlock/test", 2, merkle.root(leaves)), KEY, AT)
    with pytest.raises(Invalid, match="another place"):
        check_proof(format_proof(leaves[0], 0, merkle.inclusion_proof(leaves, 0), note), VKEY)


def test_an_entry_of_a_version_we_do_not_know_is_refused() -> None:
    leaf = encode(Entry(2, 0, 1000, "user:ann", "run.finished", "run:1", "00"))
    note = sign_checkpoint(Head("interlock/test", 1, merkle.root([leaf])), KEY, AT)
    with pytest.raises(Invalid, match="none of this ledger"):
        check_proof(format_proof(leaf, 0, [], note), VKEY)


def test_a_checkpoint_without_time_still_proves() -> None:
    note = sign_note(Head("interlock/test", 13, merkle.root(LEAVES)).text, KEY)
    proof = format_proof(LEAVES[2], 2, merkle.inclusion_proof(LEAVES, 2), note)
    assert check_proof(proof, VKEY).signed_at is None


@pytest.mark.parametrize(
    "index", ["index", "index ", "index -6", "index 06", "index 6.0", "index ٦", "index " + "9" * 5000, "place 6"]
)
def test_an_index_that_is_no_plain_number_is_refused(index: str) -> None:
    with pytest.raises(Invalid):
        check_proof(PROOFS[6].replace("index 6", index), VKEY)


@settings(deadline=None)
@given(st.one_of(st.text(), st.text(alphabet="ab=\n \u2014019", max_size=200).map(lambda text: PROOFS[3][:60] + text)))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        check_proof(text, VKEY)
