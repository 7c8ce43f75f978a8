"""The parts of the page about what happened: jobs, events, the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from interlock.pictures import Markup, element
from interlock.ui.parts import Tone, command, pill, section, table
from interlock.ui.words import clip, moment, number, plural, told

if TYPE_CHECKING:
    from interlock.core.events import Event
    from interlock.loop.jobs import Job
    from interlock.loop.status import Status
    from interlock.pictures.markup import Child

_JOBS: Final[dict[str, Tone]] = {"done": "ok", "running": "warn", "failed": "alarm"}
_LOUD: Final[dict[str, Tone]] = {
    "alarm.raised": "alarm",
    "gate.failed": "alarm",
    "deployment.refused": "alarm",
    "approval.refused": "alarm",
    "gate.waived": "warn",
    "alarm.closed": "ok",
    "approval.given": "ok",
    "deployment.changed": "ok",
}


def jobs_section(status: Status) -> Markup:
    """Return the newest jobs."""
    if not status.jobs:
        return section("jobs", "Jobs", element("p", {}, "Nothing has been asked for yet. A trigger queues the first."))
    header = ("Job", "State", "What came out", "Because of", "Queued (UTC)", "Ended (UTC)")
    return section("jobs", "Jobs", table("The newest jobs", header, [_job(job) for job in status.jobs]))


def _job(job: Job) -> tuple[Child, ...]:
    state = pill(job.status, _JOBS.get(job.status, "quiet"))
    ended = moment(job.ended_at) if job.ended_at else ""
    return f"{job.kind} {job.target}", state, clip(job.reason), job.cause, moment(job.queued_at), ended


def events_section(status: Status) -> Markup:
    """Return the newest events as a timeline, newest first."""
    if not status.events:
        return section("events", "Events", element("p", {}, "Nothing has happened yet."))
    shown = element("ol", {"class": "events"}, *(_event(event) for event in status.events))
    note = f"The newest {number(len(status.events))} of {plural(status.ledger_entries, 'event')}, newest first."
    return section("events", "Events", element("p", {"class": "soft"}, note), shown)


def _event(event: Event) -> Markup:
    kind = event.kind.replace(".", " ").replace("_", " ")
    return element(
        "li",
        {},
        moment(event.at),
        pill(kind, _LOUD.get(event.kind, "quiet")),
        element(
            "p",
            {},
            element("code", {}, clip(event.subject)),
            " ",
            told(event),
            " ",
            element("span", {"class": "soft"}, f"by {clip(event.actor)}") if event.actor else None,
        ),
        element("span", {"class": "soft n"}, f"#{event.index}"),
    )


def ledger_section(status: Status) -> Markup:
    """Return how much the ledger holds, and how to check it."""
    told_so = f"The ledger holds {plural(status.ledger_entries, 'event')}. Nothing in it can be changed unseen."
    check = element("p", {}, told_so, " Check it yourself: ", command("interlock ledger verify"))
    return section("ledger", "Ledger", check)
