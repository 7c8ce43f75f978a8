"""The arc `deploy`: an approved version goes to work, beside the champion first when there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.core.errors import NotFound
from interlock.loop.context import Context, Outcome

if TYPE_CHECKING:
    from interlock.core.events import Event


def deploy(context: Context, target: str, cause: Event, job: str) -> Outcome:
    """Return the outcome of giving the approved version its share of the traffic."""
    del job
    version = context.registry.version(cause.subject)
    if version.stage not in {"approved", "deployed"}:
        return Outcome("declined", f"{version.ref} is {version.stage!r} by now")
    share = context.project.deployment[target].rollout.share if _serving(context, target) else 0.0
    context.deploy.deploy(target, version.ref, canary=share)
    return Outcome("done", f"{version.ref} takes {share or 1:.0%} of deployment:{target}")


def _serving(context: Context, deployment: str) -> bool:
    try:
        return bool(context.deploy.show(deployment).routes)
    except NotFound:
        return False
