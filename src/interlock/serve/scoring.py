"""A model in somebody else's server: `Scorer(folder, store).answer(body)` is what `/invocations` answers.

For programs that have an HTTP server of their own and call a function, as Azure ML's inference server does. Each answer
is in the prediction log before it is given.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, Self

from interlock.core.errors import Error
from interlock.serve.app import status_of
from interlock.serve.engine import Engine
from interlock.serve.hands import Hands
from interlock.serve.http import Request
from interlock.serve.invocations import Invocations, answer_rows
from interlock.serve.journal import open_journal
from interlock.serve.watch import Watcher

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import TracebackType

    from interlock.serve.http import Response
    from interlock.serve.journal import Durability
    from interlock.serve.sources import Source
    from interlock.store import Store

_THREADS: Final = 2
_SCOPE: Final = {"method": "POST", "path": "/invocations", "headers": ()}


class Scorer:
    """A model that answers bodies; a context manager. Any thread may ask.

    Args:
        source: what says which model.
        store: the workspace, whose prediction log gets the answers.
        durability: when an answer counts as recorded.

    Raises:
        Error: the model cannot be loaded, or does not give its golden answers.
    """

    def __init__(self, source: Source, store: Store, durability: Durability = "fsync") -> None:
        self._pool = ThreadPoolExecutor(_THREADS, "interlock-score")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="interlock-score", daemon=True)
        self._thread.start()
        journal = open_journal(store.predictions.folder, durability)
        self._engine = Engine(source.name, journal, store.clock, Hands(self._pool))
        watcher = Watcher(self._engine, source)
        watcher.check()
        if watcher.error is not None:
            self.close()
            raise watcher.error

    def answer(self, body: bytes | str, media: str = "application/json") -> tuple[int, bytes]:
        """Return the HTTP status and the body of an answer, or of a refusal.

        Args:
            body: as `/invocations` takes it.
            media: its content type.
        """
        data = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
        request = Request({**_SCOPE, "headers": [(b"content-type", media.encode("latin-1", "replace"))]})
        request.body = data
        try:
            response = self._wait(answer_rows(self._engine, request))
        except Error as error:
            response = Invocations().refuse(status_of(error), error)
        return response.status, response.body

    def check(self) -> list[str]:
        """Return why it is not ready, nothing when it gives its golden answers."""
        return [found.message for found in self._engine.check()]

    def close(self) -> None:
        """Write what is left, and end."""
        asyncio.run_coroutine_threadsafe(self._engine.journal.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._pool.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _wait(self, ask: Coroutine[object, object, Response]) -> Response:
        return asyncio.run_coroutine_threadsafe(ask, self._loop).result()
