"""Logged models taken over, with their params, tags, metrics and files."""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final

from interlock.bridges.mlflow.files import take_files
from interlock.store.series import LatestValue
from interlock.track.logged_models import ModelChange, ModelDraft, ModelMetric, ModelStatus

if TYPE_CHECKING:
    from interlock.bridges.mlflow.intake import Intake
    from interlock.bridges.mlflow.records import TheirLoggedModel, TheirModelPoint
    from interlock.core.ports import Transaction

_AT_ONCE: Final = 5000  # points in a transaction
_STATUS: Final[dict[str, ModelStatus]] = {
    "LOGGED_MODEL_READY": "ready",
    "LOGGED_MODEL_PENDING": "pending",
    "LOGGED_MODEL_UPLOAD_FAILED": "upload_failed",
}
_HELD: Final = "SELECT count(*) AS n FROM logged_model_metrics WHERE model = :model"


def take_logged_model(intake: Intake, theirs: TheirLoggedModel, experiment: str) -> None:
    """Take a logged model over.

    Args:
        intake: the import.
        theirs: the logged model.
        experiment: the id of its experiment here; "" where there is none, as in a dry run.
    """
    intake.there["logged models"] += 1
    points = 0
    try:
        row = intake.store.database.one("SELECT lifecycle FROM logged_models WHERE id = :id", {"id": theirs.id})
        if row is None and not intake.dry:
            intake.store.database.write(lambda tx: _create(intake, tx, theirs, experiment))
        points = sum(1 for _ in intake.source.model_points(theirs))
        live = intake.store.database.one("SELECT lifecycle FROM logged_models WHERE id = :id", {"id": theirs.id})
        if not intake.dry and live is not None and live["lifecycle"] == "active":
            _complete(intake, theirs, points)
        take_files(intake, "logged_model", theirs.id, theirs.artifacts)
        if theirs.lifecycle == "deleted" and not intake.dry:
            gone = ModelChange(lifecycle="deleted")
            intake.store.database.write(lambda tx: intake.tracker.logged_models.change(tx, theirs.id, gone))
    finally:
        _count(intake, theirs, points)


def _create(intake: Intake, tx: Transaction, theirs: TheirLoggedModel, experiment: str) -> None:
    draft = ModelDraft(experiment, theirs.name, theirs.type, theirs.run, theirs.params, theirs.tags, theirs.id)
    intake.tracker.logged_models.create(tx, draft)
    intake.tracker.logged_models.change(tx, theirs.id, ModelChange(_STATUS.get(theirs.status)))


def _complete(intake: Intake, theirs: TheirLoggedModel, points: int) -> None:
    """Write the points that it lacks; those that are there are written over with themselves."""
    if points <= _held(intake, theirs.id):
        return
    found = (_metric(point) for point in intake.source.model_points(theirs))
    while some := list(islice(found, _AT_ONCE)):
        intake.store.database.write(partial(_log, intake, theirs.id, some))


def _log(intake: Intake, model: str, metrics: list[ModelMetric], tx: Transaction) -> None:
    for metric in metrics:
        intake.tracker.logged_models.log_metric(tx, model, metric)


def _metric(point: TheirModelPoint) -> ModelMetric:
    latest = LatestValue(point.step, point.at_ms * 1000, point.value)
    return ModelMetric(point.key, latest, point.run, point.dataset_name, point.dataset_digest)


def _held(intake: Intake, model: str) -> int:
    row = intake.store.database.one(_HELD, {"model": model})
    return row["n"] if row else 0


def _count(intake: Intake, theirs: TheirLoggedModel, points: int) -> None:
    """Count what there is of a logged model, and what the database now holds of it."""
    rows = intake.store.database.all("SELECT * FROM logged_models WHERE id = :id", {"id": theirs.id})
    found = intake.tracker.logged_models.load(rows)
    intake.here["logged models"] += len(found)
    intake.tally("logged model params", theirs.params, found[0].params if found else {})
    intake.tally("logged model tags", theirs.tags, found[0].tags if found else {})
    intake.there["logged model points"] += points
    intake.here["logged model points"] += min(points, _held(intake, theirs.id))
