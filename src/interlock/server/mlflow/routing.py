"""Which function answers which path: each file of the adapter says it with `@route`."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from interlock.core.operations import Permission
from interlock.core.ports import Transaction

F = TypeVar("F", bound=Callable[..., Any])
PREFIXES: Final = ("api", "ajax-api")
Change = Callable[[Transaction], Any]


def nothing(_: Any) -> None:
    """Answer with nothing."""


class Pending(NamedTuple):
    """A change that a request asks for, and how the answer is made once the change is on disk.

    Attributes:
        change: what the writer does; it returns what the answer is about.
        answer: takes that; it only reads, and little, for other requests wait meanwhile.
        longer: does what the change does, in a thread, where the change says `Stale`: there is more to be worked out
            than the writer should be held for.
        after: returns what is left to be done in a thread once the answer is known, for which nobody waits; or None.
    """

    change: Change
    answer: Callable[[Any], Any] = nothing
    longer: Callable[[], Any] | None = None
    after: Callable[[], Callable[[], None] | None] | None = None


class Route(msgspec.Struct, frozen=True):
    """One path and what answers it.

    Attributes:
        method: the HTTP verb.
        path: after the prefix, such as `runs/create`; `{name}` stands for a part.
        permission: what a caller must be allowed; None is open to everybody who reaches the server.
        function: takes the adapter and a request.
        request: the type of the request, or None where the function takes the raw call.
        direct: whether the function only checks the request and returns the `Pending` change that it asks for, or the
            change alone where the answer is empty: it runs where requests arrive, and the change goes straight to the
            writer, which saves two changes of thread.
    """

    method: str
    path: str
    permission: Permission | None
    function: Callable[..., Any]
    request: type[Any] | None
    direct: bool = False


_ROUTES: Final[list[Route]] = []


def route(
    method: str,
    path: str,
    permission: Permission | None,
    *,
    versions: tuple[str, ...] = ("2.0",),
    direct: bool = False,
) -> Callable[[F], F]:
    """Let a function answer a path, under `/api` and `/ajax-api`; the type of its second argument is the request's.

    Args:
        method: the HTTP verb.
        path: such as `runs/create`; one that begins with a slash is absolute.
        permission: what a caller must be allowed.
        versions: of the protocol that have this path.
        direct: whether it returns the change that the request asks for (see `Route`).
    """

    def add(function: F) -> F:
        kind = typing.get_type_hints(function)[list(inspect.signature(function).parameters)[1]]
        request = kind if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else None
        paths = (
            [path]
            if path.startswith("/")
            else [f"/{prefix}/{version}/mlflow/{path}" for prefix in PREFIXES for version in versions]
        )
        _ROUTES.extend(Route(method, whole, permission, function, request, direct) for whole in paths)
        return function

    return add


class Table:
    """All routes, for look-up: whole paths in a dictionary, those with parts after them."""

    def __init__(self) -> None:
        self._whole: dict[tuple[str, str], Route] = {}
        self._parts: dict[tuple[str, int], list[tuple[re.Pattern[str], Route]]] = {}
        self._methods: dict[str, set[str]] = {}
        for found in _ROUTES:
            if "{" in found.path:
                pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", found.path) + r"\Z")
                if found.path.endswith("{path}"):
                    pattern = re.compile(re.sub(r"\{path\}\Z", "(?P<path>.*)", found.path) + r"\Z", re.DOTALL)
                self._parts.setdefault((found.method, found.path.count("/")), []).append((pattern, found))
                if found.path.endswith("{path}"):
                    self._parts.setdefault((found.method, 0), []).append((pattern, found))
            else:
                self._whole[found.method, found.path] = found

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """Return the route of a path and what its parts are, or None."""
        whole = self._whole.get((method, path))
        if whole is not None:
            return whole, {}
        for depth in (path.count("/"), 0):
            for pattern, found in self._parts.get((method, depth), ()):
                if match := pattern.match(path):
                    return found, match.groupdict()
        return None

    def methods(self, path: str) -> list[str]:
        """Return the verbs that a path has."""
        return [method for method in ("GET", "POST", "PUT", "PATCH", "DELETE") if self.find(method, path)]

    def __iter__(self) -> Iterator[Route]:
        return iter(_ROUTES)
