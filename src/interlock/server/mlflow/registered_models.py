"""Registered models on the wire, and their aliases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.core.clock import to_micros
from interlock.core.operations import Permission
from interlock.core.refs import LATEST
from interlock.server.mlflow import checks
from interlock.server.mlflow.adapter import Adapter, present, tag_list
from interlock.server.mlflow.experiments import Tag
from interlock.server.mlflow.routing import route
from interlock.server.mlflow.versions import check_stage, shown_version
from interlock.server.mlflow.wire import invalid

if TYPE_CHECKING:
    from datetime import datetime

    from interlock.registry.records import Model, ModelVersion

READ, WRITE = Permission.REGISTRY_READ, Permission.REGISTRY_WRITE
_TAG_VALUE: Final = 100_000


class Create(msgspec.Struct):
    """A model to be made."""

    name: str = ""
    description: str = ""
    tags: list[Tag] = []


class Name(msgspec.Struct):
    """Names a model."""

    name: str = ""


class Rename(Name):
    """A new name."""

    new_name: str = ""


class Describe(Name):
    """A new description."""

    description: str = ""


class SetTag(Name):
    """A tag of a model."""

    key: str = ""
    value: str = ""


class Alias(Name):
    """Names an alias of a model."""

    alias: str = ""


class SetAlias(Alias):
    """Where an alias points."""

    version: str = ""


class LatestVersions(Name):
    """Asks for the newest version under each stage."""

    stages: list[str] = []


@route("POST", "registered-models/create", WRITE)
def create(adapter: Adapter, ask: Create) -> dict[str, Any]:
    """Make a model."""
    checks.required(name=ask.name)
    for tag in ask.tags:
        check_registry_tag(tag.key, tag.value)
    tags = {tag.key: tag.value for tag in ask.tags}
    made = adapter.database.write(
        lambda tx: adapter.registry.models.create(tx, ask.name, description=ask.description, tags=tags)
    )
    return {"registered_model": shown_models(adapter, [made])[0]}


@route("GET", "registered-models/get", READ)
def get(adapter: Adapter, ask: Name) -> dict[str, Any]:
    """Show a model."""
    checks.required(name=ask.name)
    return _answer(adapter, ask.name)


@route("POST", "registered-models/rename", WRITE)
def rename(adapter: Adapter, ask: Rename) -> dict[str, Any]:
    """Rename a model."""
    checks.required(name=ask.name, new_name=ask.new_name)
    adapter.database.write(lambda tx: adapter.registry.models.rename(tx, ask.name, ask.new_name))
    return _answer(adapter, ask.new_name)


@route("PATCH", "registered-models/update", WRITE)
def describe(adapter: Adapter, ask: Describe) -> dict[str, Any]:
    """Describe a model."""
    checks.required(name=ask.name)
    adapter.database.write(lambda tx: adapter.registry.models.describe(tx, ask.name, description=ask.description))
    return _answer(adapter, ask.name)


@route("DELETE", "registered-models/delete", WRITE)
def delete(adapter: Adapter, ask: Name) -> None:
    """Put a model and its versions away; its name may be used again, its version numbers are not."""
    checks.required(name=ask.name)
    adapter.database.write(lambda tx: adapter.registry.models.archive(tx, ask.name, "deleted by a client"))


@route("POST", "registered-models/set-tag", WRITE)
def set_tag(adapter: Adapter, ask: SetTag) -> None:
    """Tag a model."""
    checks.required(name=ask.name, key=ask.key)
    check_registry_tag(ask.key, ask.value)
    adapter.database.write(lambda tx: adapter.registry.models.tag(tx, ask.name, {ask.key: ask.value}))


@route("DELETE", "registered-models/delete-tag", WRITE)
def delete_tag(adapter: Adapter, ask: SetTag) -> None:
    """Take a tag of a model away."""
    checks.required(name=ask.name, key=ask.key)
    adapter.database.write(lambda tx: adapter.registry.models.untag(tx, ask.name, [ask.key]))


@route("POST", "registered-models/alias", WRITE)
def set_alias(adapter: Adapter, ask: SetAlias) -> None:
    """Point an alias to a version."""
    checks.required(name=ask.name, alias=ask.alias, version=ask.version)
    number = checks.version_number(ask.version)
    adapter.database.write(lambda tx: adapter.registry.aliases.set(tx, ask.name, ask.alias, number))


@route("DELETE", "registered-models/alias", WRITE)
def delete_alias(adapter: Adapter, ask: Alias) -> None:
    """Take an alias away."""
    checks.required(name=ask.name, alias=ask.alias)
    adapter.database.write(lambda tx: adapter.registry.aliases.delete(tx, ask.name, ask.alias))


@route("GET", "registered-models/alias", READ)
def get_alias(adapter: Adapter, ask: Alias) -> dict[str, Any]:
    """Show the version that an alias points to."""
    checks.required(name=ask.name, alias=ask.alias)
    if ask.alias == LATEST:  # no alias that anybody can set: it always means the newest
        adapter.registry.models.get(adapter.database, ask.name)
        newest = adapter.registry.versions.newest(adapter.database, ask.name)
        if newest is not None:
            return {"model_version": shown_version(newest)}
    return {"model_version": shown_version(adapter.registry.aliases.get(adapter.database, ask.name, ask.alias))}


def latest_versions(adapter: Adapter, ask: LatestVersions) -> dict[str, Any]:
    """Show the newest version under each stage."""
    checks.required(name=ask.name)
    adapter.registry.models.get(adapter.database, ask.name)
    newest = adapter.registry.versions.newest_by_mlflow_stage(adapter.database, [ask.name]).get(ask.name, [])
    for stage in ask.stages:
        check_stage(stage)
    wanted = {stage.lower() for stage in ask.stages}
    found = [version for version in newest if not wanted or version.mlflow_stage.lower() in wanted]
    return {"model_versions": [shown_version(version) for version in found]}


route("GET", "registered-models/get-latest-versions", READ)(latest_versions)
route("POST", "registered-models/get-latest-versions", READ)(latest_versions)


def check_registry_tag(key: str, value: str) -> None:
    """Accept a tag of the registry.

    Raises:
        Refused: its key or value is too long.
    """
    checks.key(key, "Tag")
    if len(value) > _TAG_VALUE:
        raise invalid(f"'value' exceeds the maximum length of {_TAG_VALUE} characters.")


def _answer(adapter: Adapter, name: str) -> dict[str, Any]:
    return {"registered_model": shown_models(adapter, [adapter.registry.models.get(adapter.database, name)])[0]}


def shown_models(adapter: Adapter, models: list[Model]) -> list[dict[str, Any]]:
    """Return models as the protocol has them, their newest versions with them."""
    newest = adapter.registry.versions.newest_by_mlflow_stage(adapter.database, [model.name for model in models])
    return [_shown(model, newest.get(model.name, [])) for model in models]


def _shown(model: Model, newest: list[ModelVersion]) -> dict[str, Any]:
    return present(
        name=model.name,
        creation_timestamp=instant(model.created_at),
        last_updated_timestamp=instant(model.updated_at or model.created_at),
        user_id=model.owner,
        description=model.description,
        latest_versions=[shown_version(version) for version in newest],
        tags=tag_list(model.tags),
        aliases=[{"alias": alias, "version": str(version)} for alias, version in sorted(model.aliases.items())],
    )


def instant(at: datetime) -> int:
    """Return an instant as the protocol has it: milliseconds since 1970 UTC."""
    return to_micros(at) // 1000
