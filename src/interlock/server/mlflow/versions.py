"""Model versions on the wire.

A version pins the bytes of its files when it is made: what clients download is read from that pin, so that a file which
a run replaces later does not change a version. Sources outside the server are kept as texts, *unpinned*.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote

import msgspec

from interlock.core.clock import to_micros
from interlock.core.errors import NotFound
from interlock.core.operations import Permission
from interlock.core.refs import parse
from interlock.registry.finding import PROMPT_TAG
from interlock.registry.pins import read as read_pins
from interlock.registry.records import MLFLOW_STAGES
from interlock.registry.tags import check_tags
from interlock.server.mlflow import checks
from interlock.server.mlflow.adapter import ROOT, Adapter, present, tag_list
from interlock.server.mlflow.artifacts import Owner, all_files, find_owner
from interlock.server.mlflow.experiments import Tag
from interlock.server.mlflow.routing import route
from interlock.server.mlflow.wire import invalid, number
from interlock.store.manifests import Entry, put_entries
from interlock.track.logged_models import model_row
from interlock.track.runs import run_row

if TYPE_CHECKING:
    from interlock.registry.records import ModelVersion

READ, WRITE = Permission.REGISTRY_READ, Permission.REGISTRY_WRITE
_HOST: Final = re.compile(r"\A//[^/]*")


class Create(msgspec.Struct):
    """A version to be made."""

    name: str = ""
    source: str = ""
    run_id: str = ""
    run_link: str = ""
    description: str = ""
    model_id: str = ""
    tags: list[Tag] = []


class VersionId(msgspec.Struct):
    """Names a version."""

    name: str = ""
    version: str = ""

    @property
    def number(self) -> int:
        """The version's number.

        Raises:
            Refused: it is none.
        """
        checks.required(name=self.name, version=self.version)
        return checks.version_number(self.version)


class Describe(VersionId):
    """A new description."""

    description: str = ""


class SetTag(VersionId):
    """A tag of a version."""

    key: str = ""
    value: str = ""


class Transition(VersionId):
    """A new stage, as the protocol has it."""

    stage: str = ""
    archive_existing_versions: bool = False


@route("POST", "model-versions/create", WRITE)
def create(adapter: Adapter, ask: Create) -> dict[str, Any]:
    """Make the next version of a model."""
    checks.required(name=ask.name, source=ask.source)
    adapter.registry.models.get(adapter.database, ask.name)
    # A prompt has no files: its text is a tag, and its source the word 'dummy-source'.
    prompt = "/" not in ask.source and any(tag.key == PROMPT_TAG for tag in ask.tags)
    for tag in ask.tags:
        checks.key(tag.key, "Tag")
    check_tags({tag.key: tag.value for tag in ask.tags})
    if ask.run_id:
        run_row(adapter.database, ask.run_id)
    bundle, run, origin = ("", "", "") if prompt else resolve(adapter, ask.source)  # which keeps a manifest
    draft = adapter.registry.versions.draft(
        ask.name,
        source=ask.source,
        location="" if bundle else ask.source,
        bundle=bundle,
        run=ask.run_id or run,
        origin=ask.model_id or origin,
        run_link=ask.run_link,
        description=ask.description,
        tags={tag.key: tag.value for tag in ask.tags},
    )
    made = adapter.database.write(lambda tx: adapter.registry.versions.create(tx, draft))
    return {"model_version": shown_version(made, adapter)}


@route("GET", "model-versions/get", READ)
def get(adapter: Adapter, ask: VersionId) -> dict[str, Any]:
    """Show a version."""
    return {"model_version": shown_version(_version(adapter, ask), adapter)}


@route("GET", "model-versions/get-download-uri", READ)
def download_uri(adapter: Adapter, ask: VersionId) -> dict[str, Any]:
    """Answer where a version's files are."""
    return {"artifact_uri": files_uri(_version(adapter, ask))}


@route("PATCH", "model-versions/update", WRITE)
def describe(adapter: Adapter, ask: Describe) -> dict[str, Any]:
    """Describe a version."""
    number_ = ask.number
    made = adapter.database.write(
        lambda tx: adapter.registry.versions.describe(tx, ask.name, number_, description=ask.description)
    )
    return {"model_version": shown_version(made)}


@route("DELETE", "model-versions/delete", WRITE)
def delete(adapter: Adapter, ask: VersionId) -> None:
    """Put a version away; its number is never given again."""
    number_ = ask.number
    adapter.database.write(lambda tx: adapter.registry.versions.archive(tx, ask.name, number_, "deleted by a client"))


@route("POST", "model-versions/set-tag", WRITE)
def set_tag(adapter: Adapter, ask: SetTag) -> None:
    """Tag a version."""
    number_ = ask.number
    checks.key(ask.key, "Tag")
    adapter.database.write(lambda tx: adapter.registry.versions.tag(tx, ask.name, number_, {ask.key: ask.value}))


@route("DELETE", "model-versions/delete-tag", WRITE)
def delete_tag(adapter: Adapter, ask: SetTag) -> None:
    """Take a tag of a version away."""
    number_ = ask.number
    adapter.database.write(lambda tx: adapter.registry.versions.untag(tx, ask.name, number_, [ask.key]))


@route("POST", "model-versions/transition-stage", WRITE)
def transition(adapter: Adapter, ask: Transition) -> dict[str, Any]:
    """Give a version another of the protocol's stages; it has no consequence for what is deployed."""
    number_ = ask.number
    checks.required(stage=ask.stage)
    stage = check_stage(ask.stage)
    made = adapter.database.write(
        lambda tx: adapter.registry.versions.mlflow_stage(
            tx, ask.name, number_, stage, archive_existing=ask.archive_existing_versions
        )
    )
    return {"model_version": shown_version(made)}


def check_stage(stage: str) -> str:
    """Return a stage in its own letters.

    Raises:
        Refused: it is none.
    """
    found = next((known for known in MLFLOW_STAGES if known.lower() == stage.lower()), None)
    if found is None:
        raise invalid(f"Invalid Model Version stage: {stage}. Value must be one of {', '.join(MLFLOW_STAGES)}.")
    return found


def resolve(adapter: Adapter, source: str) -> tuple[str, str, str]:
    """Return the digest of the manifest of a source's files ("" for one outside), its run and its logged model.

    Raises:
        NotFound: it names a run, a logged model or a version that is not there, or a place without files.
        Refused: it is a place on somebody's machine.
    """
    scheme = source.partition(":")[0].lower() if ":" in source else ""
    if ".." in re.split(r"[/\\]", unquote(source)):
        raise invalid(f"Invalid model version source: '{source}'. It leads elsewhere.")
    if scheme == "models":
        name = source.removeprefix("models:").lstrip("/")
        if name.startswith("m-") and "/" not in name:
            row = model_row(adapter.database, name)
            return _pinned(adapter, name, "", source), row["run"], name
        copied = _named(adapter, source)
        return copied.bundle, copied.run.removeprefix("run:"), copied.origin
    if scheme == "runs":
        ref = parse(source, "run")
        run_row(adapter.database, ref.name)
        return _run_files(adapter, ref.name, ref.path, source)
    if scheme == "mlflow-artifacts":
        owner = find_owner(adapter, unquote(_HOST.sub("", source.partition(":")[2])))
        if owner.kind == "run":
            return _run_files(adapter, owner.id, owner.path, source)
        if owner.kind == "version":
            return _part(adapter, owner, source), "", ""
        return _pinned(adapter, owner.id, owner.path, source), "", owner.id if owner.kind == "logged_model" else ""
    if len(scheme) <= 1 or scheme == "file" or "/" in scheme or "\\" in scheme:  # one letter is a drive
        raise invalid(
            f"Invalid model version source: '{source}'. A place on a machine's disk cannot be followed; log the model"
            " first and name it as runs:/RUN/path or models:/m-ID."
        )
    return "", "", ""


def _run_files(adapter: Adapter, run: str, path: str, source: str) -> tuple[str, str, str]:
    """Return the files of a run's folder, for which a logged model of this name may stand (clients since 3.0)."""
    if adapter.tracker.artifacts.all(run, path):
        return _pinned(adapter, run, path, source), run, ""
    row = adapter.database.one(
        "SELECT id FROM logged_models WHERE run = :run AND name = :name AND lifecycle = 'active'"
        " ORDER BY created_at DESC LIMIT 1",
        {"run": run, "name": path},
    )
    if row is None:
        raise NotFound(f"Run {run} has no files under {path!r}.", about="artifact", hint="Log the model first.")
    return _pinned(adapter, row["id"], "", source), run, row["id"]


def _pinned(adapter: Adapter, owner: str, path: str, source: str) -> str:
    files = adapter.tracker.artifacts.all(owner, path)
    below = f"{path}/" if path else ""
    if not files:
        raise NotFound(f"There are no files at {source!r}.", about="artifact", hint="Log the model first.")
    entries = [Entry(file.name.removeprefix(below) or source, file.size_bytes, file.digest) for file in files]
    return put_entries(adapter.store.objects, entries)


def _part(adapter: Adapter, owner: Owner, source: str) -> str:
    """Return the digest of the manifest of another version's files, or of those below a path of it."""
    if not owner.path:
        return owner.id
    below = f"{owner.path}/"
    files = [file for file in all_files(adapter, owner) if file.name.startswith(below)]
    if not files:
        raise NotFound(f"There are no files at {source!r}.", about="artifact")
    entries = [Entry(file.name.removeprefix(below), file.size_bytes, file.digest) for file in files]
    return put_entries(adapter.store.objects, entries)


def _named(adapter: Adapter, source: str) -> ModelVersion:
    ref = parse(source, "model")
    if ref.version is not None:
        return adapter.registry.versions.get(adapter.database, ref.name, ref.version)
    if ref.alias and ref.alias != "latest":
        return adapter.registry.aliases.get(adapter.database, ref.name, ref.alias)
    newest = adapter.registry.versions.newest(adapter.database, ref.name)
    if newest is None:
        raise NotFound.named("model_version", source)
    return newest


def _version(adapter: Adapter, ask: VersionId) -> ModelVersion:
    return adapter.registry.versions.get(adapter.database, ask.name, ask.number)


def files_uri(version: ModelVersion) -> str:
    """Return where clients find a version's files: in the registry if they are pinned, else where its source says."""
    if not version.bundle:
        return version.location or version.source
    return f"{ROOT}/registry/{quote(version.model)}/{version.version}"


def shown_version(version: ModelVersion, adapter: Adapter | None = None) -> dict[str, Any]:
    """Return a version as the protocol has it; with the adapter given, params and metrics of what it rests on too."""
    more: dict[str, Any] = {}
    if adapter is not None and version.pins:
        pins = read_pins(adapter.store.objects, version.pins)
        more["model_params"] = [{"name": name, "value": value} for name, value in pins.params.items()]
        more["model_metrics"] = [{"key": key, "value": number(float(value))} for key, value in pins.metrics.items()]
    return present(
        name=version.model,
        version=str(version.version),
        creation_timestamp=to_micros(version.created_at) // 1000,
        last_updated_timestamp=to_micros(version.updated_at or version.created_at) // 1000,
        user_id=version.owner,
        current_stage=version.mlflow_stage,
        description=version.description,
        source=version.source,
        run_id=version.run.removeprefix("run:"),
        status=version.status,
        status_message=version.status_reason,
        tags=tag_list(version.tags),
        run_link=version.run_link,
        aliases=[*version.aliases],
        model_id=version.origin,
        **more,
    )
