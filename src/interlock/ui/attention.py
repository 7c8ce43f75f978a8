"""What needs somebody, the most urgent first, each with the command that answers it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from interlock.ui.views import ModelView, model_views
from interlock.ui.words import clip

if TYPE_CHECKING:
    from interlock.loop.status import Status
    from interlock.registry.service import ModelVersion

_ORDER: Final = {"alarm": 0, "warn": 1, "next": 2}


class Need(msgspec.Struct, frozen=True):
    """Something to do.

    Attributes:
        level: `alarm` (something is wrong), `warn` (something waits), `next` (the next step of a new project).
        text: one sentence.
        command: what to type, or "".
    """

    level: Literal["alarm", "warn", "next"]
    text: str
    command: str = ""


def needs(status: Status) -> list[Need]:
    """Return what needs somebody; nothing when the loop goes on by itself."""
    found = [need for view in model_views(status) for need in (*_traffic(view), *_versions(view), *_verdicts(view))]
    newest = {(job.kind, job.target): job for job in reversed(status.jobs)}
    found += [
        Need("alarm", clip(f"Job {job.kind} {job.target} failed: {job.reason}"), "interlock loop jobs")
        for job in newest.values()
        if job.status == "failed"
    ]
    if not status.datasets:
        found.append(Need("next", "There is no dataset yet.", "interlock data ingest NAME FILE"))
    elif not status.versions:
        found.append(Need("next", "No model has been trained yet.", "interlock loop candidate PIPELINE"))
    return sorted(found, key=lambda need: _ORDER[need.level])


def _traffic(view: ModelView) -> list[Need]:
    return [
        Need(
            "alarm", f"Deployment {d.name} should serve and does not answer.", f"interlock deploy start {_word(d.name)}"
        )
        for d in view.deployments
        if d.state == "serving" and not d.live
    ]


def _versions(view: ModelView) -> list[Need]:
    """Return what the newest version of a model waits for."""
    if not view.versions:
        return []
    newest = view.versions[0]
    needed = _step(newest, view)
    return [needed] if needed else []


def _step(version: ModelVersion, view: ModelView) -> Need | None:
    ref = _word(version.ref)
    if version.stage in {"created", "registered"}:
        return Need("next", f"{version.ref} has not met its gates yet.", f"interlock audit check {ref}")
    if version.stage == "validated":
        text = f"{version.ref} passed its gates and waits for approval."
        return Need("warn", text, f"interlock audit approve {ref} --note WHY")
    if version.stage == "approved" and not any(view.deployments):
        text = f"{version.ref} is approved and serves nobody yet."
        return Need("next", text, f"interlock deploy deploy {_word(view.name)} {ref}")
    if version.stage == "development":
        text = clip(f"{version.ref} was sent back: {version.stage_reason}")
        return Need("warn", text, f"interlock audit report {ref}")
    return None


def _verdicts(view: ModelView) -> list[Need]:
    found = []
    for monitor in view.monitors:
        if monitor.verdict == "retrain":
            text = clip(f"Monitor {monitor.name} says retrain. {monitor.reason}")
            found.append(Need("alarm", text, "interlock loop turn"))
        elif monitor.verdict == "wait for labels":
            text = clip(f"Monitor {monitor.name} waits for labels. {monitor.reason}")
            found.append(Need("warn", text, f"interlock monitor label {_word(monitor.name)} FILE"))
    return found


def _word(text: str) -> str:
    """Return a name as one word of a shell, whatever it holds; what cannot be typed is shown as `?`."""
    return shlex.quote("".join(letter if letter.isprintable() else "?" for letter in text))
