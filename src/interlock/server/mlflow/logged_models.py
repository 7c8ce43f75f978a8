"""Logged models on the wire: what `log_model` of clients since 3.0 makes."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from interlock.core.errors import NotFound
from interlock.core.operations import Permission
from interlock.server.mlflow import checks
from interlock.server.mlflow.adapter import Adapter, Answer, Call, millis, present, tag_list
from interlock.server.mlflow.artifacts import answer_file, clean_path, shown_file
from interlock.server.mlflow.experiments import Tag
from interlock.server.mlflow.routing import route
from interlock.server.mlflow.runs import artifact_uri, shown_metric
from interlock.track.experiments import among
from interlock.track.logged_models import LoggedModelFacts, ModelChange, ModelDraft, ModelStatus, model_row
from interlock.track.runs import run_row

READ, WRITE = Permission.TRACK_READ, Permission.TRACK_WRITE
LoggedModelStatus = Literal[
    "LOGGED_MODEL_STATUS_UNSPECIFIED", "LOGGED_MODEL_PENDING", "LOGGED_MODEL_READY", "LOGGED_MODEL_UPLOAD_FAILED"
]
_OURS: Final[dict[str, ModelStatus]] = {
    "LOGGED_MODEL_PENDING": "pending",
    "LOGGED_MODEL_READY": "ready",
    "LOGGED_MODEL_UPLOAD_FAILED": "upload_failed",
}
_THEIRS: Final = {ours: theirs for theirs, ours in _OURS.items()}


class Create(msgspec.Struct):
    """A logged model to be made."""

    experiment_id: str
    name: str = ""
    model_type: str = ""
    source_run_id: str = ""
    params: list[Tag] = []
    tags: list[Tag] = []


class ModelId(msgspec.Struct):
    """Names a logged model."""

    model_id: str


class Finalize(ModelId):
    """Its end."""

    status: LoggedModelStatus


class SetTags(ModelId):
    """Tags of a logged model."""

    tags: list[Tag] = []


class DeleteTag(ModelId):
    """Names a tag."""

    tag_key: str


class LogParams(ModelId):
    """Params of a logged model."""

    params: list[Tag] = []


class ListFiles(ModelId):
    """Asks what lies in a folder of a logged model."""

    artifact_directory_path: str = ""
    page_token: str = ""


@route("POST", "logged-models", WRITE)
def create(adapter: Adapter, ask: Create) -> dict[str, Any]:
    """Begin a logged model."""
    checks.required(experiment_id=ask.experiment_id)
    if ask.source_run_id:
        run_row(adapter.database, ask.source_run_id)
    name = ask.name or f"model-{ask.source_run_id[-6:].lower() or 'unnamed'}"
    for pair in (*ask.params, *ask.tags):
        checks.key(pair.key, "Parameter or tag")
    params, tags = {p.key: p.value for p in ask.params}, {t.key: t.value for t in ask.tags}
    draft = ModelDraft(ask.experiment_id, name, ask.model_type, ask.source_run_id, params, tags)
    ident = adapter.database.write(lambda tx: adapter.tracker.logged_models.create(tx, draft))
    return {"model": shown(adapter, [ident])[0]}


@route("GET", "logged-models/{model_id}", READ)
def get(adapter: Adapter, ask: ModelId) -> dict[str, Any]:
    """Show a logged model."""
    _active(adapter, ask.model_id)
    return {"model": shown(adapter, [ask.model_id])[0]}


@route("PATCH", "logged-models/{model_id}", WRITE)
def finalize(adapter: Adapter, ask: Finalize) -> dict[str, Any]:
    """End a logged model: it is ready, or its upload failed."""
    status = _OURS.get(ask.status)
    return _change(adapter, ask.model_id, ModelChange(status=status))


@route("DELETE", "logged-models/{model_id}", WRITE)
def delete(adapter: Adapter, ask: ModelId) -> None:
    """Delete a logged model; its files stay while something names them."""
    _active(adapter, ask.model_id)
    _change(adapter, ask.model_id, ModelChange(lifecycle="deleted"))


@route("PATCH", "logged-models/{model_id}/tags", WRITE)
def set_tags(adapter: Adapter, ask: SetTags) -> dict[str, Any]:
    """Tag a logged model."""
    for tag in ask.tags:
        checks.key(tag.key, "Tag")
    return _change(adapter, ask.model_id, ModelChange(tags={tag.key: tag.value for tag in ask.tags}))


@route("DELETE", "logged-models/{model_id}/tags/{tag_key}", WRITE)
def delete_tag(adapter: Adapter, ask: DeleteTag) -> None:
    """Take a tag of a logged model away."""
    _change(adapter, ask.model_id, ModelChange(untag=(ask.tag_key,)))


@route("POST", "logged-models/{model_id}/params", WRITE)
def log_params(adapter: Adapter, ask: LogParams) -> None:
    """Add params to a logged model."""
    for param in ask.params:
        checks.key(param.key, "Parameter")
    _change(adapter, ask.model_id, ModelChange(params={param.key: param.value for param in ask.params}))


@route("GET", "logged-models/{model_id}/artifacts/directories", READ)
def list_files(adapter: Adapter, ask: ListFiles) -> dict[str, Any]:
    """List a folder of a logged model."""
    row = model_row(adapter.database, ask.model_id)
    listed = adapter.tracker.artifacts.list(ask.model_id, clean_path(ask.artifact_directory_path))
    root = artifact_uri(row["experiment"], ask.model_id, "models")
    return present(root_uri=root, files=[shown_file(file, "") for file in listed])


@route("GET", "logged-models/{model_id}/artifacts/files", READ)
def get_file(adapter: Adapter, call: Call) -> Answer:
    """Answer with a file of a logged model, as browsers ask for it."""
    model = call.parts["model_id"]
    model_row(adapter.database, model)
    path = clean_path(dict(call.pairs()).get("artifact_file_path", ""))
    return answer_file(adapter, call, adapter.tracker.artifacts.find(model, path))


def _active(adapter: Adapter, ident: str) -> None:
    """Accept a logged model that is not deleted: for the protocol a deleted one is not there."""
    if model_row(adapter.database, ident)["lifecycle"] != "active":
        raise NotFound.named("logged_model", ident)


def _change(adapter: Adapter, ident: str, wanted: ModelChange) -> dict[str, Any]:
    adapter.database.write(lambda tx: adapter.tracker.logged_models.change(tx, ident, wanted))
    return {"model": shown(adapter, [ident])[0]}


def shown(adapter: Adapter, idents: list[str]) -> list[dict[str, Any]]:
    """Return logged models as the protocol has them, in the order given."""
    rows = {row["id"]: row for row in among(adapter.database, "SELECT * FROM logged_models WHERE id IN", idents)}
    facts = adapter.tracker.logged_models.load([rows[ident] for ident in idents])
    return [_shown_model(model) for model in facts]


def _shown_model(facts: LoggedModelFacts) -> dict[str, Any]:
    info = present(
        model_id=facts.id,
        experiment_id=facts.experiment,
        name=facts.name,
        creation_timestamp_ms=millis(facts.created_at),
        last_updated_timestamp_ms=millis(facts.updated_at),
        artifact_uri=artifact_uri(facts.experiment, facts.id, "models"),
        status=_THEIRS[facts.status],
        model_type=facts.type,
        source_run_id=facts.run,
        status_message=facts.status_message,
        tags=tag_list(facts.tags),
    )
    metrics = []
    for metric in facts.metrics:
        more = present(
            dataset_name=metric.dataset_name, dataset_digest=metric.dataset_digest, model_id=facts.id, run_id=metric.run
        )
        metrics.append(shown_metric(metric.key, metric.point, **more))
    return {"info": info, "data": present(params=tag_list(facts.params), metrics=metrics)}
