"""Signatures as OpenSSF's model-signing makes and checks them, with keys on NIST's curves.

A signature is a Sigstore bundle (v0.3, JSON) around a DSSE envelope around an in-toto statement, which names the
SHA-256 of every file and one digest over all of these in their order. `model_signing verify key` accepts ours, and
`check` accepts what `model_signing sign key` makes of whole files with SHA-256, which is its default.

Sources: the predicate https://model_signing/signature/v1.0, DSSE's protocol (its PAE is what is signed), in-toto's
Statement v1, Sigstore's bundle format.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from interlock.core.errors import Corrupt, Invalid, MissingExtra
from interlock.registry.content import files_of
from interlock.registry.signatures import Verified
from interlock.registry.verify import FileFault, SeenFile, faults_between, stored_faults
from interlock.store.keyfile import kept
from interlock.store.manifests import Entry, Manifest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.hashes import HashAlgorithm

    from interlock.registry.records import ModelVersion
    from interlock.store import Store

KEY_FILE: Final = "model-signing.key"
SIGNATURE_FILE: Final = "model.sig"
_MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
_STATEMENT: Final = "https://in-toto.io/Statement/v1"
_PREDICATE: Final = "https://model_signing/signature/v1.0"
_CURVES: Final = {"secp256r1": "SHA256", "secp384r1": "SHA384", "secp521r1": "SHA512"}
_DIGEST_LENGTH: Final = 64


class ModelSignature(msgspec.Struct, frozen=True):
    """A signature over a version's files, for OpenSSF's tools.

    Attributes:
        version: the version.
        signature: the bundle's text, a file model.sig.
        key: the public key that verifies it, as PEM.
    """

    version: str
    signature: str
    key: str


class _Resource(msgspec.Struct):
    name: str
    algorithm: str
    digest: str


class _Serialization(msgspec.Struct):
    method: str
    hash_type: str
    allow_symlinks: bool = False
    ignore_paths: list[str] = []


class _Predicate(msgspec.Struct):
    serialization: _Serialization
    resources: list[_Resource]


class _Subject(msgspec.Struct):
    name: str = ""
    digest: dict[str, str] = {}


class _Statement(msgspec.Struct, rename={"type_": "_type", "predicate_type": "predicateType"}):
    type_: str
    predicate_type: str
    subject: list[_Subject]
    predicate: _Predicate


class _Signature(msgspec.Struct):
    sig: str
    keyid: str = ""


class _Envelope(msgspec.Struct, rename="camel"):
    payload: str
    payload_type: str
    signatures: list[_Signature]


class _Hint(msgspec.Struct):
    hint: str | None = None


class _Material(msgspec.Struct, rename="camel"):
    public_key: _Hint
    tlog_entries: list[msgspec.Raw] = []


class _Bundle(msgspec.Struct, rename="camel"):
    media_type: str
    verification_material: _Material
    dsse_envelope: _Envelope


def workspace_key(folder: Path) -> EllipticCurvePrivateKey:
    """Return the key that a workspace signs models with, made on first use (P-256, PEM, for its owner only).

    Args:
        folder: where keys rest.

    Raises:
        MissingExtra: cryptography is not installed.
        Corrupt: the file holds no such key.
    """
    serialization, ec = _cryptography()

    def made() -> bytes:
        form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        pem: bytes = ec.generate_private_key(ec.SECP256R1()).private_bytes(serialization.Encoding.PEM, form, plain)
        return pem

    pem = kept(folder / KEY_FILE, made)
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in _CURVES:
        raise Corrupt(
            f"{KEY_FILE} holds no key of a curve that model-signing knows.",
            about="workspace",
            hint="Put it back from a backup; verifiers trust its public half.",
        )
    return cast("EllipticCurvePrivateKey", key)


def public_pem(key: EllipticCurvePrivateKey | EllipticCurvePublicKey) -> str:
    """Return a key's public half as PEM."""
    serialization, ec = _cryptography()
    public: Any = key.public_key() if isinstance(key, ec.EllipticCurvePrivateKey) else key
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return str(public.public_bytes(serialization.Encoding.PEM, form).decode())


def sign_version(store: Store, version: ModelVersion) -> ModelSignature:
    """Return a signature by the workspace's own key over a version's files, after it was written to the ledger.

    Raises:
        Invalid: its files rest outside.
        MissingExtra: cryptography is not installed.
    """
    files = [SeenFile(entry.path, entry.digest) for entry in files_of(store.objects, version.bundle).files]
    key = workspace_key(store.root / "keys")
    made = ModelSignature(version.ref, sign(f"{version.model}-{version.version}", files, key), public_pem(key))
    data = {"signature": store.objects.put(made.signature.encode()), "key": made.key}
    store.database.write(lambda tx: store.ledger.append(tx, "model_version.signed", version.ref, data))
    return made


def check_version(store: Store, version: ModelVersion, signature: str, key: str) -> Verified:
    """Return whether a signature is over exactly a version's files, and these rest here unchanged; see `check`."""
    files = [SeenFile(entry.path, entry.digest) for entry in files_of(store.objects, version.bundle).files]
    faults = [*check(signature, key, files), *stored_faults(store.objects, version.bundle)]
    return Verified(version.ref, not faults, "good", tuple(faults))


def sign(name: str, files: Iterable[SeenFile], key: EllipticCurvePrivateKey) -> str:
    """Return the text of a model.sig over some files.

    Args:
        name: what the model is called; it only informs.
        files: path and SHA-256 of each.
        key: of P-256, P-384 or P-521.
    """
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

    listed = sorted(files, key=lambda file: PurePosixPath(file.path).parts)
    ignored = [] if any(file.path == SIGNATURE_FILE for file in listed) else [SIGNATURE_FILE]
    statement = _Statement(
        _STATEMENT,
        _PREDICATE,
        [_Subject(name, {"sha256": _over_all(file.digest for file in listed)})],
        _Predicate(
            _Serialization("files", "sha256", False, ignored),
            [_Resource(file.path, "sha256", file.digest) for file in listed],
        ),
    )
    payload = msgspec.json.encode(statement)
    raw = key.sign(_pae(payload), ECDSA(_hash_for(key.curve.name)))
    envelope = _Envelope(
        base64.b64encode(payload).decode(), _PAYLOAD_TYPE, [_Signature(base64.b64encode(raw).decode())]
    )
    hint = hashlib.sha256(public_pem(key).encode()).hexdigest()
    return msgspec.json.encode(_Bundle(_MEDIA_TYPE, _Material(_Hint(hint)), envelope)).decode()


def check(signature: str, key: str, seen: Iterable[SeenFile], beside: str = "") -> list[FileFault]:
    """Return how files differ from what was signed; nothing when the signature holds for exactly these.

    Args:
        signature: the text of a model.sig.
        key: the PEM of the public key that is trusted.
        seen: the files as they are, see `interlock.registry.verify.see`.
        beside: the signature's own path among them, which nobody can have signed.

    Raises:
        Invalid: it is no such signature, another key made it, or it does not hold.
        MissingExtra: cryptography is not installed.
    """
    statement = _opened(signature, _public(key))
    predicate = statement.predicate
    if predicate.serialization.method != "files" or predicate.serialization.hash_type != "sha256":
        told = f"{predicate.serialization.hash_type} of {predicate.serialization.method}"
        raise _wrong(f"It was made over {told}; this reads SHA-256 of whole files.")
    resources = {file.name: file for file in predicate.resources}
    sound = all(_is_digest(file.digest) and file.algorithm == "sha256" for file in predicate.resources)
    if not sound or len(resources) != len(predicate.resources):
        raise _wrong("A file in it has no SHA-256, or stands there twice.")
    listed = _over_all(file.digest for file in predicate.resources)
    if [subject.digest.get("sha256") for subject in statement.subject] != [listed]:
        raise _wrong("Its one digest is not that of the files it lists.")
    ignored = [PurePosixPath(path) for path in (*predicate.serialization.ignore_paths, *filter(None, [beside]))]
    left = [file for file in seen if not any(PurePosixPath(file.path).is_relative_to(path) for path in ignored)]
    wanted = Manifest(tuple(Entry(name, 0, file.digest) for name, file in resources.items()))
    return faults_between(wanted, left)


def _opened(signature: str, key: EllipticCurvePublicKey) -> _Statement:
    """Return what a signature says, after it was found to be by a key."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

    try:
        bundle = msgspec.json.decode(signature, type=_Bundle)
        payload = base64.b64decode(bundle.dsse_envelope.payload, validate=True)
        raw = [base64.b64decode(one.sig, validate=True) for one in bundle.dsse_envelope.signatures]
    except (msgspec.MsgspecError, UnicodeError, RecursionError, binascii.Error, ValueError) as error:
        raise _wrong(f"It is no Sigstore bundle that a key signed: {error}.") from None
    if (bundle.media_type, bundle.dsse_envelope.payload_type) != (_MEDIA_TYPE, _PAYLOAD_TYPE) or len(raw) != 1:
        raise _wrong("It is no Sigstore bundle (v0.3) with one signature over an in-toto statement.")
    hint = bundle.verification_material.public_key.hint
    if hint and hint != hashlib.sha256(public_pem(key).encode()).hexdigest():
        raise _wrong("It says that another key made it.")
    try:
        key.verify(raw[0], _pae(payload), ECDSA(_hash_for(key.curve.name)))
    except InvalidSignature:
        raise _wrong("It does not hold: it was changed, or another key made it.") from None
    try:
        statement = msgspec.json.decode(payload, type=_Statement)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise _wrong(f"What was signed is no statement about a model: {error}.") from None
    if (statement.type_, statement.predicate_type) != (_STATEMENT, _PREDICATE):
        raise _wrong(f"It is signed, but says {statement.predicate_type!r} and not {_PREDICATE!r}.")
    return statement


def _public(pem: str) -> EllipticCurvePublicKey:
    serialization, ec = _cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        key = serialization.load_pem_public_key(pem.encode())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _CURVES:
        raise Invalid(
            "The key is no public key on P-256, P-384 or P-521, as PEM.",
            about="key",
            hint="Give the file that begins with -----BEGIN PUBLIC KEY-----.",
        )
    return cast("EllipticCurvePublicKey", key)


def _hash_for(curve: str) -> HashAlgorithm:
    from cryptography.hazmat.primitives import hashes

    made: HashAlgorithm = getattr(hashes, _CURVES[curve])()
    return made


def _pae(payload: bytes) -> bytes:
    """Return what DSSE signs: type and payload, each with its length."""
    return b"DSSEv1 %d %s %d %s" % (len(_PAYLOAD_TYPE), _PAYLOAD_TYPE.encode(), len(payload), payload)


def _over_all(digests: Iterable[str]) -> str:
    return hashlib.sha256(b"".join(bytes.fromhex(digest) for digest in digests)).hexdigest()


def _is_digest(text: str) -> bool:
    return len(text) == _DIGEST_LENGTH and all(letter in "0123456789abcdef" for letter in text)


def _wrong(why: str) -> Invalid:
    return Invalid(f"The signature is not good. {why}", about="signature", hint="Trust none of the files.")


def _cryptography() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError:
        raise MissingExtra.named("signing", "cryptography") from None
    return serialization, ec
