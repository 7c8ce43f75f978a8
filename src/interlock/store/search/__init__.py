"""Search: MLflow's grammar for filters and orders, and the SQL of one page at a time.

    node = parse_filter("metrics.acc > 0.9 AND (params.model = 'tree' OR NOT tags.draft = 'yes')", RUNS)
    terms = complete_order(parse_order(["metrics.loss ASC"], RUNS), RUNS)
    plan = plan_page(Search(filter=node, order=terms, target=target, sources=sources), limit=100, token=token)
    page = read_page(reader, plan)

`entities` says which names there are, `sources` how a room tells where they rest, `syntax` what a parsed filter is.
"""

from __future__ import annotations

from interlock.store.search.dialects import POSTGRES, SQLITE, Dialect
from interlock.store.search.entities import (
    ENTITIES,
    EXPERIMENTS,
    LOGGED_MODELS,
    MODEL_VERSIONS,
    REGISTERED_MODELS,
    RUNS,
    TRACES,
    Entity,
)
from interlock.store.search.filters import compile_filter
from interlock.store.search.parse import complete_order, order_term, parse_filter, parse_order
from interlock.store.search.plan import Plan, Search, Target, plan_page
from interlock.store.search.printing import format_filter, format_order
from interlock.store.search.reading import Page, read_checked, read_page
from interlock.store.search.sources import Column, Pairs, Rows, Sources, Sql, Within
from interlock.store.search.syntax import (
    EVERYTHING,
    And,
    Comparison,
    Field,
    Node,
    Not,
    Or,
    OrderTerm,
    both,
    comparisons,
    either,
)

__all__ = [
    "ENTITIES",
    "EVERYTHING",
    "EXPERIMENTS",
    "LOGGED_MODELS",
    "MODEL_VERSIONS",
    "POSTGRES",
    "REGISTERED_MODELS",
    "RUNS",
    "SQLITE",
    "TRACES",
    "And",
    "Column",
    "Comparison",
    "Dialect",
    "Entity",
    "Field",
    "Node",
    "Not",
    "Or",
    "OrderTerm",
    "Page",
    "Pairs",
    "Plan",
    "Rows",
    "Search",
    "Sources",
    "Sql",
    "Target",
    "Within",
    "both",
    "comparisons",
    "compile_filter",
    "complete_order",
    "either",
    "format_filter",
    "format_order",
    "order_term",
    "parse_filter",
    "parse_order",
    "plan_page",
    "read_checked",
    "read_page",
]
