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
from interlock.store.workers import born

if TYPE_CHECKING:
    from pathlib import Path

    from interlock.core.clock import Clock

_POLL_S = 0.05


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
        """Return a new replica of a deployment, which is ready.

        Raises:
            Unavailable: it did not become ready in time, or ended; the end of its log is in the message.
        """
        folder = self._root / "replicas"
        folder.mkdir(exist_ok=True)
        mark = f"{os.getpid()}-{time.time_ns()}"
        announce, log = folder / f"{mark}.json", folder / f"{mark}.log"
        command = [sys.executable, "-m", "interlock.serve", "--workspace", str(self._root)]
        command += ["--deployment", deployment, "--announce", str(announce)]
        pid = _spawn(command, log)
        deadline = self._clock.monotonic() + timeout_s
        while not announce.exists():
            if _ended(pid) or self._clock.monotonic() > deadline:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                tail = log.read_text("utf-8", "replace").strip().splitlines()[-5:]
                raise Unavailable(
                    f"The server of deployment {deployment!r} did not become ready: {' | '.join(tail) or 'no output'}",
                    about="deployment",
                    hint=f"Its log is {log.name} in the workspace's folder 'replicas'.",
                )
            time.sleep(_POLL_S)
        facts = json.loads(announce.read_bytes())
        announce.unlink()
        return Replica(facts["pid"], born(facts["pid"]) or 0, facts["url"])

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


def _ended(pid: int) -> bool:
    """Return whether a process has ended; one that we started is then laid to rest."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return born(pid) is None


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
