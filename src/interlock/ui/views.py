"""The loop's records, put together model by model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from interlock.audit.evaluation import Evaluation
from interlock.deploy.service import Deployment
from interlock.monitor.records import Monitor, WindowReport
from interlock.registry.service import ModelVersion

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from interlock.loop.status import Status


class ModelView(msgspec.Struct, frozen=True):
    """What is known of one model.

    Attributes:
        versions: newest first.
        windows: all reports of its versions, oldest first.
        evaluation: the champion on its held-out rows, or the version judged last; None where gates judged none.
    """

    name: str
    versions: tuple[ModelVersion, ...]
    deployments: tuple[Deployment, ...]
    monitors: tuple[Monitor, ...]
    windows: tuple[WindowReport, ...]
    evaluation: Evaluation | None = None


def model_views(status: Status) -> list[ModelView]:
    """Return the models that anything is about, by name."""
    names = {version.model for version in status.versions}
    names |= {name_of(route.model) for found in status.deployments for route in found.routes}
    names |= {name_of(monitor.model) for monitor in status.monitors if monitor.model}
    names |= {name_of(report.model) for report in status.windows}
    return [_view(status, name) for name in sorted(names)]


def name_of(ref: str) -> str:
    """Return the name of the model that a reference to a version spells: `model:credit@7` is of `credit`."""
    return ref.removeprefix("model:").partition("@")[0]


def version_of(ref: str) -> int:
    """Return the number of the version that a reference spells, or 0."""
    number = ref.rpartition("@")[2]
    return int(number) if number.isascii() and number.isdigit() else 0


def newest_by_window(windows: Iterable[WindowReport]) -> list[WindowReport]:
    """Return one report a window, oldest first: that of the newest version, where several answered."""
    found: dict[tuple[float, str], WindowReport] = {}
    for report in windows:
        key = (report.starts_at.timestamp(), report.window)
        held = found.get(key)
        if held is None or version_of(report.model) >= version_of(held.model):
            found[key] = report
    return [found[key] for key in sorted(found)]


def _view(status: Status, name: str) -> ModelView:
    versions = [version for version in status.versions if version.model == name]
    deployments = [d for d in status.deployments if any(name_of(route.model) == name for route in d.routes)]
    watched = {d.name for d in deployments}
    return ModelView(
        name=name,
        versions=tuple(sorted(versions, key=lambda version: -version.version)),
        deployments=tuple(deployments),
        monitors=tuple(m for m in status.monitors if _is_about(m, name, watched)),
        windows=tuple(sorted(_of(status.windows, name), key=lambda w: (w.starts_at, version_of(w.model)))),
        evaluation=next((found for found in status.evaluations if name_of(found.version) == name), None),
    )


def _is_about(monitor: Monitor, name: str, deployments: set[str]) -> bool:
    return name_of(monitor.model) == name if monitor.model else monitor.plan.deployment in deployments


def _of(windows: Sequence[WindowReport], name: str) -> list[WindowReport]:
    return [report for report in windows if name_of(report.model) == name]
