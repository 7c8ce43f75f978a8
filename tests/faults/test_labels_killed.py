"""kill -9 at random moments while labels come: every acknowledged one is there, none twice, a body whole or not at all.

Eight kills in the ordinary run; as many as KILL_ROUNDS says otherwise.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from interlock.core.ids import new_id
from interlock.store import create_store, open_store
from interlock.store.labels import Labels

KILLS = int(os.environ.get("KILL_ROUNDS", "8"))
DEADLINE_S = 30
BATCH = 40
SERVER = """
import asyncio, sys, uvicorn
from pathlib import Path
from interlock.core.clock import SystemClock
from interlock.serve.app import Application, Limits
from interlock.serve.engine import Engine
from interlock.serve.hands import Hands
from interlock.serve.labels import Labels
from interlock.store import open_store
store = open_store(Path(sys.argv[1]))
engine = Engine("shop", None, SystemClock(), Hands(None))
app = Application(engine, [], Labels(engine, store).routes(), Limits())
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", lifespan="off")
"""


class Client(threading.Thread):
    """Sends bodies one after the other, each until it is answered; then a late retry of an old one, now and then."""

    def __init__(self, seed: int, port: int) -> None:
        super().__init__(daemon=True)
        self.chance, self.port, self.over = random.Random(seed), port, threading.Event()
        self.done: list[tuple[str, list[dict[str, Any]]]] = []
        self.waiting: tuple[str, list[dict[str, Any]]] | None = None
        self.fault: BaseException | None = None

    def run(self) -> None:
        try:
            while not self.over.is_set():
                self.waiting = self.waiting or self._body()
                try:
                    answer = self._ask(*self.waiting)
                except (OSError, http.client.HTTPException):
                    time.sleep(0.02)  # the server is gone; the next one gets the same
                    continue
                assert len(answer["statuses"]) == len(self.waiting[1])
                if self.waiting not in self.done[-8:]:
                    self.done.append(self.waiting)
                self.waiting = None
        except BaseException as error:  # noqa: BLE001 - raised by the test
            self.fault = error

    def _body(self) -> tuple[str, list[dict[str, Any]]]:
        if self.done and self.chance.random() < 0.2:
            return self.chance.choice(self.done[-8:])
        size = self.chance.choice([1, BATCH])
        key = self.chance.choice(["", f"key-{new_id()}"])
        labels: list[dict[str, Any]] = []
        for _ in range(size):
            labels.append({"prediction_id": new_id(), "label": 1})
            if self.chance.random() < 0.3:  # corrected in the same body
                labels.append({**labels[-1], "label": 0})
        return key, labels

    def _ask(self, key: str, labels: list[dict[str, Any]]) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        try:
            headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key else {})
            connection.request("POST", "/labels", json.dumps({"labels": labels}), headers)
            response = connection.getresponse()
            answer = response.read()
            assert response.status == 200, (response.status, answer)
            return json.loads(answer)
        finally:
            connection.close()


def start(root: Path, port: int) -> subprocess.Popen[bytes]:
    """Return a server that answers."""
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(root), str(port)])
    end = time.monotonic() + DEADLINE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)
        else:
            return process


def test_killed_while_labels_come_no_acknowledged_one_is_lost_and_none_is_there_twice(tmp_path: Path) -> None:
    root = tmp_path / ".interlock"
    create_store(root).close()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    chance = random.Random(4)
    clients = [Client(seed, port) for seed in range(4)]
    process = start(root, port)
    try:
        for client in clients:
            client.start()
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.05, 0.4))
            process.kill()
            process.wait()
            process = start(root, port)
        for client in clients:
            client.over.set()
        for client in clients:
            client.join(DEADLINE_S)
            assert client.fault is None, client.fault
            assert not client.is_alive()
    finally:
        process.kill()
        process.wait()
    check(root, clients)


def check(root: Path, clients: list[Client]) -> None:
    """Compare what is on record with what was answered, and with what was sent and got no answer."""
    store = open_store(root)
    rows = store.database.all("SELECT about, label, counts FROM labels")
    said = Counter((row["about"], row["label"]) for row in rows)
    acknowledged = [label for client in clients for _, labels in client.done for label in labels]
    sent = {(f"prediction:{x['prediction_id']}", x["label"]) for x in acknowledged}
    pending = [{(f"prediction:{x['prediction_id']}", x["label"]) for x in c.waiting[1]} for c in clients if c.waiting]
    assert acknowledged, "nothing was acknowledged; the test shows nothing"
    assert max(said.values()) == 1, "a label is there twice"
    assert sent <= said.keys(), "an acknowledged label is lost"
    for body in pending:
        assert not body & said.keys() or body <= said.keys(), "half a body is there"
    assert said.keys() <= sent.union(*pending)
    corrected = {about for about, label in said if label == 0}
    for row in rows:
        assert row["counts"] == int(row["label"] == 0 or row["about"] not in corrected)
    bodies = store.database.all("SELECT kept FROM label_bodies")
    events = store.ledger.events(kinds=("labels.received",), limit=100_000)
    assert sum(body["kept"] for body in bodies) == sum(e.data["kept"] for e in events if e.data) == len(rows)
    assert len(events) == sum(body["kept"] > 0 for body in bodies)
    about = next(iter(corrected))
    assert [(x.label, x.counts) for x in Labels(store).said(about)] == [(1, False), (0, True)]
    assert store.ledger.verify().ok
    store.close()
