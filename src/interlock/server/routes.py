"""The routes of the API: operations, uploads, objects, health, the description of all, and the page."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from importlib import import_module
from typing import TYPE_CHECKING, BinaryIO, Final, TypeVar, cast

import msgspec
from starlette.requests import ClientDisconnect
from starlette.responses import HTMLResponse, Response, StreamingResponse

from interlock.core.actor import acting_as
from interlock.core.errors import NotFound
from interlock.core.ids import new_id
from interlock.server import bodies, openapi
from interlock.server.problems import request_id, respond
from interlock.server.resources import Resources, Share

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from concurrent.futures import Executor
    from pathlib import Path

    from starlette.requests import Request

    from interlock.sdk.workspace import Workspace
    from interlock.server.guard import Access

T = TypeVar("T")
_IN_MEMORY: Final = 8 << 20
_CHUNK: Final = 1 << 20
_CLOSED_REQUEST: Final = 499


class Limits(msgspec.Struct, frozen=True):
    """The largest bodies that are taken, in bytes: arguments, and files; and how much of arguments is held at once."""

    arguments: int = 32 << 20
    file: int = 64 << 30
    held: int = 128 << 20


class Api:
    """The endpoints over one workspace. Operations run in threads, so that none holds up another.

    Args:
        workspace: a workspace on this machine.
        access: who reaches it.
        limits: the largest bodies.
    """

    def __init__(self, workspace: Workspace, access: Access, limits: Limits) -> None:
        self.workspace = workspace
        self._backend = workspace.local
        self._access = access
        self._limits = limits
        self.resources = Resources(limits.held)

    async def operation(self, request: Request) -> Response:
        """Run an operation: `POST /api/v1/<service>/<operation>`."""
        found = self.workspace.catalog.operation(request.path_params["service"], request.path_params["operation"])
        form = bodies.form(request)
        wants_msgpack = request.headers.get("accept") == bodies.MSGPACK
        call = request.headers.get("interlock-call", "")
        with contextlib.closing(Share(self.resources.room)) as share:
            body = await bodies.read(request, self._limits.arguments, share)

            def run() -> bytes:
                result = self._backend.run(found, bodies.decode(body, form), call)
                return msgspec.msgpack.encode(result) if wants_msgpack else msgspec.json.encode(result)

            answer = await self._as_actor(request, run)
        return Response(answer, media_type=bodies.MSGPACK if wants_msgpack else bodies.JSON)

    async def put_upload(self, request: Request) -> Response:
        """Take a file for an operation: `PUT /api/v1/uploads?name=NAME`, its bytes being the body."""
        bodies.check_length(request, self._limits.file)
        name = request.query_params.get("name", "file")
        call = request.headers.get("interlock-call") or new_id()
        resources = self.resources
        with bodies.BodyStream(request.stream(), self._limits.file, resources) as stream:
            await stream.begin()
            source = cast("BinaryIO", stream)
            with resources.crowd.joined():
                stored = await self._as_actor(
                    request, lambda: self._backend.put_stream(name, source, call), resources.uploads
                )
        return Response(msgspec.json.encode(stored), media_type=bodies.JSON)

    async def get_object(self, request: Request) -> Response:
        """Answer with the bytes of an object, which are checked before the first is sent."""
        digest = request.path_params["digest"]
        objects = self._backend.store.objects
        size = await self._in_thread(lambda: objects.size(digest))
        headers = {"Content-Disposition": "attachment", "ETag": f'"{digest}"', "Content-Security-Policy": "sandbox"}
        if size is None or size <= _IN_MEMORY:
            data = await self._in_thread(lambda: objects.get(digest))
            return Response(data, headers=headers, media_type="application/octet-stream")
        file = await self._in_thread(lambda: self._fetched(digest))
        headers["Content-Length"] = str(size)
        return StreamingResponse(self._pieces(file), headers=headers, media_type="application/octet-stream")

    async def openapi(self, _: Request) -> Response:
        """Answer with the OpenAPI description."""
        return Response(await self._in_thread(lambda: self._description), media_type=bodies.JSON)

    async def page(self, _: Request) -> Response:
        """Answer with the page of the user interface, where it is installed."""
        try:
            page = import_module("interlock.ui.page")
        except ModuleNotFoundError as error:
            if error.name != "interlock.ui.page":
                raise
            raise NotFound("This server has no pages.", about="page", hint="Its API is at /api/v1.") from None
        # No script, no other site, and of styles only the one that is named by its digest.
        policy = (
            f"default-src 'none'; style-src {page.STYLE_HASH}; img-src data:; base-uri 'none'; form-action 'none';"
            " frame-ancestors 'none'"
        )
        text = await self._in_thread(lambda: page.render(self.workspace))
        return HTMLResponse(text, headers={"Content-Security-Policy": policy})

    async def _as_actor(self, request: Request, work: Callable[[], T], pool: Executor | None = None) -> T:
        peer = request.client.host if request.client else "unknown"
        actor = self._access.actor(request.headers.get("interlock-actor", ""), peer)

        def run() -> T:
            with acting_as(actor):
                return work()

        return await self._in_thread(run, pool)

    async def _in_thread(self, work: Callable[[], T], pool: Executor | None = None) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool or self.resources.pool, work)

    @functools.cached_property
    def _description(self) -> bytes:
        return msgspec.json.encode(openapi.describe(self.workspace.catalog))

    def _fetched(self, digest: str) -> BinaryIO:
        """Return a checked copy of an object, without a name, so that nothing is left when the client goes away."""
        copy: Path = self._backend.store.root / f"outgoing-{new_id()}"
        try:
            self._backend.store.objects.fetch(digest, copy)
            return copy.open("rb")
        finally:
            copy.unlink(missing_ok=True)

    async def _pieces(self, file: BinaryIO) -> AsyncIterator[bytes]:
        with file:
            while piece := await self._in_thread(lambda: file.read(_CHUNK)):
                yield piece


def guarded(endpoint: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint with every error turned into a problem document."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except ClientDisconnect:
            return Response(status_code=_CLOSED_REQUEST)
        except Exception as error:  # noqa: BLE001 - the border of the request: bugs are logged, clients get an id
            return respond(error, request_id(request))

    return answer
