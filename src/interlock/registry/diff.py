"""What differs between two versions: params, metrics, data, environment, code, inputs, files."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from interlock.core.errors import Corrupt, Invalid
from interlock.core.refs import parse
from interlock.registry import pins
from interlock.registry.content import bundle_of, files_of
from interlock.registry.facts import features_of_version
from interlock.store.manifests import read_manifest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interlock.core.ports import ObjectStore
    from interlock.registry.records import ModelVersion
    from interlock.store import Store


class Difference(msgspec.Struct, frozen=True):
    """One thing that two versions do not have in common.

    Attributes:
        part: params, metrics, data, environment, packages, code, signature, inputs, files or tags.
        name: which of them, such as the name of a param or the path of a file.
        left: what the one version has, or None.
        right: what the other has, or None.
    """

    TABLE: ClassVar = ("part", "name", "left", "right")

    part: str
    name: str
    left: str | None
    right: str | None


class _Environment(msgspec.Struct, frozen=True):
    """What we read of an environment record."""

    python: str = ""
    implementation: str = ""
    system: str = ""
    packages: dict[str, str] = {}


Parts = dict[str, dict[str, str]]


def compare(store: Store, left: ModelVersion, right: ModelVersion) -> list[Difference]:
    """Return what differs between two versions, part by part, by name."""
    one, other = _parts(store, left), _parts(store, right)
    return [
        Difference(part, name, one[part].get(name), other[part].get(name))
        for part in one
        for name in sorted(one[part].keys() | other[part].keys())
        if one[part].get(name) != other[part].get(name)
    ]


def _parts(store: Store, version: ModelVersion) -> Parts:
    objects = store.objects
    held = pins.read(objects, version.pins)
    environment = _environment(objects, held.environment)
    return {
        "params": held.params,
        "metrics": held.metrics,
        "data": _data(held.data or version.data),
        "environment": {
            name: text for name in ("python", "implementation", "system") if (text := getattr(environment, name))
        },
        "packages": environment.packages,
        "code": _files(objects, held.code),
        "signature": _signature(objects, version),
        "inputs": _inputs(store, version),
        "files": _files(objects, version.bundle),
        "tags": version.tags,
    }


def _data(refs: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, list[str]] = defaultdict(list)
    for text in refs:
        try:
            ref = parse(text)
        except Invalid:
            found[text].append(text)
        else:
            found[ref.name].append(text)
    return {name: ", ".join(texts) for name, texts in found.items()}


def _environment(objects: ObjectStore, digest: str) -> _Environment:
    if not digest or objects.size(digest) is None:
        return _Environment()
    try:
        return msgspec.json.decode(objects.get(digest), type=_Environment)
    except msgspec.MsgspecError:
        return _Environment()


def _files(objects: ObjectStore, digest: str) -> dict[str, str]:
    if not digest or objects.size(digest) is None:
        return {}
    try:
        return {entry.path: entry.digest for entry in read_manifest(objects, digest).files}
    except Corrupt:
        return {"": digest}


def _bundle(objects: ObjectStore, version: ModelVersion) -> Any:
    if version.format != "bundle" or not version.bundle:
        return None
    return bundle_of(objects, version.bundle, files_of(objects, version.bundle))


def _inputs(store: Store, version: ModelVersion) -> dict[str, str]:
    features = enumerate(features_of_version(store, version), 1)
    return {feature.name: f"{feature.type or 'any type'}, place {place}" for place, feature in features}


def _signature(objects: ObjectStore, version: ModelVersion) -> dict[str, str]:
    found: Mapping[str, str] = {"format": version.format}
    bundle = _bundle(objects, version)
    if bundle is None:
        return dict(found)
    classes = ", ".join(map(str, bundle.classes))
    return {
        **found,
        "flavor": bundle.flavor,
        "task": bundle.task,
        "target": bundle.target,
        "classes": classes,
        "layout": bundle.layout,
    }
