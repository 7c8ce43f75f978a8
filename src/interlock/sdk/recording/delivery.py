"""Delivery: a batch of entries becomes calls of the tracking service, each of which may come again and changes nothing.

A server that cannot be reached, or that is not well, leaves the batch where it is. What a server refuses would be
refused for ever: it is set aside with its reason, and the rest goes on.
"""

from __future__ import annotations

import functools
import itertools
import shutil
from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.core.clock import from_micros
from interlock.core.errors import Conflict, Invalid, NotFound
from interlock.sdk.recording import entries
from interlock.sdk.recording.entries import Ended, Filed, Points, Published, Resumed, Said, Started
from interlock.sdk.recording.points import following, segments
from interlock.sdk.recording.spool import staged_of, staged_path
from interlock.track.records import Delivery, Start, Status

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from interlock.sdk.recording.spool import Batch
    from interlock.sdk.workspace import Workspace

WRITER: Final = "interlock.writer"
"""The tag that names the writer which a run belongs to."""
_LOG_PART: Final = 4 << 20  # in letters; a server takes 32 MiB at once


class Refusal(msgspec.Struct, frozen=True):
    """What a server would not take, and why."""

    run: str
    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.what} of run {self.run}: {self.why}"


class Courier:
    """Carries batches of one writer to a workspace.

    Args:
        workspace: where to.
        folder: the writer's folder, with its staged files.
    """

    def __init__(self, workspace: Workspace, folder: Path) -> None:
        self._workspace = workspace
        self._folder = folder
        self._writer = folder.name
        self.refusals: list[Refusal] = []

    def carry(self, batch: Batch) -> None:
        """Return when the server has a batch, or has refused parts of it, which `refusals` names then.

        Raises:
            Unavailable: the server cannot be reached; try the whole batch again.
            Error: the server is not well; as above.
            Corrupt: the batch names what is no staged file; nothing of it was sent.
        """
        for entry in batch.entries:
            for name in staged_of(entry):
                self._staged(name)
        before = len(self.refusals)
        try:
            self._carry_all(batch)
        except BaseException:
            del self.refusals[before:]
            raise
        if len(self.refusals) > before:
            self._keep(batch)

    def _carry_all(self, batch: Batch) -> None:
        number = batch.number << 16  # a batch becomes several deliveries, the same ones whenever it is carried
        waiting: list[Points | Said] = []
        for entry in batch.entries:
            if isinstance(entry, Points | Said):
                waiting.append(entry)
                continue
            number = self._deliver(waiting, number)
            waiting = []
            self._try(entry.run, type(entry).__name__.lower(), functools.partial(self._carry, entry))
        self._deliver(waiting, number)

    def end(self, runs: list[str], at: int) -> None:
        """End runs whose process is gone as killed, unless somebody else has them now."""
        for run in runs:
            try:
                found = self._workspace.track.run(run)
                if found.status == "running" and found.tags.get(WRITER) == self._writer:
                    reason = "its process ended without a word"
                    self._workspace.track.finish(run, "killed", reason, from_micros(at))
            except (NotFound, Conflict):
                continue

    def _carry(self, entry: entries.Any) -> None:
        track = self._workspace.track
        match entry:
            case Started():
                track.start(_start(entry, self._writer))
            case Resumed():
                track.resume(entry.run)
                track.log(entry.run, {}, {WRITER: self._writer})
            case Filed():
                track.log_artifact(entry.run, entry.path, self._staged(entry.staged))
            case Published():
                files = {path: self._staged(staged) for path, staged in entry.files.items()}
                self._workspace.registry.publish(entry.model, files, entry.run, list(entry.data) or None)
            case Ended():
                track.finish(entry.run, msgspec.convert(entry.status, Status), entry.reason, from_micros(entry.at))
            case _:
                raise AssertionError(entry)

    def _deliver(self, waiting: list[Points | Said], number: int) -> int:
        """Send points, params, tags and lines, run by run; return the number that comes next."""
        for run in dict.fromkeys(entry.run for entry in waiting):
            mine = [entry for entry in waiting if entry.run == run]
            said = [entry for entry in mine if isinstance(entry, Said)]
            words: dict[str, Any] = {
                "params": {name: value for entry in said for name, value in entry.params.items()},
                "tags": {name: value for entry in said for name, value in entry.tags.items()},
                "inputs": tuple(ref for entry in said for ref in entry.inputs),
            }
            points = [entry for entry in mine if isinstance(entry, Points)]
            for part in following(points, functools.partial(self._last_step, run)):
                number += 1
                self._send(run, Delivery(self._writer, number, part))
            packed = segments(points)
            printed = "".join(entry.log for entry in said)
            logs = (printed[start : start + _LOG_PART] for start in range(0, len(printed), _LOG_PART))
            for part, log in itertools.zip_longest(packed, logs) if packed or printed else [({}, "")]:
                number += 1
                self._send(run, Delivery(self._writer, number, part or {}, **words, log=log or ""))
                words = {}
        return number

    def _last_step(self, run: str, key: str) -> int | None:
        """Return the last step of a metric that the workspace has, or None."""
        try:
            return self._workspace.track.metric(run, key).steps[-1]
        except NotFound:
            return None

    def _send(self, run: str, delivery: Any) -> None:
        """Send a delivery; where its params are refused, the rest of it all the same."""
        send = self._workspace.track.deliver
        before = len(self.refusals)
        self._try(run, "delivery", lambda: send(run, delivery))
        if len(self.refusals) > before and delivery.params:
            rest = msgspec.structs.replace(delivery, params={})
            self._try(run, "delivery", lambda: send(run, rest))
            if len(self.refusals) == before + 2:
                self.refusals.pop()

    def _try(self, run: str, what: str, call: Callable[[], Any]) -> None:
        try:
            call()
        except (Invalid, Conflict, NotFound) as error:
            self.refusals.append(Refusal(run, what, str(error)))

    def _keep(self, batch: Batch) -> None:
        """Keep a batch of which a part was refused, with its files: nothing is lost that somebody may still want."""
        kept = self._folder.parent / "refused" / f"{self._writer}-{batch.number}"
        kept.mkdir(parents=True, exist_ok=True)
        (kept / "entries.msgpack").write_bytes(entries.encode(entries.Block(0, batch.entries, batch.number)))
        (kept / "why.txt").write_text("".join(f"{refusal}\n" for refusal in self.refusals), "utf-8")
        for entry in batch.entries:
            for name in staged_of(entry):
                if self._staged(name).exists():
                    shutil.copyfile(self._staged(name), kept / name)

    def _staged(self, name: str) -> Any:
        """Return a path, which stands for a stored file until the workspace sends it."""
        return staged_path(self._folder, name)


def _start(entry: Started, writer: str) -> Start:
    facts: dict[str, Any] = {
        "id": entry.run,
        "name": entry.name,
        "params": entry.params,
        "tags": {**entry.tags, WRITER: writer} if entry.mine else entry.tags,
        "inputs": entry.inputs,
        "code": entry.code,
        "environment": entry.environment,
        "parent": entry.parent,
        "started_at": from_micros(entry.at),
    }
    return Start(entry.experiment, **facts)
