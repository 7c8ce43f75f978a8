"""The arc of canaries: after its watch, a challenger is promoted or rolled back on live evidence."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from interlock.core.errors import Error, Invalid
from interlock.core.periods import parse_period
from interlock.registry.measures.intervals import difference_of

if TYPE_CHECKING:
    from interlock.deploy.service import Deployment
    from interlock.loop.context import Context
    from interlock.monitor.measured import Measured
    from interlock.monitor.records import Replay

ENOUGH = 100


def settle_canaries(context: Context, wrong: list[str]) -> list[str]:
    """Return what was decided about challengers whose watch is over; nothing while labels are too few.

    Champion and challenger are compared on the same rows: all labelled requests since the challenger's first answer,
    each version's score replayed from the prediction log.

    Args:
        context: the services.
        wrong: takes what could not be decided now.
    """
    decided = []
    for deployment in context.deploy.deployments():
        if len(deployment.routes) > 1 and deployment.name in context.project.monitor:
            try:
                decided += _settle(context, deployment)
            except Error as error:
                wrong.append(f"deployment:{deployment.name}: {error}")
    return decided


def _settle(context: Context, deployment: Deployment) -> list[str]:
    champion, challenger = deployment.routes
    table, until = context.project.deployment[deployment.name], context.until.isoformat()
    since = context.monitor.first_answer(deployment.name, challenger.model, context.until)
    if since is None or parse_period(table.rollout.watch).after(since) > context.until:
        return []
    before = context.monitor.replay(deployment.name, champion.model, since.isoformat(), until)
    after = context.monitor.replay(deployment.name, challenger.model, since.isoformat(), until)
    found = _compared(before, after)
    if found is None or after.labels < ENOUGH:
        return []
    better, told = found
    evidence = f"on {after.labels} labelled requests since {since:%Y-%m-%d}: {told}"
    if better:
        context.deploy.promote(deployment.name, evidence)
        return [f"{challenger.model} promoted {evidence}"]
    context.deploy.rollback(deployment.name, evidence)
    return [f"{challenger.model} rolled back {evidence}"]


def _compared(before: Replay, after: Replay) -> tuple[bool, str] | None:
    """Return whether the challenger is at least as good, and by what; None where nothing is measured yet.

    One rule for all kinds of models: the figures on the same rows decide, of `ENOUGH` rows; the intervals are told.

    Raises:
        Invalid: both were measured, but not by the same on the same rows.
    """
    if before.replayed is not None and after.replayed is not None:
        told = f"ROC AUC {after.replayed.value:.3f}, champion {before.replayed.value:.3f}"
        return after.replayed.value >= before.replayed.value, told
    old, new = before.replayed_measured, after.replayed_measured
    if old is None and new is None:
        return None
    if old is None or new is None or old.rows != new.rows or (old.accuracy is None) != (new.accuracy is None):
        if after.labels < ENOUGH:
            return None
        raise Invalid(
            f"on {after.labels} labelled requests the challenger has {new or after.replayed}, the champion"
            f" {old or before.replayed} on {before.labels}: they answer other questions, so nothing compares them.",
            about="deployment",
            hint="Decide yourself: interlock deploy promote, or rollback.",
        )
    better = _value(new) <= _value(old) if new.accuracy is None else _value(new) >= _value(old)
    told = f"{new}, champion {old}"
    low, high = difference_of(_figure(new), _figure(old))
    what = "mean absolute error" if new.accuracy is None else "accuracy"
    return better, f"{told}; difference of the {what} {low:.3g} to {high:.3g} ({new.confidence:.0%} interval)"


def _value(measured: Measured) -> float:
    found = measured.mean_absolute_error if measured.accuracy is None else measured.accuracy
    assert found is not None  # noqa: S101 - for the type checker: it has one of both
    return found


def _figure(measured: Measured) -> tuple[float, float, float]:
    ends = [-math.inf if measured.low is None else measured.low, math.inf if measured.high is None else measured.high]
    return _value(measured), ends[0], ends[1]
