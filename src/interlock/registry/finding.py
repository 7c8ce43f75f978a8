"""Searches of models and versions in MLflow's grammar: where their fields rest, and pages of what matches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from interlock.store.search import (
    MODEL_VERSIONS,
    REGISTERED_MODELS,
    Column,
    Pairs,
    Search,
    Target,
    comparisons,
    complete_order,
    parse_filter,
    parse_order,
    plan_page,
    read_page,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.core.ports import Reader
    from interlock.store.search import Node, Page, Sources

PROMPT_TAG: Final = "mlflow.prompt.is_prompt"
_MICROS: Final = 1000


def page_of_models(reader: Reader, filter: str, order_by: Sequence[str], limit: int, token: str = "") -> Page:
    """Return the names of models that match; prompts only where the filter asks for their tag.

    Raises:
        Invalid: the filter, the order or the token is not sound.
    """
    node = parse_filter(filter, REGISTERED_MODELS)
    hidden = "" if _names_prompts(node) else f" AND NOT {_PROMPT.format(model='models.name')}"
    target = Target(
        table="models", identity=("name",), where=f"models.archived_at IS NULL{hidden}", values={"prompt": PROMPT_TAG}
    )
    order = complete_order(parse_order(order_by, REGISTERED_MODELS), REGISTERED_MODELS)
    search = Search(filter=node, order=order, target=target, sources=_MODELS)
    return read_page(reader, plan_page(search, limit, token))


def page_of_versions(reader: Reader, filter: str, order_by: Sequence[str], limit: int, token: str = "") -> Page:
    """Return the models and numbers of versions that match; prompts' only where the filter asks for their tag.

    Raises:
        Invalid: the filter, the order or the token is not sound.
    """
    node = parse_filter(filter, MODEL_VERSIONS)
    hidden = "" if _names_prompts(node) else f" AND NOT {_PROMPT.format(model='model_versions.model')}"
    target = Target(
        table="model_versions",
        identity=("model", "version"),
        where=f"model_versions.archived_at IS NULL{hidden}",
        values={"prompt": PROMPT_TAG},
    )
    order = complete_order(parse_order(order_by, MODEL_VERSIONS), MODEL_VERSIONS)
    search = Search(filter=node, order=order, target=target, sources=_VERSIONS)
    return read_page(reader, plan_page(search, limit, token))


def _names_prompts(node: Node) -> bool:
    """Return whether a filter asks for prompts; clients add `!= 'true'` to each search of models."""
    return any(
        (part.field.family, part.field.key, part.op) == ("tag", PROMPT_TAG, "=") and str(part.value).lower() == "true"
        for part in comparisons(node)
    )


def _time(sql: str) -> Column:
    return Column(sql, number=True, scale=_MICROS)


_PROMPT: Final = (
    "EXISTS (SELECT 1 FROM model_tags p WHERE p.model = {model} AND p.name = :prompt AND lower(p.value) = 'true')"
)
_NO_PROMPT: Final = {PROMPT_TAG: "false"}
_MODELS: Final[Sources] = {
    "attribute": {
        "name": Column("models.name", indexed=True),
        "creation_timestamp": _time("models.created_at"),
        "last_updated_timestamp": _time("models.updated_at"),
    },
    "tag": Pairs(table="model_tags", owner={"model": "models.name"}, key="name", value="value", defaults=_NO_PROMPT),
}
_VERSIONS: Final[Sources] = {
    "attribute": {
        "name": Column("model_versions.model", indexed=True),
        "version_number": Column("model_versions.version", number=True),
        "run_id": Column("model_versions.run"),
        "source_path": Column("model_versions.source"),
        "creation_timestamp": _time("model_versions.created_at"),
        "last_updated_timestamp": _time("model_versions.updated_at"),
    },
    "tag": Pairs(
        table="model_version_tags",
        owner={"model": "model_versions.model", "version": "model_versions.version"},
        key="name",
        value="value",
        defaults=_NO_PROMPT,
    ),
}
