from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from interlock.store import Store

Command = Callable[..., Any]

UP = "import sys; from interlock.cli.main import main; main(sys.argv[1:])"


def test_it_serves_until_it_is_told_to_end(project: Path) -> None:
    command = [sys.executable, "-c", UP, "up", "--port", "0", "--no-loop"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout
        line = process.stdout.readline()
        assert str(project) in line
        connection = http.client.HTTPConnection(line.partition("http://")[2].split()[0], timeout=10)
        connection.request("GET", "/health")
        assert connection.getresponse().status == 200
        connection.close()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "")


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Store, threading.Event], None]], None]:
    """Return a function that sets what keeps the loop turning."""

    def use(run_forever: Callable[[Store, threading.Event], None]) -> None:
        module = types.ModuleType("interlock.loop.runner")
        module.run_forever = run_forever  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "interlock.loop.runner", module)

    return use


def test_the_loop_turns_beside_the_server_and_ends_with_it(command: Command, project: Path, runner: Any) -> None:
    seen: list[str] = []

    def run_forever(store: Store, stop: threading.Event) -> None:
        seen.append(str(store.project))
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(20)
        seen.append("ended")

    runner(run_forever)
    done = command("up", "--port", "0")
    assert (done.code, done.err) == (0, "")
    assert seen == [str(project), "ended"]


def test_a_loop_that_breaks_ends_the_server(command: Command, project: Path, runner: Any) -> None:
    from interlock.core.errors import Corrupt

    def run_forever(store: Store, stop: threading.Event) -> None:
        raise Corrupt("The ledger has changed.")

    runner(run_forever)
    done = command("up", "--port", "0")
    assert done.code == 9
    assert "The ledger has changed." in done.err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--host", "0.0.0.0"], 5, "--insecure-no-auth"),
        (["--port", "70000"], 2, "70000 is no port"),
        (["--workspace", "http://127.0.0.1:1"], 2, "on this machine"),
    ],
)
def test_what_is_refused(command: Command, project: Path, words: list[str], code: int, message: str) -> None:
    done = command("up", "--no-loop", *words)
    assert done.code == code
    assert message in done.err


def test_settings_say_where_it_listens(command: Command, project: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (project / "interlock.toml").open("a") as file:
            file.write(f"[settings]\nport = {port}\n")
        done = command("up", "--no-loop")
    assert done.code == 8
    assert f"Port {port} of 127.0.0.1 cannot be had" in done.err
