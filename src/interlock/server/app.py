"""The application: one table of routes behind the guard."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Route

from interlock.bridges import webhooks
from interlock.core.errors import Error, Invalid, NotFound
from interlock.core.operations import Permission
from interlock.server.guard import Access, Guard
from interlock.server.mlflow.app import MlflowApp
from interlock.server.mlflow.webhooks import reach_of
from interlock.server.problems import Refusal, request_id, respond
from interlock.server.routes import Api, Limits, guarded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

    from interlock.sdk.workspace import Workspace

# Routes that are no operations, and what a caller must be allowed; None is open to everybody who reaches the server.
PERMISSIONS: Final[Mapping[tuple[str, str], Permission | None]] = {
    ("GET", "/"): Permission.LEDGER_READ,
    ("GET", "/api/v1/openapi.json"): None,
    ("PUT", "/api/v1/uploads"): Permission.DATA_WRITE,
    ("GET", "/api/v1/objects/{digest}"): Permission.DATA_READ,
}


def create_app(
    workspace: Workspace,
    *,
    access: Access | None = None,
    limits: Limits | None = None,
    routes: Sequence[BaseRoute] = (),
) -> ASGIApp:
    """Return the ASGI application of a workspace on this machine.

    Args:
        workspace: the workspace; it stays open when the application ends.
        access: who reaches the server; None for this machine alone.
        limits: the largest bodies; None for the usual ones.
        routes: further Starlette routes, such as those of a bridge; the guard stands before them too.

    Raises:
        Invalid: the workspace is an address.
        TypeError: an operation is not described well enough, or has no permission.
    """
    access = access or Access()
    for name in workspace.catalog.names:
        workspace.catalog.operations(name)  # an operation that cannot be derived stops the start, not a request
    webhooks.serve(workspace.store, reach_of(workspace.store, access))
    api = Api(workspace, access, limits or Limits())

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(api.resources.close)  # not in the event loop, from which running uploads still receive

    async def refuse(request: Request, error: Exception) -> Response:
        return respond(_routing_error(request, error), request_id(request))

    endpoints: dict[tuple[str, str], Any] = {
        ("GET", "/"): api.page,
        ("GET", "/api/v1/openapi.json"): api.openapi,
        ("PUT", "/api/v1/uploads"): api.put_upload,
        ("GET", "/api/v1/objects/{digest}"): api.get_object,
    }
    own = [Route(path, guarded(endpoint), methods=[method]) for (method, path), endpoint in endpoints.items()]
    operation = Route("/api/v1/{service}/{operation}", guarded(api.operation), methods=["POST"])
    app = Starlette(
        routes=[*own, *routes, operation],
        lifespan=lifespan,
        exception_handlers={HTTPException: refuse, Exception: refuse},
    )
    app.router.redirect_slashes = False
    return Guard(MlflowApp(workspace, access, api.resources, app), access)


def _routing_error(request: Request, error: Exception) -> Exception:
    """Return what the router's own refusals are in our words."""
    if not isinstance(error, HTTPException):
        return error
    path = request.url.path
    shown: Error
    if error.status_code == 404:
        shown = NotFound(f"There is nothing at {path!r}.", about="route", hint="See /api/v1/openapi.json.")
    elif error.status_code == 405:
        shown = Invalid(f"{request.method} is not for {path!r}.", about="route", hint="Operations are called by POST.")
    else:
        shown = Invalid(error.detail, about="request")
    return Refusal(error.status_code, shown, error.headers)
