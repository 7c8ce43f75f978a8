"""Real workspaces, servers that can be stopped and started again on their port, scripts in processes of their own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from interlock.sdk.workspace import Workspace
from interlock.store import create_store


@pytest.fixture(autouse=True)
def _state_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with a workspace, which is the nearest one."""
    folder = tmp_path / "project"
    create_store(folder / ".interlock").close()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def workspace(project: Path) -> Iterator[Workspace]:
    with Workspace.open(project) as opened:
        yield opened


class Script:
    """A script that runs in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def says(self, word: str) -> str:
        """Wait for a line that begins with a word; return the rest of it."""
        assert self.process.stdout
        seen = []
        for line in self.process.stdout:
            seen.append(line)
            if line.startswith(word):
                return line.removeprefix(word).strip()
        raise AssertionError(f"{word!r} was never said: {''.join(seen)}{self.ends()[1]}")

    def kill(self, number: int = signal.SIGKILL) -> int:
        self.process.send_signal(number)
        return self.ends()[0]

    def ends(self) -> tuple[int, str]:
        """Return its exit code and what it said on stderr."""
        _, err = self.process.communicate(timeout=60)
        return self.process.returncode, err


Start = Callable[..., Script]


@pytest.fixture
def start(project: Path, tmp_path: Path) -> Iterator[Start]:
    """Start a script in the project's folder: `start("print(1)")`, or `start("...", "interlock", "run")` before it."""
    started: list[Script] = []

    def begin(text: str, *before: str, args: tuple[str, ...] = (), **environ: str) -> Script:
        path = tmp_path / f"script{len(started)}.py"
        path.write_text(textwrap.dedent(text), "utf-8")
        command = [sys.executable, *(["-m", *before] if before else []), str(path), *args]
        process = subprocess.Popen(
            command,
            cwd=project,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(Script(process))
        return started[-1]

    yield begin
    for script in started:
        if script.process.poll() is None:
            script.kill()
        for stream in (script.process.stdin, script.process.stdout, script.process.stderr):
            if stream is not None:
                stream.close()


class Server:
    """A server over the project, on one port that it gets again."""

    def __init__(self, project: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self._project = project
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "interlock", "up", "--no-loop", "--port", str(self.port)]
        self._process = subprocess.Popen(
            command, cwd=self._project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self._process.stdout
        assert self.address in self._process.stdout.readline()
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
        raise AssertionError("the server does not answer")

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.communicate(timeout=30)
            self._process = None


@pytest.fixture
def server(project: Path) -> Iterator[Server]:
    made = Server(project)
    yield made
    made.stop()
