"""MLflow's webhook events, made of the ledger's.

Names and fields are those of MLflow 3.17 (mlflow/webhooks/types.py). A model with the tag `mlflow.prompt.is_prompt` is
a prompt there. Where nothing changed (a tag set to the value it had) the ledger has no event, and nothing is sent; an
alias that goes away with its version is an event, where MLflow sends none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from interlock.core.errors import Invalid
from interlock.core.refs import parse
from interlock.registry.finding import PROMPT_TAG

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from interlock.core.events import Event
    from interlock.core.ports import Reader

Message = tuple[str, str, dict[str, Any]]

SOURCES: Final[Mapping[str, str]] = {
    "registered_model.created": "model.created",
    "model_version.created": "model_version.created",
    "model_version_tag.set": "model_version.updated",
    "model_version_tag.deleted": "model_version.updated",
    "model_version_alias.created": "alias.moved",
    "model_version_alias.deleted": "alias.moved",
    "prompt.created": "model.created",
    "prompt_version.created": "model_version.created",
    "prompt_tag.set": "model.updated",
    "prompt_tag.deleted": "model.updated",
    "prompt_version_tag.set": "model_version.updated",
    "prompt_version_tag.deleted": "model_version.updated",
    "prompt_alias.created": "alias.moved",
    "prompt_alias.deleted": "alias.moved",
    # MLflow's gateway has budgets; there are none here, so it is taken and never happens.
    "budget_policy.exceeded": "",
}
"""What each of MLflow's events is made of: a kind of the ledger's, or nothing."""

_TEXT: Final = "mlflow.prompt.text"
_OWN: Final = frozenset({PROMPT_TAG, "_mlflow_prompt_type"})


def body(entity: str, action: str, at: datetime, data: dict[str, Any]) -> dict[str, Any]:
    """Return a message's body."""
    return {"entity": entity, "action": action, "timestamp": at.isoformat(), "data": data}


def translate(reader: Reader, event: Event) -> list[Message]:
    """Return what an event of the ledger is for MLflow's webhooks: entity, action and data of each message.

    Cost: a few look-ups.
    """
    if event.data is None or event.kind not in _TRANSLATE:
        return []
    try:
        ref = parse(event.subject, "model")
    except Invalid:
        return []
    return _TRANSLATE[event.kind](reader, ref.name, ref.version or 0, event.data)


def is_prompt(reader: Reader, model: str) -> bool:
    """Return whether a model is a prompt."""
    row = reader.one("SELECT value FROM model_tags WHERE model = :m AND name = :n", {"m": model, "n": PROMPT_TAG})
    return row is not None and row["value"].lower() == "true"


def _model_created(_: Reader, name: str, __: int, data: dict[str, Any]) -> list[Message]:
    tags = data["tags"]
    prompt = tags.get(PROMPT_TAG, "").lower() == "true"
    kept = {key: value for key, value in tags.items() if not (prompt and key in _OWN)}
    entity = "prompt" if prompt else "registered_model"
    return [(entity, "created", {"name": name, "tags": kept, "description": data["description"]})]


def _model_updated(reader: Reader, name: str, _: int, data: dict[str, Any]) -> list[Message]:
    return _tags("prompt_tag", {"name": name}, data["changes"]) if is_prompt(reader, name) else []


def _version_created(reader: Reader, name: str, version: int, data: dict[str, Any]) -> list[Message]:
    tags, description = dict(data.get("tags", {})), data.get("description") or None  # early ledgers have neither
    told: dict[str, Any] = {"name": name, "version": str(version)}
    if is_prompt(reader, name):
        told["template"] = tags.pop(_TEXT, None)
        told["tags"] = {key: value for key, value in tags.items() if key not in _OWN}
        return [("prompt_version", "created", told | {"description": description})]
    run = data["run"].removeprefix("run:") or None
    return [
        (
            "model_version",
            "created",
            told | {"source": data["source"], "run_id": run, "tags": tags, "description": description},
        )
    ]


def _version_updated(reader: Reader, name: str, version: int, data: dict[str, Any]) -> list[Message]:
    entity = "prompt_version_tag" if is_prompt(reader, name) else "model_version_tag"
    return _tags(entity, {"name": name, "version": str(version)}, data["changes"])


def _alias_moved(reader: Reader, name: str, _: int, data: dict[str, Any]) -> list[Message]:
    entity = "prompt_alias" if is_prompt(reader, name) else "model_version_alias"
    told = {"name": name, "alias": data["alias"]}
    if not data["version"]:
        return [(entity, "deleted", told)]
    return [(entity, "created", told | {"version": str(data["version"])})]


def _tags(entity: str, about: dict[str, str], changes: dict[str, Any]) -> list[Message]:
    messages: list[Message] = [
        (entity, "set", about | {"key": key, "value": value}) for key, value in changes.get("tags", {}).items()
    ]
    return messages + [(entity, "deleted", about | {"key": key}) for key in changes.get("untagged", ())]


_TRANSLATE: Final = {
    "model.created": _model_created,
    "model.updated": _model_updated,
    "model_version.created": _version_created,
    "model_version.updated": _version_updated,
    "alias.moved": _alias_moved,
}

EXAMPLES: Final[Mapping[str, dict[str, Any]]] = {
    entity + action: {"name": "example", **fields}
    for entity, action, fields in (
        ("registered_model", ".created", {"tags": {"example_key": "example_value"}, "description": "An example"}),
        (
            "model_version",
            ".created",
            {
                "version": "1",
                "source": "models:/m-00000000000000000000000000000000",
                "run_id": "00000000000000000000000000000000",
                "tags": {"example_key": "example_value"},
                "description": "An example",
            },
        ),
        ("model_version_tag", ".set", {"version": "1", "key": "example_key", "value": "example_value"}),
        ("model_version_tag", ".deleted", {"version": "1", "key": "example_key"}),
        ("model_version_alias", ".created", {"alias": "example_alias", "version": "1"}),
        ("model_version_alias", ".deleted", {"alias": "example_alias"}),
        ("prompt", ".created", {"tags": {"example_key": "example_value"}, "description": "An example"}),
        (
            "prompt_version",
            ".created",
            {
                "version": "1",
                "template": "Hello {{name}}!",
                "tags": {"example_key": "example_value"},
                "description": "An example",
            },
        ),
        ("prompt_tag", ".set", {"key": "example_key", "value": "example_value"}),
        ("prompt_tag", ".deleted", {"key": "example_key"}),
        ("prompt_version_tag", ".set", {"version": "1", "key": "example_key", "value": "example_value"}),
        ("prompt_version_tag", ".deleted", {"version": "1", "key": "example_key"}),
        ("prompt_alias", ".created", {"alias": "example_alias", "version": "1"}),
        ("prompt_alias", ".deleted", {"alias": "example_alias"}),
    )
} | {
    "budget_policy.exceeded": {
        "budget_policy_id": "bp-example",
        "budget_unit": "USD",
        "budget_amount": 100.0,
        "current_spend": 101.5,
        "duration_unit": "MONTHS",
        "duration_value": 1,
        "target_scope": "ENDPOINT",
        "workspace": "default",
        "target_value": "ep-example",
        "window_start": 0,
    }
}
"""Made-up data of each event, for tests of a webhook."""
