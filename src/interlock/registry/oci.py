"""A version as an OCI artifact: its files as layers under their own digests, what it rests on as the config.

Our objects are SHA-256 already, so nothing is packed: each file is a blob, and whoever pulls it finds the digest that
the registry of models has. Source: the OCI image specification 1.1, "Guidelines for Artifact Usage" and "Image Layout".
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.registry.records import ModelVersion

ARTIFACT: Final = "application/vnd.interlock.model.v1"
CONFIG: Final = "application/vnd.interlock.model.pins.v1+json"
FILE: Final = "application/vnd.interlock.model.file.v1"
LOCK: Final = "application/vnd.interlock.model.environment.v1+text"
PROOF: Final = "application/vnd.interlock.model.proof.v1+json"
LAYOUT_FILE: Final = "oci-layout"
INDEX_FILE: Final = "index.json"
LAYOUT: Final = b'{"imageLayoutVersion":"1.0.0"}'
_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_INDEX: Final = "application/vnd.oci.image.index.v1+json"


class Blob(NamedTuple):
    """Bytes of an artifact: digest, size, media type, and the path that they have when they are pulled."""

    digest: str
    size_bytes: int
    media_type: str
    title: str = ""


def blob_of(data: bytes, media_type: str, title: str = "") -> Blob:
    """Return what some bytes are as a blob."""
    return Blob(hashlib.sha256(data).hexdigest(), len(data), media_type, title)


def manifest_of(version: ModelVersion, config: Blob, layers: Sequence[Blob]) -> bytes:
    """Return the manifest of a version's artifact: the same bytes for the same version.

    Args:
        version: the version.
        config: what it rests on.
        layers: its files, and what proves them and makes their environment again.
    """
    annotations = {
        "org.opencontainers.image.created": version.created_at.isoformat(),
        "org.opencontainers.image.title": version.model,
        "org.opencontainers.image.version": str(version.version),
        "org.opencontainers.image.description": version.description,
        "dev.interlock.reference": version.ref,
        "dev.interlock.manifest": version.bundle,
    }
    return msgspec.json.encode(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "artifactType": ARTIFACT,
            "config": _descriptor(config),
            "layers": [_descriptor(layer) for layer in layers],
            "annotations": {name: text for name, text in annotations.items() if text},
        }
    )


def index_of(version: ModelVersion, manifest: bytes) -> bytes:
    """Return the index of a layout that holds one artifact, tagged with the version's number."""
    found = _descriptor(blob_of(manifest, _MANIFEST)) | {
        "artifactType": ARTIFACT,
        "annotations": {"org.opencontainers.image.ref.name": str(version.version)},
    }
    return msgspec.json.encode({"schemaVersion": 2, "mediaType": _INDEX, "manifests": [found]})


def _descriptor(blob: Blob) -> dict[str, Any]:
    named = {"annotations": {"org.opencontainers.image.title": blob.title}} if blob.title else {}
    return {"mediaType": blob.media_type, "digest": f"sha256:{blob.digest}", "size": blob.size_bytes, **named}
