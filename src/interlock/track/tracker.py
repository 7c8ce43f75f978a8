"""The parts of tracking together: what services and protocol adapters write runs through."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from interlock.core.files import StoredFile
from interlock.store.packing import SMALL, Packing, plan
from interlock.store.settling import Stale, settled
from interlock.track.artifacts import Artifacts, check_path
from interlock.track.experiments import Experiments
from interlock.track.links import Links, of_input
from interlock.track.logged_models import LoggedModels
from interlock.track.metrics import Metrics, sealed
from interlock.track.runs import Runs, run_row

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from interlock.core.ports import Reader, Transaction
    from interlock.store import Store
    from interlock.store.packing import Segment
    from interlock.track.records import Delivery, Status

T = TypeVar("T")
_FEW_BYTES: Final = 64 << 10  # of points that wait
_HELD: Final = (
    "SELECT (SELECT COALESCE(SUM(length(data)), 0) FROM metric_inbox WHERE run = :run) AS waiting,"
    " (SELECT COALESCE(SUM(points), 0) FROM metric_segments WHERE run = :run AND points < :small) AS small,"
    " (SELECT COUNT(*) FROM run_log_parts WHERE run = :run) AS printed"
)


class Ending(msgspec.Struct, frozen=True):
    """What the end of a run writes, and what it was worked out from.

    Attributes:
        packing: its points in few segments.
        printed: the digest of what it had printed before its parts, or "".
        last: the position of the last part of what it printed, or None.
        log: the digest of all that it printed, or "" where there are no parts.
    """

    packing: Packing
    printed: str
    last: int | None
    log: str


class Tracker:
    """Experiments, runs, metrics, artifacts, links and logged models of one workspace.

    Args:
        store: what the workspace remembers.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.experiments = Experiments(store)
        self.runs = Runs(store)
        self.metrics = Metrics(store)
        self.artifacts = Artifacts(store)
        self.links = Links(store)
        self.logged_models = LoggedModels(store)

    def keep(self, path: str, file: StoredFile) -> StoredFile:
        """Return a client's file as an object under a path of its owner; an event names it next.

        Raises:
            Invalid: the path is none.
            NotFound: its bytes are not here.
        """
        check_path(path)
        self.store.uploads.keep([file.digest])
        return StoredFile(path, file.digest, file.size_bytes)

    def ending(self, reader: Reader, run: str) -> Ending:
        """Return what the end of a run will write: its points in few segments, what it printed as an object.

        Raises:
            NotFound: there is no such run.
        """
        row = run_row(reader, run)
        last = _last_part(reader, run)
        log = "" if last is None else self.store.objects.put(self.printed(reader, run).encode())
        return Ending(plan(reader, run, merge=True)[0], row["log"], last, log)

    def finish_short(self, tx: Transaction, run: str, status: Status, reason: str, at: int) -> None:
        """End a run that has little to be packed, all of it in the caller's transaction.

        Raises:
            NotFound: there is no such run.
            Conflict: it has ended in another way already.
            Stale: there is more to be worked out than the writer should be held for: see `end`.
        """
        held = tx.one(_HELD, {"run": run, "small": SMALL}) or {}
        if held["waiting"] > _FEW_BYTES or held["small"] > SMALL or held["printed"]:
            raise Stale
        if held["waiting"] or held["small"]:
            packing = plan(tx, run, merge=held["small"] > 0)[0]
            self.metrics.settle(tx, run_row(tx, run), packing)
        self.runs.finish(tx, run, status, reason, at)

    def finish(self, tx: Transaction, run: str, ending: Ending, status: Status, reason: str, at: int) -> None:
        """End a run in the caller's transaction.

        Raises:
            Conflict: it has ended in another way already.
            Stale: points or lines came since `ending` looked.
        """
        row = run_row(tx, run)
        self.metrics.settle(tx, row, ending.packing)
        waits = tx.one("SELECT run FROM metric_inbox WHERE run = :run LIMIT 1", {"run": run})
        if waits or (row["log"], _last_part(tx, run)) != (ending.printed, ending.last):
            raise Stale
        if ending.log:
            self.set_log(tx, run, ending.log)
        self.runs.finish(tx, run, status, reason, at)

    def end(self, run: str, change: Callable[[Transaction, Ending], T]) -> T:
        """Return what a change returns that ends a run (`finish`); its long work is done in front of the transaction.

        Raises:
            NotFound: there is no such run.
        """
        self.metrics.merge(run_row(self.store.database, run))
        return settled(self.store.database, lambda reader: self.ending(reader, run), change)

    def deliver(self, run: str, delivery: Delivery) -> None:
        """Take a writer's delivery, once.

        Raises:
            NotFound: there is no such run.
            Conflict: it is deleted, or a param is there with another value.
            Invalid: a segment is not whole.
        """
        segments = sealed(run, delivery.segments)
        self.store.database.write(lambda tx: self._take(tx, run, delivery, segments))

    def _take(self, tx: Transaction, run: str, delivery: Delivery, segments: Sequence[Segment]) -> None:
        row = self.metrics.active_row(tx, run)
        at = {"run": run, "writer": delivery.writer, "number": delivery.number}
        held = tx.one(
            "SELECT number FROM run_deliveries WHERE run = :run AND writer = :writer AND number = :number", at
        )
        if held is not None:
            return
        tx.run("INSERT INTO run_deliveries (run, writer, number) VALUES (:run, :writer, :number)", at)
        self.runs.log(tx, run, delivery.params, delivery.tags)
        self.metrics.append(tx, row, segments)
        if fresh := [ref for ref in delivery.inputs if ref not in row["inputs"].split("\n")]:
            inputs = "\n".join(filter(None, [row["inputs"], *fresh]))
            tx.run("UPDATE runs SET inputs = :inputs WHERE id = :id", {"inputs": inputs, "id": run})
            self._note_inputs(tx, run, fresh)
            self.links.keep(tx, run, row["experiment"], [link for ref in fresh if (link := of_input(ref))])
        if delivery.log:
            tx.run(
                "INSERT INTO run_log_parts (run, position, text) SELECT :run, count(*), :text FROM run_log_parts"
                " WHERE run = :run",
                {"run": run, "text": delivery.log},
            )

    def _note_inputs(self, tx: Transaction, run: str, refs: list[str]) -> None:
        data = {"datasets": refs, "models": [], "outputs": []}
        self.store.ledger.append(tx, "run.linked", f"run:{run}", data)

    def printed(self, reader: Reader, run: str) -> str:
        """Return what a run has printed so far."""
        row = run_row(reader, run)
        kept = self.store.objects.get(row["log"]).decode("utf-8", "replace") if row["log"] else ""
        parts = reader.all("SELECT text FROM run_log_parts WHERE run = :run ORDER BY position", {"run": run})
        return kept + "".join(part["text"] for part in parts)

    def set_log(self, tx: Transaction, run: str, digest: str) -> None:
        """Let an object be what a run printed; the ledger has its digest, as of any file that a run leaves."""
        tx.run("DELETE FROM run_log_parts WHERE run = :run", {"run": run})
        tx.run("UPDATE runs SET log = :log WHERE id = :id", {"log": digest, "id": run})
        self.store.ledger.append(tx, "run.artifact_logged", f"run:{run}", {"path": "log.txt", "digest": digest})


def _last_part(reader: Reader, run: str) -> int | None:
    """Return the position of the last part of what a run printed, or None where there is none."""
    found = reader.one("SELECT max(position) AS last FROM run_log_parts WHERE run = :run", {"run": run})
    return found["last"] if found else None
