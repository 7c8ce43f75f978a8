"""The target `process`: a deployment is one server process on this machine."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from interlock.core.errors import Unavailable
from interlock.deploy.claim import TAKEN, Announcement, place
from interlock.store.workers import born

if TYPE_CHECKING:
    from pathlib import Path

    from interlock.core.clock import Clock

_POLL_S = 0.05
_AGAIN_S = 0.5


class Replica(msgspec.Struct, frozen=True):
    """A server process: `born` is its start time as the kernel counts it, so that a reused pid is not taken for it."""

    pid: int
    born: int
    url: str


class ProcessTarget:
    """Starts, asks and stops server processes.

    Args:
        root: the workspace's folder.
        clock: where the time comes from.
    """

    name = "process"

    def __init__(self, root: Path, clock: Clock) -> None:
        self._root = root
        self._clock = clock

    def start(self, deployment: str, timeout_s: float) -> Replica:
        """Return the replica of a deployment, which is ready: the one that lives, or else a new one.

        Raises:
            Unavailable: it did not become ready in time, or ended; the end of its log is in the message.
        """
        deadline = self._clock.monotonic() + timeout_s
        while (found := self.find(deployment) or self._attempt(deployment, deadline)) is None:
            time.sleep(_AGAIN_S)  # another server is still loading, or about to end
        return found

    def find(self, deployment: str) -> Replica | None:
        """Return the replica that has announced itself for a deployment, if it lives and says so itself."""
        try:
            said = msgspec.json.decode(place(self._root, deployment, ".json").read_bytes(), type=Announcement)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None
        replica = Replica(said.pid, born(said.pid) or 0, said.url)
        if not self.alive(replica):
            return None
        try:
            status = self.status(replica)
        except Unavailable:
            return None
        return replica if (status.get("deployment"), status.get("pid")) == (deployment, said.pid) else None

    def _attempt(self, deployment: str, deadline: float) -> Replica | None:
        """Return the replica that a new process became, or another one that came first; None: try again."""
        announce = place(self._root, deployment, ".json")
        log = announce.with_name(f"{os.getpid()}-{time.time_ns()}.log")
        command = [sys.executable, "-m", "interlock.serve", "--workspace", str(self._root)]
        command += ["--deployment", deployment, "--announce", str(announce)]
        pid = _spawn(command, log)
        while (found := self.find(deployment)) is None:
            status, late = _ended(pid), self._clock.monotonic() > deadline
            if status == TAKEN and not late:
                log.unlink(missing_ok=True)
                return None
            if status is not None or late:
                _kill(pid)
                tail = log.read_text("utf-8", "replace").strip().splitlines()[-5:]
                raise Unavailable(
                    f"The server of deployment {deployment!r} did not become ready: {' | '.join(tail) or 'no output'}",
                    about="deployment",
                    hint=f"Its log is {log.name} in the workspace's folder 'replicas'.",
                )
            time.sleep(_POLL_S)
        if found.pid != pid:
            _kill(pid)
        return found

    def alive(self, replica: Replica) -> bool:
        """Return whether this very process runs."""
        return replica.pid > 0 and born(replica.pid) == replica.born

    def status(self, replica: Replica) -> dict[str, Any]:
        """Return what the replica says of itself.

        Raises:
            Unavailable: it does not answer.
        """
        return ask(replica.url, "GET", "/-/status")

    def nudge(self, replica: Replica) -> None:
        """Let the replica look at once whether its deployment has changed."""
        with contextlib.suppress(Unavailable):
            ask(replica.url, "POST", "/-/reload")

    def stop(self, replica: Replica, timeout_s: float = 15.0) -> None:
        """End the replica: it finishes what it began; a deaf one is killed."""
        if not self.alive(replica):
            return
        os.kill(replica.pid, signal.SIGTERM)
        deadline = self._clock.monotonic() + timeout_s
        while self.alive(replica):
            _ended(replica.pid)
            if self._clock.monotonic() > deadline:
                os.kill(replica.pid, signal.SIGKILL)
            time.sleep(_POLL_S)


def _spawn(command: list[str], log: Path) -> int:
    """Return the pid of a process in a session of its own, which outlives this one; it writes to `log`."""
    quiet = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
    said = (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    actions = [quiet, said, (os.POSIX_SPAWN_DUP2, 1, 2)]
    return os.posix_spawn(command[0], command, os.environ, file_actions=actions, setsid=True)


def _ended(pid: int) -> int | None:
    """Return the exit status of a process, or None while it runs; one that we started is then laid to rest."""
    try:
        ended, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None if born(pid) is not None else -1  # not ours, or laid to rest already: nobody knows
    return os.waitstatus_to_exitcode(status) if ended == pid else None


def _kill(pid: int) -> None:
    """End a child at once, if it still runs, and lay it to rest."""
    if _ended(pid) is None:
        os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def ask(url: str, verb: str, path: str, timeout_s: float = 10.0) -> dict[str, Any]:
    """Return the JSON answer of a server of ours.

    Raises:
        Unavailable: it does not answer, or answers something else.
    """
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=timeout_s)
    try:
        connection.request(verb, path, headers={"Content-Length": "0"} if verb == "POST" else {})
        answer = json.loads(connection.getresponse().read() or b"{}")
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unavailable(f"{url} does not answer: {error}.", about="deployment") from None
    finally:
        connection.close()
    return answer if isinstance(answer, dict) else {}
