"""The durable journal of a run: which steps it called, in which order, and what each of them made.

A step is done when its output is on disk and its row is committed, in this order; so after a kill, whatever the journal
calls done can be taken from it. That a step has begun, and that a result came from the cache, needs no such care: these
rows are written by a helper thread, and a step that ends sooner is written once.
"""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

import msgspec

from interlock.core.clock import from_micros, to_micros
from interlock.core.errors import Conflict, NotFound
from interlock.train.keys import compare
from interlock.train.records import StepRecord
from interlock.train.values import Kept

if TYPE_CHECKING:
    from collections.abc import Callable

    from interlock.core.ports import Database, ObjectStore, Row, Transaction
    from interlock.train.keys import StepKey

_INLINE_BYTES = 65_536
_LATER_S = 0.05
_FIELDS = (
    *("step", "key", "state", "cached", "attempts", "reason"),
    *("error", "output", "result", "started_at", "ended_at"),
)
_BEGUN = f"""
INSERT INTO run_steps (run, position, {", ".join(_FIELDS)})
VALUES (:run, :position, {", ".join(f":{name}" for name in _FIELDS)})
ON CONFLICT (run, position) DO NOTHING
"""  # noqa: S608 - our own words
_ENDED = _BEGUN.replace("NOTHING", f"UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _FIELDS)}")
_RESULT = """
INSERT INTO step_results (key, step, run, output, tree, portable, seal, said, said_seal, parts, made_at)
VALUES (:key, :step, :run, :output, :tree, :portable, :seal, :said, :said_seal, :parts, :made_at)
ON CONFLICT (key) DO UPDATE SET run = excluded.run, output = excluded.output, tree = excluded.tree,
portable = excluded.portable, seal = excluded.seal, said = excluded.said, said_seal = excluded.said_seal,
made_at = excluded.made_at
"""


class Made(msgspec.Struct, frozen=True):
    """What a step made: its value, and what it logged meanwhile (a value too)."""

    value: Kept
    said: Kept


class Journal:
    """The journal of one run.

    Args:
        database: where rows go.
        objects: where outputs that are too long for a row go.
        run: the run's id.
    """

    def __init__(self, database: Database, objects: ObjectStore, run: str) -> None:
        self.run = run
        self._database = database
        self._objects = objects
        rows = database.all("SELECT * FROM run_steps WHERE run = :run ORDER BY position", {"run": run})
        self._before = {row["position"]: row for row in rows}
        if any(row["state"] != "done" for row in rows):  # these run again
            unfinished = "DELETE FROM run_steps WHERE run = :run AND state <> 'done'"
            database.write(lambda tx: tx.run(unfinished, {"run": run}))
        self._later = _Later(database)

    def recorded(self, position: int, step: str, key: StepKey) -> Made | None:
        """Return what this call made before the run was interrupted, or None when it had not ended.

        Raises:
            Conflict: at this place the run had called another step, or the same one with other code or inputs.
        """
        row = self._before.get(position)
        if row is None:
            return None
        if row["step"] != step:
            raise _diverged(position, f"it calls {step}, and the first time it called {row['step']}", "")
        if row["state"] != "done" or not row["result"]:
            return None
        if row["key"] != key.digest:
            before = self._database.one("SELECT parts FROM step_results WHERE key = :key", {"key": row["result"]})
            changed = compare(json.loads(before["parts"]), key.parts) if before else ()
            what = "; ".join(map(str, changed[:3])) or "its key differs"
            raise _diverged(position, f"{step} ended before with other code or inputs", what)
        return self._made(row["result"])

    def cached(self, key: StepKey) -> Made | None:
        """Return what any run has made under this key, or None."""
        return None if key.reason else self._made(key.digest)

    def why(self, step: str, key: StepKey) -> str:
        """Return why there is no result under a key: how it differs from the nearest of other runs' last results."""
        rows = self._database.all(
            "SELECT parts FROM step_results WHERE step = :step AND run <> :run ORDER BY made_at DESC LIMIT 8",
            {"step": step, "run": self.run},
        )
        differences = [compare(json.loads(row["parts"]), key.parts) for row in rows]
        nearest = min((found for found in differences if found), key=len, default=())
        if not nearest:
            return "its result is no longer stored" if rows else "first time"
        more = f" and {len(nearest) - 3} more" if len(nearest) > 3 else ""
        return f"{'; '.join(map(str, nearest[:3]))}{more}"

    def begun(self, record: StepRecord) -> None:
        """Note that a step runs; the row is written if it still runs after a moment."""
        values = _row(self.run, record)
        self._later.add(("begun", record.position), lambda tx: tx.run(_BEGUN, values))

    def reused(self, record: StepRecord, key: StepKey) -> None:
        """Note that a step's value came from the cache."""
        values = _row(self.run, record, key.digest)
        self._later.add(("reused", record.position), lambda tx: tx.run(_ENDED, values))

    def ended(self, record: StepRecord, key: StepKey, made: Made | None) -> None:
        """Note that a step ended; `made` is None when it failed or its value cannot be kept. On disk when this returns.

        Cost: one commit.
        """
        self._later.drop(("begun", record.position))
        if made is None:
            values = _row(self.run, record)
            self._database.write(lambda tx: tx.run(_ENDED, values))
            return
        tree: bytes | None = made.value.tree
        if len(made.value.tree) > _INLINE_BYTES:
            self._objects.put(made.value.tree)
            tree = None
        result = {
            "step": record.step,
            "run": self.run,
            "output": made.value.digest,
            "tree": tree,
            "portable": int(made.value.portable),
            "seal": made.value.seal,
            "said": made.said.tree,
            "said_seal": made.said.seal,
            "parts": json.dumps(key.parts, sort_keys=True).encode(),
            "made_at": to_micros(record.ended_at or record.started_at),
        }
        reusable = not key.reason and made.value.portable
        self._database.write(lambda tx: self._keep(tx, record, key, result, reusable=reusable))

    def _keep(
        self, tx: Transaction, record: StepRecord, key: StepKey, result: dict[str, Any], *, reusable: bool
    ) -> None:
        """Write a step's row and its result. A newer result takes the key; runs that had the older one keep it."""
        name = key.digest if reusable else f"{key.digest}/{self.run}/{record.position}"
        older = tx.one("SELECT run, output FROM step_results WHERE key = :key", {"key": name})
        if older is not None and older["output"] != result["output"]:
            moved = {"key": name, "moved": f"{name}/{older['run']}/{result['made_at']}"}
            tx.run("UPDATE step_results SET key = :moved WHERE key = :key", moved)
            tx.run("UPDATE run_steps SET result = :moved WHERE result = :key", moved)
        tx.run(_RESULT, {**result, "key": name})
        tx.run(_ENDED, _row(self.run, record, name))

    def completed(self, calls: int) -> None:
        """Accept that the pipeline has returned after so many calls.

        Raises:
            Conflict: before it was interrupted, the run had ended more of them.
        """
        beyond = [row for position, row in self._before.items() if position >= calls and row["state"] == "done"]
        if beyond:
            raise _diverged(beyond[0]["position"], f"it returns, and the first time it called {beyond[0]['step']}", "")

    def close(self) -> None:
        """Write what is still to be written."""
        self._later.close()

    def _made(self, key: str) -> Made | None:
        row = self._database.one("SELECT * FROM step_results WHERE key = :key", {"key": key})
        if row is None:
            return None
        tree = row["tree"]
        if tree is None:
            try:
                tree = self._objects.get(row["output"])
            except NotFound:
                return None
        return Made(Kept(tree, row["seal"], bool(row["portable"])), Kept(row["said"], row["said_seal"]))


class _Later:
    """Writes rows that nobody waits for, a moment later and together."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[Any, tuple[float, Callable[[Transaction], None]]] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._idle = False
        self._error: Exception | None = None
        self._thread: threading.Thread | None = None

    def add(self, name: Any, change: Callable[[Transaction], None]) -> None:
        with self._changed:
            self._waiting[name] = (time.monotonic() + _LATER_S, change)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="interlock-journal", daemon=True)
                self._thread.start()
            elif self._idle:
                self._changed.notify()

    def drop(self, name: Any) -> None:
        with self._changed:
            self._waiting.pop(name, None)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()
        if self._error is not None:
            raise self._error
        self._write(list(self._waiting))

    def _serve(self) -> None:
        while True:
            with self._changed:
                if self._closed:
                    return
                if not self._waiting:
                    self._idle = True
                    self._changed.wait()
                    self._idle = False
                    continue
                wait = min(at for at, _ in self._waiting.values()) - time.monotonic()
                if wait > 0:
                    self._changed.wait(wait)
                    continue
                due = [name for name, (at, _) in self._waiting.items() if at <= time.monotonic() + _LATER_S / 2]
            try:
                self._write(due)
            except Exception as error:  # noqa: BLE001 - the border of the helper thread: `close` tells
                self._error = error
                return

    def _write(self, names: list[Any]) -> None:
        with self._changed:
            changes = [self._waiting.pop(name)[1] for name in names if name in self._waiting]
        if changes:
            self._database.write(lambda tx: [change(tx) for change in changes])


def steps_of(database: Database, run: str) -> list[StepRecord]:
    """Return the steps of a run, in the order of their calls.

    Args:
        database: where the journal is.
        run: the run's id.
    """
    rows = database.all("SELECT * FROM run_steps WHERE run = :run ORDER BY position", {"run": run})
    return [_record(row) for row in rows]


def _record(row: Row) -> StepRecord:
    return StepRecord(
        position=row["position"],
        step=row["step"],
        key=row["key"],
        state=row["state"],
        cached=bool(row["cached"]),
        attempts=row["attempts"],
        reason=row["reason"],
        error=row["error"],
        output=row["output"],
        started_at=from_micros(row["started_at"]),
        ended_at=None if row["ended_at"] is None else from_micros(row["ended_at"]),
    )


def _row(run: str, record: StepRecord, result: str = "") -> dict[str, Any]:
    values = {name: getattr(record, name) for name in record.__struct_fields__ if name != "replayed"}
    return {
        **values,
        "run": run,
        "result": result,
        "cached": int(record.cached),
        "started_at": to_micros(record.started_at),
        "ended_at": None if record.ended_at is None else to_micros(record.ended_at),
    }


def _diverged(position: int, how: str, what: str) -> Conflict:
    return Conflict(
        f"The run cannot be resumed: at call {position + 1} {how}{f' ({what})' if what else ''}.",
        about="run",
        hint="Start a new run; steps that are unchanged come from the cache.",
        position=position,
    )
