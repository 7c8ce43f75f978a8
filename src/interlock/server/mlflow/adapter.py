"""What the functions of the adapter work with: the parts of the workspace, the raw call, the raw answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator, Iterator
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from interlock.bridges.webhooks import Reach, WebhookBook
from interlock.core.errors import NotFound
from interlock.registry.catalogue import Catalogue
from interlock.server.mlflow.arrivals import Arrivals
from interlock.track.tracker import Tracker

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from starlette.types import Message, Receive, Scope, Send

    from interlock.server.bodies import BodyStream
    from interlock.server.resources import Share
    from interlock.store import Store

ROOT: Final = "mlflow-artifacts:"
_NOT_MODIFIED: Final = 304  # says nothing of the length of what it leaves out


class Adapter:
    """The parts of a workspace that the protocol speaks of.

    Args:
        store: what the workspace remembers.
        reach: where webhooks may go.
    """

    def __init__(self, store: Store, reach: Reach) -> None:
        self.store = store
        self.database = store.database
        self.tracker = Tracker(store)
        self.registry = Catalogue(store)
        self.webhooks = WebhookBook(store, reach)
        self.arrivals = Arrivals()
        self._ready = False

    def prepare(self) -> None:
        """Make what clients take for granted: experiment 0, at the first request of one."""
        if not self._ready:
            self.tracker.experiments.ensure_default()
            self._ready = True


class Call:
    """A request as it came, for functions that read more of it than its parameters.

    Args:
        scope: the ASGI scope.
        receive: gives its body.
        parts: what the path's parts are.
        share: where room for its body is made, if that is held whole.

    Attributes:
        file: the body, for functions that read it themselves.
    """

    file: BodyStream

    def __init__(self, scope: Scope, receive: Receive, parts: dict[str, str], share: Share) -> None:
        self.scope = scope
        self.receive = receive
        self.parts = parts
        self.share = share

    @property
    def query(self) -> bytes:
        """The query string."""
        found: bytes = self.scope["query_string"]
        return found

    def pairs(self) -> list[tuple[str, str]]:
        """Return the names and values of the query."""
        return parse_qsl(self.query.decode("latin-1"), keep_blank_values=True)

    def header(self, name: str) -> str:
        """Return the value of a header, or ""."""
        wanted = name.encode()
        return next((value.decode("latin-1") for key, value in self.scope["headers"] if key == wanted), "")

    def body(self, most: int) -> BodyStream:
        """Return the body as a file of at most so many bytes."""
        self.file.most = most
        return self.file

    async def stream(self, first: Message | None = None) -> AsyncIterator[bytes]:
        """Yield the pieces of the body, that of a message that was received already before the others.

        Raises:
            NotFound: the client went away.
        """
        more = True
        while more:
            message, first = first or await self.receive(), None
            if message["type"] == "http.disconnect":
                raise NotFound("The client went away.", about="request")
            more = message.get("more_body", False)
            yield message.get("body", b"")


class Answer:
    """A response.

    Args:
        body: its bytes, or pieces of them, which are read in a thread.
        status: its status.
        headers: names and values beyond the content type.
        media_type: its content type.
    """

    def __init__(
        self,
        body: bytes | Iterator[bytes],
        status: int = 200,
        headers: dict[str, str] | None = None,
        media_type: str = "application/json",
    ) -> None:
        self.body = body
        self.status = status
        self.headers = {"content-type": media_type, **(headers or {})}

    async def send(self, receive: Receive, send: Send, *, with_body: bool, pool: Executor) -> None:
        """Send it; pieces are made only while the client is there."""
        if isinstance(self.body, bytes) and self.status != _NOT_MODIFIED:
            self.headers["content-length"] = str(len(self.body))
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self.headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        if isinstance(self.body, bytes):
            await send({"type": "http.response.body", "body": self.body if with_body else b""})
            return
        if with_body and not await _sent(self.body, receive, send, pool):
            return
        await send({"type": "http.response.body", "body": b""})


async def _sent(pieces: Iterator[bytes], receive: Receive, send: Send, pool: Executor) -> bool:
    """Return whether all pieces were sent, rather than left where the client went away."""
    loop, gone = asyncio.get_running_loop(), asyncio.ensure_future(_gone(receive))
    try:
        while not gone.done() and (piece := await loop.run_in_executor(pool, next, pieces, b"")):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        return not gone.done()
    finally:
        gone.cancel()
        if isinstance(pieces, Generator):
            await loop.run_in_executor(pool, pieces.close)


async def _gone(receive: Receive) -> None:
    """Return when the client has gone; what is left of its request comes before."""
    message = await receive()
    while message["type"] == "http.request" and message.get("more_body", False):
        message = await receive()
    while message["type"] != "http.disconnect":
        message = await receive()
        await asyncio.sleep(0)  # where a server repeats itself rather than waits


def present(**values: Any) -> dict[str, Any]:
    """Return the values that are there: protobuf's JSON leaves empty fields out."""
    return {name: value for name, value in values.items() if value not in (None, "", [], {})}


def millis(micros: int | None) -> int | None:
    """Return an instant of ours, in microseconds, as the protocol has it, in milliseconds."""
    return None if micros is None else micros // 1000


def tag_list(tags: dict[str, str]) -> list[dict[str, str]]:
    """Return tags or params as the protocol has them."""
    return [{"key": key, "value": value} for key, value in tags.items()]
