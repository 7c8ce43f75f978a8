"""A service as its callers hold it: the methods of the class, whether it runs here or elsewhere."""

from __future__ import annotations

import difflib
import inspect
from typing import TYPE_CHECKING, Any

from interlock.core.ids import new_id
from interlock.sdk.arguments import bind, title
from interlock.sdk.files import send_files

if TYPE_CHECKING:
    from collections.abc import Callable

    from interlock.core.operations import Operation
    from interlock.sdk.backend import Backend
    from interlock.sdk.catalog import Catalog


class ServiceProxy:
    """The operations of one service as methods; `help` and tab completion work on them."""

    def __init__(self, name: str, catalog: Catalog, backend: Backend) -> None:
        self._name = name
        self._class = catalog.service(name)
        self._operations = catalog.operations(name)
        self._backend = backend
        self.__doc__ = self._class.__doc__

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_") or name not in self._operations:
            near = difflib.get_close_matches(name, self._operations, n=1, cutoff=0.5)
            raise AttributeError(
                f"{self._name!r} has no operation {name!r}" + (f"; did you mean {near[0]!r}?" if near else "")
            )
        method = _method(self._operations[name], getattr(self._class, name), self._backend)
        self.__dict__[name] = method
        return method

    def __dir__(self) -> list[str]:
        return list(self._operations)

    def __repr__(self) -> str:
        return f"<{self._class.__name__} of {self._backend.location}>"


def _method(operation: Operation, function: Callable[..., Any], backend: Backend) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return run(operation, bind(operation, args, kwargs), backend)

    signature = inspect.signature(function)
    call.__name__ = operation.name
    call.__qualname__ = title(operation)
    call.__doc__ = operation.help
    call.__signature__ = signature.replace(  # type: ignore[attr-defined]  # functions take any attribute
        parameters=list(signature.parameters.values())[1:]
    )
    return call


def run(operation: Operation, arguments: dict[str, Any], backend: Backend) -> Any:
    """Return what an operation returns, after its files are sent; the names of its arguments are checked already."""
    call = new_id()
    sent = send_files(operation, arguments, lambda path: backend.put(path, call))
    return backend.call(operation, sent, call)
