"""A proof as one text file that needs nothing of ours to be checked: C2SP tlog-proof, version 1.

It holds the entry (as `extra`), its index, the inclusion proof and a signed checkpoint. Whoever kept the log's vkey
learns from it that the log held this very entry at this place when it signed.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec

from interlock.core.errors import Invalid
from interlock.store.ledger_entries import Entry, decode
from interlock.store.merkle import leaf_hash, verify_inclusion
from interlock.store.notes import from_base64, parse_public_key, to_base64, verify_checkpoint

if TYPE_CHECKING:
    from collections.abc import Sequence

_HEADER: Final = "c2sp.org/tlog-proof@v1"
_MAX_HASHES: Final = 64


class Proven(msgspec.Struct, frozen=True):
    """What a proof shows.

    Attributes:
        entry: the leaf.
        size: how many entries the log had at the checkpoint.
        root: the root of the checkpoint, in hexadecimal.
        signed_at: when the checkpoint was signed, by the signer's clock.
    """

    entry: Entry
    size: int
    root: str
    signed_at: datetime | None


def format_proof(entry: bytes, index: int, hashes: Sequence[bytes], checkpoint: str) -> str:
    """Return the text of a proof.

    Args:
        entry: the leaf's bytes.
        index: the leaf's place.
        hashes: the inclusion proof.
        checkpoint: the signed note of a checkpoint that covers the leaf.
    """
    lines = [_HEADER, f"extra {to_base64(entry)}", f"index {index}", *map(to_base64, hashes), "", checkpoint]
    return "\n".join(lines)


def check_proof(proof: str, vkey: str) -> Proven:
    """Return what a proof shows, after checking all of it: signature, inclusion, and that the entry is at its place.

    Args:
        proof: the text of the proof.
        vkey: the log's key, as the reader got it at another time or by another way.

    Raises:
        Invalid: it is malformed, or shows nothing.
    """
    head, _, note = proof.partition("\n\n")
    lines = head.split("\n")
    if len(lines) < 3 or lines[0] != _HEADER or len(lines) > 3 + _MAX_HASHES:
        raise _invalid(f"it does not begin with {_HEADER}, extra and index, or has too many hashes")
    entry = from_base64(_after("extra ", lines[1]), "proof")
    index = _after("index ", lines[2])
    if not (index.isascii() and index.isdigit() and str(int(index[:20])) == index):
        raise _invalid("its index is no number")
    signed = verify_checkpoint(note, parse_public_key(vkey))
    hashes = [from_base64(line, "proof") for line in lines[3:]]
    if not verify_inclusion(int(index), signed.head.size, leaf_hash(entry), hashes, signed.head.root):
        raise _invalid("the hashes do not lead from the entry to the root that was signed")
    leaf = decode(entry)
    if leaf is None or leaf.index != int(index):
        raise _invalid("the entry is none of this ledger's, or of another place")
    return Proven(leaf, signed.head.size, signed.head.root.hex(), signed.signed_at)


def _after(prefix: str, line: str) -> str:
    if not line.startswith(prefix):
        raise _invalid(f"a line with {prefix.strip()!r} is missing")
    return line.removeprefix(prefix)


def _invalid(why: str) -> Invalid:
    return Invalid(f"This is no valid proof: {why}.", about="proof")
