"""The sender: a thread that follows the ledger and sends what is due, one process a workspace.

The lock (`flock`) belongs to the open file and ends with its process, however that ends; another server over the same
workspace takes over within seconds. Of one webhook one delivery is under way at a time, in the ledger's order; a slow
webhook does not hold up others.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from interlock.bridges.webhooks.book import send
from interlock.bridges.webhooks.outbox import Outbox
from interlock.bridges.webhooks.post import Brake, Outcome
from interlock.core.clock import to_micros
from interlock.core.errors import Error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor

    from interlock.bridges.webhooks.reach import Reach
    from interlock.core.ports import Row
    from interlock.store import Store

POLL_S: Final = 0.25
_TAKE_OVER_S: Final = 2.0
_GRACE_S: Final = 5.0
_TRIM_S: Final = 3600.0
_WORKERS: Final = 8
_FILE: Final = "webhooks.lock"
_log: Final = logging.getLogger(__name__)


class Sender:
    """Sends what webhooks are to be told, from a thread.

    Args:
        store: the workspace.
        reach: where webhooks may go.
        poll_s: seconds between looks at the ledger.
    """

    def __init__(self, store: Store, reach: Reach, poll_s: float = POLL_S) -> None:
        self._store = store
        self._reach = reach
        self._poll_s = poll_s
        self._outbox = Outbox(store)
        self._stop = threading.Event()
        self._brake = Brake()
        self._busy: set[str] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._told = ""
        self._trim_at = float("-inf")

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._run, name="interlock-webhooks", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End; requests that are under way have a few seconds. What waits is sent when somebody starts again."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def look(self) -> int:
        """Put news into the outbox and send what is due now, in this thread; return how many requests were made."""
        self._outbox.follow()
        made = 0
        while rows := [row for row in self._due() if not self._stop.is_set()]:
            for row in rows:
                self._attempt(row)
                made += 1
        return made

    def _run(self) -> None:
        while not self._stop.is_set():
            with self._locked() as ours:
                if ours:
                    self._serve()
            self._stop.wait(_TAKE_OVER_S)

    def _serve(self) -> None:
        with ThreadPoolExecutor(_WORKERS, "interlock-webhook") as pool:
            while not self._stop.is_set():
                self._guarded(lambda: self._turn(pool))
                self._stop.wait(self._poll_s)
            self._leave()

    def _turn(self, pool: Executor) -> None:
        self._outbox.follow()
        self._hand_out(pool)
        if self._store.clock.monotonic() > self._trim_at:
            self._trim_at = self._store.clock.monotonic() + _TRIM_S
            self._outbox.trim()

    def _guarded(self, work: Callable[[], None]) -> None:
        """Do a part of a thread's work; what goes wrong is told, and the next look tries again."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 - the border of the threads
            if str(error) != self._told:  # once, not at every look
                self._told = str(error)
                _log.warning("webhooks cannot be sent now: %s", error)

    def _leave(self) -> None:
        """Let the requests that are under way end, then break them off: they will be made again."""
        pause = threading.Event()
        for _ in range(int(_GRACE_S / 0.05)):
            with self._lock:
                if not self._busy:
                    break
            pause.wait(0.05)
        self._brake.pull()

    def _hand_out(self, pool: Executor) -> None:
        for webhook in [row["webhook"] for row in self._due()]:
            with self._lock:
                if webhook in self._busy:
                    continue
                self._busy.add(webhook)
            pool.submit(self._work, webhook)

    def _work(self, webhook: str) -> None:
        self._guarded(lambda: self._send(webhook))
        with self._lock:
            self._busy.discard(webhook)

    def _send(self, webhook: str) -> None:
        """Send what is due to a webhook, one after the other, until something fails or nothing is due."""
        while not self._stop.is_set():
            row = next((due for due in self._due() if due["webhook"] == webhook), None)  # as it is by now
            if row is None:
                return
            self._attempt(row)

    def _attempt(self, row: Row) -> None:
        try:
            outcome = send(self._store, self._reach, row, self._brake)
        except Error as error:
            outcome = Outcome(0, error.message)
        if self._brake.pulled and outcome.error:
            return  # our doing, not the receiver's
        state = self._outbox.record(row, outcome)
        if state == "failed":
            _log.warning("webhook %s: delivery %s was given up: %s", row["webhook"], row["id"], outcome.error)

    def _due(self) -> list[Row]:
        return self._outbox.due(to_micros(self._store.clock.now()))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[bool]:
        handle = os.open(self._store.root / _FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True
        finally:
            os.close(handle)
