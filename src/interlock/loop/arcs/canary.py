"""The arc of canaries: after its watch, a challenger is promoted or rolled back on live evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.core.periods import parse_period

if TYPE_CHECKING:
    from interlock.loop.context import Context

ENOUGH = 100


def settle_canaries(context: Context) -> list[str]:
    """Return what was decided about challengers whose watch is over; nothing while labels are too few.

    Champion and challenger are compared on the same rows: all labelled requests since the challenger's first answer,
    each version's score replayed from the prediction log.
    """
    decided = []
    for deployment in context.deploy.deployments():
        table = context.project.deployment.get(deployment.name)
        if table is None or len(deployment.routes) < 2 or deployment.name not in context.project.monitor:
            continue
        champion, challenger = deployment.routes
        since = context.monitor.first_answer(deployment.name, challenger.model)
        if since is None or parse_period(table.rollout.watch).after(since) > context.until:
            continue
        before = context.monitor.replay(deployment.name, champion.model, since.isoformat(), context.until.isoformat())
        after = context.monitor.replay(deployment.name, challenger.model, since.isoformat(), context.until.isoformat())
        if before.replayed is None or after.replayed is None or after.labels < ENOUGH:
            continue
        evidence = (
            f"on {after.labels} labelled requests since {since:%Y-%m-%d}: ROC AUC {after.replayed.value:.3f},"
            f" champion {before.replayed.value:.3f}"
        )
        if after.replayed.value >= before.replayed.value:
            context.deploy.promote(deployment.name, evidence)
            decided.append(f"{challenger.model} promoted {evidence}")
        else:
            context.deploy.rollback(deployment.name, evidence)
            decided.append(f"{challenger.model} rolled back {evidence}")
    return decided
