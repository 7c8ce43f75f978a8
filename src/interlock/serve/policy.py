"""How a deployment answers, as its server knows it: what the spec says over what the server was started with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from interlock.core.bundles import Serving
from interlock.core.clock import from_micros
from interlock.core.refs import parse
from interlock.serve.sources import Deployed

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from interlock.core.bundles import DeploymentSpec
    from interlock.core.ports import ObjectStore, Reader
    from interlock.serve.sources import Wanted

DEFAULTS: Final = Serving(durability="fsync", garbage="block", out_of_range="flag", code_models=False)


class Rules:
    """What an engine goes by.

    Args:
        defaults: what counts where a spec says nothing.
        born: says when a model version was made, by its reference, or None.

    Attributes:
        followers: are told how a revision answers, before it does; one that raises keeps it from answering.
    """

    def __init__(self, defaults: Serving = DEFAULTS, born: Callable[[str], datetime | None] | None = None) -> None:
        self.defaults = defaults.over(DEFAULTS)
        self.born = born or (lambda _: None)
        self.followers: list[Callable[[Serving], None]] = []

    def beside(self) -> Rules:
        """Return the rules of another engine of the same server, which nobody follows."""
        return Rules(self.defaults, self.born)


class Ruled(Deployed):
    """A deployment whose spec may say whether originals answer; where it does not, the server's option says."""

    def __init__(self, name: str, database: Reader, objects: ObjectStore, *, code_models: bool = False) -> None:
        super().__init__(name, database, objects, code_models=code_models)
        self._option = code_models

    def spec(self, wanted: Wanted) -> DeploymentSpec:
        """Return the spec of what is wanted; models that are loaded next are loaded as it says."""
        found = super().spec(wanted)
        allowed = found.serving.code_models
        self._code_models = self._option if allowed is None else allowed
        return found


def birthdays(database: Reader) -> Callable[[str], datetime | None]:
    """Return what says when a version of the registry was made; None of what is none, such as a folder."""

    def born(model: str) -> datetime | None:
        ref = parse(model, "model")
        values = {"model": ref.name, "version": ref.version}
        row = ref.version and database.one(
            "SELECT created_at FROM model_versions WHERE model = :model AND version = :version", values
        )
        return from_micros(row["created_at"]) if row else None

    return born
