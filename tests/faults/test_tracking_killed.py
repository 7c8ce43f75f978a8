"""kill -9 at random moments while clients log: every acknowledged write is there, none twice, versions gapless.

Twenty kills in the ordinary run; as many as KILL_ROUNDS says otherwise, a new workspace after each twenty.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from interlock.core.ids import new_id
from interlock.store import Store, open_store
from interlock.store.segments import pack
from interlock.track.runs import run_row
from interlock.track.tracker import Tracker

KILLS = int(os.environ.get("KILL_ROUNDS", "20"))
POINTS = 20
MODEL = "killed"
MLFLOW = "/api/2.0/mlflow/"


class Client:
    """Sends numbered requests of one kind one after the other; one that got no answer is sent again, as clients do.

    `done` holds what was acknowledged, `sent` also what was not.
    """

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.done: dict[int, Any] = {}
        self.sent: dict[int, Any] = {}
        self.number = 0
        self.fault: BaseException | None = None

    def work(self, host: str) -> None:
        """Send until the server is gone."""
        connection = http.client.HTTPConnection(host, timeout=30)
        try:
            while True:
                request = self.sent.get(self.number) or self.request(self.number)
                self.sent[self.number] = request
                self.done[self.number] = self.ask(connection, *request)
                self.number += 1
        except (OSError, http.client.HTTPException):
            return
        except BaseException as error:  # noqa: BLE001 - raised by the test
            self.fault = error
        finally:
            connection.close()

    def ask(self, connection: http.client.HTTPConnection, method: str, path: str, body: Any) -> Any:
        """Return what the server answers."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, raw, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = response.read()
        assert response.status == 200, (method, path, response.status, answer)
        return json.loads(answer)

    def request(self, number: int) -> tuple[str, str, Any]:
        """Return the method, path and body of a request."""
        raise NotImplementedError

    def check(self, store: Store, tracker: Tracker) -> None:
        """Check what must hold after a kill."""
        raise NotImplementedError


class Logging(Client):
    """A client that logs into a run of its own."""

    def __init__(self, seed: int, run: str) -> None:
        super().__init__(seed)
        self.run = run


class Batches(Logging):
    """Sends batches of metrics with a param and a tag each: all of a batch is there, or nothing."""

    def request(self, number: int) -> tuple[str, str, Any]:
        steps = range(number * POINTS, (number + 1) * POINTS)
        metrics = [{"key": "m", "timestamp": step, "step": step, "value": step / 2} for step in steps]
        body = {
            "run_id": self.run,
            "metrics": metrics,
            "params": [{"key": f"p{number}", "value": "1"}],
            "tags": [{"key": f"t{number}", "value": "1"}],
        }
        return "POST", f"{MLFLOW}runs/log-batch", body

    def check(self, store: Store, tracker: Tracker) -> None:
        steps = Counter(store.series.points(self.run, "m").steps)
        assert not steps or max(steps.values()) == 1, "a point is there twice"
        counts = Counter(step // POINTS for step in steps)
        assert set(counts.values()) <= {POINTS}, "half a batch is there"
        assert set(self.done) <= set(counts) <= set(self.sent)
        (found,) = tracker.runs.load([run_row(store.database, self.run)])
        assert (
            {int(name[1:]) for name in found.params} == set(counts) == {int(n[1:]) for n in found.tags if n[0] == "t"}
        )
        if steps:
            assert found.metrics["m"].step == max(steps)


class Singles(Logging):
    """Sends one metric or param at a time; some of the runs end and go on."""

    def request(self, number: int) -> tuple[str, str, Any]:
        if number % 50 == 49:
            return "POST", f"{MLFLOW}runs/update", {"run_id": self.run, "status": "FINISHED"}
        if number % 3 == 2:
            body = {"run_id": self.run, "key": f"p{number}", "value": str(number)}
            return "POST", f"{MLFLOW}runs/log-parameter", body
        point = {"run_id": self.run, "key": f"m{number % 5}", "timestamp": number, "step": number, "value": number}
        return "POST", f"{MLFLOW}runs/log-metric", point

    def check(self, store: Store, tracker: Tracker) -> None:
        (found,) = tracker.runs.load([run_row(store.database, self.run)])
        steps: Counter[int] = Counter()
        for key in store.series.latest(self.run):
            steps.update(store.series.points(self.run, key).steps)
        assert not steps or max(steps.values()) == 1
        there = {*steps, *(int(name[1:]) for name in found.params)}
        logged = {number for number in self.done if number % 50 != 49}
        assert logged <= there <= set(self.sent)


class Deliveries(Logging):
    """Sends packed points and text through our own API, numbered."""

    writer = new_id()

    def request(self, number: int) -> tuple[str, str, Any]:
        import base64

        segment = base64.b64encode(pack([number], [number], [float(number)])).decode()
        delivery = {"writer": self.writer, "number": number, "segments": {"d": segment}, "log": f"line {number}\n"}
        return "POST", "/api/v1/track/deliver", {"run": self.run, "delivery": delivery}

    def check(self, store: Store, tracker: Tracker) -> None:
        steps = list(store.series.points(self.run, "d").steps)
        assert steps == list(range(len(steps)))
        assert len(self.done) <= len(steps) <= len(self.sent)
        assert tracker.printed(store.database, self.run) == "".join(f"line {step}\n" for step in steps)


class Files(Logging):
    """Sends files, of which every third replaces one."""

    def request(self, number: int) -> tuple[str, str, Any]:
        data = self.chance.randbytes(self.chance.choice([0, 10, 3_000, 300_000])) + str(number).encode()
        return "PUT", f"/api/2.0/mlflow-artifacts/artifacts/0/{self.run}/artifacts/f/{number - number % 3 // 2}", data

    def check(self, store: Store, tracker: Tracker) -> None:
        held = {file.name: file for file in tracker.artifacts.all(self.run)}
        for file in held.values():
            assert len(store.objects.get(file.digest)) == file.size_bytes  # which checks the digest
        for number in self.done:
            _, path, data = self.sent[number]
            later = [self.sent[n][2] for n in (number + 1,) if n in self.sent and self.sent[n][1] == path]
            wanted = {hashlib.sha256(one).hexdigest() for one in (data, *later)}
            assert held[path.partition("/artifacts/f")[0] and "f" + path.partition("/artifacts/f")[2]].digest in wanted


class Versions(Client):
    """Makes versions of one model, which several clients share."""

    def request(self, number: int) -> tuple[str, str, Any]:
        tag = {"key": "who", "value": f"{id(self)}.{number}"}
        return "POST", f"{MLFLOW}model-versions/create", {"name": MODEL, "source": "s3://b/x", "tags": [tag]}

    def check(self, store: Store, tracker: Tracker) -> None:
        rows = store.database.all(
            "SELECT version FROM model_versions WHERE model = :model ORDER BY version", {"model": MODEL}
        )
        assert [row["version"] for row in rows] == list(range(1, len(rows) + 1))
        tags = store.database.all(
            "SELECT version, value FROM model_version_tags WHERE model = :model", {"model": MODEL}
        )
        whose = {row["version"]: row["value"] for row in tags}
        for number, answer in self.done.items():
            assert whose[int(answer["model_version"]["version"])] == f"{id(self)}.{number}"


class Runs(Client):
    """Makes runs and ends them."""

    def request(self, number: int) -> tuple[str, str, Any]:
        if number % 2 and number - 1 in self.done:
            run = self.done[number - 1]["run"]["info"]["run_id"]
            return "POST", f"{MLFLOW}runs/update", {"run_id": run, "status": "FINISHED", "end_time": number}
        return "POST", f"{MLFLOW}runs/create", {"experiment_id": "0", "run_name": f"run {number}"}

    def check(self, store: Store, tracker: Tracker) -> None:
        for number, answer in self.done.items():
            if number % 2:
                assert run_row(store.database, answer["run_info"]["run_id"])["ended_at"] == number * 1000
            else:
                assert run_row(store.database, answer["run"]["info"]["run_id"])["name"] == f"run {number}"


def prepare(folder: Path) -> list[str]:
    """Return the ids of five runs of a new workspace in which the model is there too."""
    from interlock.registry.catalogue import Catalogue
    from interlock.store import create_store
    from interlock.track.records import Start

    store = create_store(folder)
    tracker = Tracker(store)
    tracker.experiments.ensure_default()
    store.database.write(lambda tx: Catalogue(store).models.create(tx, MODEL))
    runs = [store.database.write(lambda tx: tracker.runs.create(tx, Start("Default"), "0")) for _ in range(5)]
    store.close()
    return runs


@pytest.mark.slow
@pytest.mark.parametrize("kills", [min(20, KILLS - start) for start in range(0, KILLS, 20)])
def test_what_was_acknowledged_outlives_any_kill(tmp_path: Path, serve: Callable[[Path], Any], kills: int) -> None:
    folder, seed = tmp_path / ".interlock", random.SystemRandom().randrange(1 << 32)
    runs = prepare(folder)
    clients: list[Client] = [Batches(1, runs[0]), Batches(2, runs[1]), Singles(3, runs[2]), Deliveries(4, runs[3])]
    clients += [Files(5, runs[4]), Versions(6), Versions(7), Runs(8)]
    chance = random.Random(seed)
    print(f"seed {seed}")
    before = (0, b"")
    for number in range(kills):
        server = serve(folder)
        threads = [threading.Thread(target=client.work, args=(server.host,)) for client in clients]
        for thread in threads:
            thread.start()
        time.sleep(chance.uniform(0.02, 0.8))
        server.end()
        for thread in threads:
            thread.join(30)
        assert [client.fault for client in clients if client.fault] == []
        before = check(folder, clients, before, whole=number % 10 == 9 or number == kills - 1)
    acknowledged = {type(client).__name__: len(client.done) for client in clients}
    print(f"acknowledged: {acknowledged}")
    assert min(acknowledged.values()) > kills / 4, acknowledged


def check(folder: Path, clients: list[Client], before: tuple[int, bytes], *, whole: bool) -> tuple[int, bytes]:
    """Check what must hold after any kill; return the ledger's size and root."""
    from interlock.store.merkle import verify_consistency

    store = open_store(folder)
    try:
        size, root = store.ledger.size(), store.ledger.root()
        if before[0]:
            proof = store.ledger.consistency_proof(before[0], size)
            assert verify_consistency(before[0], size, before[1], root, proof), "what was recorded has changed"
        for client in clients:
            client.check(store, Tracker(store))
        if whole:
            verified = store.ledger.verify()
            assert verified.ok, verified
        return size, root
    finally:
        store.close()
