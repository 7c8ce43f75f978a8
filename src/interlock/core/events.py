"""Events: the closed table of everything that changes the state of the world.

A kind is `noun.past_tense`. Its data are plain values under the names declared here; what a row of this table
does not declare cannot be written. Triggers, webhooks, lineage and the timeline read events; so does an auditor.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Final

import msgspec

from interlock.core.errors import Invalid


class EventKind(msgspec.Struct, frozen=True):
    """One row of the table: what it is called, what it is about, which data it carries."""

    name: str
    subject: str
    data: tuple[str, ...]
    help: str


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened.

    Attributes:
        index: its place in the ledger, from 0 without gaps.
        at: when it was recorded (UTC).
        actor: who did it, such as `user:ann` or `loop:retrain`.
        kind: a name of `KINDS`.
        subject: the reference of what it is about.
        data: what the kind declares; None after an erasure.
    """

    TABLE: ClassVar = ("index", "at", "actor", "kind", "subject", "data")

    index: int
    at: datetime
    actor: str
    kind: str
    subject: str
    data: dict[str, Any] | None


def _table(*kinds: EventKind) -> dict[str, EventKind]:
    return {kind.name: kind for kind in kinds}


KINDS: Final = _table(
    EventKind("project.applied", "pipeline", ("digest", "changes"), "The workspace was made what interlock.toml says."),
    EventKind(
        "dataset_version.created", "data", ("digest", "rows", "sources", "contract"), "A dataset version was stored."
    ),
    EventKind("contract.set", "data", ("digest", "columns"), "The contract of a dataset was inferred or edited."),
    EventKind("experiment.created", "experiment", ("name",), "An experiment was created."),
    EventKind("run.started", "run", ("experiment", "name", "params", "inputs", "code", "environment"), "A run began."),
    EventKind(
        "run.logged", "run", ("params", "tags", "segments"), "Params, tags or metric segments were added to a run."
    ),
    EventKind("run.artifact_logged", "run", ("path", "digest"), "A file was added to a run."),
    EventKind("run.finished", "run", ("status", "reason"), "A run ended."),
    EventKind("model_version.created", "model", ("run", "bundle", "data"), "A model version was registered."),
    EventKind("model_version.moved", "model", ("origin", "stage", "reason"), "A version moved in its life cycle."),
    EventKind("alias.moved", "model", ("alias", "version", "previous"), "An alias points to another version."),
    EventKind("policy.set", "model", ("digest", "gates"), "What versions of a model must pass was set."),
    EventKind("gate.passed", "model", ("gate", "policy", "report"), "A gate passed."),
    EventKind("gate.failed", "model", ("gate", "policy", "report", "reason"), "A gate failed."),
    EventKind("gate.waived", "model", ("gate", "reason", "until"), "A failed gate was waived."),
    EventKind("approval.given", "model", ("bundle", "report", "policy", "note"), "A version was approved."),
    EventKind("approval.refused", "model", ("reason",), "A version was refused."),
    EventKind("deployment.changed", "deployment", ("revision", "spec", "reason"), "A deployment's routes changed."),
    EventKind(
        "deployment.refused", "deployment", ("model", "reason"), "A revision failed its pre-flight and took no traffic."
    ),
    EventKind("deployment.stopped", "deployment", ("revision",), "A deployment was taken down."),
    EventKind(
        "labels.joined", "monitor", ("digest", "rows", "joined"), "Labels arrived and were joined to predictions."
    ),
    EventKind("monitor.set", "monitor", ("plan", "reference"), "A monitoring plan or its reference changed."),
    EventKind("window.evaluated", "monitor", ("window", "report", "verdict", "predictions"), "A window was evaluated."),
    EventKind(
        "alarm.raised", "monitor", ("window", "signal", "verdict", "report", "reason"), "A monitor raised an alarm."
    ),
    EventKind("alarm.closed", "monitor", ("window", "reason"), "An alarm's episode ended."),
    EventKind("job.queued", "job", ("kind", "cause", "args"), "A job was put in the queue."),
    EventKind("job.finished", "job", ("status", "reason"), "A job ended."),
    EventKind("payload.erased", "event", ("reason",), "The payload of an event was erased; its leaf stays."),
)


def check(kind: str, data: dict[str, Any]) -> None:
    """Accept an event's data when they are what the table declares.

    Raises:
        Invalid: the kind is unknown, or the data have other names.
    """
    row = KINDS.get(kind)
    if row is None:
        raise Invalid(f"{kind!r} is no kind of event.", about="event")
    if set(data) != set(row.data):
        wrong = sorted(set(data) ^ set(row.data))
        raise Invalid(f"{kind} carries {', '.join(row.data)}; not so: {', '.join(wrong)}.", about="event")
