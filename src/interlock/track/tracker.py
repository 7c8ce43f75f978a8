"""The parts of tracking together: what services and protocol adapters write runs through."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.core.files import StoredFile
from interlock.track.artifacts import Artifacts, check_path
from interlock.track.experiments import Experiments
from interlock.track.links import Links
from interlock.track.logged_models import LoggedModels
from interlock.track.metrics import Metrics
from interlock.track.runs import Runs, run_row

if TYPE_CHECKING:
    from interlock.core.ports import Reader, Transaction
    from interlock.store import Store
    from interlock.track.records import Delivery, Status


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

    def finish(self, tx: Transaction, run: str, status: Status, reason: str, at: int) -> None:
        """End a run, its points packed into few segments.

        Raises:
            Conflict: it has ended in another way already.
        """
        row = run_row(tx, run)
        self.metrics.merge(tx, row)
        if tx.one("SELECT position FROM run_log_parts WHERE run = :run LIMIT 1", {"run": run}):
            self.set_log(tx, run, self.store.objects.put(self.printed(tx, run).encode()))
        self.runs.finish(tx, run, status, reason, at)

    def deliver(self, tx: Transaction, run: str, delivery: Delivery) -> None:
        """Take a writer's delivery, once.

        Raises:
            NotFound: there is no such run.
            Invalid: a segment is not whole.
        """
        row = self.metrics.active_row(tx, run)
        at = {"run": run, "writer": delivery.writer, "number": delivery.number}
        held = tx.one(
            "SELECT number FROM run_deliveries WHERE run = :run AND writer = :writer AND number = :number", at
        )
        if held is not None:
            return
        tx.run("INSERT INTO run_deliveries (run, writer, number) VALUES (:run, :writer, :number)", at)
        self.runs.log(tx, run, delivery.params, delivery.tags)
        self.metrics.append(tx, row, delivery.segments)
        if fresh := [ref for ref in delivery.inputs if ref not in row["inputs"].split("\n")]:
            inputs = "\n".join(filter(None, [row["inputs"], *fresh]))
            tx.run("UPDATE runs SET inputs = :inputs WHERE id = :id", {"inputs": inputs, "id": run})
            self._note_inputs(tx, run, fresh)
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
