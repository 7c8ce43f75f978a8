"""The arc `train`: run a pipeline, register what it made, and let the gates judge it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.core.errors import Conflict, NotFound
from interlock.loop.context import Context, Outcome

if TYPE_CHECKING:
    from interlock.core.events import Event
    from interlock.registry.service import ModelVersion
    from interlock.track.records import Run

Args = dict[str, str | int | float | bool]


def train(context: Context, target: str, cause: Event, job: str) -> Outcome:
    """Return the outcome of training and judging a new candidate of a pipeline's model."""
    version = make_candidate(context, target, {}, cause=f"event:{cause.index}", job=job)
    return Outcome("done", f"{version.ref} is {version.stage}: {version.stage_reason}")


def make_candidate(context: Context, pipeline: str, args: Args, *, cause: str, job: str) -> ModelVersion:
    """Return the version that a pipeline's run became, judged by its gates.

    A job that is run again takes up the run that it finished already.

    Raises:
        NotFound: there is no such pipeline.
        Conflict: no model is made by it.
    """
    if pipeline not in context.project.pipeline:
        raise NotFound.named("pipeline", pipeline, context.project.pipeline)
    model = context.model_of(pipeline)
    if not model:
        raise Conflict(
            f"No model is made by pipeline {pipeline!r}.",
            about="pipeline",
            hint=f'Say `pipeline = "{pipeline}"` in a [model.NAME] table of interlock.toml.',
        )
    table = context.project.pipeline[pipeline]
    run = _finished(context, job) or context.train.run(
        table.entry, {**table.args, **args}, experiment=model, cause=cause, tags={"job": job} if job else {}
    )
    bundle = context.train.bundle(run.ref)
    version = context.registry.register(model, run.ref, bundle, [ref for ref in run.inputs if ref.startswith("data:")])
    if version.stage == "registered":
        context.audit.check(version.ref)
    return context.registry.version(version.ref)


def _finished(context: Context, job: str) -> Run | None:
    if not job:
        return None
    return next((run for run in context.track.tagged("job", job) if run.status == "finished"), None)
