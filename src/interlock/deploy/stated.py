"""What the project that was applied says of how models are served: `[deployment.NAME.serving]` of interlock.toml."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from interlock.core.bundles import Serving
from interlock.core.errors import Corrupt
from interlock.core.periods import parse_period

if TYPE_CHECKING:
    from interlock.core.ports import ObjectStore, Reader

_Count = Annotated[int, msgspec.Meta(ge=1)]


class ServingTable(msgspec.Struct, frozen=True):
    """`[deployment.NAME.serving]`: how it answers; see `interlock.core.bundles.Serving`."""

    durability: Literal["fsync", "1s"] | None = None
    garbage: Literal["block", "flag"] | None = None
    stale_after: str = ""
    out_of_range: Literal["flag", "block", "ignore"] | None = None
    code_models: bool | None = None
    batch_rows: _Count | None = None
    concurrent: _Count | None = None

    @property
    def record(self) -> Serving | None:
        """What a deployment's spec says of it; None where the table says nothing, and so is in nobody's way.

        Raises:
            Invalid: the age is no period.
        """
        said = {name: getattr(self, name) for name in self.__struct_fields__ if name != "stale_after"}
        if self.stale_after:
            said["stale_after_s"] = parse_period(self.stale_after).about_s
        found = Serving(**said)
        return found if found != Serving() else None


class _Table(msgspec.Struct):
    model: str = ""
    serving: ServingTable = ServingTable()


class _Applied(msgspec.Struct):
    deployment: dict[str, _Table] = {}


def stated(reader: Reader, objects: ObjectStore, deployment: str) -> Serving:
    """Return how the project that was applied last says that a deployment answers; an empty record for nothing.

    Raises:
        Corrupt: its text cannot be read by this release.
        Invalid: the age is no period.
    """
    table = _applied(reader, objects).get(deployment)
    return (table.serving.record if table else None) or Serving()


def allows_originals(reader: Reader, objects: ObjectStore, model: str) -> bool:
    """Return whether the project that was applied last lets a model's originals answer.

    It does where it has deployments of this model, and all that say something of it allow it.

    Args:
        reader: where it stands what was applied.
        objects: where its text rests.
        model: the model's name.

    Raises:
        Corrupt: as `stated`.
    """
    tables = _applied(reader, objects).values()
    said = [table.serving.code_models for table in tables if model_name(table.model) == model]
    return any(said) and False not in said


def _applied(reader: Reader, objects: ObjectStore) -> dict[str, _Table]:
    row = reader.one("SELECT digest FROM applied WHERE name = 'project'")
    if row is None:
        return {}
    try:
        return msgspec.convert(tomllib.loads(objects.get(row["digest"]).decode()), _Applied).deployment
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise Corrupt(
            f"The interlock.toml that was applied last cannot be read: {error}.",
            about="project",
            hint="A newer release may have applied it: install that one, or run `interlock apply` with this one.",
        ) from None


def model_name(model: str) -> str:
    """Return a model's name, without kind, version and alias."""
    return model.partition("@")[0].removeprefix("model:")
