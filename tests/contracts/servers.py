"""Starts a server over nothing, on a free port of this machine: ours, or MLflow's own."""

from __future__ import annotations

import base64
import contextlib
import json
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

ROOT = Path(__file__).resolve().parents[2]
START_S = 60.0


class Server(NamedTuple):
    """A server that answers: its address, whose it is, and the file that it prints to."""

    address: str
    kind: str
    log: Path


@contextlib.contextmanager
def interlock(folder: Path) -> Iterator[Server]:
    """Serve a new workspace with this checkout's Interlock, started as users start it."""
    command, env = [str(ROOT / ".venv/bin/interlock"), "--workspace", str(folder)], _init(folder)
    serve = [command[0], "up", *command[1:], "--port", "0"]
    with _process(serve, env, folder, "interlock") as (log, wait_for):
        address = wait_for(lambda: re.search(r"at (http://\S+)", log.read_text("utf-8")))[1]
        wait_for(lambda: _answers(f"{address}/health"))
        yield Server(address, "interlock", log)


def register(folder: Path) -> dict[str, Any]:
    """Return what `models.py` says about the models that it registered in a new workspace."""
    env = _init(folder)
    command = [str(ROOT / ".venv/bin/python"), str(ROOT / "tests/contracts_serving/models.py"), str(folder)]
    done = subprocess.run(command, env=env, check=False, capture_output=True, timeout=START_S, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


@contextlib.contextmanager
def endpoint(folder: Path, model: str, *options: str) -> Iterator[Server]:
    """Serve a registered model of a workspace, started as users start it."""
    command = [str(ROOT / ".venv/bin/interlock"), "serve", model, "--workspace", str(folder), "--port", "0", *options]
    with _process(command, _clean(folder), folder, f"serve-{model}") as (log, wait_for):
        yield Server(wait_for(lambda: re.search(r"at (http://[^\s,]+)", log.read_text("utf-8")))[1], "serve", log)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def _init(folder: Path) -> dict[str, str]:
    """Make a workspace, and return the environment in which its commands run."""
    command, env = [str(ROOT / ".venv/bin/interlock"), "init", "--workspace", str(folder)], _clean(folder)
    subprocess.run(command, env=env, check=True, capture_output=True, timeout=START_S)
    return env


def _clean(folder: Path) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("INTERLOCK_", "PYTHON"))}
    return {**env, "XDG_CONFIG_HOME": str(folder / "config")}


@contextlib.contextmanager
def mlflow(folder: Path) -> Iterator[Server]:
    """Serve MLflow's own server, tuned as well as it can be on one machine, and with webhooks to this machine."""
    port = free_port()
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
