"""Replay: logged requests scored again, by the version that answered them or by another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from interlock.core.errors import Invalid
from interlock.core.periods import parse_period
from interlock.monitor.auc import Interval, auc_interval
from interlock.monitor.records import Replay
from interlock.monitor.reference import Reference, build_reference
from interlock.registry.flavors.scoring import score_frame
from interlock.store.predictions import inputs_of

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from interlock.monitor.records import MonitorPlan
    from interlock.registry.service import ModelVersion, RegistryService

HALF = 0.5


class Duel(msgspec.Struct, frozen=True):
    """Two versions on the same rows."""

    window: str
    rows: int
    champion: Interval
    challenger: Interval


def score_rows(registry: RegistryService, bundle: str, rows: pl.DataFrame) -> NDArray[np.float64]:
    """Return a version's scores, float (rows,), for rows that hold its input columns."""
    return score_frame(registry.read_bundle(bundle), registry.part(bundle, "serving"), rows)


def make_reference(registry: RegistryService, bundle: str) -> Reference:
    """Return the reference of a version: the held-out rows that its gates judged it on, with its scores there."""
    import io

    import polars as pl

    record = registry.read_bundle(bundle)
    rows = pl.read_parquet(io.BytesIO(registry.part(bundle, "evaluation")))
    scores = score_rows(registry, bundle, rows)
    labels = rows[record.target].cast(pl.Float64).to_numpy()
    return build_reference(rows, columns=[column.name for column in record.inputs], score=scores, labels=labels)


def replay(
    registry: RegistryService, version: ModelVersion, frame: pl.DataFrame, target: str, span: tuple[str, str]
) -> Replay:
    """Return what a version says to logged requests.

    Args:
        registry: where its bundle is.
        version: the version.
        frame: predictions with labels where known.
        target: the column of the labels.
        span: since and until, as they were asked for.
    """
    import numpy as np
    import polars as pl

    if not frame.height:
        return Replay(version.ref, *span, 0, 0, None, None, 0.0, 0)
    scores = score_rows(registry, version.bundle, inputs_of(frame))
    logged = frame["score"].to_numpy()
    known = frame[target].is_not_null().to_numpy()
    labels = frame.filter(pl.col(target).is_not_null())[target].to_numpy()
    return Replay(
        model=version.ref,
        since=span[0],
        until=span[1],
        rows=frame.height,
        labels=int(known.sum()),
        logged=auc_interval(labels, logged[known]) if known.any() else None,
        replayed=auc_interval(labels, scores[known]) if known.any() else None,
        largest_difference=float(np.abs(scores - logged).max()),
        flips=int(((scores >= HALF) != (logged >= HALF)).sum()),
    )


def duel(registry: RegistryService, frame: pl.DataFrame, plan: MonitorPlan, versions: tuple[str, str]) -> Duel | None:
    """Return champion against challenger on the newest labelled window's rows that the challenger never saw, or None.

    Those rows are the ones whose subjects are among the challenger's held-out evaluation rows.

    Raises:
        Invalid: the plan has no id column, so nothing says which rows those are.
    """
    import io

    import polars as pl

    if not plan.id:
        raise Invalid(
            "Without an id column nothing says which rows the challenger was never trained on.",
            about="monitor",
            hint="Say `id` in [data.NAME] of interlock.toml, or let a person approve.",
        )
    champion, challenger = (registry.version(ref) for ref in versions)
    held_out = pl.read_parquet(io.BytesIO(registry.part(challenger.bundle, "evaluation")))[plan.id].cast(pl.String)
    unseen = (pl.col("subject") != "") & pl.col("subject").is_in(held_out.implode())
    fair = frame.filter(pl.col(plan.target).is_not_null() & unseen)
    if not fair.height:
        return None
    period = parse_period(plan.window)
    newest = period.floor(fair["occurred_at"].max())  # type: ignore[arg-type]
    rows = fair.filter(pl.col("occurred_at") >= newest)
    labels = rows[plan.target].to_numpy()
    found = [auc_interval(labels, score_rows(registry, v.bundle, inputs_of(rows))) for v in (champion, challenger)]
    if found[0] is None or found[1] is None:
        return None
    return Duel(period.label(newest), rows.height, found[0], found[1])
