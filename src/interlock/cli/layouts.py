"""`interlock models export`: a version as a folder in OCI's image layout, which registries of containers take."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from interlock.core.errors import Conflict, Invalid, NotFound
from interlock.registry import oci
from interlock.registry.signatures import PROOF_FILE
from interlock.store.manifests import Manifest

if TYPE_CHECKING:
    from interlock.sdk.workspace import Workspace

LOCK_FILE = "requirements.lock.txt"


def export(workspace: Workspace, version: str, folder: Path) -> dict[str, object]:
    """Return what was written: a version's files, what it rests on, its signature and its locked environment.

    Args:
        workspace: where the version is.
        version: its reference.
        folder: a folder that is not there yet; it comes as a whole, or not at all.

    Raises:
        Conflict: the folder is there, or cannot be made.
        Invalid: the version's files rest outside.
    """
    found = workspace.registry.version(version)
    if not found.bundle:
        raise Invalid(f"{found.ref} is not pinned: its files rest outside.", about="model_version")
    if folder.exists():
        raise Conflict(f"{str(folder)!r} is there already.", about="folder", hint="Name one that is not.")
    files = msgspec.json.decode(workspace.read(found.bundle), type=Manifest).files
    more = _more(workspace, found.ref)
    config = workspace.read(found.pins)
    layers = [oci.Blob(entry.digest, entry.size_bytes, oci.FILE, entry.path) for entry in files]
    manifest = oci.manifest_of(found, oci.blob_of(config, oci.CONFIG), [*layers, *more])
    try:
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as name:
            blobs = Path(name) / "layout" / "blobs" / "sha256"
            blobs.mkdir(parents=True)
            for digest in {layer.digest for layer in layers}:
                workspace.save(digest, blobs / digest)
            for data in (config, manifest, *more.values()):
                (blobs / oci.blob_of(data, "").digest).write_bytes(data)
            (Path(name) / "layout" / oci.LAYOUT_FILE).write_bytes(oci.LAYOUT)
            (Path(name) / "layout" / oci.INDEX_FILE).write_bytes(oci.index_of(found, manifest))
            shutil.move(Path(name) / "layout", folder)
    except OSError as error:
        raise Conflict(f"{str(folder)!r} cannot be written: {error.strerror}.", about="folder") from None
    return {
        "version": found.ref,
        "folder": str(folder),
        "digest": f"sha256:{oci.blob_of(manifest, '').digest}",
        "layers": len(layers) + len(more),
    }


def _more(workspace: Workspace, ref: str) -> dict[oci.Blob, bytes]:
    """Return what there is beside a version's files: its proof, unless it is older, and its environment, if any."""
    found = {}
    with contextlib.suppress(NotFound):
        proof = msgspec.json.encode(workspace.registry.signature(ref))
        found[oci.blob_of(proof, oci.PROOF, PROOF_FILE)] = proof
    with contextlib.suppress(NotFound):
        locked = workspace.audit.environment_text(ref).encode()
        found[oci.blob_of(locked, oci.LOCK, LOCK_FILE)] = locked
    return found
