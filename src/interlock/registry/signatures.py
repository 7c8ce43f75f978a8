"""Signatures of versions: a signed note (C2SP) over the manifest's digest, by the key that signs the ledger.

    interlock model manifest v1
    2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae

    — interlock/01jd... base64 of the key's id and the Ed25519 signature

Whoever has the workspace's `ledger.vkey`, the note and the manifest can check a folder of files without us. Bundles of
OpenSSF's model-signing are made with another key (see openssf.py): its tools take NIST's curves only, ours is Ed25519.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, ClassVar, Final, Literal

import msgspec

from interlock.core.errors import Invalid, NotFound
from interlock.registry.names import names_of
from interlock.registry.verify import FileFault, faults_between, seen_faults, stored_faults
from interlock.store.ledger_keys import LedgerKeys
from interlock.store.manifests import Manifest
from interlock.store.notes import parse_public_key, sign_note, verify_note

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from interlock.registry.records import ModelVersion
    from interlock.registry.verify import SeenFile
    from interlock.store import Store

PROOF_FILE: Final = "model.proof.json"
_TITLE: Final = "interlock model manifest v1"
State = Literal["good", "missing", "wrong"]


class Signed(msgspec.Struct, frozen=True):
    """What proves a version's files to somebody else.

    Attributes:
        note: the signed note over the manifest's digest.
        key: the text of the key that verifies it.
        manifest: the manifest's bytes as text, whose SHA-256 the note names.
    """

    note: str
    key: str
    manifest: str


class Verified(msgspec.Struct, frozen=True):
    """Whether a version's files are what was registered and signed.

    Attributes:
        ok: whether all of it holds.
        signature: good, missing (registered before versions were signed), or wrong.
        faults: each file that changed, is missing, or was never registered.
    """

    TABLE: ClassVar = ("version", "ok", "signature", "faults")

    version: str
    ok: bool
    signature: State
    faults: tuple[FileFault, ...]


def sign(store: Store, digest: str) -> str:
    """Return the note that this workspace signs over a manifest's digest."""
    return sign_note(f"{_TITLE}\n{digest}\n", _keys(store).private())


def verified(store: Store, version: ModelVersion, seen: Sequence[SeenFile] | None) -> Verified:
    """Return whether a version's files hold: those that are kept here, or those that somebody saw elsewhere.

    Raises:
        Invalid: its files rest outside.

    Cost: reads every file that is kept here once, in constant memory.
    """
    if not version.bundle:
        raise Invalid(f"{version.ref} is not pinned: its files rest outside.", about="model_version")
    state = _state(store, version)
    if seen is None:
        faults = stored_faults(store.objects, version.bundle)
    else:
        faults = seen_faults(store.objects, version.bundle, seen)
    return Verified(version.ref, state == "good" and not faults, state, tuple(faults))


def exported(store: Store, version: ModelVersion) -> Signed:
    """Return what proves a version's files to somebody else.

    Raises:
        NotFound: it was registered before versions were signed.
    """
    note, key = _note(store, version), _keys(store).public()
    if not note or key is None:
        raise NotFound(
            f"{version.ref} was not signed.",
            about="signature",
            hint="Register its files again; versions are signed now.",
        )
    return Signed(note, key.vkey, store.objects.get(version.bundle).decode())


def check_signed(signed: Signed, key: str, seen: Iterable[SeenFile]) -> list[FileFault]:
    """Return how files differ from what was signed; no workspace is needed.

    Args:
        signed: what the workspace exported.
        key: the text of the key that is trusted, a workspace's ledger.vkey.
        seen: the files as they are, see `interlock.registry.verify.see`.

    Raises:
        Invalid: the note is not by this key, or names another manifest.
    """
    text = verify_note(signed.note, parse_public_key(key.strip()))
    digest = hashlib.sha256(signed.manifest.encode()).hexdigest()
    if text != f"{_TITLE}\n{digest}\n":
        raise Invalid("The note was signed over another manifest.", about="signature")
    try:
        manifest = msgspec.json.decode(signed.manifest.encode(), type=Manifest)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise Invalid(f"The manifest is none: {error}.", about="signature") from None
    return faults_between(manifest, seen)


def _state(store: Store, version: ModelVersion) -> State:
    note, key = _note(store, version), _keys(store).public()
    if not note:
        return "missing"
    try:
        return "good" if key is not None and verify_note(note, key) == f"{_TITLE}\n{version.bundle}\n" else "wrong"
    except Invalid:
        return "wrong"


def _note(store: Store, version: ModelVersion) -> str:
    """Return the note in the event of a version's registration; a renamed model's is under its former name."""
    for name in names_of(store, version):
        for event in store.ledger.events(kinds=("model_version.created",), subject=name):
            if event.data and event.data["bundle"] == version.bundle and event.data.get("signature"):
                return str(event.data["signature"])
    return ""


def _keys(store: Store) -> LedgerKeys:
    return LedgerKeys(store.root / "keys", f"interlock/{store.identity.id.lower()}")
