"""The arc of canaries: after its watch, a challenger is promoted or rolled back on live evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.core.errors import Error, Invalid
from interlock.core.periods import parse_period

if TYPE_CHECKING:
    from interlock.deploy.service import Deployment
    from interlock.loop.context import Context

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
    if after.replayed_measured is not None and after.labels >= ENOUGH:  # no order of two classes to compare by
        raise Invalid(
            f"on {after.labels} labelled requests the challenger has {after.replayed_measured}, the champion"
            f" {before.replayed_measured}; what settles a canary compares models of two classes only.",
            about="deployment",
            hint=f"Decide yourself: interlock deploy promote {deployment.name}, or rollback.",
        )
    if before.replayed is None or after.replayed is None or after.labels < ENOUGH:
        return []
    evidence = (
        f"on {after.labels} labelled requests since {since:%Y-%m-%d}: ROC AUC {after.replayed.value:.3f},"
        f" champion {before.replayed.value:.3f}"
    )
    if after.replayed.value >= before.replayed.value:
        context.deploy.promote(deployment.name, evidence)
        return [f"{challenger.model} promoted {evidence}"]
    context.deploy.rollback(deployment.name, evidence)
    return [f"{challenger.model} rolled back {evidence}"]
