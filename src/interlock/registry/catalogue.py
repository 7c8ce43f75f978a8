"""The registry for those who compose their own transactions: protocol adapters, importers, other rooms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.registry.aliases import AliasBook
from interlock.registry.models import ModelBook
from interlock.registry.reading import model_of, name_now, row_of
from interlock.registry.records import Card
from interlock.registry.stages import Stages
from interlock.registry.versions import VersionBook

if TYPE_CHECKING:
    from interlock.core.ports import Reader, Transaction
    from interlock.core.refs import Ref
    from interlock.store import Store


class Catalogue:
    """Models, versions, aliases and stages of a workspace.

    Every change takes the caller's transaction, writes its events there, and returns the record as it stands then;
    every read takes the database or a transaction.

    Args:
        store: the workspace.
    """

    def __init__(self, store: Store) -> None:
        self.models = ModelBook(store)
        self.versions = VersionBook(store)
        self.aliases = AliasBook(store)
        self.stages = Stages(store)

    def tag(self, tx: Transaction, ref: Ref, tags: dict[str, str], remove: list[str]) -> Card:
        """Return what a reference means after tags of it were set, and others taken away."""
        name, number = self._meant(tx, ref)
        if number:
            self.versions.tag(tx, name, number, tags)
            self.versions.untag(tx, name, number, remove)
        else:
            self.models.tag(tx, name, tags)
            self.models.untag(tx, name, remove)
        return self._card(tx, name, number)

    def describe(self, tx: Transaction, ref: Ref, description: str | None, owner: str | None) -> Card:
        """Return what a reference means after its description or owner changed."""
        name, number = self._meant(tx, ref)
        if number:
            self.versions.describe(tx, name, number, description=description, owner=owner)
        else:
            self.models.describe(tx, name, description=description, owner=owner)
        return self._card(tx, name, number)

    def archive(self, tx: Transaction, ref: Ref, reason: str) -> Card:
        """Return what a reference means after it was put away."""
        name, number = self._meant(tx, ref)
        if number:
            self.versions.archive(tx, name, number, reason)
        else:
            self.models.archive(tx, name, reason)
        return self._card(tx, name, number)

    def restore(self, tx: Transaction, ref: Ref) -> Card:
        """Return what a reference means after it came back."""
        name, number = self._meant(tx, ref)
        if number:
            self.versions.restore(tx, name, number)
        else:
            self.models.restore(tx, name)
        return self._card(tx, name, number)

    def card(self, reader: Reader, ref: Ref) -> Card:
        """Return what a reference means: a model, or one of its versions; archived ones too."""
        return self._card(reader, *self._meant(reader, ref))

    def _meant(self, tx: Reader, ref: Ref) -> tuple[str, int]:
        """Return the model that a reference means, and the number of the version, or 0."""
        if ref.version is None and not ref.alias:
            return name_now(tx, ref.name), 0
        row = row_of(tx, ref)
        return row["model"], row["version"]

    def _card(self, tx: Reader, name: str, number: int) -> Card:
        version = self.versions.get(tx, name, number, archived=True) if number else None
        return Card(model_of(tx, name, archived=True), version)
