"""The arc `deploy`: an approved version goes to work, beside the champion first when there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.core.errors import NotFound
from interlock.loop.context import Context, Outcome
from interlock.serve.recorded import UNPROVED

if TYPE_CHECKING:
    from interlock.core.bundles import Route
    from interlock.core.events import Event


def deploy(context: Context, target: str, cause: Event, job: str) -> Outcome:
    """Return the outcome of giving the approved version its share of the traffic."""
    del job
    version = context.registry.version(cause.subject)
    if version.stage not in {"approved", "deployed"}:
        return Outcome("declined", f"{version.ref} is {version.stage!r} by now")
    routes = _routes(context, target)
    held = next((route for route in routes if route.model == version.ref and route.role == "champion"), None)
    if held is not None:  # done before, by a worker that died or by a person: a champion is not its own challenger
        context.deploy.start(target)
        return Outcome("done", f"{version.ref} takes {held.weight:.0%} of deployment:{target}")
    table = context.project.deployment[target]
    share = table.rollout.share if routes else 0.0
    made = context.deploy.deploy(target, version.ref, canary=share, serving=table.serving.record)
    taken = f"{version.ref} takes {share or 1:.0%} of deployment:{target}"
    passed = "its golden requests having passed in a fresh process"
    tried = "tried in a fresh process" if any(found.rule == UNPROVED for found in made.warnings) else passed
    return Outcome("done", f"{taken}, {tried}")


def _routes(context: Context, deployment: str) -> tuple[Route, ...]:
    try:
        return context.deploy.show(deployment).routes
    except NotFound:
        return ()
