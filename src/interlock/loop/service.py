"""The loop service: plan, apply, turn, and what follows from one thing to another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.core.clock import parse_instant
from interlock.core.errors import Invalid
from interlock.core.operations import Permission, operation
from interlock.loop.apply import Change, applied_text, apply, plan
from interlock.loop.arcs.candidate import make_candidate
from interlock.loop.context import Context
from interlock.loop.jobs import Job, Jobs
from interlock.loop.project import Project, parse_project, read_project
from interlock.loop.status import Status, status
from interlock.loop.turn import Turn, take_turn
from interlock.loop.why import Answer, why
from interlock.registry.service import ModelVersion

if TYPE_CHECKING:
    from interlock.store import Store

Changes = list[Change]
JobList = list[Job]
_CANDIDATE = (
    "experiment.created",
    "run.started",
    "run.logged",
    "run.artifact_logged",
    "run.finished",
    "model.created",
    "model_version.created",
    "model_version.moved",
    "gate.passed",
    "gate.failed",
)
_APPLY = ("project.applied", "contract.set", "dataset_version.created", "policy.set", "alias.moved", "monitor.set")
_TURN = (
    *_CANDIDATE,
    "window.evaluated",
    "alarm.raised",
    "alarm.closed",
    "monitor.set",
    "job.queued",
    "job.finished",
    "dataset_version.created",
    "contract.set",
    "approval.given",
    "alias.moved",
    "deployment.changed",
    "deployment.refused",
)


class LoopService:
    """The ring: make the workspace what interlock.toml says, take turns, ask why."""

    name = "loop"

    def __init__(self, store: Store) -> None:
        self._store = store

    @operation(Permission.LOOP_READ)
    def plan(self) -> Changes:
        """Show what `apply` would do."""
        return plan(self._store, read_project(self._store.project))

    @operation(Permission.LOOP_RUN, emits=_APPLY)
    def apply(self) -> Changes:
        """Make the workspace what interlock.toml says; doing it again does nothing."""
        return apply(self._store, read_project(self._store.project))

    @operation(Permission.LOOP_RUN, emits=_TURN)
    def turn(self, until: str = "") -> Turn:
        """Take one turn: evaluate windows, settle canaries, run what triggers ask for, restart what should serve.

        Args:
            until: the instant (ISO 8601) that counts as now; empty: the present.

        Raises:
            Invalid: `until` is no instant.
            NotFound: nothing was applied yet.
        """
        try:
            at = parse_instant(until) if until else self._store.clock.now()
        except ValueError:
            raise Invalid(f"{until!r} is no instant.", about="loop", hint="Write for example 2017-02-01.") from None
        return take_turn(self._store, self._project(), at)

    @operation(Permission.LOOP_RUN, emits=_CANDIDATE)
    def candidate(self, pipeline: str, args: dict[str, str] | None = None) -> ModelVersion:
        """Run a pipeline, register what it made, and let the gates judge it.

        Args:
            pipeline: its name in interlock.toml.
            args: values for its arguments, such as people=data:people@1.

        Raises:
            NotFound: there is no such pipeline, or nothing was applied yet.
            Conflict: no model is made by it.
        """
        context = Context(self._store, self._project(), self._store.clock.now())
        return make_candidate(context, pipeline, {**(args or {})}, cause="", job="")

    @operation(Permission.LOOP_READ)
    def jobs(self, limit: int = 20) -> JobList:
        """List jobs, newest first.

        Args:
            limit: at most so many.
        """
        return Jobs(self._store).jobs(limit)

    @operation(Permission.LOOP_READ)
    def why(self, ref: str) -> Answer:
        """Walk from a prediction, model version or run back to the rows, code, environment and approvals behind it.

        Args:
            ref: such as prediction:ID, model:employment@champion or run:ID.
        """
        return why(self._store, ref)

    @operation(Permission.LOOP_READ)
    def status(self) -> Status:
        """Show the loop as it stands: data, models, deployments, monitors, jobs, the newest events."""
        return status(self._store)

    def _project(self) -> Project:
        return parse_project(applied_text(self._store))
