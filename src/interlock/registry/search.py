"""Versions of all models that fit some plain conditions, newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from interlock.core.errors import Invalid
from interlock.registry.reading import rows_at, versions_of

if TYPE_CHECKING:
    from interlock.core.ports import Reader
    from interlock.registry.records import ModelVersion

_MOST = 10_000


class Wanted(msgspec.Struct, frozen=True):
    """What must hold of a version; what is empty does not count.

    Attributes:
        text: in its model's name or in its description, small and capital letters alike.
        model: its model's name.
        stage: where it stands.
        owner: who answers for it.
        format: what its files are.
        run: the run that made it.
        tags: tags that it has, or its model has, with these values.
        archived: whether it was put away.
    """

    text: str = ""
    model: str = ""
    stage: str = ""
    owner: str = ""
    format: str = ""
    run: str = ""
    tags: dict[str, str] = {}
    archived: bool = False


def find_versions(reader: Reader, wanted: Wanted, limit: int) -> list[ModelVersion]:
    """Return the versions that fit, newest first.

    Raises:
        Invalid: the limit is not within 1 and 10,000.
    """
    if not 1 <= limit <= _MOST:
        raise Invalid(f"A list has 1 to {_MOST:,} versions, not {limit}.", about="limit")
    text = "".join(f"\\{letter}" if letter in "\\%_" else letter for letter in wanted.text.lower())
    values: dict[str, Any] = {"limit": limit, "text": f"%{text}%"}
    terms = [f"v.archived_at IS {'NOT NULL' if wanted.archived else 'NULL'}"]
    if wanted.text:
        like = "LIKE :text ESCAPE '\\'"
        terms.append(f"(lower(v.model) {like} OR lower(v.description) {like})")
    for name in ("model", "stage", "owner", "format", "run"):
        if value := getattr(wanted, name):
            values[name] = value.removeprefix(f"{name}:")
            terms.append(f"v.{name} = :{name}")
    for number, (name, value) in enumerate(wanted.tags.items()):
        values |= {f"name{number}": name, f"value{number}": value}
        held = f"t.model = v.model AND t.name = :name{number} AND t.value = :value{number}"
        own = f"EXISTS (SELECT 1 FROM model_version_tags t WHERE {held} AND t.version = v.version)"  # noqa: S608 - ours
        of_model = f"EXISTS (SELECT 1 FROM model_tags t WHERE {held})"  # noqa: S608 - ours
        terms.append(f"({own} OR {of_model})")
    rows = reader.all(
        f"SELECT v.model, v.version FROM model_versions v WHERE {' AND '.join(terms)}"  # noqa: S608 - terms are ours
        " ORDER BY v.created_at DESC, v.model, v.version DESC LIMIT :limit",
        values,
    )
    return versions_of(reader, rows_at(reader, [(row["model"], row["version"]) for row in rows]))
