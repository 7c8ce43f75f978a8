"""The ASGI application: host check, table, limits, errors. What a prediction is, the protocols and the engine know."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from interlock.core.errors import Conflict, Denied, Error, Invalid, MissingExtra, NotFound, Unavailable
from interlock.serve.control import refuse
from interlock.serve.deadlines import DEADLINE, in_time, left_s
from interlock.serve.http import Endpoint, Gone, Refuse, Request, Response, Table, count_of, read_body, refusal, unpack
from interlock.serve.openapi import described
from interlock.serve.places import Places
from interlock.serve.sizes import LARGE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from interlock.serve.engine import Engine
    from interlock.serve.http import Message, Receive, Scope, Send
    from interlock.serve.tracing import Tracing

_log: Final = logging.getLogger("interlock.serve")
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_STATUS: Final[tuple[tuple[type[Error], int], ...]] = (
    (NotFound, 404),
    (Invalid, 400),
    (Conflict, 409),
    (Denied, 403),
    (Unavailable, 503),
    (MissingExtra, 501),
)
_OTHERS: Final = 16
_OTHER_BODY: Final = 4096  # of requests for something else than predictions
_REMEMBERED: Final = 100


class Limits(msgspec.Struct, frozen=True):
    """What a server takes on.

    Attributes:
        body_bytes: the largest body.
        concurrent: how many predictions may be under way; beyond that, callers are asked to come back.
        hosts: names that the Host header may have beside loopback's; `*` for any.
    """

    body_bytes: int = 16_000_000
    concurrent: int = 256
    hosts: tuple[str, ...] = ()


class ServingProtocol(Protocol):
    """What a plug-in of group `interlock.protocol` is: its endpoints, and its words for errors below its prefix."""

    name: str
    prefix: str

    def routes(self, server: Engine) -> list[Endpoint]:
        """Return the endpoints over an engine."""
        ...

    def refuse(self, status: int, error: Error) -> Response:
        """Return an error."""
        ...


async def _nothing() -> Message:
    raise Gone


class Application:
    """One deployment over HTTP.

    Args:
        engine: what answers.
        protocols: the ways to ask.
        further: endpoints about the server itself.
        limits: what it takes on.
        tracing: makes spans, or None.
    """

    def __init__(
        self,
        engine: Engine,
        protocols: Iterable[ServingProtocol],
        further: Iterable[Endpoint],
        limits: Limits,
        tracing: Tracing | None = None,
    ) -> None:
        self.engine = engine
        self.limits = limits
        protocols = tuple(protocols)
        routes = [endpoint for protocol in protocols for endpoint in protocol.routes(engine)]
        self._refusals = {protocol.prefix: (protocol.name, protocol.refuse) for protocol in protocols}
        self._table = Table(described([*routes, *further], engine, self.words))
        self._welcome: set[bytes] = set()
        self._large = Places()
        self._others = Places()  # for what is large and asks for no predictions
        self._hosts = _LOOPBACK | {host.lower() for host in limits.hosts}
        self._tracing = tracing is not None
        self._answering = self._answer if tracing is None else tracing.around(self._answer, status_of)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI connection."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await _lifespan(receive, send)
            return
        request = Request(scope)
        try:
            response = await self.respond(request, receive)
        except Gone:
            return
        await response.send(send, request.id)
        self.count(request, response)

    def count(self, request: Request, response: Response) -> None:
        """Count an answer that has left."""
        seconds = time.perf_counter() - request.began
        self.engine.metrics.count(request.route, response.model, response.status, seconds)

    def is_direct(self, scope: Scope) -> bool:
        """Return whether a request may be answered without a task: one for predictions, without a span."""
        if self._tracing or scope["method"] != "POST":
            return False
        found = self._table.find(scope["path"])
        endpoint = found.endpoints.get("POST") if found is not None else None
        return endpoint is not None and endpoint.predicts

    async def respond(self, request: Request, receive: Receive = _nothing) -> Response:
        """Return the answer to a request.

        Args:
            request: the request.
            receive: where its body comes from, if it is not whole.

        Raises:
            Gone: the caller went away.
        """
        request.began = request.began or time.perf_counter()
        try:
            endpoint = self._find(request)
            request.route = endpoint.path
            response = await self._answering(endpoint, request, receive)
        except Error as error:
            response = self.refuse(request, error)
        except Gone:
            raise
        except Exception:  # noqa: BLE001 - the border of a request: the caller learns nothing of our insides, the log all
            _log.exception("request %s failed", request.id)
            unknown = Error("Something is wrong in the server.", hint=f"Its log names request {request.id}.")
            response = self.refuse(request, unknown)
        return response

    def _find(self, request: Request) -> Endpoint:
        host = request.headers.get(b"host", b"")
        if host not in self._welcome:
            self._check_host(host)
        found = self._table.find(request.path)
        if found is None:
            raise NotFound("There is nothing at this path.", about="path", hint="GET / shows what there is.")
        request.params = found.params
        endpoint = found.endpoints.get("GET" if request.method == "HEAD" else request.method)
        if endpoint is None:
            allowed = ", ".join(sorted(found.endpoints))
            raise refusal(405, f"This path is asked with {allowed}, not with {request.method}.", allow=allowed)
        return endpoint

    def _check_host(self, given: bytes) -> None:
        host = given.decode("latin-1").lower()
        name = host[: host.find("]") + 1] if host.startswith("[") else host.partition(":")[0]
        if name not in self._hosts and "*" not in self._hosts:
            raise refusal(421, "This server does not answer to this host name.", hint="Allow it with --allow-host.")
        if len(self._welcome) < _REMEMBERED:
            self._welcome.add(given)

    async def _answer(self, endpoint: Endpoint, request: Request, receive: Receive) -> Response:
        if not endpoint.predicts:
            if request.method != "POST":
                return await endpoint.handler(request)
            if endpoint.body_bytes > LARGE:
                return await self._in_place(endpoint, request, receive, endpoint.body_bytes)
            await read_body(request, receive, endpoint.body_bytes or _OTHER_BODY)
            unpack(request, endpoint.body_bytes or _OTHER_BODY)
            return await endpoint.handler(request)
        if DEADLINE in request.headers:
            if request.whole:  # it is no task yet; who makes one of it sees to the time that is left
                left_s(request)
                return await self._predict(endpoint, request, receive)
            async with in_time(request):
                return await self._predict(endpoint, request, receive)
        return await self._predict(endpoint, request, receive)

    async def _predict(self, endpoint: Endpoint, request: Request, receive: Receive) -> Response:
        """Answer a request that takes one of the places; who sends a small body, however slowly, waits outside.

        Large bodies fill memory, so they are read in a place, and have half of them at most: however many come, and
        however slowly, the other half is free.
        """
        limit, engine, most = self.limits.body_bytes, self.engine, self.limits.concurrent
        packed = b"content-encoding" in request.headers  # what it unpacks to, nobody knows yet
        size = len(request.body) if request.whole else count_of(request.headers.get(b"content-length", b""))
        small = 0 <= size <= LARGE and not packed
        if not small:
            return await self._in_place(endpoint, request, receive, limit)
        if not request.whole or size > limit:
            await read_body(request, receive, limit)
        if engine.under_way >= most:
            raise _full(f"{most} requests")
        engine.under_way += 1
        try:
            return await endpoint.handler(request)
        finally:
            engine.under_way -= 1

    async def _in_place(self, endpoint: Endpoint, request: Request, receive: Receive, limit: int) -> Response:
        """Answer a request with a large body, or with one that unpacks to nobody knows how much.

        Who waits for a place is not under way: those with small bodies are not refused for their sake.
        """
        most = self.limits.concurrent
        places, room = (self._large, max(1, most // 2)) if endpoint.predicts else (self._others, _OTHERS)
        if not await places.take(room, request.peer):
            raise _full(f"{room} large bodies")
        try:
            if endpoint.predicts and self.engine.under_way >= most:
                raise _full(f"{most} requests")
            self.engine.under_way += endpoint.predicts
            try:
                await read_body(request, receive, limit)
                if b"content-encoding" in request.headers:
                    await self.engine.hands.aside(lambda: unpack(request, limit))
                return await endpoint.handler(request)
            finally:
                self.engine.under_way -= endpoint.predicts
        finally:
            places.give_back(request.peer)

    def words(self, path: str) -> tuple[str, Refuse]:
        """Return which protocol a path is of, and what makes its refusals."""
        found: tuple[str, Refuse] = ("server", refuse)
        for prefix, own in self._refusals.items():
            if path == prefix or path.startswith(prefix + "/"):
                found = own
        return found

    def refuse(self, request: Request, error: Error) -> Response:
        """Return the answer of an error, in the words of the request's protocol."""
        status = status_of(error)
        _, words = self.words(request.path)
        response = words(status, error)
        headers = [*response.headers]
        if status == 405:
            headers.append((b"allow", str(error.facts["allow"]).encode()))
        if status in {429, 503}:
            headers.append((b"retry-after", b"1"))
        if status in {408, 413, 504}:
            headers.append((b"connection", b"close"))  # the rest of the body is not wanted
        response.headers = headers
        return response


def status_of(error: Error) -> int:
    """Return the HTTP status of an error."""
    own = error.facts.get("status")
    if isinstance(own, int):
        return own
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def _full(what: str) -> Error:
    return refusal(429, f"{what} are under way already.", hint="Come back in a second, or add replicas.")


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
