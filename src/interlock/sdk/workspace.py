"""`Workspace`: the one door to all services, the same over a folder and over an address."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from interlock.core.errors import Error, Invalid
from interlock.core.files import is_digest
from interlock.core.ids import new_id
from interlock.sdk.arguments import check_names
from interlock.sdk.catalog import Catalog
from interlock.sdk.local import LocalBackend
from interlock.sdk.places import FOLDER, find, is_address
from interlock.sdk.proxy import ServiceProxy, run
from interlock.sdk.services import SERVICES

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from interlock.audit.service import AuditService
    from interlock.bridges.webhooks.service import WebhookService
    from interlock.core.files import StoredFile
    from interlock.data.service import DataService
    from interlock.deploy.service import DeployService
    from interlock.loop.service import LoopService
    from interlock.monitor.service import MonitorService
    from interlock.registry.service import RegistryService
    from interlock.sdk.backend import Backend
    from interlock.sdk.services import Service
    from interlock.store import Store
    from interlock.store.service import LedgerService
    from interlock.track.experiment_service import ExperimentService
    from interlock.track.logged_model_service import LoggedModelService
    from interlock.track.service import TrackService
    from interlock.track.trace_service import TraceService
    from interlock.train.service import TrainService


class Workspace:
    """All services of one workspace, as attributes: `workspace.data.ingest("people", ["people.csv"])`.

    Wherever an operation takes a `StoredFile`, a path of this machine may be given; its bytes are sent first, and kept
    only if the operation keeps them. Use it as a context manager, or `close` it.

    Args:
        backend: the folder or server behind it.
        catalog: its services.
    """

    def __init__(self, backend: Backend, catalog: Catalog) -> None:
        self.backend = backend
        self.catalog = catalog
        self._proxies: dict[str, ServiceProxy] = {}

    @classmethod
    def open(
        cls, location: str | os.PathLike[str] | None = None, *, services: Mapping[str, Service] = SERVICES
    ) -> Self:
        """Return the workspace at a location.

        Args:
            location: a project folder (or its `.interlock`), or a server's address such as `http://127.0.0.1:8230`.
                None looks in `INTERLOCK_WORKSPACE`, then in this folder and those above it.
            services: the table of services; only tests and extensions give another.

        Raises:
            NotFound: there is no workspace; `interlock init` makes one.
        """
        found = find(location)
        if is_address(found):
            from interlock.sdk.remote import RemoteBackend

            return cls(RemoteBackend(found), Catalog(services))
        from interlock.store import create_store

        # A fresh checkout has interlock.toml and no .interlock yet: the project file is reason enough to make it.
        return cls.over(create_store(Path(found) / FOLDER), services=services)

    @classmethod
    def over(cls, store: Store, *, services: Mapping[str, Service] = SERVICES) -> Self:
        """Return a workspace over a store that is open already; closing it closes the store."""
        catalog = Catalog(services)
        return cls(LocalBackend(store, catalog), catalog)

    @property
    def location(self) -> str:
        """The project's folder, or the server's address."""
        return self.backend.location

    @property
    def local(self) -> LocalBackend:
        """The folder behind it.

        Raises:
            Invalid: it is an address.
        """
        if not isinstance(self.backend, LocalBackend):
            raise Invalid(
                f"This needs a workspace on this machine, not {self.location}.",
                about="workspace",
                hint="Run it where the workspace's folder is.",
            )
        return self.backend

    @property
    def store(self) -> Store:
        """The store of a workspace on this machine.

        Raises:
            Invalid: it is an address.
        """
        return self.local.store

    def call(self, service: str, operation: str, arguments: Mapping[str, Any]) -> Any:
        """Return what an operation returns, named by texts.

        Args:
            service: the service's name.
            operation: the operation's name.
            arguments: its arguments by name; paths may stand for stored files.

        Raises:
            NotFound: there is no such operation.
            Error: whatever the operation raises.
        """
        found = self.catalog.operation(service, operation)
        check_names(found, arguments)
        return run(found, dict(arguments), self.backend)

    def upload(self, path: str | os.PathLike[str]) -> StoredFile:
        """Return a file of this machine, sent: for a day it can be given to operations, which may keep it.

        Raises:
            NotFound: there is no such file.
            Invalid: it is a folder, or may not be read.
        """
        return self.backend.put(Path(path), new_id())

    def read(self, digest: str) -> bytes:
        """Return the bytes of an object, checked against its digest.

        Raises:
            Invalid: that is no digest.
            NotFound: it is not here.
            Corrupt: its bytes have changed.
        """
        return self.backend.read(_checked(digest))

    def save(self, digest: str, path: str | os.PathLike[str]) -> None:
        """Write the bytes of an object to a file, checked against its digest.

        Raises:
            NotFound: it is not here.
            Corrupt: its bytes have changed.
            Invalid: that is no digest, or the file cannot be written.
        """
        target = Path(path)
        try:
            self.backend.save(_checked(digest), target)
        except Error:  # some of ours are OSError too
            raise
        except OSError as error:
            raise Invalid(f"{str(target)!r} cannot be written: {error.strerror}.", about="file") from None

    def close(self) -> None:
        """Let go of files and connections."""
        self.backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Workspace({self.location!r})"

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self.catalog.names})

    def __getattr__(self, name: str) -> Any:
        """Return a service that has no property below, such as an extension's."""
        if name.startswith("_"):
            raise AttributeError(name)
        return self._service(name)

    def _service(self, name: str) -> Any:
        if name not in self._proxies:
            if name not in self.catalog.names:
                near = difflib.get_close_matches(name, self.catalog.names, n=1, cutoff=0.5)
                raise AttributeError(
                    f"a workspace has no service {name!r}" + (f"; did you mean {near[0]!r}?" if near else "")
                )
            self._proxies[name] = ServiceProxy(name, self.catalog, self.backend)
        return self._proxies[name]

    @property
    def data(self) -> DataService:
        """Datasets."""
        return cast("DataService", self._service("data"))

    @property
    def train(self) -> TrainService:
        """Pipelines."""
        return cast("TrainService", self._service("train"))

    @property
    def track(self) -> TrackService:
        """Runs."""
        return cast("TrackService", self._service("track"))

    @property
    def experiments(self) -> ExperimentService:
        """Experiments."""
        return cast("ExperimentService", self._service("experiments"))

    @property
    def logged_models(self) -> LoggedModelService:
        """What runs saved as models."""
        return cast("LoggedModelService", self._service("logged_models"))

    @property
    def traces(self) -> TraceService:
        """What applications did, span by span."""
        return cast("TraceService", self._service("traces"))

    @property
    def registry(self) -> RegistryService:
        """Models and their versions."""
        return cast("RegistryService", self._service("registry"))

    @property
    def audit(self) -> AuditService:
        """Gates, approvals, waivers."""
        return cast("AuditService", self._service("audit"))

    @property
    def deploy(self) -> DeployService:
        """Deployments."""
        return cast("DeployService", self._service("deploy"))

    @property
    def monitor(self) -> MonitorService:
        """Live models."""
        return cast("MonitorService", self._service("monitor"))

    @property
    def loop(self) -> LoopService:
        """The loop."""
        return cast("LoopService", self._service("loop"))

    @property
    def webhooks(self) -> WebhookService:
        """Webhooks: who is told of events."""
        return cast("WebhookService", self._service("webhooks"))

    @property
    def ledger(self) -> LedgerService:
        """Events and proofs."""
        return cast("LedgerService", self._service("ledger"))


def _checked(digest: str) -> str:
    if not is_digest(digest):
        raise Invalid(f"{digest!r} is no digest: 64 hexadecimal digits are wanted.", about="object")
    return digest
