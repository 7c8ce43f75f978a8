"""What the functions of the adapter work with: the parts of the workspace, the raw call, the raw answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from interlock.bridges.webhooks import Reach, WebhookBook
from interlock.registry.catalogue import Catalogue
from interlock.track.tracker import Tracker

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from starlette.types import Receive, Scope, Send

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
    """

    def __init__(self, scope: Scope, receive: Receive, parts: dict[str, str]) -> None:
        self.scope = scope
        self.receive = receive
        self.parts = parts
        self.loop: asyncio.AbstractEventLoop | None = None

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

    async def send(self, send: Send, *, with_body: bool, pool: Executor) -> None:
        """Send it."""
        if isinstance(self.body, bytes) and self.status != _NOT_MODIFIED:
            self.headers["content-length"] = str(len(self.body))
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self.headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        if isinstance(self.body, bytes):
            await send({"type": "http.response.body", "body": self.body if with_body else b""})
            return
        loop, pieces = asyncio.get_running_loop(), self.body
        while with_body and (piece := await loop.run_in_executor(pool, next, pieces, b"")):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def present(**values: Any) -> dict[str, Any]:
    """Return the values that are there: protobuf's JSON leaves empty fields out."""
    return {name: value for name, value in values.items() if value not in (None, "", [], {})}


def millis(micros: int | None) -> int | None:
    """Return an instant of ours, in microseconds, as the protocol has it, in milliseconds."""
    return None if micros is None else micros // 1000


def tag_list(tags: dict[str, str]) -> list[dict[str, str]]:
    """Return tags or params as the protocol has them."""
    return [{"key": key, "value": value} for key, value in tags.items()]
