from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from interlock.bridges.webhooks import Reach, Sender
from interlock.bridges.webhooks import sender as module
from interlock.core.clock import SystemClock
from interlock.store import create_store

SERVE = """
import sys, threading
from pathlib import Path
from interlock.bridges.webhooks import Reach, Sender
from interlock.store import create_store
Sender(create_store(Path(sys.argv[1])), Reach(private=True), 0.02).start()
print("ready", flush=True)
threading.Event().wait()
"""


@pytest.fixture
def clock() -> SystemClock:
    return SystemClock()


def wait_for(look, turns: int = 1000):
    pause = threading.Event()
    for _ in range(turns):
        if found := look():
            return found
        pause.wait(0.02)
    raise AssertionError("it did not happen")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TAKE_OVER_S", 0.05)


def test_a_thread_follows_the_ledger_and_ends_when_told(store, hook, receiver, make_model) -> None:
    sender = Sender(store, Reach(private=True), 0.02)
    sender.start()
    hook()
    for number in range(30):
        make_model(f"m{number}")
    wait_for(lambda: len(receiver.requests) == 30)
    assert [body["data"]["name"] for body in receiver.bodies] == [f"m{number}" for number in range(30)]
    sender.stop()
    make_model("after")
    assert len(receiver.requests) == 30


def test_one_sender_a_workspace_and_another_takes_over(store, hook, receiver, make_model) -> None:
    first, second = (Sender(store, Reach(private=True), 0.02) for _ in range(2))
    first.start()
    hook()
    make_model("a")
    wait_for(lambda: len(receiver.requests) == 1)
    second.start()
    make_model("b")
    wait_for(lambda: len(receiver.requests) == 2)
    first.stop()
    make_model("c")
    wait_for(lambda: len(receiver.requests) == 3)
    second.stop()
    assert [body["data"]["name"] for body in receiver.bodies] == ["a", "b", "c"]


def test_what_goes_wrong_is_logged_once_and_tried_again(store, hook, receiver, make_model, caplog) -> None:
    hook()
    make_model("a")
    sender = Sender(store, Reach(private=True), 0.01)
    real, failures = sender._outbox.follow, [RuntimeError("no disk")] * 3

    def follow() -> int:
        if failures:
            raise failures.pop()
        return real()

    sender._outbox.follow = follow
    sender.start()
    wait_for(lambda: receiver.requests)
    sender.stop()
    assert caplog.text.count("no disk") == 1


def test_a_receiver_that_does_not_answer_does_not_hold_up_the_end(
    store, hook, history, make_model, monkeypatch
) -> None:
    monkeypatch.setattr(module, "_GRACE_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hooked = hook(url=f"http://127.0.0.1:{silent.getsockname()[1]}/")
        make_model("a")
        sender = Sender(store, Reach(private=True), 0.02)
        sender.start()
        connection, _ = silent.accept()
        sender.stop()
        connection.close()
    [delivery] = history.deliveries(hooked.id)
    assert (delivery.state, delivery.attempts) == ("waiting", 0)  # it was our doing


@pytest.mark.slow
def test_a_killed_sender_loses_nothing_and_keeps_the_order(tmp_path: Path, hook, receiver, make_model, history) -> None:
    hooked = hook()
    command = [sys.executable, "-c", SERVE, str(tmp_path / ".interlock")]
    for turn in range(3):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": "src"})
        process.stdout.readline()
        had = len(receiver.requests)
        for number in range(20):
            make_model(f"m{turn}-{number}")
        wait_for(lambda had=had: len(receiver.requests) > had + 3)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    store = create_store(tmp_path / ".interlock")
    Sender(store, Reach(private=True)).look()
    store.close()
    names = list(dict.fromkeys(body["data"]["name"] for body in receiver.bodies))
    assert names == [f"m{turn}-{number}" for turn in range(3) for number in range(20)]
    assert {delivery.state for delivery in history.deliveries(hooked.id)} == {"delivered"}
    ids = {headers["x-mlflow-delivery-id"] for _, headers, _ in receiver.requests}
    assert len(ids) == 60
