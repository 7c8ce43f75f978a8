"""The loop as it stands, in one record: for `interlock status` and the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from interlock.audit.evaluation import Evaluation, newest_evaluations
from interlock.core.errors import Invalid, NotFound
from interlock.core.events import Event
from interlock.data.records import Dataset
from interlock.data.service import DataService
from interlock.deploy.service import Deployment, DeployService
from interlock.loop.apply import applied_text
from interlock.loop.jobs import Job, Jobs
from interlock.loop.project import parse_project
from interlock.monitor.records import Monitor, WindowReport
from interlock.monitor.service import MonitorService
from interlock.registry.service import ModelVersion, RegistryService

if TYPE_CHECKING:
    from interlock.store import Store

_EVENTS = 30


class Status(msgspec.Struct, frozen=True):
    """Data, models, deployments, monitors with their windows, jobs, the newest events and the number of runs.

    Of each model that gates have judged there is one evaluation: its champion's, or that of the version judged last.
    """

    datasets: tuple[Dataset, ...]
    versions: tuple[ModelVersion, ...]
    deployments: tuple[Deployment, ...]
    monitors: tuple[Monitor, ...]
    windows: tuple[WindowReport, ...]
    jobs: tuple[Job, ...]
    events: tuple[Event, ...]
    ledger_entries: int
    project: str = ""
    runs: int = 0
    evaluations: tuple[Evaluation, ...] = ()


def status(store: Store) -> Status:
    """Return the loop of a workspace as it stands."""
    registry, monitor = RegistryService(store), MonitorService(store)
    size = store.ledger.size()
    monitors = monitor.monitors()
    versions = tuple(version for model in registry.models() for version in registry.versions(model.name))
    champions = {version.model: version.version for version in versions if "champion" in version.aliases}
    return Status(
        datasets=tuple(DataService(store).list()),
        versions=versions,
        deployments=tuple(DeployService(store).deployments()),
        monitors=tuple(monitors),
        windows=tuple(report for found in monitors for report in monitor.windows(found.name)),
        jobs=tuple(Jobs(store).jobs(20)),
        events=tuple(reversed(store.ledger.events(after=max(-1, size - 1 - _EVENTS)))),
        ledger_entries=size,
        project=_project(store),
        runs=_one(store, "SELECT count(*) AS n FROM runs"),
        evaluations=tuple(newest_evaluations(store, champions)),
    )


def _project(store: Store) -> str:
    """Return the project's name as it was applied, or ""."""
    try:
        return parse_project(applied_text(store)).project.name
    except (NotFound, Invalid):
        return ""


def _one(store: Store, sql: str) -> int:
    row = store.database.one(sql)
    return int(row["n"]) if row else 0
