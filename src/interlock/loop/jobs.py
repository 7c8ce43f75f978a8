"""The durable queue: a job is a row, and a worker that dies gives it back.

A running job is leased. Its worker renews the lease; when the lease ends, or the worker's process on this machine is
gone, the next worker takes the job. So every job may run more than once, and every arc is written to bear that.
"""

from __future__ import annotations

import contextlib
import threading
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, Literal

import msgspec

from interlock.core.clock import from_micros, to_micros
from interlock.core.ids import new_id
from interlock.store.workers import is_gone, this_worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interlock.core.ports import Row, Transaction
    from interlock.store import Store

ATTEMPTS = 3
PAUSE_S = 5
Status = Literal["queued", "running", "done", "declined", "failed"]


class Job(msgspec.Struct, frozen=True):
    """Work that somebody or something asked for.

    Attributes:
        kind: what is done: retrain, train, approve, deploy.
        target: what it is done to.
        cause: the event that asked for it.
        status: queued, running, done, declined (there was a reason not to), failed.
        reason: what came out.
    """

    TABLE: ClassVar = ("ref", "kind", "target", "cause", "status", "reason")

    ref: str
    id: str
    kind: str
    target: str
    cause: str
    status: Status
    attempts: int
    reason: str
    queued_at: datetime
    ended_at: datetime | None


class Jobs:
    """The queue of one workspace.

    Args:
        store: the workspace.
        lease_s: seconds after which a silent worker of another machine counts as gone.
    """

    def __init__(self, store: Store, lease_s: float = 60.0) -> None:
        self._store = store
        self._lease_s = lease_s
        self._worker = this_worker()

    def queue(self, tx: Transaction, kind: str, target: str, cause: str) -> str:
        """Return the id of a new job, queued within the caller's transaction."""
        ident = new_id()
        tx.run(
            "INSERT INTO jobs (id, kind, args, cause, state, attempts, worker, lease_until, reason, queued_at)"
            " VALUES (:id, :kind, :target, :cause, 'queued', 0, '', 0, '', :at)",
            {"id": ident, "kind": kind, "target": target, "cause": cause, "at": to_micros(self._store.clock.now())},
        )
        data = {"kind": kind, "cause": cause, "args": target}
        self._store.ledger.append(tx, "job.queued", f"job:{ident}", data)
        return ident

    def claim(self) -> Job | None:
        """Return the oldest job that nobody works on, now ours; None when there is none."""
        waiting = "SELECT 1 FROM jobs WHERE state IN ('queued', 'running')"
        if self._store.database.one(waiting) is None:
            return None
        return self._store.database.write(self._claim)

    def finish(
        self, job: Job, status: Literal["done", "declined", "failed"], reason: str, *, again: bool = False
    ) -> None:
        """End a job that this worker holds; one that somebody else took over meanwhile is left alone.

        Args:
            job: the job.
            status: how it ended.
            reason: why.
            again: whether a failed one may work later: it is queued again, to be taken after a pause that grows.
        """

        def change(tx: Transaction) -> None:
            row = tx.one("SELECT worker, state FROM jobs WHERE id = :id", {"id": job.id})
            if row is None or row["worker"] != self._worker or row["state"] != "running":
                return
            retried = again and status == "failed" and job.attempts < ATTEMPTS
            now = to_micros(self._store.clock.now())
            tx.run(
                "UPDATE jobs SET state = :state, reason = :reason, ended_at = :at, lease_until = :until WHERE id = :id",
                {
                    "state": "queued" if retried else status,
                    "reason": reason,
                    "id": job.id,
                    "at": None if retried else now,
                    "until": now + PAUSE_S * 1_000_000 * 4**job.attempts,
                },
            )
            if not retried:
                self._store.ledger.append(tx, "job.finished", job.ref, {"status": status, "reason": reason})

        self._store.database.write(change)

    def jobs(self, limit: int = 100) -> list[Job]:
        """Return jobs, newest first."""
        rows = self._store.database.all("SELECT * FROM jobs ORDER BY id DESC LIMIT :limit", {"limit": limit})
        return [_job(row) for row in rows]

    @contextlib.contextmanager
    def held(self, job: Job) -> Iterator[None]:
        """Keep the lease of a job alive while the block runs."""
        over = threading.Event()

        def renew() -> None:
            while not over.wait(self._lease_s / 3):
                self._extend(job)

        thread = threading.Thread(target=renew, name="interlock-lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _claim(self, tx: Transaction) -> Job | None:
        now = to_micros(self._store.clock.now())
        for row in tx.all("SELECT * FROM jobs WHERE state IN ('queued', 'running') ORDER BY id"):
            if row["lease_until"] > now and not (row["state"] == "running" and is_gone(row["worker"])):
                continue  # somebody works on it, or it waits to be tried again
            if row["attempts"] >= ATTEMPTS:
                reason = f"given up after {ATTEMPTS} attempts; the last worker died"
                tx.run(
                    "UPDATE jobs SET state = 'failed', reason = :reason, ended_at = :at WHERE id = :id",
                    {"reason": reason, "at": now, "id": row["id"]},
                )
                data = {"status": "failed", "reason": reason}
                self._store.ledger.append(tx, "job.finished", f"job:{row['id']}", data)
                continue
            tx.run(
                "UPDATE jobs SET state = 'running', attempts = attempts + 1, worker = :worker, lease_until = :until"
                " WHERE id = :id",
                {"worker": self._worker, "until": self._until(), "id": row["id"]},
            )
            return _job(row | {"state": "running", "attempts": row["attempts"] + 1})
        return None

    def _extend(self, job: Job) -> None:
        values = {"until": self._until(), "id": job.id, "worker": self._worker}
        self._store.database.write(
            lambda tx: tx.run("UPDATE jobs SET lease_until = :until WHERE id = :id AND worker = :worker", values)
        )

    def _until(self) -> int:
        return to_micros(self._store.clock.now()) + int(self._lease_s * 1_000_000)


def _job(row: Row) -> Job:
    return Job(
        ref=f"job:{row['id']}",
        id=row["id"],
        kind=row["kind"],
        target=row["args"],
        cause=row["cause"],
        status=msgspec.convert(row["state"], Status),
        attempts=row["attempts"],
        reason=row["reason"],
        queued_at=from_micros(row["queued_at"]),
        ended_at=from_micros(row["ended_at"]) if row["ended_at"] is not None else None,
    )
