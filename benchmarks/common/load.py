"""Load by wrk: one thread of it that keeps so many connections busy with the same request."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.processes import ServerProcess
    from common.servers import PredictionServer

_SCRIPT = Path(__file__).with_name("load.lua")


class Load(msgspec.Struct):
    """What wrk saw, and what it cost the server's processes.

    Attributes:
        requests: answers that came, of any status.
        wall_s: for how long it asked.
        p50_ms: the median latency.
        p99_ms: latency of the slowest hundredth.
        max_ms: the largest latency.
        refused: answers whose status is no 2xx or 3xx.
        lost: connections and requests that failed or timed out.
        strange: answers with status 200 that hold none of the expected texts.
        first: answers with the first of them.
        second: answers with the second.
        cpu_s: CPU seconds of the whole process tree of the server meanwhile.
    """

    requests: int
    wall_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    refused: int
    lost: int
    strange: int
    first: int
    second: int
    cpu_s: float = 0.0

    @property
    def good(self) -> int:
        """Answers that count."""
        return self.requests - self.refused

    @property
    def bad(self) -> int:
        """Answers and requests that do not."""
        return self.refused + self.lost + self.strange


class Window(NamedTuple):
    """How long is looked: seconds of a warm-up and of a timed turn, and how many turns."""

    warm_s: int
    timed_s: int
    turns: int


class Running:
    """A wrk that asks now; `result` waits for its end."""

    def __init__(self, server: ServerProcess, request: tuple[str, bytes], callers: int, seconds: float) -> None:
        path, body = request
        self.server = server
        self.body = tempfile.NamedTemporaryFile(suffix=".json")  # noqa: SIM115 - it lives as long as wrk does
        self.body.write(body)
        self.body.flush()
        self.command = [
            *("wrk", "-t1", f"-c{callers}", f"-d{seconds:g}s", "--timeout", "30s", "-s", str(_SCRIPT)),
            f"http://127.0.0.1:{server.port}{path}",
        ]
        self.process: subprocess.Popen[bytes] | None = None
        self.cpu_s = 0.0

    def start(self, expect: tuple[str, ...] = ()) -> Running:
        """Begin, looking at each answer for texts if there are any.

        Args:
            expect: at most two texts, one of which each answer shall hold.
        """
        environment = {**os.environ, "BENCH_BODY": self.body.name}
        if expect:
            environment["BENCH_EXPECT"] = "|".join(expect)
        self.cpu_s = self.server.cpu_s()
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, env=environment)
        return self

    def result(self) -> Load:
        """Return what came of it, at its end."""
        assert self.process is not None
        said, _ = self.process.communicate()
        cpu_s = self.server.cpu_s() - self.cpu_s
        self.body.close()
        lines = [line for line in said.splitlines() if line.startswith(b"{")]
        if self.process.returncode or not lines:
            raise RuntimeError(f"wrk failed: {said.decode()[-500:]}")
        found = msgspec.json.decode(lines[-1], type=Load)
        found.cpu_s = cpu_s
        return found


def drive(server: ServerProcess, request: tuple[str, bytes], callers: int, seconds: float) -> Load:
    """Return what came of so many connections asking the same again and again.

    Args:
        server: whom to ask.
        request: path and body.
        callers: connections.
        seconds: for how long; whole seconds.
    """
    return Running(server, request, callers, seconds).start().result()


def take_turns(
    servers: Sequence[PredictionServer], form: str, rows: int, callers: int, window: Window
) -> dict[str, Load]:
    """Return by server what came of asking them in turns, so that a busy machine is the same for all of them.

    Counts and CPU are sums over the turns, latencies medians of the turns.

    Args:
        servers: those that run now.
        form: the protocol; who does not speak it is left out.
        rows: rows a request.
        callers: connections.
        window: seconds of warming up and of each turn, and turns.
    """
    asked = [server for server in servers if form in server.forms]
    found: dict[str, list[Load]] = {}
    for server in asked:
        drive(server, server.request(form, rows), callers, window.warm_s)
    for _ in range(window.turns):
        for server in asked:
            found.setdefault(server.name, []).append(drive(server, server.request(form, rows), callers, window.timed_s))
    return {name: pooled(loads) for name, loads in found.items()}


def pooled(loads: list[Load]) -> Load:
    """Return several windows as one."""
    latencies = ("p50_ms", "p99_ms", "max_ms")
    values = {
        name: (statistics.median if name in latencies else sum)([getattr(load, name) for load in loads])
        for name in Load.__struct_fields__
    }
    return Load(**values)


def need_wrk() -> str:
    """Return wrk's version.

    Raises:
        SystemExit: it is not installed.
    """
    if shutil.which("wrk") is None:
        raise SystemExit("wrk makes the load, and is not on PATH. Install it: apt-get install wrk")
    said = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False).stdout  # it ends with status 1
    return " ".join(said.split()[:2])
