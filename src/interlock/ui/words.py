"""How numbers, instants and events are written on a page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from interlock.pictures import Markup, element
from interlock.pictures.scales import percent

if TYPE_CHECKING:
    from datetime import datetime

    from interlock.core.events import Event
    from interlock.monitor.auc import Interval

_DIGEST: Final = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")
_LONGEST: Final = 240
_FEW: Final = 3

# What is worth telling of each kind of event, beside its subject.
_TOLD: Final = {
    "project.applied": "{changes}",
    "dataset_version.created": "{rows} rows",
    "contract.set": "{columns} columns",
    "experiment.created": "{name}",
    "experiment.changed": "{changes}",
    "run.started": "{name} of experiment {experiment}",
    "run.logged": "{params}",
    "run.artifact_logged": "{path}",
    "run.artifact_deleted": "{path}",
    "run.finished": "{status} {reason}",
    "run.changed": "{changes}",
    "run.linked": "{datasets} {models} {outputs}",
    "logged_model.created": "{name} by {run}",
    "logged_model.changed": "{changes}",
    "logged_model.artifact_logged": "{path}",
    "logged_model.artifact_deleted": "{path}",
    "trace.created": "in experiment {experiment}",
    "trace.changed": "{changes}",
    "trace.deleted": "of experiment {experiment}",
    "trace.artifact_logged": "{path}",
    "trace.artifact_deleted": "{path}",
    "model.created": "by {owner}",
    "model.updated": "{changes}",
    "model.renamed": "was {previous}",
    "model.archived": "{reason}",
    "model.restored": "",
    "model_version.created": "by {run} from {data}",
    "model_version.moved": "from {origin} to {stage}: {reason}",
    "model_version.updated": "{changes}",
    "model_version.signed": "as model.sig {signature}",
    "environment.prepared": "{packages} packages for Python {python}, locked as {lock}",
    "environment.failed": "{reason}",
    "model_version.archived": "{reason}",
    "model_version.restored": "",
    "objects.removed": "{count}, {size_bytes} bytes",
    "alias.moved": "{alias} is version {version}, was {previous}",
    "policy.set": "{gates}. {weaker}",
    "gate.passed": "{gate}",
    "gate.failed": "{gate}: {reason}",
    "gate.waived": "{gate} until {until}: {reason}",
    "approval.given": "{note}",
    "approval.refused": "{reason}",
    "deployment.changed": "revision {revision}: {reason}",
    "deployment.refused": "{model}: {reason}",
    "deployment.stopped": "revision {revision}",
    "batch.scored": "{rows} rows, {refused} refused",
    "labels.joined": "{joined} of {rows} labels belong to a prediction",
    "labels.received": "{kept} of {rows} labels are new, {corrections} correct others",
    "monitor.set": "",
    "window.evaluated": "{window}: {verdict}",
    "alarm.raised": "{window}: {verdict}. {reason}",
    "alarm.closed": "{window}: {reason}",
    "job.queued": "{kind} {args}, because of {cause}",
    "job.finished": "{status}: {reason}",
    "webhook.created": "{name} to {host}: {events}",
    "webhook.changed": "{changes}",
    "webhook.deleted": "{waiting} deliveries dropped",
    "webhook.tested": "{event}: {status} {error}",
    "webhook.retried": "event {event}, delivery {delivery}",
    "webhook.skipped": "event {event}, delivery {delivery}",
    "payload.erased": "{reason}",
}


def number(value: int) -> str:
    """Return a count: `12,345`."""
    return f"{value:,}"


def score(value: float) -> str:
    """Return a metric: three decimals."""
    return f"{value:.3f}"


def interval(found: Interval | None) -> str:
    """Return a metric with its interval: `0.842 [0.830, 0.855]`; "" when there is none."""
    return f"{score(found.value)} [{score(found.low)}, {score(found.high)}]" if found else ""


def plural(count: int, one: str, many: str = "") -> str:
    """Return a count with its noun: `1 version`, `2 versions`."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def clip(text: str, longest: int = _LONGEST) -> str:
    """Return a text of bounded length, digests shortened."""
    text = _DIGEST.sub("\\1\u2026", text)
    return text if len(text) <= longest else f"{text[: longest - 1].rstrip()}\u2026"


def moment(at: datetime) -> Markup:
    """Return an instant as a time element, to the minute, in UTC."""
    return element("time", {"datetime": at.strftime("%Y-%m-%dT%H:%M:%SZ")}, at.strftime("%Y-%m-%d %H:%M"))


def told(event: Event) -> str:
    """Return what an event says beside its kind and its subject."""
    if event.data is None:
        return "its data were erased"
    template = _TOLD.get(event.kind)
    if template is None:
        return clip(_plain(event.data))
    values = _Blank({name: _plain(value) for name, value in event.data.items()})
    return clip(re.sub(r"[:,. ]+\Z", "", template.format_map(values)).strip())


class _Blank(dict[str, str]):
    """Values of which a missing one is empty."""

    def __missing__(self, key: str) -> str:
        return ""


def _plain(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "", True: "yes", False: "no"}[value]
    if isinstance(value, int):
        return number(value)
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict):
        return _plain([f"{key} {_plain(item)}" for key, item in value.items()])
    if isinstance(value, list | tuple):
        more = f" and {len(value) - _FEW} more" if len(value) > _FEW else ""
        return ", ".join(_plain(item) for item in value[:_FEW]) + more
    return str(value)


__all__ = ["clip", "interval", "moment", "number", "percent", "plural", "score", "told"]
