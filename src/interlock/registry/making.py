"""Operations that make versions and move them along their life."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.core.errors import Invalid
from interlock.core.files import StoredFile, is_digest
from interlock.core.operations import Permission, operation
from interlock.core.refs import check_name, parse
from interlock.registry.lifecycle import Stage
from interlock.registry.parts import Part
from interlock.registry.publish import folder_of_run, keep_files, register
from interlock.registry.reading import version_of
from interlock.registry.records import ModelVersion

if TYPE_CHECKING:
    from interlock.core.ports import Transaction


class Making(Part):
    """How versions come to be, and where they stand."""

    @operation(Permission.REGISTRY_WRITE, emits=("model.created", "model_version.created", "model_version.moved"))
    def register(self, model: str, run: str, bundle: str, data: list[str] | None = None) -> ModelVersion:
        """Make the files of a run the next version of a model; the same files of a run are registered once.

        Args:
            model: the model; it is made if it is new.
            run: the run that made them.
            bundle: the digest of their manifest; or where they lie in the run: run:ID/path, or the path alone.
            data: references of the data it was trained on; the run's inputs when left out.

        Raises:
            NotFound: the run has no files there.
            Invalid: the object is no manifest of files, or the files are another run's.
        """
        if not bundle:
            raise Invalid("A version needs its files.", about="bundle", hint="Give the digest of their manifest.")
        check_name(model, "model")
        digest = bundle if is_digest(bundle) else folder_of_run(self._store, run, bundle)
        return register(self._store, self._books, model, run, digest, data)

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
        if run:
            parse(run, "run")
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
        found = version_of(self._store.database, version)

        def change(tx: Transaction) -> ModelVersion:
            self._books.stages.by_hand(tx, parse(found.ref, "model"), stage, reason)
            return version_of(tx, found.ref)

        return self._store.database.write(change)
