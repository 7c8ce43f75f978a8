"""The MLflow protocol as an ASGI application, beside the other routes of the server."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.core.actor import acting_as
from interlock.core.errors import NotFound
from interlock.server.bodies import SMALL, BodyStream, gather
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
from interlock.server.mlflow.arrivals import Later
from interlock.server.mlflow.routing import Pending, Table
from interlock.server.mlflow.wire import Refused, error_answer, read_body, read_pairs, read_query
from interlock.server.problems import Refusal
from interlock.server.resources import Share
from interlock.store.settling import Stale

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Receive, Scope, Send

    from interlock.sdk.workspace import Workspace
    from interlock.server.guard import Access
    from interlock.server.mlflow.routing import Change, Route
    from interlock.server.resources import Resources

_log: Final = logging.getLogger("interlock.server.mlflow")
_LARGEST: Final = 64 << 20  # of a body that is read whole: traces and profiles of datasets are the large ones
_AT_ONCE: Final = 256 << 10  # of a body that is read where requests arrive; larger ones would hold up others
_OURS: Final = ("/api/2.0", "/api/3.0", "/ajax-api/", "/get-artifact", "/model-versions/get-artifact", "/v1/traces")
_LATER: Final = {"retry-after": "1"}
_UNAVAILABLE: Final = 503
_EXACT: Final = ("/health", "/version", "/graphql")


class MlflowApp:
    """An ASGI application that answers the protocol's paths and hands all others on.

    Args:
        workspace: a workspace on this machine.
        access: who reaches the server.
        resources: threads, and room for bodies.
        others: what answers the other paths.
    """

    def __init__(self, workspace: Workspace, access: Access, resources: Resources, others: ASGIApp) -> None:
        self.adapter = Adapter(workspace.store, webhooks.reach_of(workspace.store, access))
        self._table = Table()
        self._access = access
        self._resources = resources
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        path = scope.get("path", "")
        if scope["type"] != "http" or not (path.startswith(_OURS) or path in _EXACT):
            await self._others(scope, receive, send)
            return
        share = Share(self._resources.room)
        try:
            answer = await self._answer(scope, receive, share, path)
        except Exception as error:  # noqa: BLE001 - the border of the request
            status, body = error_answer(error, scope.get("interlock.request_id", ""))
            answer = Answer(body, status, _LATER if status == _UNAVAILABLE else None)
        finally:
            share.close()
        await answer.send(receive, send, with_body=scope["method"] != "HEAD", pool=self._resources.pool)

    async def _answer(self, scope: Scope, receive: Receive, share: Share, path: str) -> Answer:
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        found = self._table.find(method, path)
        if found is None:
            raise self._unknown(path)
        route, parts = found
        call = Call(scope, receive, parts, share)
        actor = self._access.actor(call.header("interlock-actor"), (scope.get("client") or ("unknown",))[0])
        takes_file = route.request is None and method in {"PUT", "POST"}
        body = b"" if takes_file or method == "GET" else await _body(call)  # half a request changes nothing
        if route.direct and len(body) <= _AT_ONCE:
            with acting_as(actor):
                self.adapter.prepare()
                pending = _pending(route.function(self.adapter, _request(route, call, body)))
                written = self.adapter.database.submit(pending.change)
            try:
                answer = _answered(pending.answer(await written))
                if pending.after is not None and (rest := pending.after()):
                    asyncio.get_running_loop().run_in_executor(self._resources.pool, _unheeded, rest)
                return answer
            except Stale:
                pass  # it is long work: a thread does it
        loop = asyncio.get_running_loop()

        def work() -> Answer:
            with acting_as(actor):
                return self._run(route, call, body)

        if takes_file:
            return await self._taking(call, work)
        began = loop.time()
        while True:
            try:
                return await loop.run_in_executor(self._resources.pool, work)
            except Later as later:
                await self.adapter.arrivals.wait(later, began)

    async def _taking(self, call: Call, work: Callable[[], Answer]) -> Answer:
        """Return the answer of work that reads a body itself; it begins when that has begun to come."""
        resources = self._resources
        with BodyStream(call.stream(), 0, resources) as call.file:
            await call.file.begin()
            with resources.crowd.joined():
                return await asyncio.get_running_loop().run_in_executor(resources.uploads, work)

    def _run(self, route: Route, call: Call, body: bytes) -> Answer:
        if route.permission is not None:  # not for those who only ask whether we are well
            self.adapter.prepare()
        if route.request is None:
            result = route.function(self.adapter, call)
        else:
            result = route.function(self.adapter, _request(route, call, body))
        if route.direct:
            pending = _pending(result)
            longer = pending.longer or (lambda: self.adapter.database.write(pending.change))
            result = pending.answer(longer())
        return result if isinstance(result, Answer) else _answered(result)

    def _unknown(self, path: str) -> Refused:
        if verbs := self._table.methods(path):
            return Refused("ENDPOINT_NOT_FOUND", f"{path} is there for {', '.join(verbs)} only.")
        if system.is_known_elsewhere(path):
            return Refused(
                "NOT_IMPLEMENTED", f"{path} belongs to a part of the protocol that Interlock does not speak."
            )
        return Refused("ENDPOINT_NOT_FOUND", f"There is nothing at {path}.")


def _pending(found: Pending | Change) -> Pending:
    return found if isinstance(found, Pending) else Pending(found)


def _unheeded(rest: Callable[[], None]) -> None:
    """Do what nobody waits for; where it fails, it is told in the log and done another time."""
    try:
        rest()
    except Exception:  # noqa: BLE001 - the border of the background
        _log.exception("what was left after a request failed")


def _answered(result: Any) -> Answer:
    return Answer(msgspec.json.encode(result if result is not None else {}))


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


async def _body(call: Call) -> bytes:
    first = await call.receive()
    if first["type"] == "http.request" and not first.get("more_body", False):
        body: bytes = first.get("body", b"")
        if len(body) <= min(SMALL, _LARGEST):
            return body
    try:
        return await gather(call.stream(first), _LARGEST, call.share)
    except Refusal as refusal:
        raise Refused("BAD_REQUEST", refusal.error.message) from None
    except NotFound:
        raise Refused("BAD_REQUEST", "The request broke off.") from None
