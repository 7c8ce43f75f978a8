"""Searches of models and versions in the one grammar: where their fields rest, and pages of what matches.

What is asked of a model's versions matches when one live version has all of it: `metrics.auc > 0.8 AND feature = 'age'`
is one version that is that good and takes that column.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.registry.facts import complete
from interlock.store.search import (
    MODEL_VERSIONS,
    REGISTERED_MODELS,
    Column,
    Pairs,
    Rows,
    Search,
    Target,
    Within,
    comparisons,
    complete_order,
    parse_filter,
    parse_order,
    plan_page,
    read_page,
)

if TYPE_CHECKING:
    from interlock.store import Store
    from interlock.store.search import Entity, Node, Page, Sources

PROMPT_TAG: Final = "mlflow.prompt.is_prompt"
_MICROS: Final = 1000


class Wanted(msgspec.Struct, frozen=True):
    """A search as a caller writes it.

    Attributes:
        filter: such as `metrics.auc > 0.8 and stage = 'approved'`.
        order_by: such as `metrics.auc DESC`.
        limit: how many a page has at most.
        page_token: where the page begins: what the last page came with, or "".
        archived: whether those are searched that were put away, and not the live ones.
    """

    filter: str = ""
    order_by: tuple[str, ...] = ()
    limit: int = 100
    page_token: str = ""
    archived: bool = False


def page_of_models(store: Store, wanted: Wanted) -> Page:
    """Return the names of models that match; prompts only where the filter asks for their tag.

    Raises:
        Invalid: the filter, the order or the token is not sound.
    """
    return _page(store, wanted, REGISTERED_MODELS, "models", _models(archived=wanted.archived))


def page_of_versions(store: Store, wanted: Wanted) -> Page:
    """Return the models and numbers of versions that match; prompts' only where the filter asks for their tag.

    Raises:
        Invalid: the filter, the order or the token is not sound.

    Cost: what is met in an index until the page is full, whichever page it is; for an order by a param, and for what
    was put away by most orders, a look at each version.
    """
    return _page(store, wanted, MODEL_VERSIONS, "model_versions", _VERSIONS)


def _page(store: Store, wanted: Wanted, entity: Entity, table: str, sources: Sources) -> Page:
    node = parse_filter(wanted.filter, entity)
    order = complete_order(parse_order(wanted.order_by, entity), entity)
    key = _KEYS[table]
    hidden = "" if _names_prompts(node) else f" AND NOT {_PROMPT.format(model=f'{table}.{key[0]}')}"
    target = Target(
        table=table,
        identity=key,
        where=f"{table}.archived_at IS {'NOT NULL' if wanted.archived else 'NULL'}{hidden}",
        values={"prompt": PROMPT_TAG},
    )
    search = Search(filter=node, order=order, target=target, sources=sources)
    plan = plan_page(search, wanted.limit, wanted.page_token)
    complete(store)
    return read_page(store.database, plan)


def _names_prompts(node: Node) -> bool:
    """Return whether a filter asks for prompts; clients add `!= 'true'` to each search of models."""
    return any(
        (part.field.family, part.field.key, part.op) == ("tag", PROMPT_TAG, "=") and str(part.value).lower() == "true"
        for part in comparisons(node)
    )


def _time(sql: str, *, indexed: bool = False) -> Column:
    return Column(sql, number=True, scale=_MICROS, indexed=indexed, ordered=True)


def _of_version(table: str, **columns: Column) -> Rows:
    """Return rows of a table that belong to a version."""
    return Rows(table=table, owner=_OWNER, columns=columns)


_KEYS: Final = {"models": ("name",), "model_versions": ("model", "version")}
_PROMPT: Final = (
    "EXISTS (SELECT 1 FROM model_tags p WHERE p.model = {model} AND p.name = :prompt AND lower(p.value) = 'true')"
)
_NO_PROMPT: Final = {PROMPT_TAG: "false"}
_OWNER: Final = {"model": "model_versions.model", "version": "model_versions.version"}
_ALIASES: Final = _of_version("model_aliases", alias=Column("model_aliases.alias"))
_FEATURES: Final = _of_version("model_version_features", feature=Column("model_version_features.name"))
_DATA: Final = Rows(
    table="model_version_data",
    owner=_OWNER,
    columns={
        "name": Column("model_version_data.name"),
        "version": Column("model_version_data.number", number=True),
    },
    together=True,
)
_PARAMS: Final = Pairs(table="model_version_params", owner=_OWNER, key="name", value="value")
_METRICS: Final = Pairs(
    table="model_version_metrics", owner=_OWNER, key="key", value="value", number=True, indexed=True
)
_PLAIN: Final = {name: Column(f"model_versions.{name}") for name in ("stage", "format", "mlflow_stage")}
_VERSIONS: Final[Sources] = {
    "attribute": {
        "name": Column("model_versions.model", indexed=True, ordered=True),
        "version_number": Column("model_versions.version", number=True, ordered=True),
        "run_id": Column("model_versions.run"),
        "source_path": Column("model_versions.source"),
        "status": Column("model_versions.status"),
        "creation_timestamp": _time("model_versions.created_at", indexed=True),
        "last_updated_timestamp": _time("model_versions.updated_at", indexed=True),
        "owner": Column("model_versions.owner"),
        "description": Column("model_versions.description"),
        **_PLAIN,
        "alias": _ALIASES,
        "feature": _FEATURES,
    },
    "tag": Pairs(table="model_version_tags", owner=_OWNER, key="name", value="value", defaults=_NO_PROMPT),
    "metric": _METRICS,
    "param": _PARAMS,
    "dataset": _DATA,
}


def _models(*, archived: bool) -> Sources:
    """Return where the fields of models rest; those of versions in the live ones, or in all of an archived model."""
    versions: dict[str, Any] = {
        "table": "model_versions",
        "owner": {"model": "models.name"},
        "where": "" if archived else "model_versions.archived_at IS NULL",
        "together": True,
    }
    one = Rows(**versions, columns=_PLAIN)
    return {
        "attribute": {
            "name": Column("models.name", indexed=True, ordered=True),
            "creation_timestamp": _time("models.created_at"),
            "last_updated_timestamp": _time("models.updated_at"),
            "owner": Column("models.owner"),
            "description": Column("models.description"),
            **dict.fromkeys(_PLAIN, one),
            "alias": Within(one, _ALIASES),
            "feature": Within(one, _FEATURES),
        },
        "tag": Pairs(
            table="model_tags", owner={"model": "models.name"}, key="name", value="value", defaults=_NO_PROMPT
        ),
        "metric": Within(one, _METRICS),
        "param": Within(one, _PARAMS),
        "dataset": Within(one, _DATA),
    }
