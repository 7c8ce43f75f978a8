"""The MLflow protocol as an ASGI application, beside the other routes of the server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.core.actor import acting_as
from interlock.server.mlflow import (  # noqa: F401 - each says its routes when it is imported
    artifacts,
    assessments,
    experiments,
    inputs,
    logged_models,
    metrics,
    multipart,
    otlp,
    presigned,
    registered_models,
    runs,
    searches,
    system,
    traces,
    traces_v2,
    versions,
    webhooks,
)
from interlock.server.mlflow.adapter import Adapter, Answer, Call
from interlock.server.mlflow.routing import Table
from interlock.server.mlflow.wire import Refused, error_answer, read_body, read_pairs, read_query

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from concurrent.futures import Executor

    from starlette.types import ASGIApp, Receive, Scope, Send

    from interlock.sdk.workspace import Workspace
    from interlock.server.guard import Access
    from interlock.server.mlflow.routing import Route

_LARGEST: Final = 64 << 20  # of a body that is read whole: traces and profiles of datasets are the large ones
_AT_ONCE: Final = 256 << 10  # of a body that is read where requests arrive; larger ones would hold up others
_OURS: Final = ("/api/2.0", "/api/3.0", "/ajax-api/", "/get-artifact", "/model-versions/get-artifact", "/v1/traces")
_EXACT: Final = ("/health", "/version", "/graphql")


class MlflowApp:
    """An ASGI application that answers the protocol's paths and hands all others on.

    Args:
        workspace: a workspace on this machine.
        access: who reaches the server.
        pools: where handlers run, and where those that take files do.
        others: what answers the other paths.
    """

    def __init__(self, workspace: Workspace, access: Access, pools: tuple[Executor, Executor], others: ASGIApp) -> None:
        self.adapter = Adapter(workspace.store, webhooks.reach_of(workspace.store, access))
        self._table = Table()
        self._access = access
        self._pool, self._uploads = pools
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        path = scope.get("path", "")
        if scope["type"] != "http" or not (path.startswith(_OURS) or path in _EXACT):
            await self._others(scope, receive, send)
            return
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        try:
            answer = await self._answer(scope, receive, method, path)
        except Exception as error:  # noqa: BLE001 - the border of the request
            status, body = error_answer(error, scope.get("interlock.request_id", ""))
            answer = Answer(body, status)
        await answer.send(send, with_body=scope["method"] != "HEAD", pool=self._pool)

    async def _answer(self, scope: Scope, receive: Receive, method: str, path: str) -> Answer:
        found = self._table.find(method, path)
        if found is None:
            raise self._unknown(path)
        route, parts = found
        call = Call(scope, receive, parts)
        actor = self._access.actor(call.header("interlock-actor"), (scope.get("client") or ("unknown",))[0])
        body = await _body(receive) if route.request is not None and method != "GET" else b""
        if route.direct and len(body) <= _AT_ONCE:
            with acting_as(actor):
                self.adapter.prepare()
                change = route.function(self.adapter, _request(route, call, body))
                written = self.adapter.database.submit(change)
            await asyncio.wrap_future(written)
            return Answer(b"{}")
        loop = asyncio.get_running_loop()

        def work() -> Any:
            with acting_as(actor):
                return self._run(route, call, body)

        call.loop = loop
        takes_file = route.request is None and route.method in {"PUT", "POST"}
        return await loop.run_in_executor(self._uploads if takes_file else self._pool, work)

    def _run(self, route: Route, call: Call, body: bytes) -> Answer:
        if route.permission is not None:  # not for those who only ask whether we are well
            self.adapter.prepare()
        if route.request is None:
            result = route.function(self.adapter, call)
        else:
            result = route.function(self.adapter, _request(route, call, body))
        if route.direct:
            result = self.adapter.database.write(result)
        if isinstance(result, Answer):
            return result
        return Answer(msgspec.json.encode(result if result is not None else {}))

    def _unknown(self, path: str) -> Refused:
        if verbs := self._table.methods(path):
            return Refused("ENDPOINT_NOT_FOUND", f"{path} is there for {', '.join(verbs)} only.")
        if system.is_known_elsewhere(path):
            return Refused(
                "NOT_IMPLEMENTED", f"{path} belongs to a part of the protocol that Interlock does not speak."
            )
        return Refused("ENDPOINT_NOT_FOUND", f"There is nothing at {path}.")


def _request(route: Route, call: Call, body: bytes) -> Any:
    kind: type[Any] = route.request  # type: ignore[assignment]
    if route.method == "GET":
        return read_pairs([*call.pairs(), *call.parts.items()], kind)
    if call.parts:  # the parts of the path are parameters like those of the body
        plain = read_body(body, dict[str, Any])
        return read_body(msgspec.json.encode({**plain, **call.parts}), kind)
    if not body and call.query:
        return read_query(call.query, kind)
    return read_body(body, kind)


async def _body(receive: Callable[[], Awaitable[Any]]) -> bytes:
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused("BAD_REQUEST", "The request broke off.")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > _LARGEST:
            raise Refused("BAD_REQUEST", f"The body is larger than {_LARGEST} bytes.")
        more = message.get("more_body", False)
    return parts[0] if len(parts) == 1 else b"".join(parts)
