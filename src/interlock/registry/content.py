"""Which kind of content a version has: found by looking into its files, never by their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

import msgspec

from interlock.core.bundles import Bundle
from interlock.core.errors import Corrupt, Invalid, NotFound
from interlock.registry.flavors.twins import RECORD_FILE, Twin
from interlock.registry.formats import Kind, look_into
from interlock.registry.records import Format
from interlock.store.manifests import Manifest, read_manifest

if TYPE_CHECKING:
    from interlock.core.ports import ObjectStore
    from interlock.registry.records import ModelVersion

BUNDLE: Final = "bundle.json"
LOADABLE: Final[tuple[Kind, ...]] = ("onnx", "xgboost", "lightgbm", "skops", "safetensors")


class FileFormat(msgspec.Struct, frozen=True):
    """What one file of a version is, and how that was found."""

    TABLE: ClassVar = ("path", "format", "reason")

    path: str
    format: Kind
    reason: str


class Content(msgspec.Struct, frozen=True):
    """What the files of a version are, and how that was found."""

    format: Format
    reason: str


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
    if any(entry.path == BUNDLE for entry in manifest.files):
        try:
            return _of_bundle(objects, manifest, bundle_of(objects, digest, manifest))
        except Invalid as error:
            return Content("opaque", error.message)
    return _summary(inspect(objects, manifest))


def _of_bundle(objects: ObjectStore, manifest: Manifest, bundle: Bundle) -> Content:
    path = bundle.files.get("serving", "")
    serving = tuple(entry for entry in manifest.files if entry.path == path)
    for file in inspect(objects, Manifest(serving)):
        if file.format == "onnx":
            return Content("bundle", f"{path} answers; {file.reason}")
        return Content("opaque", f"a bundle whose {path} is {file.reason}")
    return Content("opaque", f"a bundle without its serving file {path!r}")


def inspect(objects: ObjectStore, manifest: Manifest) -> list[FileFormat]:
    """Return what each file under a manifest is, by path.

    Raises:
        NotFound: one is not here.
        Invalid: one is an archive with a member that leads out of its folder, or that is a link.
    """
    found = []
    for entry in manifest.files:
        with objects.open(entry.digest) as source:
            verdict = look_into(source, objects.size(entry.digest) or 0, entry.path)
        found.append(FileFormat(entry.path, verdict.kind, verdict.reason))
    return found


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
    try:
        return msgspec.json.decode(objects.get(entry.digest), type=Bundle)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"Object {digest} is no bundle: {error}.", about="bundle") from None


def twin_of(objects: ObjectStore, manifest: Manifest) -> Twin:
    """Return the record of a version's ONNX twin; one with the verdict `none` where there is no record."""
    for entry in manifest.files:
        if entry.path == RECORD_FILE:
            try:
                return msgspec.json.decode(objects.get(entry.digest), type=Twin)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                return Twin("none", f"{RECORD_FILE} holds no record: {error}")
    return Twin("none", "no record came with its files")
