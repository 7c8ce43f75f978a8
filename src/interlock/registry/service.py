"""The registry service: models, versions, aliases, life cycle, as operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.core.bundles import Bundle
from interlock.core.errors import Invalid
from interlock.core.files import StoredFile
from interlock.core.operations import Permission, operation
from interlock.core.refs import Ref, check_name, parse
from interlock.registry import pins
from interlock.registry.content import FileFormat, files_of_version, inspect, twin_of
from interlock.registry.diff import Difference, compare
from interlock.registry.doors import Doors
from interlock.registry.flavors.twins import Twin
from interlock.registry.gc import Collection, collect
from interlock.registry.lifecycle import Stage
from interlock.registry.openssf import ModelSignature, check_version, sign_version
from interlock.registry.publish import keep_files, register
from interlock.registry.reading import approvals_of, model_of, row_of, versions_of
from interlock.registry.records import AliasMove, Approval, Card, Model, ModelVersion, Pins
from interlock.registry.search import Wanted, find_versions
from interlock.registry.signatures import Signed, Verified, exported, verified
from interlock.registry.verify import SeenFile

if TYPE_CHECKING:
    from interlock.core.ports import Transaction

AliasMoves = list[AliasMove]
Approvals = list[Approval]
Differences = list[Difference]
FileFormats = list[FileFormat]
Models = list[Model]
Versions = list[ModelVersion]

__all__ = ["Approval", "Model", "ModelVersion", "RegistryService"]


class RegistryService(Doors):
    """Models: versions, aliases and where each version stands in its life."""

    name = "registry"

    @operation(Permission.REGISTRY_WRITE, emits=("model.created", "model_version.created", "model_version.moved"))
    def register(self, model: str, run: str, bundle: str, data: list[str] | None = None) -> ModelVersion:
        """Make the files of a run the next version of a model; the same files of a run are registered once.

        Args:
            model: the model; it is made if it is new.
            run: the run that made them.
            bundle: the digest of their manifest.
            data: references of the data it was trained on; the run's inputs when left out.

        Raises:
            Invalid: the object is no manifest of files.
        """
        if not bundle:
            raise Invalid("A version needs its files.", about="bundle", hint="Give the digest of their manifest.")
        return register(self._store, self._books, model, run, bundle, data)

    @operation(Permission.REGISTRY_WRITE, emits=("model.created", "model_version.created", "model_version.moved"))
    def publish(
        self, model: str, files: dict[str, StoredFile], run: str = "", data: list[str] | None = None
    ) -> ModelVersion:
        """Make files the next version of a model; the same files of a run are registered once.

        Args:
            model: the model; it is made if it is new.
            files: the files by their path in the version, such as model.onnx.
            run: the run that made them, if one did.
            data: references of the data it was trained on; the run's inputs when left out.

        Raises:
            Invalid: a path leaves the version, or an archive has members that do; nothing is kept then.
        """
        check_name(model, "model")
        return register(self._store, self._books, model, run, keep_files(self._store, files), data)

    @operation(Permission.REGISTRY_WRITE, emits=("model_version.moved", "alias.moved"))
    def move(self, version: str, stage: Stage, reason: str) -> ModelVersion:
        """Move a version by hand: back to development, or into retirement. All other moves are made by what earns them.

        Args:
            version: such as model:employment@2.
            stage: development or retired.
            reason: why.

        Raises:
            Denied: the stage has to be earned: by gates, an approval or a deployment.
            Conflict: it answers in a deployment, or the life cycle does not know this move.
        """
        found = self.version(version)

        def change(tx: Transaction) -> ModelVersion:
            self._books.stages.by_hand(tx, parse(found.ref, "model"), stage, reason)
            return self.standing(tx, found.ref)

        return self._store.database.write(change)

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
        name = self.model(model).name
        Ref("model", name, alias=alias)  # one that our references cannot spell is for other protocols' clients

        def change(tx: Transaction) -> Model:
            if version:
                self.point(tx, name, alias, version)
            else:
                self.unpoint(tx, name, alias)
            return model_of(tx, name)

        return self._store.database.write(change)

    @operation(Permission.REGISTRY_READ)
    def alias_history(self, model: str, alias: str = "") -> AliasMoves:
        """List where a model's aliases pointed, oldest first, as the ledger has it.

        Args:
            model: the model.
            alias: only this one's moves.
        """
        return self._books.aliases.history(self.model(model).name, alias)

    @operation(Permission.REGISTRY_READ)
    def approvals(self, version: str) -> Approvals:
        """List who approved a version, on which digests.

        Args:
            version: the version.
        """
        return approvals_of(self._store.database, self.version(version))

    @operation(Permission.REGISTRY_READ)
    def version(self, version: str) -> ModelVersion:
        """Show one version of a model; a number finds an archived one too.

        Args:
            version: model:NAME@3, model:NAME@champion, or model:NAME for the newest.

        Raises:
            NotFound: there is no such version or alias.
        """
        database = self._store.database
        return versions_of(database, [row_of(database, parse(version, "model"))])[0]

    @operation(Permission.REGISTRY_READ)
    def versions(self, model: str, archived: bool = False) -> Versions:
        """List the versions of a model, oldest first.

        Args:
            model: the model.
            archived: list those too that were put away.
        """
        name = model_of(self._store.database, parse(model, "model").name, archived=archived).name
        return self._books.versions.of(self._store.database, name, archived=archived)

    @operation(Permission.REGISTRY_READ)
    def model(self, model: str) -> Model:
        """Show one model.

        Args:
            model: its name.

        Raises:
            NotFound: there is none.
        """
        return model_of(self._store.database, parse(model, "model").name)

    @operation(Permission.REGISTRY_READ)
    def models(self, archived: bool = False) -> Models:
        """List all models.

        Args:
            archived: list those instead that were put away.
        """
        kind = "NOT NULL" if archived else "NULL"
        rows = self._store.database.all(f"SELECT name FROM models WHERE archived_at IS {kind} ORDER BY name")  # noqa: S608
        return self._books.models.named(self._store.database, [row["name"] for row in rows])

    @operation(Permission.REGISTRY_READ)
    def find(self, wanted: Wanted | None = None, limit: int = 100) -> Versions:
        """List versions of all models that fit, newest first.

        Args:
            wanted: what must hold; everything fits when left out.
            limit: at most so many.
        """
        return find_versions(self._store.database, wanted or Wanted(), limit)

    @operation(Permission.REGISTRY_READ)
    def bundle(self, version: str) -> Bundle:
        """Show what a version is for those who serve it: inputs, classes, files, agreement.

        Args:
            version: the version.

        Raises:
            Invalid: its content is opaque, or rests outside.
        """
        return self.read_bundle(self.version(version).bundle)

    @operation(Permission.REGISTRY_READ)
    def inspect(self, version: str) -> FileFormats:
        """List what each file of a version is, told by its content: which could be loaded without running its code.

        Args:
            version: the version.

        Raises:
            Invalid: its files rest outside.
        """
        return inspect(self._store.objects, files_of_version(self._store.objects, self.version(version)))

    @operation(Permission.REGISTRY_READ)
    def pins(self, version: str) -> Pins:
        """Show what a version rests on: files, run, code, data, params, environment, metrics.

        Args:
            version: the version.
        """
        return pins.read(self._store.objects, self.version(version).pins)

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
        name = self.model(model).name
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

    @operation(Permission.REGISTRY_READ)
    def diff(self, left: str, right: str) -> Differences:
        """List what differs between two versions: params, metrics, data, packages, code, inputs, files, tags.

        Args:
            left: the one version.
            right: the other.
        """
        return compare(self._store.objects, self.version(left), self.version(right))

    @operation(Permission.REGISTRY_READ)
    def twin(self, version: str) -> Twin:
        """Show how far a version's ONNX form is from the original, and with which libraries that was found.

        Args:
            version: the version.
        """
        return twin_of(self._store.objects, files_of_version(self._store.objects, self.version(version)))

    @operation(Permission.REGISTRY_READ)
    def verify(self, version: str, seen: list[SeenFile] | None = None) -> Verified:
        """Check a version's signature and its files, each changed, missing and extra one by name.

        Args:
            version: the version.
            seen: files as somebody saw them elsewhere, path and digest; those that are kept here when left out.

        Raises:
            Invalid: its files rest outside.
        """
        return verified(self._store, self.version(version), seen)

    @operation(Permission.REGISTRY_READ)
    def signature(self, version: str) -> Signed:
        """Show what proves a version's files to somebody else: signed note, key and manifest.

        Args:
            version: the version.

        Raises:
            NotFound: it was registered before versions were signed.
        """
        return exported(self._store, self.version(version))

    @operation(Permission.REGISTRY_WRITE, emits=("model_version.signed",))
    def sign(self, version: str) -> ModelSignature:
        """Sign a version's files so that OpenSSF's model-signing verifies them; `interlock models sign` writes files.

        Args:
            version: the version.

        Raises:
            MissingExtra: the extra `signing` is not installed.
        """
        return sign_version(self._store, self.version(version))

    @operation(Permission.REGISTRY_READ)
    def check_signature(self, version: str, signature: str, key: str) -> Verified:
        """Check that a signature of OpenSSF's model-signing holds for a version's files as they rest here.

        Args:
            version: the version.
            signature: the text of its model.sig.
            key: the public key that you trust, as PEM.

        Raises:
            Invalid: it is no such signature, or not by this key.
        """
        return check_version(self._store, self.version(version), signature, key)

    @operation(Permission.REGISTRY_WRITE, emits=("objects.removed",))
    def gc(self, apply: bool = False) -> Collection:
        """List objects that nothing names and nobody touched for a day; remove them only when told so.

        Args:
            apply: remove them.

        Raises:
            Corrupt: an object that others need has changed, so nobody can say what it named.
        """
        return collect(self._store, apply=apply)
