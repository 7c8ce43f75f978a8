"""Starts a server over nothing, on a free port of this machine: ours, or MLflow's own."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import requests

ROOT = Path(__file__).parents[2]
START_S = 60.0


class Server(NamedTuple):
    """A server that answers: its address, whose it is, and the file that it prints to."""

    address: str
    kind: str
    log: Path


@contextlib.contextmanager
def interlock(folder: Path) -> Iterator[Server]:
    """Serve a new workspace with this checkout's Interlock, started as users start it."""
    command = [str(ROOT / ".venv/bin/interlock"), "--workspace", str(folder)]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("INTERLOCK_", "PYTHON"))}
    env["XDG_CONFIG_HOME"] = str(folder / "config")
    subprocess.run([command[0], "init", *command[1:]], env=env, check=True, capture_output=True, timeout=START_S)
    serve = [command[0], "up", *command[1:], "--port", "0"]
    with _process(serve, env, folder, "interlock") as (log, wait_for):
        address = wait_for(lambda: re.search(r"at (http://\S+)", log.read_text("utf-8")))[1]
        wait_for(lambda: _answers(f"{address}/health"))
        yield Server(address, "interlock", log)


@contextlib.contextmanager
def mlflow(folder: Path) -> Iterator[Server]:
    """Serve MLflow's own server, tuned as well as it can be on one machine, and with webhooks to this machine."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        f"{folder}/artifacts",
    ]
    env = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    env |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https"}
    env |= {"MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true", "MLFLOW_WEBHOOK_CACHE_TTL": "0"}
    env["MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY"] = base64.urlsafe_b64encode(os.urandom(32)).decode()
    with _process(command, env, folder, "mlflow") as (log, wait_for):
        address = f"http://127.0.0.1:{port}"
        wait_for(lambda: _answers(f"{address}/health"))
        yield Server(address, "mlflow", log)


START: dict[str, Callable[[Path], AbstractContextManager[Server]]] = {"interlock": interlock, "mlflow": mlflow}


@contextlib.contextmanager
def _process(command: list[str], env: dict[str, str], folder: Path, kind: str) -> Iterator[tuple[Path, Callable]]:
    """Run a server's processes while the block runs; gives its log and a way to wait for what it will do."""
    log = folder / f"{kind}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=env, cwd=folder, stdout=output, stderr=output, start_new_session=True)

    def wait_for(look: Callable[[], Any]) -> Any:
        for _ in range(int(START_S / 0.05)):
            if found := look():
                return found
            if process.poll() is not None:
                break
            time.sleep(0.05)
        raise RuntimeError(f"{kind} did not start:\n{log.read_text('utf-8')[-4000:]}")

    try:
        yield log, wait_for
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            process.wait()


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).status_code < 500
    except requests.ConnectionError:
        return False
