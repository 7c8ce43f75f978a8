"""Assessments of traces on the wire."""

from __future__ import annotations

from typing import Any

import msgspec

from interlock.core.clock import to_micros
from interlock.core.operations import Permission
from interlock.server.mlflow.adapter import Adapter
from interlock.server.mlflow.routing import route
from interlock.server.mlflow.trace_requests import AssessmentMessage, read_assessment, read_pairs, read_value
from interlock.server.mlflow.trace_wire import shown_assessment
from interlock.server.mlflow.wire import invalid
from interlock.track.assessments import Change
from interlock.track.trace_records import Assessment
from interlock.track.traces import Traces

READ, WRITE = Permission.TRACK_READ, Permission.TRACK_WRITE


class CreateAssessment(msgspec.Struct):
    """An assessment to be added."""

    trace_id: str
    assessment: AssessmentMessage


class AssessmentId(msgspec.Struct):
    """Names an assessment."""

    trace_id: str
    assessment_id: str


class Mask(msgspec.Struct):
    """Names of fields."""

    paths: list[str] = []


class UpdateAssessment(AssessmentId):
    """An assessment's new state: the fields that the mask names."""

    assessment: AssessmentMessage
    update_mask: str | Mask


@route("POST", "traces/{trace_id}/assessments", WRITE, versions=("3.0",))
def create(adapter: Adapter, ask: CreateAssessment) -> dict[str, Any]:
    """Add an assessment to a trace."""
    found = read_assessment(ask.trace_id, ask.assessment, to_micros(adapter.store.clock.now()))
    assessments = Traces(adapter.store).assessments
    added = adapter.database.write(lambda tx: assessments.create(tx, ask.trace_id, found))
    return {"assessment": shown_assessment(ask.trace_id, added)}


@route("GET", "traces/{trace_id}/assessments/{assessment_id}", READ, versions=("3.0",))
def get(adapter: Adapter, ask: AssessmentId) -> dict[str, Any]:
    """Show an assessment."""
    found = Traces(adapter.store).assessments.get(adapter.database, ask.trace_id, ask.assessment_id)
    return {"assessment": shown_assessment(ask.trace_id, found)}


@route("PATCH", "traces/{trace_id}/assessments/{assessment_id}", WRITE, versions=("3.0",))
def update(adapter: Adapter, ask: UpdateAssessment) -> dict[str, Any]:
    """Change the fields of an assessment that the mask names."""
    said, mask = ask.assessment, _paths(ask.update_mask)
    if unknown := mask - {"assessment_name", "feedback", "expectation", "rationale", "metadata"}:
        raise invalid(f"'update_mask' names {sorted(unknown)}, which cannot be changed.")
    found = None
    if mask & {"feedback", "expectation"}:
        kind, value = read_value(said)
        if kind not in mask:
            raise invalid(f"'update_mask' does not name the value that is given: {kind}.")
        found = Assessment(
            id="",
            kind=kind,
            name="",
            value=value.value,
            serialized=value.serialized,
            error=value.error,
            created_at=0,
            updated_at=0,
        )
    change = Change(
        found=found,
        name=said.assessment_name if "assessment_name" in mask else None,
        rationale=(said.rationale or "") if "rationale" in mask else None,
        metadata=read_pairs(said.metadata, "metadata") if "metadata" in mask else None,
    )
    assessments = Traces(adapter.store).assessments
    changed = adapter.database.write(lambda tx: assessments.change(tx, ask.trace_id, ask.assessment_id, change))
    return {"assessment": shown_assessment(ask.trace_id, changed)}


@route("DELETE", "traces/{trace_id}/assessments/{assessment_id}", WRITE, versions=("3.0",))
def delete(adapter: Adapter, ask: AssessmentId) -> None:
    """Take an assessment away; one that is not there is nothing to do."""
    assessments = Traces(adapter.store).assessments
    adapter.database.write(lambda tx: assessments.delete(tx, ask.trace_id, ask.assessment_id))


def _paths(mask: str | Mask) -> set[str]:
    """Return the names in a mask, which protobuf's JSON writes as one text in camelCase."""
    names = mask.split(",") if isinstance(mask, str) else mask.paths
    return {"".join(f"_{char.lower()}" if char.isupper() else char for char in name.strip()) for name in names if name}
