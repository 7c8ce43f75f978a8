"""What happens when a run begins: its workspace is found, its recorder joined, its surroundings looked at."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.core.errors import Error, NotFound, Unavailable
from interlock.core.refs import parse
from interlock.sdk.places import find
from interlock.sdk.recording import console, live, spoken, surroundings
from interlock.sdk.recording.entries import Resumed, Started
from interlock.sdk.recording.lookout import Lookout, What
from interlock.sdk.recording.outbox import warn
from interlock.sdk.recording.project import project_of
from interlock.sdk.recording.recorder import Recorder
from interlock.sdk.recording.secrecy import without_secrets
from interlock.sdk.recording.syncing import waiting
from interlock.sdk.workspace import Workspace
from interlock.track.experiments import check_title

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from interlock.sdk.recording import entries

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
        files: whether the files are remembered that the process opens.
        ears: what hears what is printed, where that is not Python's own streams.
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
    files: bool = False
    ears: Any = None
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
        Invalid: no experiment can be called so.
        NotFound: there is no workspace, or no run to resume.
    """

    def __init__(self, run: live.Living, plan: Plan) -> None:
        place = getattr(plan.workspace, "location", plan.workspace)
        location = find(place)
        script = plan.script or surroundings.main_script()
        self._run, self._plan, self._script = run, plan, script
        self._project = project_of(location, script)
        self._experiment = plan.experiment or (Path(script).stem if script else _DEFAULT)
        check_title(self._experiment)
        self._began = time.time_ns()
        self._started: Started | None = None
        self._ears: console.Ears | None = None
        outer = live.current()
        self._parent = outer.id if outer is not None and outer.location == location else ""
        if plan.resume:
            run.id = _existing(location, plan.resume)
        self.recorder = _joined(location, run)
        what = What(plan.machine, modules=True, files=plan.files) if not self._parent else What()
        self.lookout = Lookout(run, self.recorder, self._project, script, what)
        run.push(self._first)
        console.settle()  # what was printed until now is no word of this run
        self._token: Any = live.begin(run)
        spoken.hear()
        if plan.console and not self._parent:
            self._ears = plan.ears or console.Tee()
            self._ears.listen(_to_current, self.recorder.when_kept)
            self._ears.belongs_to(location, self._begun)

    def again(self) -> Started:
        """Return the entry with which a child process begins to add to the run."""
        return msgspec.structs.replace(self._begun, mine=False)

    @property
    def _begun(self) -> Started:
        """The entry with which the run began, as far as it is known by now."""
        return self._started or Started(self._run.id, self._experiment, parent=self._parent, at=self._began // 1000)

    def close(self, timeout_s: float) -> None:
        """Take away what was put in place; the recorder is left by the run itself.

        Args:
            timeout_s: how long to wait for files that are still looked at.
        """
        console.settle()
        if self._ears is not None:
            self._ears.stop_listening()
        self.lookout.close(timeout_s)

    def end(self) -> None:
        """Let the process forget the run, which is on disk by now."""
        live.end(self._run, self._token)

    def _first(self) -> list[entries.Any]:
        """Return the entries that a run begins with: called in the recorder's thread."""
        run, plan = self._run, self._plan
        if plan.resume:
            return [Resumed(run.id)]
        facts: dict[str, Any] = {"name": plan.name, "tags": dict(plan.tags)}
        files: dict[str, bytes] = {}
        if not self._parent:
            try:
                seen = surroundings.look(self._script, list(plan.command) or _words(self._script), self._project)
                facts |= {"tags": {**seen.tags, **plan.tags}, "code": seen.code, "environment": seen.environment}
                files = seen.files
            except Exception as error:  # noqa: BLE001 - the border: a run begins whatever is around it
                warn(f"{run.id}: what the run started in could not be recorded: {error!r}")
        started = Started(run.id, self._experiment, parent=self._parent, at=self._began // 1000, **facts)
        self._started = started
        if self._ears is not None:
            self._ears.belongs_to(self.recorder.location, started)
        said: list[entries.Any] = [started]
        return [*said, *self.lookout.file(files)]


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
    """Where the metrics of runs go on: after the last step that the workspace has, or will have.

    Args:
        location: the workspace.
    """

    def __init__(self, location: str) -> None:
        self._location = location

    def __call__(self, run: str, key: str) -> int | None:
        """Return the first step of a metric of a run; None where the workspace will know when it has what waits."""
        resumed = [known for known in live.going_on() if known.id == run and known.resumed]
        if not resumed:
            return 0
        if len(waiting(self._location)) > 1:  # more than our own: what the run said before may be among it
            return None
        try:
            with Workspace.open(self._location) as workspace:
                known = workspace.track.run(run).metrics
                return workspace.track.metric(run, key).steps[-1] + 1 if key in known else 0
        except Error:
            return None


def _to_current(stream: str, text: str, at_ns: int) -> None:
    run = live.current()
    if run is not None:
        run.printed(stream, text, at_ns)


def _words(script: os.PathLike[str] | None) -> list[str]:
    """Return the words of this process's command, the script first, without what looks like a secret."""
    import sys

    return [str(script) if script else "", *without_secrets(sys.argv[1:])]
