"""Operations that change what people say of models and versions: aliases, tags, texts, names, whether they are away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.core.operations import Permission, operation
from interlock.core.refs import Ref, parse
from interlock.registry.parts import Part
from interlock.registry.reading import model_meant, model_of
from interlock.registry.records import AliasMove, Card, Model

if TYPE_CHECKING:
    from interlock.core.ports import Transaction

AliasMoves = list[AliasMove]


class Editing(Part):
    """What people say of models and versions."""

    @operation(Permission.REGISTRY_WRITE, emits=("alias.moved",))
    def alias(self, model: str, alias: str, version: int) -> Model:
        """Point an alias to a version. Where a model has gates, its champion and challenger are approved versions.

        Args:
            model: the model.
            alias: its name, such as `staging`.
            version: the version's number; 0 takes the alias away.

        Raises:
            Conflict: the version is not approved.
        """
        name = model_meant(self._store.database, model).name
        Ref("model", name, alias=alias)  # one that our references cannot spell is for other protocols' clients

        def change(tx: Transaction) -> Model:
            if version:
                self._books.aliases.set(tx, name, alias, version)
            else:
                self._books.aliases.delete(tx, name, alias)
            return model_of(tx, name)

        return self._store.database.write(change)

    @operation(Permission.REGISTRY_READ)
    def alias_history(self, model: str, alias: str = "") -> AliasMoves:
        """List where a model's aliases pointed, oldest first, as the ledger has it.

        Args:
            model: the model.
            alias: only this one's moves.
        """
        return self._books.aliases.history(model_meant(self._store.database, model).name, alias)

    @operation(Permission.REGISTRY_WRITE, emits=("model.updated", "model_version.updated"))
    def tag(self, ref: str, tags: dict[str, str] | None = None, remove: list[str] | None = None) -> Card:
        """Set or take away tags of a model or of one of its versions.

        Args:
            ref: model:NAME for the model, model:NAME@3 for a version.
            tags: texts by name.
            remove: names of tags that go.
        """
        return self._store.database.write(lambda tx: self._books.tag(tx, parse(ref, "model"), tags or {}, remove or []))

    @operation(Permission.REGISTRY_WRITE, emits=("model.updated", "model_version.updated"))
    def describe(self, ref: str, description: str | None = None, owner: str | None = None) -> Card:
        """Say what a model or version is for, or who answers for it.

        Args:
            ref: model:NAME for the model, model:NAME@3 for a version.
            description: the text.
            owner: such as user:ann.
        """
        return self._store.database.write(lambda tx: self._books.describe(tx, parse(ref, "model"), description, owner))

    @operation(Permission.REGISTRY_WRITE, emits=("model.renamed",))
    def rename(self, model: str, to: str) -> Model:
        """Give a model another name; references to the old one go on meaning it.

        Args:
            model: the model.
            to: its new name.

        Raises:
            Conflict: one of its versions answers in a deployment, or the name means, or once meant, another model.
        """
        name = model_meant(self._store.database, model).name
        return self._store.database.write(lambda tx: self._books.models.rename(tx, name, to))

    @operation(Permission.REGISTRY_WRITE, emits=("model.archived", "model_version.archived", "alias.moved"))
    def archive(self, ref: str, reason: str = "") -> Card:
        """Put a model, or one version, away: lists leave it out, its aliases go, nothing is erased.

        Args:
            ref: model:NAME for the model, model:NAME@3 for a version.
            reason: why.

        Raises:
            Conflict: it answers in a deployment.
        """
        return self._store.database.write(lambda tx: self._books.archive(tx, parse(ref, "model"), reason))

    @operation(Permission.REGISTRY_WRITE, emits=("model.restored", "model_version.restored"))
    def restore(self, ref: str) -> Card:
        """Bring an archived model, with the versions that went away with it, or one archived version back.

        Args:
            ref: model:NAME for the model, model:NAME@3 for a version.

        Raises:
            Conflict: it is not archived.
        """
        return self._store.database.write(lambda tx: self._books.restore(tx, parse(ref, "model")))
