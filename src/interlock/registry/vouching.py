"""Approvals that travel: a signed note (C2SP) that a version's files were approved here, by the key of the ledger.

    interlock model approval v1
    2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
    model:credit@7 approved
    serving 8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4

    — interlock/01jd... base64 of the key's id and the Ed25519 signature

The first digest is of all files of the version, the second, where a version has held-out rows, of all but those: people
of whom answers need to know nothing stay at home. A container that is given the workspace's public key takes the files
that the note names, and no others. The note says what was so when it was written: an approval that is withdrawn later
does not reach copies.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import msgspec

from interlock.core.bundles import Bundle
from interlock.core.errors import Corrupt, GateClosed, Invalid, NotFound
from interlock.store.ledger_keys import LedgerKeys
from interlock.store.manifests import manifest_bytes, read_manifest
from interlock.store.notes import parse_public_key, sign_note, verify_note

if TYPE_CHECKING:
    from collections.abc import Iterable

    from interlock.registry.records import ModelVersion
    from interlock.store import Store
    from interlock.store.manifests import Entry

APPROVAL_FILE: Final = "model.approval.txt"
_TITLE: Final = "interlock model approval v1"
_SERVING: Final = "serving "
_BUNDLE: Final = "bundle.json"
_KEPT_BACK: Final = ("evaluation",)
_SOUND: Final = frozenset({"approved", "deployed"})


class Vouched(msgspec.Struct, frozen=True):
    """What proves to somebody else that a version was approved.

    Attributes:
        version: the version.
        note: the signed note over the digest of its files.
        key: the text of the key that verifies it.
        without: paths of files that may be left out: nothing that answers needs them.
    """

    version: str
    note: str
    key: str
    without: tuple[str, ...] = ()


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
            hint=f"Approve it first: interlock audit approve {version.ref}.",
        )
    if not version.bundle:
        raise Invalid(f"{version.ref} is not pinned: its files rest outside.", about="model_version")
    keys = LedgerKeys(store.root / "keys", f"interlock/{store.identity.id.lower()}")
    if (public := keys.public()) is None:
        raise NotFound("The workspace has no key yet.", about="signature", hint="Register a version first.")
    files = read_manifest(store.objects, version.bundle).files
    bundle = next((one for one in files if one.path == _BUNDLE), None)
    without = kept_back((one.path for one in files), b"" if bundle is None else store.objects.get(bundle.digest))
    text = f"{_TITLE}\n{version.bundle}\n{version.ref} {version.stage}\n"
    if without:
        text += f"{_SERVING}{_digest(one for one in files if one.path not in without)}\n"
    return Vouched(version.ref, sign_note(text, keys.private()), public.vkey, without)


def _digest(entries: Iterable[Entry]) -> str:
    return hashlib.sha256(manifest_bytes(entries)).hexdigest()


def kept_back(paths: Iterable[str], bundle: bytes) -> tuple[str, ...]:
    """Return the files of a version that are not shipped with it: the held-out rows that gates judged it on.

    Args:
        paths: all its files.
        bundle: its bundle.json, b"" where it has none.

    Raises:
        Corrupt: that is no bundle.
    """
    if not bundle:
        return ()
    try:
        found = msgspec.json.decode(bundle, type=Bundle).files
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Corrupt(f"{_BUNDLE} does not hold what it should: {error}.", about="model_version") from None
    answering = {path for role, path in found.items() if role not in _KEPT_BACK}
    behind = {found[role] for role in _KEPT_BACK if role in found} - answering
    return tuple(path for path in paths if path in behind)


def check_vouched(note: str, key: str, digest: str) -> str:
    """Return the reference of the version that a note vouches for; no workspace is needed.

    Args:
        note: the note.
        key: the text of the key that is trusted, a workspace's ledger.vkey.
        digest: the digest of the files' manifest; of all, or of all but those that may be left out.

    Raises:
        Invalid: the note is not by this key, or is about other files.
    """
    title, named, said, serving, *_ = (*verify_note(note, parse_public_key(key.strip())).split("\n"), "", "", "")
    if title != _TITLE or (named != digest and serving != f"{_SERVING}{digest}"):
        raise Invalid("The note vouches for other files.", about="signature", hint="Export the version again.")
    return said.partition(" ")[0]
