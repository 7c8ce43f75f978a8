"""Features of a version: the columns that its model takes, as its own files say.

Who says it, the first that does: the bundle, the signature that our client writes, the signature in MLflow's MLmodel,
the model's own file. What the data has besides is no feature of the model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.core.mlmodel import mlmodel_inputs
from interlock.registry.records import Feature

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from interlock.core.bundles import Bundle
    from interlock.core.ports import ObjectStore
    from interlock.registry.formats import Verdict
    from interlock.store.manifests import Manifest

MOST: Final = 10_000
LONGEST_NAME: Final = 500
SIGNATURE: Final = "signature.json"
MLMODEL: Final = "MLmodel"
_LONGEST_FILE: Final = 16 << 20


class _Field(msgspec.Struct):
    name: str = ""
    type: str = ""


class _Signature(msgspec.Struct):
    inputs: list[_Field] = []


def features_of(
    objects: ObjectStore, manifest: Manifest, bundle: Bundle | None, verdicts: Sequence[Verdict]
) -> tuple[Feature, ...]:
    """Return the columns that a version's model takes, in its order; none where no file of it says.

    Args:
        objects: where its files rest.
        manifest: its files.
        bundle: its record, if it is a bundle.
        verdicts: what its files are.
    """
    if bundle is not None:
        return _sound((column.name, column.type) for column in bundle.inputs)
    digests = {entry.path: entry.digest for entry in manifest.files}
    found = _of_signature(_small(objects, digests.get(SIGNATURE, "")))
    found = found or _sound(mlmodel_inputs(_small(objects, digests.get(MLMODEL, ""))))
    named = (verdict.features for verdict in verdicts if verdict.features)
    return found or _sound((name, "") for name in next(named, ()))


def _small(objects: ObjectStore, digest: str) -> bytes:
    """Return the bytes of a file, none of one that is not there or too long to be what it is called."""
    size = objects.size(digest) if digest else None
    return objects.get(digest) if size is not None and size <= _LONGEST_FILE else b""


def _of_signature(data: bytes) -> tuple[Feature, ...]:
    found = _json(data, _Signature)
    return _sound((field.name, field.type) for field in found.inputs) if found else ()


def _sound(pairs: Iterable[tuple[str, str]]) -> tuple[Feature, ...]:
    """Return features with names that can be kept, each once."""
    found: dict[str, str] = {}
    for name, kind in pairs:
        if name and len(name) <= LONGEST_NAME and len(found) < MOST:
            found.setdefault(name, kind)
    return tuple(Feature(name, kind) for name, kind in found.items())


def _json(data: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
