"""Replay: logged requests scored again, by the version that answered them or by another.

What two versions are compared by is for models of two classes: ROC AUC. Of others, errors and accuracy are shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from interlock.core.errors import Invalid
from interlock.core.periods import parse_period
from interlock.monitor.auc import Interval, auc_interval
from interlock.monitor.kinds import TWO, Task, left_out, task_of, task_on_record, with_truth_of
from interlock.monitor.measured import measure
from interlock.monitor.records import Replay
from interlock.monitor.reference import Reference, build_reference
from interlock.registry.flavors.scoring import THRESHOLD, score_frame, score_table
from interlock.store.apart import table_of
from interlock.store.predictions import inputs_of

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from interlock.monitor.records import MonitorPlan
    from interlock.registry.service import ModelVersion, RegistryService


class Duel(msgspec.Struct, frozen=True):
    """Two versions on the same rows."""

    window: str
    rows: int
    champion: Interval
    challenger: Interval


def score_rows(registry: RegistryService, bundle: str, rows: pl.DataFrame) -> NDArray[np.float64]:
    """Return a version's scores, float (rows,), for rows that hold its input columns."""
    return score_frame(registry.read_bundle(bundle), registry.part(bundle, "serving"), rows)


def answer_rows(registry: RegistryService, bundle: str, rows: pl.DataFrame) -> tuple[NDArray[np.float64], list[int]]:
    """Return a version's scores and classes as the prediction log has them, for rows that hold its input columns."""
    import numpy as np

    record = registry.read_bundle(bundle)
    task = task_of(record)
    if not task.kind:
        scores = score_rows(registry, bundle, rows)
        return scores, (scores > THRESHOLD).astype(int).tolist()
    table = score_table(record, registry.part(bundle, "serving"), rows)
    if task.kind == "number":
        return table[:, 0], [0] * len(table)
    best: list[int] = np.argmax(table, axis=1).tolist()
    return table.max(axis=1, initial=0.0), [task.code(place) for place in best]


def make_reference(registry: RegistryService, bundle: str) -> Reference:
    """Return the reference of a version: the held-out rows that its gates judged it on, with its scores there."""
    import polars as pl

    record = registry.read_bundle(bundle)
    rows = table_of(registry.part(bundle, "evaluation"), "parquet", "The evaluation rows")
    scores, _ = answer_rows(registry, bundle, rows)
    columns = [column.name for column in record.inputs]
    if task_of(record).kind:  # the reference keeps what labels say of two classes
        return build_reference(rows, columns=columns, score=scores)
    labels = rows[record.target].cast(pl.Float64).to_numpy()
    return build_reference(rows, columns=columns, score=scores, labels=labels)


def replay(registry: RegistryService, version: ModelVersion, frame: pl.DataFrame, span: tuple[str, str]) -> Replay:
    """Return what a version says to logged requests.

    Args:
        registry: where its bundle is.
        version: the version.
        frame: predictions with labels where known; those that another kind of model made are left out.
        span: since and until, as they were asked for.
    """
    import numpy as np
    import polars as pl

    task = task_of(registry.read_bundle(version.bundle))
    frame, note = _comparable(registry, frame, task)
    if not frame.height:
        return Replay(version.ref, *span, 0, 0, None, None, 0.0, 0, note=note)
    scores, codes = answer_rows(registry, version.bundle, inputs_of(frame))
    logged = frame["score"].to_numpy()
    before = frame["label"] if task.kind else pl.Series(logged > THRESHOLD).cast(pl.Int64)
    again = frame.with_columns(pl.Series("score", scores), pl.Series("label", codes, pl.Int64))
    was, now = with_truth_of(frame, task.kind), with_truth_of(again, task.kind)
    two = bool(was.height and not task.kind)
    return Replay(
        model=version.ref,
        since=span[0],
        until=span[1],
        rows=frame.height,
        labels=was.height,
        logged=auc_interval(was[TWO].to_numpy(), was["score"].to_numpy()) if two else None,
        replayed=auc_interval(now[TWO].to_numpy(), now["score"].to_numpy()) if two else None,
        largest_difference=float(np.abs(scores - logged).max()),
        flips=int((before != again["label"]).sum()),
        logged_measured=measure(was, task),
        replayed_measured=measure(now, task),
        note=" ".join(filter(None, (note, left_out(frame, task)))),
    )


def _comparable(registry: RegistryService, frame: pl.DataFrame, task: Task) -> tuple[pl.DataFrame, str]:
    """Return the predictions of models whose truths are the same, and how many were left out in a sentence, or ""."""
    import polars as pl

    found = {bundle: task_on_record(registry, bundle) for bundle in frame["bundle"].unique().to_list()}
    # Two models of two classes are compared by the chance of the last one, whatever that is called.
    mine = [b for b, one in found.items() if one == task or (not task.kind and (one is None or not one.kind))]
    kept = frame.filter(pl.col("bundle").is_in(mine))
    others = frame.height - kept.height
    return kept, f"{others} predictions are left out: a model of another kind made them." if others else ""


def duel(registry: RegistryService, frame: pl.DataFrame, plan: MonitorPlan, versions: tuple[str, str]) -> Duel | None:
    """Return champion against challenger on the newest labelled window's rows that the challenger never saw, or None.

    Those rows are the ones whose subjects are among the challenger's held-out evaluation rows.

    Raises:
        Invalid: the plan has no id column, so nothing says which rows those are; or one of them has not two classes.
    """
    import polars as pl

    if not plan.id:
        raise Invalid(
            "Without an id column nothing says which rows the challenger was never trained on.",
            about="monitor",
            hint="Say `id` in [data.NAME] of interlock.toml, or let a person approve.",
        )
    champion, challenger = (registry.version(ref) for ref in versions)
    told = f"The evaluation rows of {challenger.ref}"
    held_out = table_of(registry.part(challenger.bundle, "evaluation"), "parquet", told)[plan.id].cast(pl.String)
    unseen = (pl.col("subject") != "") & pl.col("subject").is_in(held_out.implode())
    fair = with_truth_of(frame, "").filter(unseen)
    if not fair.height:
        return None
    period = parse_period(plan.window)
    newest = period.floor(fair["occurred_at"].max())  # type: ignore[arg-type]
    rows = fair.filter(pl.col("occurred_at") >= newest)
    labels = rows[TWO].to_numpy()
    found = [auc_interval(labels, score_rows(registry, v.bundle, inputs_of(rows))) for v in (champion, challenger)]
    if found[0] is None or found[1] is None:
        return None
    return Duel(period.label(newest), rows.height, found[0], found[1])
