"""A server in processes of its own: its start, its end, and what the whole tree of processes takes."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_START_S = 120
_STOP_S = 15


class ServerProcess:
    """A server that is started by a command, in a folder of its own.

    Attributes:
        name: what it is called in tables.
        folder: where it runs, and where `log.txt` has what it says.
        port: a free port that it may listen on.
        started_s: seconds from its start to its first right answer.
        started_cpu_s: CPU seconds of its processes until then.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.started_s = self.started_cpu_s = 0.0

    def launch(self, command: list[str], answers: Callable[[], bool], env: dict[str, str] | None = None) -> None:
        """Start it and wait until it answers.

        Args:
            command: what to run.
            answers: whether it does; OSError is a no.
            env: further variables of its environment.
        """
        log = self.folder / "log.txt"
        began = time.perf_counter()
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                stdout=file,
                stderr=file,
                start_new_session=True,
                env={**os.environ, **(env or {})},
            )
        while True:
            with contextlib.suppress(OSError):
                if answers():
                    break
            if self.process.poll() is not None or time.perf_counter() - began > _START_S:
                self.stop()
                raise RuntimeError(f"{self.name} does not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.01)
        self.started_s = time.perf_counter() - began
        self.started_cpu_s = self.cpu_s()

    def stop(self) -> None:
        """End all its processes."""
        if self.process is None:
            return
        tree = self.tree()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_STOP_S)
        for pid in tree:  # some are in sessions of their own
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def tree(self) -> list[int]:
        """Return the ids of its processes."""
        assert self.process is not None
        found = [self.process.pid]
        for pid in found:
            with contextlib.suppress(OSError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    found += [int(child) for child in (task / "children").read_text().split()]
        return found

    def cpu_s(self) -> float:
        """Return the processor time of all its processes so far."""
        total = 0
        for pid in self.tree():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                total += sum(map(int, fields[11:15]))
        return total / os.sysconf("SC_CLK_TCK")

    def memory_mb(self) -> float:
        """Return the proportional set size of all its processes."""
        total = 0
        for pid in self.tree():
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    total += int(line.split()[1]) if line.startswith("Pss:") else 0
        return total / 1024


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
