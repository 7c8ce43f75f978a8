"""Real server processes, to be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, NamedTuple

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the parts of the fuzzing


class Serving(NamedTuple):
    """A server process and where it answers."""

    pid: int
    host: str

    def end(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal and return when it is gone."""
        handle = os.pidfd_open(self.pid)
        try:
            signal.pidfd_send_signal(handle, number)
            import select

            select.select([handle], [], [], 30)
        finally:
            os.close(handle)


@pytest.fixture(scope="session")
def serve() -> Iterator[Callable[[Path], Serving]]:
    """Start a server process on a workspace's folder; those that still run at the end are killed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(Path(__file__).parent / "nursery.py")]
    started: list[Serving] = []
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as nursery:
        assert nursery.stdin
        assert nursery.stdout

        def start(folder: Path) -> Serving:
            nursery.stdin.write(f"{folder}\n")
            nursery.stdin.flush()
            told = nursery.stdout.readline().strip()
            pid, _, address = told.partition(" ")
            assert pid.isdigit(), told
            started.append(Serving(int(pid), address.removeprefix("http://")))
            return started[-1]

        yield start
        for server in started:
            try:
                server.end()
            except ProcessLookupError:
                continue
        nursery.stdin.close()


def _serving() -> Any:
    """Return what tests/serve makes servers of predictions with: bundles, workspaces, processes."""
    place = Path(__file__).parents[1] / "serve" / "conftest.py"
    described = spec_from_file_location("serving_world", place)
    module = module_from_spec(described)
    sys.modules["serving_world"] = module
    described.loader.exec_module(module)
    return module


_world = _serving()
kinds, shop, predicting = _world.kinds, _world.shop, _world.serve
