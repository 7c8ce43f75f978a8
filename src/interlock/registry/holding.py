"""Operations that look into versions: what they are made of, rest on and take, and how two of them differ."""

from __future__ import annotations

from interlock.core.bundles import Bundle
from interlock.core.operations import Permission, operation
from interlock.registry import pins
from interlock.registry.content import FileFormat, bundle_of, files_of, files_of_version, inspect, twin_of
from interlock.registry.diff import Difference, compare
from interlock.registry.facts import features_of_version
from interlock.registry.flavors.twins import Twin
from interlock.registry.parts import Part
from interlock.registry.reading import version_of
from interlock.registry.records import Feature, Pins

Differences = list[Difference]
Features = list[Feature]
FileFormats = list[FileFormat]


class Holding(Part):
    """What versions hold."""

    @operation(Permission.REGISTRY_READ)
    def bundle(self, version: str) -> Bundle:
        """Show what a version is for those who serve it: inputs, classes, files, agreement.

        Args:
            version: the version.

        Raises:
            Invalid: its content is opaque, or rests outside.
        """
        digest = version_of(self._store.database, version).bundle
        return bundle_of(self._store.objects, digest, files_of(self._store.objects, digest))

    @operation(Permission.REGISTRY_READ)
    def inspect(self, version: str) -> FileFormats:
        """List what each file of a version is, told by its content: which could be loaded without running its code.

        Args:
            version: the version.

        Raises:
            Invalid: its files rest outside.
        """
        return inspect(
            self._store.objects, files_of_version(self._store.objects, version_of(self._store.database, version))
        )

    @operation(Permission.REGISTRY_READ)
    def pins(self, version: str) -> Pins:
        """Show what a version rests on: files, run, code, data, params, environment, metrics.

        Args:
            version: the version.
        """
        return pins.read(self._store.objects, version_of(self._store.database, version).pins)

    @operation(Permission.REGISTRY_READ)
    def diff(self, left: str, right: str) -> Differences:
        """List what differs between two versions: params, metrics, data, packages, code, inputs, files, tags.

        Args:
            left: the one version.
            right: the other.
        """
        database = self._store.database
        return compare(self._store, version_of(database, left), version_of(database, right))

    @operation(Permission.REGISTRY_READ)
    def twin(self, version: str) -> Twin:
        """Show how far a version's ONNX form is from the original, and with which libraries that was found.

        Args:
            version: the version.
        """
        return twin_of(
            self._store.objects, files_of_version(self._store.objects, version_of(self._store.database, version))
        )

    @operation(Permission.REGISTRY_READ)
    def features(self, version: str) -> Features:
        """List the columns that a version's model takes, as its files say; the filter `feature = 'x'` finds by them.

        Args:
            version: the version.
        """
        return features_of_version(self._store, version_of(self._store.database, version))
