"""What other rooms ask of the registry inside a transaction of theirs, or without naming a version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.core.refs import parse
from interlock.registry.content import bundle_of, files_of
from interlock.registry.parts import Part
from interlock.registry.reading import version_of
from interlock.store.manifests import read_manifest

if TYPE_CHECKING:
    from interlock.core.bundles import Bundle
    from interlock.core.ports import Reader, Transaction
    from interlock.registry.lifecycle import Stage
    from interlock.registry.records import ModelVersion


class Doors(Part):
    """The registry's methods that are no operations."""

    def read_bundle(self, digest: str) -> Bundle:
        """Return the record of a bundle.

        Raises:
            Invalid: the object is no bundle.
        """
        return bundle_of(self._store.objects, digest, files_of(self._store.objects, digest))

    def part(self, bundle: str, role: str) -> bytes:
        """Return the bytes of one file of a bundle: `serving`, `original`, `golden` or `evaluation`."""
        path = self.read_bundle(bundle).files[role]
        return self._store.objects.get(read_manifest(self._store.objects, bundle).find(path).digest)

    def standing(self, tx: Transaction, version: str) -> ModelVersion:
        """Return a version as it stands in the caller's transaction."""
        return version_of(tx, version)

    def advance(self, tx: Transaction, version: str, stage: Stage, reason: str) -> None:
        """Move a version within the caller's transaction; see `Stages.advance`."""
        self._books.stages.advance(tx, parse(version, "model"), stage, reason)

    def point(self, tx: Transaction, model: str, alias: str, version: int) -> None:
        """Point an alias to a version in the caller's transaction; see `AliasBook.set`."""
        self._books.aliases.set(tx, model, alias, version)

    def unpoint(self, tx: Transaction, model: str, alias: str) -> None:
        """Take an alias away within the caller's transaction."""
        self._books.aliases.delete(tx, model, alias)

    def guard(self, tx: Transaction, model: str) -> None:
        """Remember in the caller's transaction that a model has gates; see `ModelBook.guard`."""
        self._books.models.guard(tx, model)

    def unearned(self, reader: Reader, model: str) -> list[str]:
        """Return which aliases `guard` takes away, a sentence each; see `ModelBook.unearned`."""
        return list(self._books.models.unearned(reader, model).values())
