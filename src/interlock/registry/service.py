"""The registry service: models, versions, aliases, life cycle, as operations. Each base has those of one idea."""

from __future__ import annotations

from interlock.core.operations import Permission, operation
from interlock.registry.doors import Doors
from interlock.registry.editing import Editing
from interlock.registry.gc import Collection, collect
from interlock.registry.holding import Holding
from interlock.registry.looking import Looking
from interlock.registry.making import Making
from interlock.registry.proving import Proving
from interlock.registry.records import Approval, Model, ModelVersion

__all__ = ["Approval", "Model", "ModelVersion", "RegistryService"]


class RegistryService(Making, Editing, Looking, Holding, Proving, Doors):
    """Models: versions, aliases and where each version stands in its life."""

    name = "registry"

    @operation(Permission.REGISTRY_WRITE, emits=("objects.removed",))
    def gc(self, apply: bool = False) -> Collection:
        """List objects that nothing names and nobody touched for a day; remove them only when told so.

        Args:
            apply: remove them.

        Raises:
            Corrupt: an object that others need has changed, so nobody can say what it named.
        """
        return collect(self._store, apply=apply)
