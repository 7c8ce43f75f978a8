"""What an arc has at hand: the project as applied, and every service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from interlock.audit.service import AuditService
from interlock.data.service import DataService
from interlock.deploy.service import DeployService
from interlock.monitor.service import MonitorService
from interlock.registry.service import RegistryService
from interlock.track.service import TrackService
from interlock.train.service import TrainService

if TYPE_CHECKING:
    from datetime import datetime

    from interlock.core.events import Event
    from interlock.loop.project import Project
    from interlock.store import Store


class Outcome(msgspec.Struct, frozen=True):
    """What became of a job, and why; `again`: the same may work later."""

    status: Literal["done", "declined", "failed"]
    reason: str
    again: bool = False


class Context:
    """The services of a workspace, for one turn.

    Args:
        store: the workspace.
        project: what interlock.toml said when it was applied.
        until: the instant that counts as now for windows and canaries.
    """

    def __init__(self, store: Store, project: Project, until: datetime) -> None:
        self.store = store
        self.project = project
        self.until = until
        self.data = DataService(store)
        self.track = TrackService(store)
        self.registry = RegistryService(store)
        self.train = TrainService(store)
        self.audit = AuditService(store)
        self.deploy = DeployService(store)
        self.monitor = MonitorService(store)

    def deployment_of(self, model: str) -> str:
        """Return the deployment that a model answers in, or ""."""
        for name, table in self.project.deployment.items():
            if table.model_name == model:
                return name
        return ""

    def model_of(self, pipeline: str) -> str:
        """Return the model that a pipeline makes, or ""."""
        return next((name for name, table in self.project.model.items() if table.pipeline == pipeline), "")


class Arc(Protocol):
    """What `[[when]] do` names: runs again without harm when a worker died in the middle of it."""

    def __call__(self, context: Context, target: str, cause: Event, job: str) -> Outcome:
        """Return what became of it.

        Args:
            context: the services.
            target: what it is done to.
            cause: the event that asked for it.
            job: the job's reference; what it makes is marked with it.
        """
        ...
