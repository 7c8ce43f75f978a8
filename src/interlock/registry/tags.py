"""Tags of models and versions: names and texts within bounds, set and taken away in the caller's transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from interlock.core.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from interlock.core.ports import Transaction

LONGEST_NAME: Final = 250
LONGEST_VALUE: Final = 100_000  # what MLflow's registry takes
Owner = tuple[str, int]  # model and version; version 0 means the model itself


def check_tags(tags: Mapping[str, str]) -> None:
    """Accept tags that may be kept.

    Raises:
        Invalid: a name is empty, too long or has control characters, or a value is too long.
    """
    for name, value in tags.items():
        if not name or len(name) > LONGEST_NAME or any(ord(letter) < 32 or ord(letter) == 127 for letter in name):
            shown = name[:40] + "..." * (len(name) > 40)
            raise Invalid(
                f"{shown!r} cannot be the name of a tag.",
                about="tag",
                hint=f"Use 1-{LONGEST_NAME} characters without control characters.",
            )
        if len(value) > LONGEST_VALUE:
            raise Invalid(
                f"The value of tag {name!r} has {len(value):,} characters; at most {LONGEST_VALUE:,} are kept.",
                about="tag",
                hint="Keep long texts as an artifact and name it in the tag.",
            )


def set_tags(tx: Transaction, owner: Owner, tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that are new or changed by this; they are kept now."""
    held = read_tags(tx, owner)
    changed = {name: value for name, value in tags.items() if held.get(name) != value}
    if owner[1]:
        sql = (
            "INSERT INTO model_version_tags (model, version, name, value) VALUES (:model, :version, :name, :value)"
            " ON CONFLICT (model, version, name) DO UPDATE SET value = excluded.value"
        )
    else:
        sql = (
            "INSERT INTO model_tags (model, name, value) VALUES (:model, :name, :value)"
            " ON CONFLICT (model, name) DO UPDATE SET value = excluded.value"
        )
    for name, value in changed.items():
        tx.run(sql, _where(owner) | {"name": name, "value": value})
    return changed


def drop_tags(tx: Transaction, owner: Owner, names: Iterable[str]) -> list[str]:
    """Return which of these tags were there; they are gone now."""
    held = read_tags(tx, owner)
    gone = sorted({name for name in names if name in held})
    table = "model_version_tags WHERE version = :version AND" if owner[1] else "model_tags WHERE"
    for name in gone:
        tx.run(f"DELETE FROM {table} model = :model AND name = :name", _where(owner) | {"name": name})  # noqa: S608
    return gone


def read_tags(tx: Transaction, owner: Owner) -> dict[str, str]:
    """Return the tags of a model or version."""
    table = "model_version_tags WHERE version = :version AND" if owner[1] else "model_tags WHERE"
    rows = tx.all(f"SELECT name, value FROM {table} model = :model ORDER BY name", _where(owner))  # noqa: S608
    return {row["name"]: row["value"] for row in rows}


def _where(owner: Owner) -> dict[str, object]:
    return {"model": owner[0], "version": owner[1]} if owner[1] else {"model": owner[0]}
