"""What happens when a run begins: its workspace is found, its recorder joined, its surroundings looked at."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.core.errors import Error, NotFound, Unavailable
from interlock.core.refs import check_name, parse
from interlock.sdk.places import find
from interlock.sdk.recording import console, live, spoken, surroundings
from interlock.sdk.recording.entries import Filed, Resumed, Started
from interlock.sdk.recording.machine import Machine
from interlock.sdk.recording.outbox import warn
from interlock.sdk.recording.recorder import Recorder
from interlock.sdk.recording.syncing import waiting
from interlock.sdk.workspace import Workspace

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from interlock.sdk.recording import entries

SAMPLE_S: Final = 10.0
_DEFAULT: Final = "default"


class Plan(msgspec.Struct, frozen=True):
    """What a run begins with.

    Attributes:
        experiment: where it belongs; the script's name when left out.
        name: its name.
        params: its params.
        tags: its tags.
        workspace: a folder or an address; None looks for it.
        resume: the id of a run that goes on, or "".
        console: whether what is printed is kept.
        machine: whether the machine is watched.
        script: the file that runs, where somebody runs it for the user.
        command: the command's words, as above.
    """

    experiment: str = ""
    name: str = ""
    params: dict[str, Any] = {}
    tags: dict[str, str] = {}
    workspace: Any = None
    resume: str = ""
    console: bool = True
    machine: bool = True
    script: Any = None
    command: tuple[str, ...] = ()

    def with_params(self, params: Mapping[str, Any]) -> Plan:
        """Return the same plan with other params."""
        return msgspec.structs.replace(self, params=dict(params))


_recorders: dict[str, Recorder] = {}
_lock = threading.Lock()


class Opening:
    """A run that goes on: its recorder, and what was put in place for it.

    Args:
        run: the run.
        plan: what it begins with.

    Raises:
        NotFound: there is no workspace, or no run to resume.
    """

    def __init__(self, run: live.Living, plan: Plan) -> None:
        place = getattr(plan.workspace, "location", plan.workspace)
        location = find(place)
        script = plan.script or surroundings.main_script()
        self._run, self._plan, self._script = run, plan, script
        self._experiment = check_name(plan.experiment or (Path(script).stem if script else _DEFAULT), "experiment")
        self._began = time.time_ns()
        self._started: entries.Any | None = None
        outer = live.current()
        self._parent = outer.id if outer is not None and outer.location == location else ""
        if plan.resume:
            run.id = _existing(location, plan.resume)
        self.recorder = _joined(location, run)
        run.push(self._first)
        self._token: Any = live.begin(run)
        spoken.hear()
        self._console = plan.console and not self._parent
        self._machine: Machine | None = None
        self._sampled = time.monotonic()
        if plan.machine and not self._parent:
            self._machine = Machine()
            self.recorder.tick(self._tick)
        if self._console:
            console.listen(_to_current)

    def again(self) -> Started:
        """Return the entry with which a child process begins to add to the run."""
        if isinstance(self._started, Started):
            return msgspec.structs.replace(self._started, mine=False)
        return Started(self._run.id, self._experiment, parent=self._parent, at=self._began // 1000, mine=False)

    def close(self) -> None:
        """Take away what was put in place; the recorder is left by the run itself."""
        if self._console:
            console.stop_listening()
        if self._machine is not None:
            machine, self._machine = self._machine, None
            if time.monotonic() - self._sampled >= 1:
                with contextlib.suppress(Exception):
                    self._run.push((self._run.id, time.time_ns(), None, machine.sample()))
            machine.close()

    def end(self) -> None:
        """Let the process forget the run, which is on disk by now."""
        live.end(self._run, self._token)

    def _tick(self) -> None:
        """Sample the machine when it is time: called in the recorder's thread."""
        machine = self._machine
        if machine is not None and time.monotonic() - self._sampled >= SAMPLE_S:
            self._sampled = time.monotonic()
            self._run.push((self._run.id, time.time_ns(), None, machine.sample()))

    def _first(self) -> list[entries.Any]:
        """Return the entries that a run begins with: called in the recorder's thread."""
        run, plan = self._run, self._plan
        if plan.resume:
            return [Resumed(run.id)]
        facts: dict[str, Any] = {"name": plan.name, "tags": dict(plan.tags)}
        files: dict[str, bytes] = {}
        if not self._parent:
            try:
                seen = surroundings.look(self._script, list(plan.command) or _words(self._script))
                facts |= {"tags": {**seen.tags, **plan.tags}, "code": seen.code, "environment": seen.environment}
                files = seen.files
            except Exception as error:  # noqa: BLE001 - the border: a run begins whatever is around it
                warn(f"{run.id}: what the run started in could not be recorded: {error!r}")
        started = Started(run.id, self._experiment, parent=self._parent, at=self._began // 1000, **facts)
        self._started = started
        said: list[entries.Any] = [started]
        for path, content in files.items():
            try:
                place = self.recorder.stage()
                place.write_bytes(content)
            except OSError as error:  # the disk is full, say: the run begins all the same
                warn(f"{run.id}: {path} could not be kept: {error}")
                break
            said.append(Filed(run.id, path, place.name))
        return said


def _joined(location: str, run: live.Living) -> Recorder:
    """Return the recorder of a workspace, which the run has joined."""
    with _lock:
        recorder = _recorders.get(location)
        if recorder is None or not recorder.speakers:
            recorder = _recorders[location] = Recorder(location, FirstSteps(location))
        recorder.join(run)
        return recorder


def _existing(location: str, wanted: str) -> str:
    """Return the id of a run that is to go on.

    Raises:
        NotFound: the workspace answers, and has none of this id, nor waits one on this machine.
    """
    ident = parse(wanted, "run").name
    try:
        with Workspace.open(location) as workspace:
            workspace.track.run(ident)
    except NotFound:
        if not waiting(location):
            raise
    except Unavailable:
        pass
    return ident


class FirstSteps:
    """Where the metrics of runs go on: after the last step that the workspace knows.

    Args:
        location: the workspace.
    """

    def __init__(self, location: str) -> None:
        self._location = location

    def __call__(self, run: str, key: str) -> int:
        """Return the first step of a metric of a run."""
        resumed = [known for known in live.going_on() if known.id == run and known.resumed]
        if not resumed:
            return 0
        try:
            with Workspace.open(self._location) as workspace:
                return workspace.track.metric(run, key).steps[-1] + 1
        except Error:
            return 0


def _to_current(stream: str, text: str) -> None:
    run = live.current()
    if run is not None:
        run.printed(stream, text)


def _words(script: os.PathLike[str] | None) -> list[str]:
    """Return the words of this process's command, the script first."""
    import sys

    return [str(script) if script else "", *sys.argv[1:]]
