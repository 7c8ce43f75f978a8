"""Searches of experiments, runs and logged models: where their fields rest, and pages of what matches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from interlock.core.errors import Invalid
from interlock.store.search import (
    EXPERIMENTS,
    LOGGED_MODELS,
    RUNS,
    And,
    Column,
    Comparison,
    Not,
    Or,
    OrderTerm,
    Pairs,
    Rows,
    Search,
    Target,
    complete_order,
    order_term,
    parse_filter,
    parse_order,
    plan_page,
    read_page,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.store.search import Entity, Node, Page, Sources
    from interlock.track.tracker import Tracker

View = Literal["active", "deleted", "all"]
_EXACT: Final = frozenset({"=", "!=", "IN", "NOT IN"})
_MICROS: Final = 1000  # in a millisecond, which users and protocols count in


class Query(msgspec.Struct, frozen=True):
    """A search as a caller writes it.

    Attributes:
        filter: such as `metrics.auc > 0.8 and tags.kind = 'tree'`.
        order_by: such as `metrics.auc DESC`.
        view: whether active or deleted ones are searched, or all.
        limit: how many a page has at most.
        page_token: where the page begins: what the last page came with, or "".
    """

    filter: str = ""
    order_by: tuple[str, ...] = ()
    view: View = "active"
    limit: int = 100
    page_token: str = ""


def search_runs(tracker: Tracker, experiments: Sequence[str], query: Query) -> Page:
    """Return the ids of runs of some experiments, page by page.

    Cost: for an order by a metric or by time, what is met in an index until the page is full, whichever page it is.

    Raises:
        Invalid: the filter, the order or the token is not sound.
    """
    tracker.metrics.fold_all(experiments)
    target = Target(
        table="runs",
        identity=("id",),
        where=_where("runs", query.view),
        partition="runs.experiment",
        partitions=tuple(dict.fromkeys(experiments)),
    )
    node, order = _filter(query.filter, RUNS), complete_order(parse_order(query.order_by, RUNS), RUNS)
    search = Search(filter=node, order=order, target=target, sources=_RUNS)
    return read_page(tracker.store.database, plan_page(search, query.limit, query.page_token))


def search_experiments(tracker: Tracker, query: Query) -> Page:
    """Return the ids of experiments, page by page.

    Raises:
        Invalid: the filter, the order or the token is not sound.
    """
    target = Target(table="experiments", identity=("id",), where=_where("experiments", query.view))
    node = parse_filter(query.filter, EXPERIMENTS)
    order = complete_order(parse_order(query.order_by, EXPERIMENTS), EXPERIMENTS)
    search = Search(filter=node, order=order, target=target, sources=_EXPERIMENTS)
    return read_page(tracker.store.database, plan_page(search, query.limit, query.page_token))


class ModelOrder(msgspec.Struct, frozen=True):
    """A term of an order of logged models: a field or a metric, on a dataset if it names one."""

    field_name: str
    ascending: bool = True
    dataset_name: str = ""
    dataset_digest: str = ""


def search_logged_models(
    tracker: Tracker,
    experiments: Sequence[str],
    query: Query,
    order: Sequence[ModelOrder] = (),
    datasets: Sequence[tuple[str, str]] = (),
) -> Page:
    """Return the ids of logged models of some experiments, page by page.

    Args:
        tracker: the workspace's tracking.
        experiments: whose models are searched.
        query: the search.
        order: terms of an order that come first.
        datasets: names and digests: metrics in the filter count on these only, where there are any.

    Raises:
        Invalid: the filter, the order or the token is not sound.
    """
    target = Target(
        table="logged_models",
        identity=("id",),
        where=_where("logged_models", query.view),
        partition="logged_models.experiment",
        partitions=tuple(dict.fromkeys(experiments)),
    )
    terms = (*(_model_term(term) for term in order), *parse_order(query.order_by, LOGGED_MODELS))
    named = {(term.dataset_name, term.dataset_digest) for term in order if term.dataset_name or term.dataset_digest}
    if len(named) > 1:
        raise Invalid("An order of logged models names at most one dataset.", about="search")
    sources = _logged_models([*datasets, *named])
    search = Search(
        filter=_filter(query.filter, LOGGED_MODELS),
        order=complete_order(terms, LOGGED_MODELS),
        target=target,
        sources=sources,
    )
    return read_page(tracker.store.database, plan_page(search, query.limit, query.page_token))


def _model_term(term: ModelOrder) -> OrderTerm:
    return order_term(term.field_name, LOGGED_MODELS, descending=not term.ascending)


def _filter(text: str, entity: Entity) -> Node:
    """Return what a filter says; a status may be written in small letters, as our own commands show it."""
    return _capitals(parse_filter(text, entity))


def _capitals(node: Node) -> Node:
    if isinstance(node, Not):
        return Not(_capitals(node.part))
    if isinstance(node, And | Or):
        return type(node)(tuple(map(_capitals, node.parts)))
    if (node.field.family, node.field.key) != ("attribute", "status") or node.op not in _EXACT:
        return node
    value = node.value
    if isinstance(value, str):
        return Comparison(node.field, node.op, value.upper())
    return Comparison(node.field, node.op, tuple(map(str.upper, value))) if isinstance(value, tuple) else node


def _where(table: str, view: View) -> str:
    return "" if view == "all" else f"{table}.lifecycle = '{view}'"


def _pairs(table: str, owner: str, owned: str, *, indexed: bool = False) -> Pairs:
    return Pairs(table=table, owner={owner: owned}, key="name", value="value", indexed=indexed)


def _time(sql: str, *, nullable: bool = False, indexed: bool = False) -> Column:
    return Column(sql, number=True, scale=_MICROS, nullable=nullable, indexed=indexed)


_LINK: Final[dict[str, Any]] = {
    "table": "run_links",
    "owner": {"run": "runs.id"},
    "columns": {
        "name": Column("run_links.name"),
        "digest": Column("run_links.digest"),
        "context": Column("run_links.context"),
    },
    "where": "run_links.kind = 'dataset'",
}
_RUNS: Final[Sources] = {
    "attribute": {
        "run_id": Column("runs.id", indexed=True),
        "run_name": Column("runs.name"),
        "status": Column("upper(runs.status)"),
        "user_id": Column("runs.owner"),
        "artifact_uri": Column("'mlflow-artifacts:/' || runs.experiment || '/' || runs.id || '/artifacts'"),
        "start_time": _time("runs.started_at", indexed=True),
        "end_time": _time("runs.ended_at", nullable=True),
    },
    "metric": Pairs(
        table="metric_latest",
        owner={"run": "runs.id"},
        key="key",
        value="value",
        number=True,
        indexed=True,
        partition="experiment",
    ),
    "param": _pairs("run_params", "run", "runs.id", indexed=True),
    "tag": _pairs("run_tags", "run", "runs.id", indexed=True),
    "dataset": Rows(**_LINK),
}
_EXPERIMENTS: Final[Sources] = {
    "attribute": {
        "name": Column("experiments.name", indexed=True),
        "experiment_id": Column("experiments.id", indexed=True),
        "creation_time": _time("experiments.created_at"),
        "last_update_time": _time("experiments.updated_at"),
    },
    "tag": _pairs("experiment_tags", "experiment", "experiments.id"),
}


def _logged_models(datasets: Sequence[tuple[str, str]]) -> Sources:
    """Return where the fields of logged models rest; metrics on some datasets only, if any are named."""
    values: dict[str, str] = {}
    choices = []
    for number, (name, digest) in enumerate(datasets):
        terms = []
        for column, value in (("dataset_name", name), ("dataset_digest", digest)):
            if value:
                values[f"{column}{number}"] = value
                terms.append(f"logged_model_metrics.{column} = :{column}{number}")
        choices.append(" AND ".join(terms) or "1 = 1")
    return {
        "attribute": {
            "name": Column("logged_models.name"),
            "model_id": Column("logged_models.id", indexed=True),
            "model_type": Column("logged_models.type"),
            "status": Column("upper(logged_models.status)"),
            "source_run_id": Column("logged_models.run"),
            "experiment_id": Column("logged_models.experiment"),
            "creation_timestamp": _time("logged_models.created_at", indexed=True),
            "last_updated_timestamp": _time("logged_models.updated_at"),
        },
        "metric": Pairs(
            table="logged_model_metrics",
            owner={"model": "logged_models.id"},
            key="key",
            value="value",
            number=True,
            newest="logged_model_metrics.at DESC, logged_model_metrics.step DESC, logged_model_metrics.run",
            where=f"({' OR '.join(choices)})" if choices else "",
            values=values,
        ),
        "param": _pairs("logged_model_params", "model", "logged_models.id"),
        "tag": _pairs("logged_model_tags", "model", "logged_models.id"),
    }
