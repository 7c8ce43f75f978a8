"""Which kind of content a version has: found by looking into its files, never by their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

import msgspec

from interlock.core.bundles import Bundle
from interlock.core.errors import Corrupt, Invalid, NotFound
from interlock.registry.features import features_of
from interlock.registry.flavors.twins import RECORD_FILE, Twin
from interlock.registry.formats import Kind, look_into
from interlock.registry.records import Feature, Format
from interlock.store.manifests import Manifest, read_manifest

if TYPE_CHECKING:
    from interlock.core.ports import ObjectStore
    from interlock.registry.formats import Verdict
    from interlock.registry.records import ModelVersion

BUNDLE: Final = "bundle.json"
_LONGEST_MANIFEST: Final = 64 << 20  # some 400,000 files
_LONGEST_RECORD: Final = 16 << 20
LOADABLE: Final[tuple[Kind, ...]] = ("onnx", "xgboost", "lightgbm", "skops", "safetensors")


class FileFormat(msgspec.Struct, frozen=True):
    """What one file of a version is, and how that was found."""

    TABLE: ClassVar = ("path", "format", "reason")

    path: str
    format: Kind
    reason: str


class Content(msgspec.Struct, frozen=True):
    """What the files of a version are, how that was found, and which columns its model takes."""

    format: Format
    reason: str
    features: tuple[Feature, ...] = ()


def look(objects: ObjectStore, digest: str) -> Content:
    """Return what the files under a manifest are.

    Args:
        objects: where they rest.
        digest: the manifest's digest; "" when the files rest outside.

    Raises:
        NotFound: the manifest, or a file that it names, is not here.
        Invalid: the object is no manifest.
    """
    if not digest:
        return Content("unpinned", "its files rest outside")
    manifest = files_of(objects, digest)
    for digest_of, path in ((digest, "the manifest"), *((entry.digest, entry.path) for entry in manifest.files)):
        if not objects.hold(digest_of):
            raise NotFound.named("object", digest_of, hint=f"Send {path} again.")
    verdicts = _verdicts(objects, manifest)
    if any(entry.path == BUNDLE for entry in manifest.files):
        try:
            bundle = bundle_of(objects, digest, manifest)
        except Invalid as error:
            found = Content("opaque", error.message)
        else:
            serving = verdicts.get(bundle.files.get("serving", ""))
            return _of_bundle(bundle, serving, features_of(objects, manifest, bundle, ()))
    else:
        found = _summary(_formats(verdicts))
    return msgspec.structs.replace(found, features=features_of(objects, manifest, None, list(verdicts.values())))


def _of_bundle(bundle: Bundle, serving: Verdict | None, features: tuple[Feature, ...]) -> Content:
    path = bundle.files.get("serving", "")
    if serving is None:
        return Content("opaque", f"a bundle without its serving file {path!r}", features)
    if serving.kind == "onnx":
        return Content("bundle", f"{path} answers; {serving.reason}", features)
    return Content("opaque", f"a bundle whose {path} is {serving.reason}", features)


def inspect(objects: ObjectStore, manifest: Manifest) -> list[FileFormat]:
    """Return what each file under a manifest is, by path.

    Raises:
        NotFound: one is not here.
        Invalid: one is an archive with a member that leads out of its folder, or that is a link.
    """
    return _formats(_verdicts(objects, manifest))


def _verdicts(objects: ObjectStore, manifest: Manifest) -> dict[str, Verdict]:
    found = {}
    for entry in manifest.files:
        with objects.open(entry.digest) as source:
            found[entry.path] = look_into(source, objects.size(entry.digest) or 0, entry.path)
    return found


def _formats(verdicts: dict[str, Verdict]) -> list[FileFormat]:
    return [FileFormat(path, verdict.kind, verdict.reason) for path, verdict in verdicts.items()]


def _summary(files: list[FileFormat]) -> Content:
    """Return what a folder is: the format of its loadable file, else opaque and why."""
    for kind in LOADABLE:
        for file in files:
            if file.format == kind:
                return Content(kind, f"{file.path}: {file.reason}")
    told = [f"{file.path}: {file.reason}" for file in files if "pickle" in file.reason or "begins like" in file.reason]
    return Content(
        "opaque", "; ".join(told[:3]) or "no file is of a format that can be loaded without running its code"
    )


def files_of(objects: ObjectStore, digest: str) -> Manifest:
    """Return the manifest of a version's files.

    Raises:
        NotFound: it is not here.
        Invalid: the object is no manifest.
    """
    if not digest:
        raise Invalid(
            "The version is not pinned: its files rest outside.",
            about="bundle",
            hint="Register a version whose files are kept here.",
        )
    if (objects.size(digest) or 0) > _LONGEST_MANIFEST:
        raise Invalid(f"Object {digest} is no bundle: it is too large for a manifest.", about="bundle")
    objects.get(digest)  # unreadable bytes are Corrupt, readable ones that are no manifest are Invalid
    try:
        return read_manifest(objects, digest)
    except Corrupt as error:
        raise Invalid(
            f"Object {digest} is no bundle: {error.message}",
            about="bundle",
            hint="Give the digest of a folder's manifest; `interlock registry publish` makes one of files.",
        ) from None


def files_of_version(objects: ObjectStore, version: ModelVersion) -> Manifest:
    """Return the manifest of a version's files; see `files_of`."""
    return files_of(objects, version.bundle)


def bundle_of(objects: ObjectStore, digest: str, manifest: Manifest) -> Bundle:
    """Return the record of a bundle.

    Raises:
        Invalid: the files are no bundle.
    """
    entry = next((entry for entry in manifest.files if entry.path == BUNDLE), None)
    if entry is None:
        raise Invalid(f"Object {digest} is no bundle: it has no {BUNDLE}.", about="bundle")
    if (objects.size(entry.digest) or 0) > _LONGEST_RECORD:
        raise Invalid(f"Object {digest} is no bundle: its {BUNDLE} is too long for a record.", about="bundle")
    try:
        return msgspec.json.decode(objects.get(entry.digest), type=Bundle)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"Object {digest} is no bundle: {error}.", about="bundle") from None


def twin_of(objects: ObjectStore, manifest: Manifest) -> Twin:
    """Return the record of a version's ONNX twin; one with the verdict `none` where there is no record."""
    for entry in manifest.files:
        if entry.path == RECORD_FILE:
            if (objects.size(entry.digest) or 0) > _LONGEST_RECORD:
                return Twin("none", f"{RECORD_FILE} is too long for a record")
            try:
                return msgspec.json.decode(objects.get(entry.digest), type=Twin)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                return Twin("none", f"{RECORD_FILE} holds no record: {error}")
    return Twin("none", "no record came with its files")
