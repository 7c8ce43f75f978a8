"""What each room keeps in columns of text or bytes: which of them name objects, and which do not.

A collection of garbage keeps what these columns name, and what that names in turn; the rest of the objects is garbage.
So whoever adds a column says here what it holds: while one is missing, nothing is collected (`undeclared`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from interlock.store.migrations import Migration


class Naming(msgspec.Struct, frozen=True):
    """A column that names objects.

    Attributes:
        kind: what these are, in reports.
        how: `records` where the value is the digest of a record of ours, which may name further objects, or ""; `files`
            where it is the digest of any bytes, or ""; `inside` where digests of any bytes stand anywhere in the value.
    """

    kind: str
    how: Literal["records", "files", "inside"] = "records"


class Table(msgspec.Struct, frozen=True):
    """The columns of text and bytes of one table.

    Attributes:
        key: its primary key, by which it is read page by page.
        names: the columns that name objects.
        plain: the columns that name none.
    """

    key: tuple[str, ...]
    names: Mapping[str, Naming] = {}
    plain: tuple[str, ...] = ()


def _table(key: str, plain: str, /, **names: Naming) -> Table:
    return Table(tuple(key.split()), names, tuple(plain.split()))


def _files(kind: str) -> Naming:
    return Naming(kind, "files")


def _inside(kind: str) -> Naming:
    return Naming(kind, "inside")


def _records(kind: str) -> Naming:
    return Naming(kind, "records")


_STORE: Final = {
    "ledger_entries": _table("idx", "kind subject actor entry"),
    # Which events are read, and which only tell of files that may be gone: see `EVENTS_OF_FILES`.
    "ledger_payloads": _table("idx", "hmac_key", payload=_inside("events")),
    "ledger_nodes": _table("level idx", "hash"),
    "ledger_checkpoints": _table("size", "root note"),
    "metric_segments": _table("run key first_step digest", "run key digest data"),
    "metric_latest": _table("run key", "run key experiment"),
    "metric_inbox": _table("run digest", "run digest data"),
}
_DATA: Final = {
    "datasets": _table("name", "name", declaration=_records("contracts"), contract=_records("contracts")),
    "dataset_versions": _table(
        "name version",
        "name",
        digest=_files("datasets"),
        profile=_records("profiles"),
        contract=_records("contracts"),
        record=_inside("datasets"),
    ),
}
_TRACK: Final = {
    "experiments": _table("id", "id name lifecycle"),
    "experiment_tags": _table("experiment name", "experiment name value"),
    "runs": _table(
        "id",
        "id experiment name status reason cause inputs lifecycle owner parent",
        code=_records("code"),
        environment=_records("environments"),
        log=_files("logs"),
    ),
    "run_params": _table("run name", "run name value"),
    "run_tags": _table("run name", "run name", value=_inside("models")),  # a pipeline's run names its bundle so
    "run_deliveries": _table("run writer number", "run writer"),
    "run_log_parts": _table("run position", "run text"),
    "run_links": _table("run kind name digest", "run kind name digest context tags"),
    "artifacts": _table("owner path", "owner path", digest=_files("artifacts")),
    "seen_datasets": _table("experiment name digest", "experiment name digest record"),
    "logged_models": _table("id", "id experiment name type run status status_message lifecycle"),
    "logged_model_params": _table("model name", "model name value"),
    "logged_model_tags": _table("model name", "model name value"),
    "logged_model_metrics": _table(
        "model key dataset_name dataset_digest run step at", "model key dataset_name dataset_digest run"
    ),
    "traces": _table("id", "id experiment name state client_request_id request_preview response_preview"),
    "trace_tags": _table("trace name", "trace name value"),
    "trace_metadata": _table("trace name", "trace name value"),
    "trace_spans": _table("trace position", "trace digest data"),
    "trace_span_kinds": _table("trace name type status", "trace name type status"),
    "trace_span_values": _table("trace name value", "trace name value"),
    "trace_links": _table("trace kind name", "trace kind name"),
    "trace_assessments": _table("trace id", "trace id kind name text record"),
}
_REGISTRY: Final = {
    "models": _table("name", "name description owner"),
    "model_versions": _table(
        "model version",
        "model run data stage stage_reason description owner status status_reason source location run_link origin"
        " mlflow_stage format format_reason",
        bundle=_records("models"),
        pins=_records("pins"),
    ),
    "model_aliases": _table("model alias", "model alias"),
    "model_tags": _table("model name", "model name value"),
    "model_version_tags": _table("model version name", "model name value"),
    "model_version_params": _table("model version name", "model name value"),
    "model_version_metrics": _table("model version key", "model key"),
    "model_version_features": _table("model version name", "model name type"),
    "model_version_data": _table("model version name number", "model name"),
    "model_guards": _table("model", "model"),
    "model_former_names": _table("name last", "name now"),
}
_AUDIT: Final = {
    "gate_reports": _table("model version made_at", "model", report=_records("reports"), policy=_records("policies")),
    "approvals": _table(
        "model version actor",
        "model actor note",
        bundle=_records("models"),
        report=_records("reports"),
        policy=_records("policies"),
    ),
    "waivers": _table("model version gate", "model gate actor reason"),
}
_DEPLOY: Final = {
    "deployments": _table("name", "name state url", spec=_records("deployments")),
    "deployment_revisions": _table("name revision", "name reason warnings", spec=_records("deployments")),
}
_MONITOR: Final = {
    "monitors": _table("name", "name model episode", plan=_records("monitors"), reference=_records("monitors")),
    "monitor_windows": _table("monitor starts_at model", "monitor model severity verdict", report=_records("reports")),
    "label_batches": _table("monitor digest", "monitor", digest=_files("labels")),
    "label_bodies": _table("id", "deployment caller_key digest actor source answer", file=_files("labels")),
    "labels": _table("body position", "deployment about label_id kind class"),
}
_LOOP: Final = {
    "jobs": _table("id", "id kind args cause state worker reason"),
    "trigger_cursors": _table("name", "name"),
    "applied": _table("name", "name", digest=_records("policies")),
}
_TRAIN: Final = {
    "step_results": _table(
        "key",
        "key step run seal said_seal parts",
        output=_records("step results"),
        tree=_inside("step results"),
        said=_inside("step results"),
    ),
    "run_steps": _table("run position", "run step key state reason error result", output=_records("step results")),
}
_BRIDGES: Final = {
    "webhooks": _table("id", "id face name description url events status secret"),
    "webhook_outbox": _table("name", "name"),
    "webhook_deliveries": _table("seq", "id webhook kind body state error"),
    "webhook_attempts": _table("delivery number", "delivery error"),
}
TABLES: Final[Mapping[str, Table]] = {
    **_REGISTRY,
    **_DATA,
    **_AUDIT,
    **_DEPLOY,
    **_MONITOR,
    **_TRACK,
    **_TRAIN,
    **_LOOP,
    **_STORE,
    **_BRIDGES,
}
"""Every table by name. An object that several columns name is counted with the first of them in this order."""

EVENTS_OF_FILES: Final = (
    "run.artifact_logged",
    "logged_model.artifact_logged",
    "trace.artifact_logged",
)
"""Events that name files whose owner may have taken them away since; the tables say which are still there."""

_COLUMN: Final = re.compile(r"(\w+) (TEXT|BYTEA|BIGINT|DOUBLE PRECISION)\b")
_CHANGE: Final = re.compile(r"ALTER TABLE (\w+) (ADD COLUMN|DROP COLUMN|RENAME COLUMN|RENAME TO) (\w+)(?: TO (\w+))?")
_OPAQUE: Final = frozenset({"TEXT", "BYTEA"})


def columns(steps: Iterable[Migration]) -> dict[str, set[str]]:
    """Return the columns of text and bytes of every table, as migrations in their order leave them.

    Raises:
        ValueError: a statement about a table is not written the way that ours are.
    """
    found: dict[str, dict[str, str]] = {}
    for statement in (statement for step in steps for statement in step.statements):
        words = statement.split()
        if words[:2] == ["CREATE", "TABLE"]:
            body = statement[statement.index("(") + 1 : statement.rindex(")")]
            parts = [part.strip() for part in re.split(r",(?![^()]*\))", body)]
            found[words[2]] = dict(_column(part) for part in parts if not part.startswith("PRIMARY KEY"))
        elif words[:2] == ["DROP", "TABLE"]:
            del found[words[2]]
        elif words[:2] == ["ALTER", "TABLE"]:
            _alter(found, statement)
    return {table: {name for name, kind in held.items() if kind in _OPAQUE} for table, held in found.items()}


def undeclared(steps: Iterable[Migration]) -> list[str]:
    """Return the columns, as `table.column`, of which `TABLES` does not say what they hold, or which there are not."""
    there = {(table, column) for table, held in columns(steps).items() for column in held}
    told = {(name, column) for name, table in TABLES.items() for column in (*table.names, *table.plain)}
    return sorted(f"{table}.{column}" for table, column in there ^ told)


def _alter(found: dict[str, dict[str, str]], statement: str) -> None:
    match = _CHANGE.match(statement)
    if match is None:
        raise ValueError(f"what does this change: {statement}")
    table, change, name, to = match.groups()
    if change == "RENAME TO":
        found[name] = found.pop(table)
    elif change == "RENAME COLUMN":
        found[table][to] = found[table].pop(name)
    elif change == "DROP COLUMN":
        del found[table][name]
    else:
        found[table].update([_column(statement.partition(" ADD COLUMN ")[2])])


def _column(text: str) -> tuple[str, str]:
    match = _COLUMN.match(text)
    if match is None:
        raise ValueError(f"what is this column: {text}")
    return match[1], match[2]
