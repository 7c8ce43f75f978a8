"""The names under which events speak of models and versions: those before a renaming have the former name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interlock.registry.records import ModelVersion
    from interlock.store import Store


def names_of_model(store: Store, name: str) -> list[str]:
    """Return the references that ever meant a model, the present one first."""
    former = store.database.all("SELECT DISTINCT name FROM model_former_names WHERE now = :now", {"now": name})
    return [f"model:{known}" for known in (name, *(row["name"] for row in former))]


def names_of(store: Store, version: ModelVersion) -> list[str]:
    """Return the references that ever meant a version, the present one first."""
    former = store.database.all(
        "SELECT DISTINCT name FROM model_former_names WHERE now = :now AND last >= :version",
        {"now": version.model, "version": version.version},
    )
    return [f"model:{name}@{version.version}" for name in (version.model, *(row["name"] for row in former))]
