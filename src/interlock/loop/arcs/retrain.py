"""The arc `retrain`: an alarm whose verdict is "retrain" makes a challenger from all labelled rows so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.core.actor import acting_as
from interlock.core.refs import parse
from interlock.loop.arcs.candidate import make_candidate
from interlock.loop.context import Context, Outcome
from interlock.monitor.labels import BY_PREDICTION

if TYPE_CHECKING:
    import polars as pl

    from interlock.core.events import Event
    from interlock.data.records import DatasetVersion


def retrain(context: Context, target: str, cause: Event, job: str) -> Outcome:
    """Return the outcome of answering an alarm: a judged challenger, or the reason why there is none.

    It declines while labels are awaited, when the version that the alarm is about answers no more, and while another
    challenger is on trial.
    """
    data = cause.data or {}
    if data.get("verdict") != "retrain":
        return Outcome("declined", f"the verdict is {data.get('verdict')!r}: {data.get('reason', '')}")
    monitor = parse(cause.subject, "monitor").name
    watched = context.monitor.show(monitor)
    deployment = context.deploy.show(watched.plan.deployment)
    if len(deployment.routes) > 1:
        return Outcome("declined", f"{deployment.routes[1].model} is on trial already")
    report = context.monitor.report(str(data["report"]))
    if report.model != watched.model:
        return Outcome("declined", f"{report.model} has been replaced by {watched.model}")
    waiting = _waiting(context, watched.model, deployment.name, job)
    if waiting:
        return Outcome("declined", f"{waiting} passed its gates and waits for an approval")
    dataset = gather(context, monitor, watched.model, f"event:{cause.index}")
    arguments: dict[str, str | int | float | bool] = {dataset.name: dataset.ref}
    version = make_candidate(context, target, arguments, cause=f"event:{cause.index}", job=job)
    return Outcome("done", f"{version.ref} from {dataset.rows} rows is {version.stage}: {version.stage_reason}")


def _waiting(context: Context, champion: str, deployment: str, job: str) -> str:
    """Return a version newer than the champion that may still be approved or deployed, or "".

    One that answered here and was rolled back waits for nothing; what this job made before its worker died is its own.
    """
    ref = parse(champion, "model")
    tried = {route.model for revision in context.deploy.revisions(deployment) for route in revision.routes}
    own = {run.ref for run in context.track.tagged("job", job)}
    newer = [v for v in context.registry.versions(ref.name) if v.version > (ref.version or 0)]
    waiting = [v for v in newer if v.stage in {"validated", "approved"} and v.ref not in tried and v.run not in own]
    return waiting[0].ref if waiting else ""


def gather(context: Context, monitor: str, champion: str, cause: str) -> DatasetVersion:
    """Return a dataset version of what the champion learned from, and all labelled predictions since.

    A subject that is there twice keeps its newest row. Rows without a subject are all kept: where subjects are texts
    they are named by their prediction, so that the next time knows them.
    """
    import polars as pl

    base = context.data.version(context.registry.version(champion).data[0])
    subject = context.data.declaration(base.name).id
    if not subject:  # nothing would tell the predictions that it has already
        base = _before(context, base, monitor)
    held = context.data.frame(base.ref)
    rows = context.monitor.labelled(monitor, context.until)
    if subject in rows.columns and held.schema[subject] == pl.String:
        rows = rows.with_columns(pl.col(subject).fill_null(pl.col(BY_PREDICTION)))
    both = pl.concat([held, _shaped(rows, held)])
    if subject:
        none = pl.col(subject).is_null() | (pl.col(subject).cast(pl.String) == "")
        both = both.filter(none | pl.col(subject).is_last_distinct())
    with acting_as("loop:retrain"):
        return context.data.add(base.name, both, parents=(base.ref, f"monitor:{monitor}", cause))


def _before(context: Context, version: DatasetVersion, monitor: str) -> DatasetVersion:
    """Return the version that a monitor's predictions were first added to."""
    while f"monitor:{monitor}" in version.parents:
        version = context.data.version(version.parents[0])
    return version


def _shaped(rows: pl.DataFrame, like: pl.DataFrame) -> pl.DataFrame:
    """Return rows with the columns and types of another table; those without a value in a column lack it here too."""
    import polars as pl

    columns = []
    for name, dtype in like.schema.items():
        column = pl.col(name) if name in rows.columns else pl.lit(None)
        columns.append(column.cast(dtype).alias(name))
    return rows.select(columns)
