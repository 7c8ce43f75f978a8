"""Operations: a capability is one typed method of a service, and everything else is derived from it.

    class DataService:
        "Datasets: ..."
        name = "data"

        @operation(Permission.DATA_WRITE, emits=("dataset_version.created",))
        def ingest(self, name: str, files: list[StoredFile]) -> DatasetVersion: ...

From this come the Python call, `POST /api/v1/data/ingest` with its OpenAPI entry, the remote client and the
command `interlock data ingest`. An operation without a permission cannot be declared; one that writes says which events
it emits.
"""

from __future__ import annotations

import enum
import inspect
import typing
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

F = TypeVar("F", bound=Callable[..., Any])
_MARK = "__interlock_operation__"


class Permission(enum.StrEnum):
    """What a caller must be allowed to do. `*_READ` changes nothing that anybody said (a checkpoint may be signed)."""

    DATA_READ = "data.read"
    DATA_WRITE = "data.write"
    TRACK_READ = "track.read"
    TRACK_WRITE = "track.write"
    REGISTRY_READ = "registry.read"
    REGISTRY_WRITE = "registry.write"
    TRAIN_RUN = "train.run"
    AUDIT_READ = "audit.read"
    AUDIT_RUN = "audit.run"
    AUDIT_APPROVE = "audit.approve"
    AUDIT_WAIVE = "audit.waive"
    DEPLOY_READ = "deploy.read"
    DEPLOY_WRITE = "deploy.write"
    MONITOR_READ = "monitor.read"
    MONITOR_WRITE = "monitor.write"
    LOOP_READ = "loop.read"
    LOOP_RUN = "loop.run"
    LEDGER_READ = "ledger.read"
    LEDGER_ERASE = "ledger.erase"
    WEBHOOKS_READ = "webhooks.read"
    WEBHOOKS_WRITE = "webhooks.write"

    @property
    def reads_only(self) -> bool:
        """Whether it allows no change."""
        return self.value.endswith(".read")


class Parameter(msgspec.Struct, frozen=True):
    """One argument of an operation. `default` is `msgspec.NODEFAULT` where it must be given."""

    name: str
    type: Any
    default: Any
    help: str

    @property
    def required(self) -> bool:
        """Whether a caller must give it."""
        return self.default is msgspec.NODEFAULT


class Operation(msgspec.Struct, frozen=True):
    """All that the outside needs to know of one method."""

    service: str
    name: str
    permission: Permission
    emits: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    returns: Any
    summary: str
    help: str


class _Mark(msgspec.Struct, frozen=True):
    permission: Permission
    emits: tuple[str, ...]


def operation(permission: Permission, *, emits: tuple[str, ...] = ()) -> Callable[[F], F]:
    """Mark a method as an operation.

    Args:
        permission: what the caller must be allowed.
        emits: the event kinds it may write; at least one where it changes anything, none where it only reads.

    Raises:
        TypeError: a reading permission emits events, or a writing one emits none.
    """
    if permission.reads_only == bool(emits):
        raise TypeError(f"an operation under {permission} {'emits no' if emits else 'must emit'} events")

    def mark(function: F) -> F:
        setattr(function, _MARK, _Mark(permission, emits))
        return function

    return mark


def operations(service: type) -> dict[str, Operation]:
    """Return the operations of a service class by name, in the order of their definition, then those of its bases.

    Raises:
        TypeError: a parameter or result has no type, or the docstring misses an argument.
    """
    found = {}
    members = [pair for owner in service.__mro__ for pair in vars(owner).items()]
    for name, member in members:
        mark = getattr(member, _MARK, None)
        if mark is not None and name not in found:
            found[name] = _describe(service, name, member, mark)
    return found


def _describe(service: type, name: str, function: Callable[..., Any], mark: _Mark) -> Operation:
    hints = typing.get_type_hints(function)
    doc = inspect.getdoc(function) or ""
    helps = argument_helps(doc)
    parameters = []
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        if parameter.name not in hints or parameter.name not in helps:
            raise TypeError(f"{service.__name__}.{name}: argument {parameter.name!r} lacks a type or a line in Args")
        default = msgspec.NODEFAULT if parameter.default is inspect.Parameter.empty else parameter.default
        parameters.append(Parameter(parameter.name, hints[parameter.name], default, helps[parameter.name]))
    if "return" not in hints or not doc:
        raise TypeError(f"{service.__name__}.{name} lacks a result type or a docstring")
    summary = doc.split("\n", 1)[0]
    title = str(service.name)  # type: ignore[attr-defined]
    return Operation(title, name, mark.permission, mark.emits, tuple(parameters), hints["return"], summary, doc)


def argument_helps(doc: str) -> dict[str, str]:
    """Return the text of each argument in a docstring's `Args:` section."""
    helps: dict[str, str] = {}
    inside, name = False, ""
    for line in doc.splitlines():
        stripped = line.strip()
        if stripped == "Args:":
            inside = True
        elif inside and stripped and not line.startswith(" "):
            break
        elif inside and line.startswith("    ") and not line.startswith("     "):
            name, _, text = stripped.partition(":")
            helps[name] = text.strip()
        elif inside and stripped and name:
            helps[name] += " " + stripped
    return helps
