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
    EventKind("run.artifact_deleted", "run", ("path",), "A file of a run was taken away."),
    EventKind("run.finished", "run", ("status", "reason"), "A run ended."),
    EventKind("run.changed", "run", ("changes",), "A run was renamed, resumed, deleted, restored or lost a tag."),
    EventKind("run.linked", "run", ("datasets", "models", "outputs"), "A run read datasets or models, or made models."),
    EventKind(
        "experiment.changed", "experiment", ("changes",), "An experiment was renamed, tagged, deleted or restored."
    ),
    EventKind("logged_model.created", "logged_model", ("experiment", "run", "name"), "A run began to log a model."),
    EventKind("logged_model.changed", "logged_model", ("changes",), "A logged model was finished, tagged or deleted."),
    EventKind(
        "logged_model.artifact_logged", "logged_model", ("path", "digest"), "A file was added to a logged model."
    ),
    EventKind("logged_model.artifact_deleted", "logged_model", ("path",), "A file of a logged model was taken away."),
    EventKind("trace.created", "trace", ("experiment", "info", "spans"), "A trace began, or came whole."),
    EventKind("trace.changed", "trace", ("changes",), "A trace ended, got spans, tags, links or assessments."),
    EventKind("trace.deleted", "trace", ("experiment",), "A trace was deleted for good."),
    EventKind("trace.artifact_logged", "trace", ("path", "digest"), "A file was added to a trace."),
    EventKind("trace.artifact_deleted", "trace", ("path",), "A file of a trace was taken away."),
    EventKind("model.created", "model", ("description", "owner", "tags"), "A model was created, or its name again."),
    EventKind("model.updated", "model", ("changes",), "Tags, description or owner of a model changed."),
    EventKind("model.renamed", "model", ("previous",), "A model got another name; its references follow."),
    EventKind("model.archived", "model", ("reason", "versions"), "A model and its versions were put away."),
    EventKind("model.restored", "model", ("versions",), "An archived model came back."),
    EventKind(
        "model_version.created",
        "model",
        ("run", "bundle", "data", "source", "format", "pins", "signature", "description", "tags"),
        "A model version was registered.",
    ),
    EventKind("model_version.moved", "model", ("origin", "stage", "reason"), "A version moved in its life cycle."),
    EventKind(
        "model_version.updated", "model", ("changes",), "A version's tags, texts, status or MLflow stage changed."
    ),
    EventKind("model_version.signed", "model", ("signature", "key"), "A version's files were signed for others."),
    EventKind(
        "environment.prepared",
        "model",
        ("lock", "log", "python", "packages"),
        "A version's environment was built, and the version answered in it.",
    ),
    EventKind("environment.failed", "model", ("lock", "log", "reason"), "A version's environment was not built."),
    EventKind("model_version.archived", "model", ("reason",), "A version was put away."),
    EventKind("model_version.restored", "model", (), "An archived version came back."),
    EventKind("objects.removed", "workspace", ("count", "size_bytes", "list"), "Objects that nothing names went."),
    EventKind("alias.moved", "model", ("alias", "version", "previous"), "An alias points to another version."),
    EventKind("policy.set", "model", ("digest", "gates", "weaker"), "What versions of a model must pass was set."),
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
        "batch.scored",
        "model",
        ("batch", "bundle", "inputs", "outputs", "rows", "refused", "record"),
        "A version scored files.",
    ),
    EventKind(
        "labels.joined", "monitor", ("digest", "rows", "joined"), "Labels arrived and were joined to predictions."
    ),
    EventKind(
        "labels.received",
        "deployment",
        ("digest", "rows", "kept", "corrections"),
        "Labels arrived at a model server.",
    ),
    EventKind("monitor.set", "monitor", ("plan", "reference"), "A monitoring plan or its reference changed."),
    EventKind("window.evaluated", "monitor", ("window", "report", "verdict", "predictions"), "A window was evaluated."),
    EventKind(
        "alarm.raised", "monitor", ("window", "signal", "verdict", "report", "reason"), "A monitor raised an alarm."
    ),
    EventKind("alarm.closed", "monitor", ("window", "reason"), "An alarm's episode ended."),
    EventKind("job.queued", "job", ("kind", "cause", "args"), "A job was put in the queue."),
    EventKind("job.finished", "job", ("status", "reason"), "A job ended."),
    EventKind(
        "webhook.created", "webhook", ("name", "host", "events", "status"), "A webhook was subscribed to events."
    ),
    EventKind("webhook.changed", "webhook", ("changes",), "A webhook got another address, events, status or secret."),
    EventKind("webhook.deleted", "webhook", ("waiting",), "A webhook was deleted, and what waited for it dropped."),
    EventKind(
        "webhook.tested", "webhook", ("event", "status", "error"), "A made-up event was sent to a webhook, once."
    ),
    EventKind("webhook.retried", "webhook", ("delivery", "event"), "A delivery that had ended was queued again."),
    EventKind("webhook.skipped", "webhook", ("delivery", "event"), "A delivery that waited was dropped by hand."),
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
