"""The arc `approve`: a rule signs for a challenger that does better than the champion where the truth is newest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.core.actor import acting_as
from interlock.core.refs import parse
from interlock.loop.context import Context, Outcome

if TYPE_CHECKING:
    from interlock.core.events import Event

RULE = "rule:better than champion"
ENOUGH = 50


def approve(context: Context, target: str, cause: Event, job: str) -> Outcome:
    """Return the outcome of the rule: approved, or the reason why it leaves the version to a person.

    Both versions score the same rows: those of the newest labelled window whose subjects the challenger was never
    trained on.
    """
    del job
    if context.project.model[target].approve != "better than champion":
        return Outcome("declined", "a person approves this model's versions")
    version = context.registry.version(parse(cause.subject, "model").whole.name + f"@{parse(cause.subject).version}")
    if version.stage != "validated":
        return Outcome("declined", f"{version.ref} is {version.stage!r} by now")
    deployment = context.deployment_of(target)
    if "champion" not in context.registry.model(target).aliases or not deployment:
        return Outcome("declined", f"{version.ref} waits for a person: there is no champion to compare it with")
    duel = context.monitor.duel(deployment, version.ref, context.until)
    if duel is None:
        return Outcome("declined", f"{version.ref} waits for a person: no labelled rows to compare on")
    note = (
        f"on {duel.rows} held-out rows of {duel.window}: ROC AUC {duel.challenger.value:.3f}"
        f" against {duel.champion.value:.3f} of the champion"
    )
    if duel.rows < ENOUGH:
        return Outcome("declined", f"{version.ref} waits for a person: only {duel.rows} rows to compare on")
    if context.audit.report(version.ref).waived:
        return Outcome(
            "declined", f"{version.ref} waits for a person: a gate was waived, which a rule cannot answer for"
        )
    if duel.challenger.value <= duel.champion.value:
        return Outcome("declined", f"{version.ref} is not better {note}; it waits for a person")
    with acting_as(RULE):
        signed = context.audit.approve(version.ref, note)
    if signed.stage != "approved":  # its policy wants more than one signature
        return Outcome("done", f"{version.ref} signed, and waits for another signature: it is better {note}")
    return Outcome("done", f"{version.ref} approved {note}")
