"""Signed notes against the examples of Go's sumdb/note and of C2SP; checkpoints; and texts that are nearly right."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.core.errors import Invalid
from interlock.store.notes import (
    Head,
    PrivateKey,
    is_origin,
    parse_head,
    parse_note,
    parse_private_key,
    parse_public_key,
    sign_checkpoint,
    sign_note,
    verify_checkpoint,
    verify_note,
)

# The example in the documentation of golang.org/x/mod/sumdb/note.
GO_SKEY = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
GO_LINE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
# The example in C2SP's signed-note.
C2SP_VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
C2SP_NOTE = (
    "This is an example message.\n\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)

KEY = PrivateKey("interlock/test", bytes(range(32)))
OTHER = PrivateKey("witness/one", bytes(32))
AT = datetime(2026, 11, 22, 7, 30, 5, tzinfo=UTC)
HEAD = Head("interlock/test", 1234, hashlib.sha256(b"root").digest())


def test_signs_as_go_does() -> None:
    key = parse_private_key(GO_SKEY)
    assert key.public.vkey == GO_VKEY
    assert key.text == GO_SKEY
    assert sign_note(GO_TEXT, key) == f"{GO_TEXT}\n{GO_LINE}"


@pytest.mark.parametrize(("note", "vkey"), [(f"{GO_TEXT}\n{GO_LINE}", GO_VKEY), (C2SP_NOTE, C2SP_VKEY)])
def test_verifies_what_others_signed(note: str, vkey: str) -> None:
    assert verify_note(note, parse_public_key(vkey)) == note.rpartition("\n\n")[0] + "\n"


def test_a_checkpoint_has_three_lines_and_two_signatures() -> None:
    note = sign_checkpoint(HEAD, KEY, AT)
    text, signatures = parse_note(note)
    assert text == "interlock/test\n1234\n" + base64.b64encode(HEAD.root).decode() + "\n"
    assert parse_head(text) == HEAD
    assert [signature.name for signature in signatures] == ["interlock/test", "interlock/test"]
    assert verify_checkpoint(note, KEY.public).signed_at == AT


def test_the_second_signature_is_a_c2sp_cosignature() -> None:
    signature = parse_note(sign_checkpoint(HEAD, KEY, AT))[1][1]
    public = KEY.public.raw
    assert signature.key_id == hashlib.sha256(b"interlock/test\n\x04" + public).digest()[:4]
    seconds = int(AT.timestamp())
    assert signature.raw[:8] == seconds.to_bytes(8, "big")
    message = f"cosignature/v1\ntime {seconds}\n{HEAD.text}".encode()
    assert KEY.public.verifies(message, signature.raw[8:])


def test_signatures_of_others_are_passed_over() -> None:
    witness = sign_note(HEAD.text, OTHER).rpartition("\n\n")[2]
    note = sign_checkpoint(HEAD, KEY, AT) + witness
    assert verify_checkpoint(note, KEY.public).head == HEAD
    plain = sign_note(HEAD.text, KEY)
    assert verify_checkpoint(plain, KEY.public).signed_at is None


def test_a_note_that_the_key_did_not_sign_is_refused() -> None:
    with pytest.raises(Invalid):
        verify_note(sign_note("text\n", OTHER), KEY.public)
    namesake = PrivateKey(KEY.name, bytes(32))
    with pytest.raises(Invalid):
        verify_note(sign_note("text\n", namesake), KEY.public)


def test_one_wrong_signature_of_the_key_spoils_the_note() -> None:
    good = sign_note(HEAD.text, KEY)
    wrong = sign_note("another text\n", KEY).rpartition("\n\n")[2]
    with pytest.raises(Invalid):
        verify_note(good + wrong, KEY.public)


def test_a_checkpoint_of_another_log_is_refused() -> None:
    note = sign_checkpoint(Head("interlock/other", 1, HEAD.root), KEY, AT)
    with pytest.raises(Invalid, match="interlock/other"):
        verify_checkpoint(note, KEY.public)


def test_any_bit_of_a_checkpoint_flipped_is_noticed() -> None:
    note = sign_checkpoint(HEAD, KEY, AT).encode()
    for bit in range(0, len(note) * 8, 3):
        changed = bytearray(note)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            signed = verify_checkpoint(changed.decode(), KEY.public)
        except (Invalid, UnicodeDecodeError):
            continue
        assert signed.head == HEAD
        assert signed.signed_at is None, "only a time stamp by a key that is not ours may be passed over"


@pytest.mark.parametrize(
    "note",
    [
        "",
        "text\n",
        "\n\n— a AAAAAAAA\n",
        "text\n\n",
        "text\n\n— a AAAAAAAA",
        "text\n\n— a AAAAAAAA\nmore",
        "text\n\n- a AAAAAAAA\n",
        "text\n\n—  AAAAAAAA\n",
        "text\n\n— a+b AAAAAAAA\n",
        "text\n\n— a AAAA\n",
        "text\n\n— a AAAAAAB=\n",
        "text\n\n— a AAAA AAAA\n",
        "text\n\n— a ********\n",
        "te\txt\n\n— a AAAAAAAA\n",
        "te\ud800xt\n\n— a AAAAAAAA\n",
        "text\n\n" + "— a AAAAAAAA\n" * 65,
    ],
)
def test_what_is_no_note(note: str) -> None:
    with pytest.raises(Invalid):
        parse_note(note)


def test_a_note_may_hold_empty_lines() -> None:
    text, signatures = parse_note("one\n\ntwo\n\n— a AAAAAAAA\n")
    assert text == "one\n\ntwo\n"
    assert len(signatures) == 1


ROOT = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


@pytest.mark.parametrize(
    "text",
    [
        "",
        "log\n0\n",
        f"log\n0\n{ROOT}",
        f"\n0\n{ROOT}\n",
        f"log\n00\n{ROOT}\n",
        f"log\n-1\n{ROOT}\n",
        f"log\n1e3\n{ROOT}\n",
        f"log\n٣\n{ROOT}\n",
        f"log\n{'9' * 20}\n{ROOT}\n",
        "log\n0\nAAAA\n",
        "log\n0\n" + ROOT[:-2] + "V=\n",
        f"log\n0\n{ROOT}\n\n",
    ],
)
def test_what_is_no_checkpoint(text: str) -> None:
    with pytest.raises(Invalid):
        parse_head(text)


def test_extension_lines_are_passed_over() -> None:
    assert parse_head(f"log\n7\n{ROOT}\nextension\n").size == 7


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "name",
        "name+c74f20a3",
        GO_VKEY.replace("c74f20a3", "c74f20a4"),
        GO_VKEY.replace("c74f20a3", "C74F20A3"),
        GO_VKEY.replace("PeterNeumann", "Peter Neumann"),
        GO_VKEY[:-4],
        GO_VKEY + "\n",
        GO_VKEY.replace("+AR", "+BB"),
    ],
)
def test_what_is_no_vkey(vkey: str) -> None:
    with pytest.raises(Invalid):
        parse_public_key(vkey)


@pytest.mark.parametrize("text", ["", GO_VKEY, GO_SKEY[:-4], GO_SKEY.replace("c74f", "c74e")])
def test_what_is_no_signing_key(text: str) -> None:
    with pytest.raises(Invalid):
        parse_private_key(text)


@pytest.mark.parametrize(("text", "fits"), [("interlock/a", True), ("", False), ("a b", False), ("a+b", False)])
def test_which_origins_fit(text: str, fits: bool) -> None:
    assert is_origin(text) == fits
    assert not is_origin("cosignature/v1"), "it would make a plain signature look like a time stamp"


@settings(deadline=None)
@given(st.one_of(st.text(), st.text().map(lambda text: f"{text}\n\n— a AAAAAAAA\n")))
def test_any_text_is_a_note_or_invalid(note: str) -> None:
    try:
        text, signatures = parse_note(note)
    except Invalid:
        return
    assert note.startswith(text)
    assert signatures


@settings(deadline=None)
@given(st.text(alphabet="ab\n0129+/=", max_size=80))
def test_any_text_is_a_checkpoint_or_invalid(text: str) -> None:
    try:
        head = parse_head(text)
    except Invalid:
        return
    assert text.startswith(head.text)


@settings(deadline=None)
@given(size=st.integers(0, 1 << 62), root=st.binary(min_size=32, max_size=32))
def test_heads_are_read_as_written(size: int, root: bytes) -> None:
    head = Head("interlock/test", size, root)
    assert parse_head(head.text) == head
    assert verify_checkpoint(sign_checkpoint(head, KEY, AT), KEY.public).head == head
