"""Approvals that travel: a signed note (C2SP) that a version's files were approved here, by the key of the ledger.

    interlock model approval v1
    2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
    model:credit@7 approved

    — interlock/01jd... base64 of the key's id and the Ed25519 signature

A container that is given the workspace's public key takes the files that the note names, and no others. The note says
what was so when it was written: an approval that is withdrawn later does not reach copies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from interlock.core.errors import GateClosed, Invalid, NotFound
from interlock.store.ledger_keys import LedgerKeys
from interlock.store.notes import parse_public_key, sign_note, verify_note

if TYPE_CHECKING:
    from interlock.registry.records import ModelVersion
    from interlock.store import Store

APPROVAL_FILE: Final = "model.approval.txt"
_TITLE: Final = "interlock model approval v1"
_SOUND: Final = frozenset({"approved", "deployed"})


class Vouched(msgspec.Struct, frozen=True):
    """What proves to somebody else that a version was approved.

    Attributes:
        version: the version.
        note: the signed note over the digest of its files.
        key: the text of the key that verifies it.
    """

    version: str
    note: str
    key: str


def vouched(store: Store, version: ModelVersion) -> Vouched:
    """Return a note that a version is approved.

    Raises:
        GateClosed: it is not.
        Invalid: its files rest outside.
        NotFound: the workspace has no key.
    """
    if version.stage not in _SOUND:
        raise GateClosed(
            f"{version.ref} is {version.stage!r}, not approved.",
            about="model_version",
            hint=f"Approve it first: interlock registry approve {version.ref}.",
        )
    if not version.bundle:
        raise Invalid(f"{version.ref} is not pinned: its files rest outside.", about="model_version")
    keys = LedgerKeys(store.root / "keys", f"interlock/{store.identity.id.lower()}")
    if (public := keys.public()) is None:
        raise NotFound("The workspace has no key yet.", about="signature", hint="Register a version first.")
    note = sign_note(f"{_TITLE}\n{version.bundle}\n{version.ref} {version.stage}\n", keys.private())
    return Vouched(version.ref, note, public.vkey)


def check_vouched(note: str, key: str, digest: str) -> str:
    """Return the reference of the version that a note vouches for; no workspace is needed.

    Args:
        note: the note.
        key: the text of the key that is trusted, a workspace's ledger.vkey.
        digest: the digest of the files' manifest.

    Raises:
        Invalid: the note is not by this key, or is about other files.
    """
    title, named, said, *_ = (*verify_note(note, parse_public_key(key.strip())).split("\n"), "", "")
    if title != _TITLE or named != digest:
        raise Invalid("The note vouches for other files.", about="signature", hint="Export the version again.")
    return said.partition(" ")[0]
