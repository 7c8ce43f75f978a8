"""From the table of services to their classes and operations."""

from __future__ import annotations

import functools
import importlib.util
from importlib import import_module
from typing import TYPE_CHECKING

from interlock.core.errors import NotFound
from interlock.core.operations import Operation, operations

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interlock.sdk.services import Service


class Catalog:
    """The services of one table, loaded when they are asked for.

    Args:
        services: the table; rows whose module this installation leaves out count as absent.
    """

    def __init__(self, services: Mapping[str, Service]) -> None:
        self._services = services

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """The services that are installed, in the order of the table."""
        return tuple(name for name, row in self._services.items() if _is_installed(row.target))

    def service(self, name: str) -> type:
        """Return the class of a service.

        Raises:
            NotFound: there is none of this name.
        """
        if name not in self.names:
            raise NotFound.named("service", name, self.names)
        return _load(self._services[name].target)

    def operations(self, service: str) -> Mapping[str, Operation]:
        """Return a service's operations by name.

        Raises:
            NotFound: there is no such service.
        """
        return _operations(self.service(service))

    def operation(self, service: str, name: str) -> Operation:
        """Return one operation.

        Raises:
            NotFound: there is no such service, or no such operation.
        """
        found = self.operations(service)
        if name not in found:
            raise NotFound.named("operation", f"{service}.{name}", (f"{service}.{known}" for known in found))
        return found[name]


@functools.cache
def _load(target: str) -> type:
    module, _, name = target.partition(":")
    found: type = getattr(import_module(module), name)
    return found


@functools.cache
def _operations(service: type) -> Mapping[str, Operation]:
    return operations(service)


def _is_installed(target: str) -> bool:
    try:
        return importlib.util.find_spec(target.partition(":")[0]) is not None
    except ModuleNotFoundError:  # not even the room is there
        return False
