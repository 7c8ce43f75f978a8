"""Runs on the wire: their life, params and tags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from interlock.core.clock import from_micros, to_micros
from interlock.core.operations import Permission
from interlock.server.mlflow import checks
from interlock.server.mlflow.adapter import ROOT, Adapter, millis, present, tag_list
from interlock.server.mlflow.experiments import Tag
from interlock.server.mlflow.routing import Change, Pending, route
from interlock.server.mlflow.wire import Int64, calendar_millis, invalid, missing, number
from interlock.track.names import new_name
from interlock.track.records import ENDED, Start, Status
from interlock.track.runs import NAME_TAG, RunFacts, rows_of, run_row

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interlock.core.ports import Transaction
    from interlock.store.series import LatestValue
    from interlock.track.links import Link
    from interlock.track.tracker import Ending

READ, WRITE = Permission.TRACK_READ, Permission.TRACK_WRITE
RunStatus = Literal["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]
_OURS: Final[dict[str, Status]] = {
    "RUNNING": "running",
    "SCHEDULED": "scheduled",
    "FINISHED": "finished",
    "FAILED": "failed",
    "KILLED": "killed",
}


class CreateRun(msgspec.Struct):
    """A run to be made."""

    experiment_id: str = ""
    user_id: str = ""
    run_name: str = ""
    start_time: Int64 | None = None
    tags: list[Tag] = []


class RunId(msgspec.Struct):
    """Names a run; old clients call its id `run_uuid`."""

    run_id: str = ""
    run_uuid: str = ""

    @property
    def run(self) -> str:
        """The run's id.

        Raises:
            Refused: there is none.
        """
        if not (self.run_id or self.run_uuid):
            raise missing("run_id")
        return self.run_id or self.run_uuid


class UpdateRun(RunId):
    """A run's new state."""

    status: RunStatus | None = None
    end_time: Int64 | None = None
    run_name: str = ""


class LogParam(RunId):
    """One param."""

    key: str = ""
    value: str = ""


class DeleteTag(RunId):
    """Names a tag."""

    key: str = ""


class LogModel(RunId):
    """What clients before 3.0 say of a model that they logged."""

    model_json: str = ""


@route("POST", "runs/create", WRITE, direct=True)
def create(adapter: Adapter, ask: CreateRun) -> Pending:
    """Start a run."""
    checks.required(experiment_id=ask.experiment_id)
    tags = {tag.key: checks.cut(tag.value, checks.TAG_VALUE) for tag in ask.tags}
    for name in tags:
        checks.key(name, "Tag")
    if ask.run_name and tags.get(NAME_TAG, ask.run_name) != ask.run_name:
        raise invalid(
            f"Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values"
            f" ({ask.run_name!r} and {tags[NAME_TAG]!r})."
        )
    tags[NAME_TAG] = ask.run_name or tags.get(NAME_TAG) or new_name()
    started_at = None if ask.start_time is None else from_micros(calendar_millis(ask.start_time))
    start = Start(experiment="", name=tags[NAME_TAG], tags=tags, started_at=started_at)
    return Pending(
        lambda tx: adapter.tracker.runs.create(tx, start, ask.experiment_id, ask.user_id),
        lambda run: {"run": shown_runs(adapter, [run])[0]},
    )


@route("GET", "runs/get", READ)
def get(adapter: Adapter, ask: RunId) -> dict[str, Any]:
    """Show a run."""
    run_row(adapter.database, ask.run)
    return {"run": shown_runs(adapter, [ask.run])[0]}


@route("POST", "runs/update", WRITE, direct=True)
def update(adapter: Adapter, ask: UpdateRun) -> Pending:
    """Rename a run, end it, or let it go on."""
    run, tracker = ask.run, adapter.tracker
    ended_at = to_micros(adapter.store.clock.now()) if ask.end_time is None else calendar_millis(ask.end_time)

    wanted = _OURS[ask.status] if ask.status else None

    def change(tx: Transaction, ending: Ending | None = None) -> None:
        row = tracker.metrics.active_row(tx, run)
        if wanted in ENDED and row["status"] in ENDED and row["status"] != wanted:
            tracker.runs.change(tx, run, status="running")  # clients may end a run again in another way
        tracker.runs.change(tx, run, name=ask.run_name, status=wanted if wanted not in ENDED else None)
        if wanted in ENDED:
            if ending is None:
                tracker.finish_short(tx, run, wanted, "", ended_at)
            else:
                tracker.finish(tx, run, ending, wanted, "", ended_at)
        if ask.end_time is not None:  # clients may say it alone, or again
            tracker.runs.change(tx, run, ended_at=ended_at)

    def answer(_: None) -> dict[str, Any]:
        return {"run_info": _info(run_row(adapter.database, run))}

    return Pending(change, answer, (lambda: tracker.end(run, change)) if wanted in ENDED else None)


@route("POST", "runs/delete", WRITE)
def delete(adapter: Adapter, ask: RunId) -> None:
    """Delete a run; it can be restored."""
    adapter.database.write(lambda tx: adapter.tracker.runs.move(tx, ask.run, "deleted"))


@route("POST", "runs/restore", WRITE)
def restore(adapter: Adapter, ask: RunId) -> None:
    """Restore a run that was deleted."""
    adapter.database.write(lambda tx: adapter.tracker.runs.move(tx, ask.run, "active"))


@route("POST", "runs/log-parameter", WRITE, direct=True)
def log_param(adapter: Adapter, ask: LogParam) -> Change:
    """Add a param to a run."""
    checks.key(ask.key, "Parameter")
    return _log(adapter, ask.run, {ask.key: checks.cut(ask.value, checks.PARAM_VALUE)}, {})


@route("POST", "runs/set-tag", WRITE, direct=True)
def set_tag(adapter: Adapter, ask: LogParam) -> Change:
    """Tag a run."""
    checks.key(ask.key, "Tag")
    return _log(adapter, ask.run, {}, {ask.key: checks.cut(ask.value, checks.TAG_VALUE)})


@route("POST", "runs/delete-tag", WRITE)
def delete_tag(adapter: Adapter, ask: DeleteTag) -> None:
    """Take a tag of a run away."""
    checks.required(key=ask.key)
    adapter.database.write(lambda tx: adapter.tracker.runs.change(tx, ask.run, untag=ask.key))


@route("POST", "runs/log-model", WRITE)
def log_model(adapter: Adapter, ask: LogModel) -> None:
    """Add a model to the run's history tag, as clients before 3.0 want it."""
    checks.required(model_json=ask.model_json)
    try:
        model = msgspec.json.decode(ask.model_json, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise invalid(f"'model_json' is no JSON object: {error}.") from None
    tag = "mlflow.log-model.history"

    def change(tx: Transaction) -> None:
        adapter.tracker.metrics.active_row(tx, ask.run)
        held = tx.one("SELECT value FROM run_tags WHERE run = :run AND name = :name", {"run": ask.run, "name": tag})
        history = [*(_models(held["value"]) if held else []), model]
        adapter.tracker.runs.log(tx, ask.run, {}, {tag: msgspec.json.encode(history).decode()})

    adapter.database.write(change)


def _models(history: str) -> list[Any]:
    try:
        return msgspec.json.decode(history, type=list[Any])
    except msgspec.MsgspecError:
        raise invalid("The run's tag 'mlflow.log-model.history' is no JSON list.") from None


def _log(adapter: Adapter, run: str, params: dict[str, str], tags: dict[str, str]) -> Change:
    def change(tx: Transaction) -> None:
        adapter.tracker.metrics.active_row(tx, run)
        adapter.tracker.runs.log(tx, run, params, tags)

    return change


def shown_runs(adapter: Adapter, runs: list[str]) -> list[dict[str, Any]]:
    """Return runs as the protocol has them, in the order given."""
    facts = adapter.tracker.runs.load(rows_of(adapter.database, runs))
    links = adapter.tracker.links.of(runs)
    return [_shown(run, links.get(run.id, [])) for run in facts]


def _info(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run is, of its row or its facts."""
    return present(
        run_id=run["id"],
        run_uuid=run["id"],
        run_name=run["name"],
        experiment_id=run["experiment"],
        user_id=run["owner"],
        status=run["status"].upper(),
        start_time=millis(run["started_at"]),
        end_time=millis(run["ended_at"]),
        artifact_uri=artifact_uri(run["experiment"], run["id"]),
        lifecycle_stage=run["lifecycle"],
    )


def _shown(facts: RunFacts, links: list[Link]) -> dict[str, Any]:
    data = present(
        metrics=[shown_metric(key, point) for key, point in facts.metrics.items()],
        params=tag_list(facts.params),
        tags=tag_list(facts.tags),
    )
    inputs = present(
        dataset_inputs=[
            {"tags": tag_list(link.tags), "dataset": msgspec.to_builtins(link.dataset)}
            for link in links
            if link.kind == "dataset" and link.dataset is not None
        ],
        model_inputs=[{"model_id": link.name} for link in links if link.kind == "model"],
    )
    outputs = present(
        model_outputs=[{"model_id": link.name, "step": link.step} for link in links if link.kind == "output"]
    )
    return {"info": _info(msgspec.structs.asdict(facts)), "data": data, "inputs": inputs, "outputs": outputs}


def shown_metric(key: str, point: LatestValue, **more: Any) -> dict[str, Any]:
    """Return a point as the protocol has it."""
    return {"key": key, "value": number(point.value), "timestamp": point.at // 1000, "step": point.step, **more}


def artifact_uri(experiment: str, owner: str, kind: str = "") -> str:
    """Return where clients find the files of a run, or of a logged model (kind `models`)."""
    return f"{ROOT}/{experiment}/{kind}/{owner}/artifacts" if kind else f"{ROOT}/{experiment}/{owner}/artifacts"
