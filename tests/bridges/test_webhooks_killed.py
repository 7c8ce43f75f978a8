"""A server is killed between the commit of events and their delivery: a listener still gets each, in order, signed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from interlock.core.clock import SystemClock
from interlock.sdk.workspace import Workspace

SERVE = """
import sys
from pathlib import Path
from interlock.sdk.workspace import Workspace
from interlock.server.run import serve
from interlock.store import create_store
with Workspace.over(create_store(Path(sys.argv[1]))) as workspace:
    serve(workspace, port=0, announce=lambda address: print(address, flush=True))
"""
ROUNDS, EACH = 3, 4


@pytest.fixture
def clock() -> SystemClock:
    return SystemClock()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], tuple[subprocess.Popen[str], Workspace]]]:
    """Starts a server process over the workspace, and returns it with a client."""
    running = []

    def begin() -> tuple[subprocess.Popen[str], Workspace]:
        command = [sys.executable, "-c", SERVE, str(tmp_path / ".interlock")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        running.append(process)
        return process, Workspace.open(process.stdout.readline().strip())

    yield begin
    for process in running:
        process.kill()
        process.wait()
        process.stdout.close()


def alarm(store: Any, number: int) -> None:
    data = {"window": f"{number}", "signal": "drift", "verdict": "retrain", "report": "", "reason": "moved"}
    store.database.write(lambda tx: store.ledger.append(tx, "alarm.raised", "monitor:shop", data))


@pytest.mark.slow
def test_what_was_committed_before_a_kill_is_told_after_it(start, store, receiver) -> None:
    secret, alarms = "correct horse", []
    for turn in range(ROUNDS):
        process, workspace = start()
        with workspace:
            if turn == 0:
                workspace.webhooks.create("ops", receiver.url, ["alarm.*", "experiment.created"], secret=secret)
            for number in range(EACH):
                alarm(store, turn * EACH + number)
                alarms.append(f"{turn * EACH + number}")
            workspace.track.start({"experiment": f"e{turn}"})  # answered: so it is on disk, and nobody was told of it
            process.send_signal(signal.SIGKILL)
            process.wait()
    told_before_the_end = len(receiver.requests)
    process, workspace = start()
    with workspace:
        pause = threading.Event()
        for _ in range(1000):
            shown = workspace.webhooks.show("ops")
            if (
                shown.waiting == 0
                and len({headers["webhook-id"] for _, headers, _ in receiver.requests}) == len(alarms) + ROUNDS
            ):
                break
            pause.wait(0.02)
    assert told_before_the_end < len(alarms) + ROUNDS, "the kills came too late to show anything"
    bodies = {body["id"]: body for body in receiver.bodies}
    assert [body["data"]["window"] for body in bodies.values() if body["type"] == "alarm.raised"] == alarms
    assert [body["data"]["name"] for body in bodies.values() if body["type"] == "experiment.created"] == [
        f"e{turn}" for turn in range(ROUNDS)
    ]
    assert [int(ident) for ident in bodies] == sorted(int(ident) for ident in bodies)
    for _, headers, body in receiver.requests:
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        expected = base64.b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{expected}"
    assert store.ledger.verify().ok
