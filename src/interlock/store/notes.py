"""Signed notes and the checkpoints written in them: the text forms of C2SP, which other logs' tools read too.

A note is text, a blank line, and signature lines `— name base64(key id || signature)`. A checkpoint's text is
three lines: the log's origin, how many entries it has, its root. We sign a checkpoint twice with one Ed25519 key:
plainly, and as a cosignature, which holds the time. Readers who know only the first ignore the second.

Source: C2SP signed-note, tlog-checkpoint and tlog-cosignature; keys as in Go's `sumdb/note`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from datetime import datetime
from typing import Final

import msgspec

from interlock.core.clock import from_micros, to_micros
from interlock.core.errors import Invalid

PLAIN: Final = 1
TIMED: Final = 4
_PRIVATE: Final = "PRIVATE+KEY+"
_SIGNATURE: Final = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")
_UNFIT: Final = re.compile(r"[\x00-\x09\x0b-\x1f\ud800-\udfff]")
_SIZE: Final = re.compile(r"(?:0|[1-9][0-9]{0,18})")
_MAX_SIGNATURES: Final = 64
_SECOND: Final = 1_000_000


class PublicKey(msgspec.Struct, frozen=True):
    """Who may have signed: a name and the 32 bytes of an Ed25519 key."""

    name: str
    raw: bytes

    @property
    def vkey(self) -> str:
        """Its text, `name+id+base64`, for verifiers to keep."""
        return f"{self.name}+{self.key_id(PLAIN).hex()}+{to_base64(bytes([PLAIN]) + self.raw)}"

    def key_id(self, kind: int) -> bytes:
        """Return the four bytes that name this key on signatures of one kind."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([kind]) + self.raw).digest()[:4]

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Return whether a signature of a message is by this key."""
        from nacl.exceptions import CryptoError
        from nacl.signing import VerifyKey

        try:
            VerifyKey(self.raw).verify(message, signature)
        except (CryptoError, ValueError):
            return False
        return True


class PrivateKey(msgspec.Struct, frozen=True):
    """Who signs: a name and the 32 bytes that an Ed25519 key is made from."""

    name: str
    seed: bytes

    @property
    def public(self) -> PublicKey:
        """The key that verifies what this one signs."""
        from nacl.signing import SigningKey

        return PublicKey(self.name, bytes(SigningKey(self.seed).verify_key))

    @property
    def text(self) -> str:
        """Its secret text, for the key file."""
        return f"{_PRIVATE}{self.name}+{self.public.key_id(PLAIN).hex()}+{to_base64(bytes([PLAIN]) + self.seed)}"

    def sign(self, message: bytes) -> bytes:
        """Return the 64 bytes of a signature; the same message has always the same."""
        from nacl.signing import SigningKey

        return SigningKey(self.seed).sign(message).signature


class Signature(msgspec.Struct, frozen=True):
    """One signature line of a note."""

    name: str
    key_id: bytes
    raw: bytes


class Head(msgspec.Struct, frozen=True):
    """What a checkpoint says of a log: how many entries it has, and the root over them."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The note text of the checkpoint."""
        return f"{self.origin}\n{self.size}\n{to_base64(self.root)}\n"


class SignedHead(msgspec.Struct, frozen=True):
    """A head whose signature was verified, and when it was signed, where the note says so."""

    head: Head
    signed_at: datetime | None


def parse_public_key(vkey: str) -> PublicKey:
    """Return the key that a vkey text describes.

    Raises:
        Invalid: it is no vkey, or its id is not that of the key.
    """
    name, raw = _parse_key(vkey, "vkey")
    key = PublicKey(name, raw)
    if key.vkey != vkey:
        raise _invalid("vkey", "its id is not that of the key")
    return key


def parse_private_key(text: str) -> PrivateKey:
    """Return the key that a secret text describes.

    Raises:
        Invalid: it is none, or its id is not that of the key.
    """
    if not text.startswith(_PRIVATE):
        raise _invalid("signing key", f"it does not begin with {_PRIVATE}")
    name, seed = _parse_key(text.removeprefix(_PRIVATE), "signing key")
    key = PrivateKey(name, seed)
    if key.text != text:
        raise _invalid("signing key", "its id is not that of the key")
    return key


def parse_note(note: str) -> tuple[str, tuple[Signature, ...]]:
    """Return a note's text, which ends in a newline, and its signatures. Nothing is verified yet.

    Raises:
        Invalid: it is no note, or is not written in the one canonical way.
    """
    if _UNFIT.search(note):
        raise _invalid("note", "it holds control characters, or is no Unicode text")
    body, blank, tail = note.rpartition("\n\n")
    lines = tail.split("\n")
    if not (blank and body and lines.pop() == "" and 0 < len(lines) <= _MAX_SIGNATURES):
        raise _invalid("note", "it is not text, a blank line and signature lines")
    return f"{body}\n", tuple(_parse_signature(line) for line in lines)


def sign_note(text: str, key: PrivateKey) -> str:
    """Return the note that consists of a text, which ends in a newline, and one plain signature."""
    return f"{text}\n{_signature_line(key, PLAIN, key.sign(text.encode()))}"


def verify_note(note: str, key: PublicKey) -> str:
    """Return the text of a note after verifying that the key signed it plainly.

    Raises:
        Invalid: it is no note, the key has not signed it, or one of the key's signatures is wrong.
    """
    text, signatures = parse_note(note)
    mine = [s for s in signatures if (s.name, s.key_id) == (key.name, key.key_id(PLAIN))]
    if not mine or not all(key.verifies(text.encode(), s.raw) for s in mine):
        raise _invalid("note", f"{key.name} has not signed this text")
    return text


def sign_checkpoint(head: Head, key: PrivateKey, at: datetime) -> str:
    """Return the note of a checkpoint, signed plainly and, with the time in whole seconds, as a cosignature."""
    seconds = to_micros(at) // _SECOND
    stamp = seconds.to_bytes(8, "big") + key.sign(_timed_message(seconds, head.text))
    return sign_note(head.text, key) + _signature_line(key, TIMED, stamp)


def parse_head(text: str) -> Head:
    """Return the head that a checkpoint's text spells; extension lines are passed over.

    Raises:
        Invalid: it is no checkpoint.
    """
    lines = text.split("\n")
    if lines.pop() or len(lines) < 3 or not all(lines):
        raise _invalid("checkpoint", "it is not three lines or more")
    origin, size, root = lines[:3]
    raw = from_base64(root, "checkpoint")
    if not _SIZE.fullmatch(size) or len(raw) != hashlib.sha256().digest_size:
        raise _invalid("checkpoint", "its second line is no size, or its third no root")
    return Head(origin, int(size), raw)


def verify_checkpoint(note: str, key: PublicKey) -> SignedHead:
    """Return what a checkpoint says after verifying that the log of this key signed it.

    Raises:
        Invalid: it is no checkpoint, is of another log, or a signature of the key is missing or wrong.
    """
    text = verify_note(note, key)
    head = parse_head(text)
    if head.origin != key.name:
        raise _invalid("checkpoint", f"it is of the log {head.origin}, the key is of {key.name}")
    signed_at = None
    for signature in parse_note(note)[1]:
        if (signature.name, signature.key_id) == (key.name, key.key_id(TIMED)):
            seconds = int.from_bytes(signature.raw[:8], "big")
            if not key.verifies(_timed_message(seconds, text), signature.raw[8:]):
                raise _invalid("checkpoint", "its time stamp is not the one that was signed")
            signed_at = from_micros(seconds * _SECOND)
    return SignedHead(head, signed_at)


def is_origin(text: str) -> bool:
    """Return whether a text may name a log and its key: no spaces, no plus, no control characters."""
    return re.fullmatch(r"[^\s+\x00-\x1f]{1,250}", text) is not None and text != "cosignature/v1"


def to_base64(raw: bytes) -> str:
    """Return the standard base64 text of bytes."""
    return base64.b64encode(raw).decode()


def from_base64(text: str, about: str) -> bytes:
    """Return the bytes of a base64 text. Of the spellings that decode to the same bytes, only one is taken.

    Raises:
        Invalid: it is empty or malformed.
    """
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if to_base64(raw) != text or not raw:
        raise _invalid(about, "its base64 is malformed")
    return raw


def _timed_message(seconds: int, text: str) -> bytes:
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()


def _signature_line(key: PrivateKey, kind: int, signature: bytes) -> str:
    return f"— {key.name} {to_base64(key.public.key_id(kind) + signature)}\n"


def _parse_signature(line: str) -> Signature:
    match = _SIGNATURE.fullmatch(line)
    raw = from_base64(match[2], "note") if match else b""
    if match is None or len(raw) <= 4:
        raise _invalid("note", "a signature line is malformed")
    return Signature(match[1], raw[:4], raw[4:])


def _parse_key(text: str, about: str) -> tuple[str, bytes]:
    name, _, rest = text.partition("+")
    _, _, material = rest.partition("+")
    raw = from_base64(material, about)
    if not is_origin(name) or raw[:1] != bytes([PLAIN]) or len(raw) != 33:
        raise _invalid(about, "it is not name+id+base64 of an Ed25519 key")
    return name, raw[1:]


def _invalid(about: str, why: str) -> Invalid:
    return Invalid(f"This is no valid {about}: {why}.", about=about.replace(" ", "_"))
