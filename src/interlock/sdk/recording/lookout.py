"""What goes on around a run: what the machine does, which modules are imported, which files are read."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from interlock.sdk.recording.entries import Filed, Said
from interlock.sdk.recording.inputs import Inputs
from interlock.sdk.recording.machine import Machine
from interlock.sdk.recording.outbox import warn
from interlock.sdk.recording.project import Modules

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from interlock.sdk.recording import live
    from interlock.sdk.recording.project import Project
    from interlock.sdk.recording.recorder import Recorder

SAMPLE_S: Final = 10.0
_LEAST_S: Final = 1.0  # in less time than this a machine has no rates


class What(NamedTuple):
    """What is looked at.

    Attributes:
        machine: what the machine does.
        modules: which modules of the project are imported.
        files: which files the process opens.
    """

    machine: bool = False
    modules: bool = False
    files: bool = False


class Lookout:
    """Looks around every ten seconds, and when the run ends.

    Args:
        run: the run.
        recorder: its recorder.
        project: the project that the script belongs to.
        script: the script, or None at a prompt.
        what: what is looked at.
    """

    def __init__(self, run: live.Living, recorder: Recorder, project: Project, script: Path | None, what: What) -> None:
        self.inputs = Inputs(project, lambda ref: run.push(Said(run.id, inputs=(ref,))))
        self._run = run
        self._recorder = recorder
        self._machine = Machine() if what.machine else None
        self._modules = Modules(project, script) if what.modules else None
        self._looked = time.monotonic()
        self._lock = threading.Lock()
        self._closed = False
        if what.machine or what.modules:
            recorder.tick(self._tick)
        if what.files:
            self.inputs.watch()

    def close(self, timeout_s: float) -> None:
        """Look around once more, and let go.

        Args:
            timeout_s: how long to wait for digests of files at most.
        """
        self.inputs.close(timeout_s)
        with self._lock:
            self._closed = True
            if time.monotonic() - self._looked >= _LEAST_S:
                self._sample()
            self._keep_modules(last=True)
            read = self.inputs.record
            if read.files or read.left_out:
                self._keep({"interlock/inputs.json": msgspec.json.format(msgspec.json.encode(read))})
            if self._machine is not None:
                self._machine.close()

    def file(self, files: Mapping[str, bytes]) -> Iterator[Filed]:
        """Put files where they are sent from, and yield what is to be said of them."""
        for path, content in files.items():
            try:
                place = self._recorder.stage()
                place.write_bytes(content)
            except OSError as error:  # the disk is full, say: the run goes on all the same
                warn(f"{self._run.id}: {path} could not be kept: {error}")
                return
            yield Filed(self._run.id, path, place.name)

    def _tick(self) -> None:
        """Look around when it is time: called in the recorder's thread."""
        with self._lock:
            if not self._closed and time.monotonic() - self._looked >= SAMPLE_S:
                self._sample()
                self._keep_modules(last=False)

    def _sample(self) -> None:
        self._looked = time.monotonic()
        if self._machine is not None:
            with contextlib.suppress(Exception):  # a broken sensor
                self._run.push((self._run.id, time.time_ns(), None, self._machine.sample()))

    def _keep_modules(self, *, last: bool) -> None:
        """Keep the source of the modules that were imported since the last look; in the end, the list of all."""
        if self._modules is None:
            return
        try:
            files = {f"interlock/code/{path}": source for path, source in self._modules.fresh().items()}
            record = self._modules.record
            if last and (record.files or record.left_out):
                files["interlock/modules.json"] = msgspec.json.format(msgspec.json.encode(record))
            self._keep(files)
        except Exception as error:  # noqa: BLE001 - the border: what is around a run must not cost the run
            warn(f"{self._run.id}: modules could not be kept: {error!r}")

    def _keep(self, files: Mapping[str, bytes]) -> None:
        for entry in self.file(files):
            self._run.push(entry)
