"""Tracking: our server beside MLflow's and FastTrackML's, the same requests over HTTP, one after the other in one run.

Peers are installed from the registry into environments of their own (.venv-peers) the first time. Each server has a
fresh SQLite store on disk; requests are made ahead and sent over keep-alive sockets; CPU seconds are those of the
server's whole process tree.
    python benchmarks/tracking.py [--only ours,mlflow,fasttrackml] [--quick] [--large] [--work a,b]
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import platform
import shutil
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from common.peers import REQUIREMENTS, peer
from common.processes import ServerProcess
from common.tables import Table

API = "/api/2.0/mlflow/"
LARGE = "--large" in sys.argv  # search among 100,000 runs too; filling takes minutes


class Point(msgspec.Struct):
    """A point as the protocol has it."""

    key: str
    value: float
    timestamp: int
    step: int


class Batch(msgspec.Struct):
    """A body of log-batch."""

    run_id: str
    metrics: list[Point]


class Server(ServerProcess):
    """A tracking server in a process of its own, over a fresh store."""

    def start(self) -> None:
        """Start it and wait for its first answer."""
        self.folder.mkdir(parents=True, exist_ok=True)
        health = f"http://127.0.0.1:{self.port}/health"
        self.launch(self._command(), lambda: urllib.request.urlopen(health, timeout=5).status == 200)

    def _command(self) -> list[str]:
        port = str(self.port)
        if self.name == "ours":
            project = self.folder / "project"
            project.mkdir()
            subprocess.run([sys.executable, "-m", "interlock", "init"], check=True, capture_output=True, cwd=project)
            return [sys.executable, "-m", "interlock", "--workspace", str(project), "up", "--port", port]
        if self.name == "mlflow":
            store = ["--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db"]
            artifacts = ["--artifacts-destination", f"{self.folder}/artifacts", "--workers", "1"]
            return [str(peer("mlflow") / "bin/mlflow"), "server", *store, *artifacts, "--port", port]
        database = ["-d", f"sqlite://{self.folder}/fml.db", "--default-artifact-root", f"{self.folder}/artifacts"]
        return [str(peer("fasttrackml") / "bin/fml"), "server", *database, "-a", f"127.0.0.1:{port}"]


class Client:
    """A keep-alive connection that sends requests made ahead."""

    def __init__(self, port: int) -> None:
        self.host = f"127.0.0.1:{port}"
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.sock.makefile("rb")

    def request(self, method: str, path: str, body: bytes = b"") -> bytes:
        """Return the bytes of a request."""
        head = f"{method} {path} HTTP/1.1\r\nHost: {self.host}\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    def send(self, raw: bytes) -> bytes:
        """Return the body of the answer to a request."""
        self.sock.sendall(raw)
        status = self.file.readline()
        length, chunked = 0, False
        while (line := self.file.readline()) not in {b"\r\n", b""}:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
            chunked = chunked or (name.lower() == b"transfer-encoding" and b"chunked" in value.lower())
        body = self._chunks() if chunked else self.file.read(length)
        if b" 200 " not in status:
            raise SystemExit(f"{status!r} {body[:300]!r}")
        return body

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self.file.readline().split(b";")[0], 16):
            parts.append(self.file.read(size))
            self.file.readline()
        self.file.readline()
        return b"".join(parts)

    def post(self, route: str, **values: Any) -> dict[str, Any]:
        """Return the answer to a call."""
        found: dict[str, Any] = json.loads(self.send(self.request("POST", API + route, json.dumps(values).encode())))
        return found

    def experiment(self) -> str:
        """Return the id of a new experiment."""
        return str(self.post("experiments/create", name=f"e{time.time_ns()}")["experiment_id"])

    def run(self, experiment: str) -> str:
        """Return the id of a new run."""
        made = self.post("runs/create", experiment_id=experiment, start_time=int(time.time() * 1000))
        return str(made["run"]["info"]["run_id"])


class Figures(dict[str, float]):
    """What one server showed of one work: rates and times by name."""


def drive(server: Server, clients: int, make: Callable[[Client], list[bytes]]) -> tuple[float, float, int]:
    """Return wall seconds, CPU seconds of the server and the count of requests that several clients sent at once."""
    connections = [Client(server.port) for _ in range(clients)]
    work = [make(connection) for connection in connections]
    barrier = threading.Barrier(clients + 1)

    def send(connection: Client, raws: list[bytes]) -> None:
        barrier.wait()
        for raw in raws:
            connection.send(raw)

    threads = [threading.Thread(target=send, args=pair) for pair in zip(connections, work, strict=True)]
    for thread in threads:
        thread.start()
    barrier.wait()
    cpu, began = server.cpu_s(), time.perf_counter()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began, server.cpu_s() - cpu, sum(map(len, work))


def batches(keys: int, count: int) -> Callable[[Client], list[bytes]]:
    def make(client: Client) -> list[bytes]:
        run = client.run(client.experiment())
        raws = []
        for batch in range(count):
            metrics = [
                {
                    "key": f"m{i % keys}",
                    "value": i * 0.37 + batch,
                    "timestamp": 1_700_000_000_000 + i,
                    "step": batch * 1000 + i // keys,
                }
                for i in range(1000)
            ]
            body = json.dumps({"run_id": run, "metrics": metrics}).encode()
            raws.append(client.request("POST", API + "runs/log-batch", body))
        return raws

    return make


def singles(count: int) -> Callable[[Client], list[bytes]]:
    def make(client: Client) -> list[bytes]:
        run = client.run(client.experiment())
        bodies = (
            {"run_id": run, "key": "loss", "value": 1 / (i + 1), "timestamp": 1_700_000_000_000 + i, "step": i}
            for i in range(count)
        )
        return [client.request("POST", API + "runs/log-metric", json.dumps(body).encode()) for body in bodies]

    return make


def work_batches(server: Server, quick: bool) -> Iterator[tuple[str, float, str]]:
    for keys in (10, 1000):
        for clients in (1, 4):
            count = (4 if quick else 20) if server.name != "ours" else (40 if quick else 200)
            wall, cpu, requests = drive(server, clients, batches(keys, count // (4 if keys == 1000 else 1) or 1))
            points = requests * 1000
            yield f"log-batch, 1000 points of {keys} metrics, {clients} clients", points / wall, "points/s"
            yield f"  of {keys} metrics, {clients} clients, by CPU", points / max(cpu, 0.01), "points/CPU-s"


def work_singles(server: Server, quick: bool) -> Iterator[tuple[str, float, str]]:
    for clients in (1, 4, 16):
        count = {"ours": 400, "fasttrackml": 200, "mlflow": 40}[server.name] // (4 if quick else 1)
        wall, cpu, requests = drive(server, clients, singles(count))
        yield f"log-metric, {clients} clients", requests / wall, "requests/s"
        yield f"  log-metric, {clients} clients, CPU", cpu / requests * 1e6, "us/request"


def work_cycle(server: Server, _: bool) -> Iterator[tuple[str, float, str]]:
    """Create a run, 5 params and 5 metrics one by one, finish: 12 requests."""
    for clients in (1, 4):
        count = {"ours": 40, "fasttrackml": 20, "mlflow": 4}[server.name]
        experiment = Client(server.port).experiment()
        done: list[str] = []

        def cycle(count: int = count, experiment: str = experiment, done: list[str] = done) -> None:
            client = Client(server.port)
            for _ in range(count):
                run = client.run(experiment)
                for i in range(5):
                    client.post("runs/log-parameter", run_id=run, key=f"p{i}", value=str(i))
                for i in range(5):
                    client.post(
                        "runs/log-metric", run_id=run, key=f"m{i}", value=i / 3, timestamp=1_700_000_000_000, step=0
                    )
                client.post("runs/update", run_id=run, status="FINISHED", end_time=1_700_000_001_000)
                done.append(run)

        threads = [threading.Thread(target=cycle) for _ in range(clients)]
        cpu, began = server.cpu_s(), time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wall = time.perf_counter() - began
        yield f"run with 5 params and 5 metrics, {clients} clients", len(done) / wall, "runs/s"
        yield f"  run, {clients} clients, CPU", (server.cpu_s() - cpu) / len(done) * 1e3, "ms/run"
        done.clear()


def fill(client: Client, experiment: str, runs: int) -> None:
    for number in range(runs):
        run = client.run(experiment)
        metrics = [
            {
                "key": f"m{i}",
                "value": (number * 7919 * (i + 1) % 10_007) / 10_007,
                "timestamp": 1_700_000_000_000,
                "step": 0,
            }
            for i in range(10)
        ]
        params = [{"key": f"p{i}", "value": str(number % (10 + i))} for i in range(10)]
        client.post("runs/log-batch", run_id=run, metrics=metrics, params=params)
        client.post("runs/update", run_id=run, status="FINISHED", end_time=1_700_000_001_000)


def copy_runs(server: Server, experiment: str, runs: int) -> None:
    """Fill MLflow's database with copies of a run that came over HTTP, which would take it an hour otherwise."""
    fill(Client(server.port), experiment, 1)
    with contextlib.closing(sqlite3.connect(server.folder / "mlflow.db", timeout=60)) as database, database:
        database.row_factory = sqlite3.Row
        (run,) = database.execute("SELECT run_uuid FROM runs WHERE experiment_id = ?", (experiment,)).fetchone()
        for table in ("runs", "metrics", "latest_metrics", "params", "tags"):
            rows = database.execute(f"SELECT * FROM {table} WHERE run_uuid = ?", (run,)).fetchall()
            names = rows[0].keys()
            into = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
            for number in range(1, runs):
                copies = [dict(row) | {"run_uuid": f"{number:032x}"} for row in rows]
                for copy in copies if "metrics" in table else []:
                    copy["value"] = (number * 7919 * (int(copy["key"][1:]) + 1) % 10_007) / 10_007
                for copy in copies if table == "params" else []:
                    copy["value"] = str(number % (10 + int(copy["key"][1:])))
                database.executemany(into, [tuple(copy.values()) for copy in copies])


def work_search(server: Server, quick: bool) -> Iterator[tuple[str, float, str]]:
    sizes = [300 if quick else 10_000]
    if LARGE and server.name == "ours":
        sizes.append(100_000)
    client = Client(server.port)
    experiment, held = client.experiment(), 0
    for size in sizes:
        if server.name == "mlflow":
            copy_runs(server, experiment, size)
        else:
            step = -(-(size - held) // 4)
            threads = [threading.Thread(target=fill, args=(Client(server.port), experiment, step)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        held = size
        ask = {
            "experiment_ids": [experiment],
            "filter": "metrics.m1 > 0.3",
            "order_by": ["metrics.m2 DESC"],
            "max_results": 100,
        }
        client = Client(server.port)  # a server may close what was idle while the runs were made
        raw = client.request("POST", API + "runs/search", json.dumps(ask).encode())
        client.send(raw)
        times, cpu = [], server.cpu_s()
        for _ in range(20):
            began = time.perf_counter()
            answer = client.send(raw)
            times.append(time.perf_counter() - began)
        cpu = server.cpu_s() - cpu
        found = json.loads(answer)["runs"]
        assert len(found) == 100, len(found)
        yield f"search, first 100 of {size:,} runs", statistics.median(times) * 1e3, "ms"
        yield f"  search, {size:,} runs, CPU", cpu / len(times) * 1e3, "ms"


def work_history(server: Server, quick: bool) -> Iterator[tuple[str, float, str]]:
    client = Client(server.port)
    run = client.run(client.experiment())
    points = 5_000 if quick else 100_000
    for start in range(0, points, 1000):
        metrics = [
            {"key": "walk", "value": (i * 7919 % 10_007) * 0.1, "timestamp": 1_700_000_000_000 + i * 1000, "step": i}
            for i in range(start, start + 1000)
        ]
        client.post("runs/log-batch", run_id=run, metrics=metrics)
    times, cpus = [], []
    for _ in range(3):
        cpu, began = server.cpu_s(), time.perf_counter()
        assert read_history(client, run) == points
        times.append(time.perf_counter() - began)
        cpus.append(server.cpu_s() - cpu)
    yield f"history of {points:,} points, in pages", statistics.median(times) * 1e3, "ms"
    yield "  history, CPU", statistics.median(cpus) * 1e3, "ms"


def read_history(client: Client, run: str) -> int:
    """Return how many points a metric has, having read all of them as Python reads JSON."""
    token, found = "", 0
    while True:
        ask = f"{API}metrics/get-history?run_id={run}&metric_key=walk&max_results=25000"
        answer = json.loads(client.send(client.request("GET", ask + (f"&page_token={token}" if token else ""))))
        found += len(answer.get("metrics", []))
        token = answer.get("next_page_token", "")
        if not token:
            return found


def work_artifact(server: Server, quick: bool) -> Iterator[tuple[str, float, str]]:
    if server.name == "fasttrackml":  # it has no proxy for uploads
        return
    client = Client(server.port)
    experiment = client.experiment()
    run = client.run(experiment)
    size = (20 if quick else 200) << 20
    data = os.urandom(1 << 20) * (size >> 20)
    folder = f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/"
    source = server.folder / "source"
    with source.open("wb") as write:
        write.write(data)
        write.flush()
        os.fsync(write.fileno())  # else it is written while others are timed
    before = server.memory_mb()
    peak = [before]
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.1):  # each look holds the server's memory for a moment
            peak.append(server.memory_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    ups, downs, cpus = [], [], []
    for number in range(3):
        body = data[:-1] + bytes([number])  # what is here already would not be written again
        plain = plain_copy(source, server.folder / f"copy{number}")
        path = f"{folder}{number}.bin"
        put, get = client.request("PUT", path, body), client.request("GET", path)
        cpu, began = server.cpu_s(), time.perf_counter()
        client.send(put)
        ups.append(plain / (time.perf_counter() - began))
        cpus.append(server.cpu_s() - cpu)
        began = time.perf_counter()
        got = client.send(get)
        downs.append(plain / (time.perf_counter() - began))
        assert got == body
    stop.set()
    watcher.join()
    yield f"artifact of {size >> 20} MB up, of a plain copy with SHA-256 and sync", statistics.median(ups), "x"
    yield f"artifact of {size >> 20} MB down, of the same copy", statistics.median(downs), "x"
    yield "  artifact up, CPU", statistics.median(cpus), "s"
    yield "  memory above idle at most", max(peak) - before, "MB"


def plain_copy(source: Path, target: Path) -> float:
    """Return the seconds that a plain copy with a SHA-256 and a sync takes."""
    began = time.perf_counter()
    with source.open("rb") as read, target.open("wb") as write:
        checker = hashlib.sha256()
        while piece := read.read(1 << 20):
            checker.update(piece)
            write.write(piece)
        write.flush()
        os.fsync(write.fileno())
    return time.perf_counter() - began


def work_floor(server: Server, quick: bool) -> Iterator[tuple[str, float, str]]:
    """Decode the same bodies with msgspec and write segments, in this process: the floor of any server in Python."""
    if server.name != "ours":
        return
    from interlock.store import create_store
    from interlock.store.inbox import columns
    from interlock.store.packing import sealed

    store = create_store(server.folder / "floor")
    count = 20 if quick else 128
    for keys in (10, 1000):
        bodies = [
            json.dumps(
                {
                    "run_id": "r",
                    "metrics": [
                        {"key": f"m{i % keys}", "value": i * 0.37 + b, "timestamp": i, "step": b * 1000 + i // keys}
                        for i in range(1000)
                    ],
                }
            ).encode()
            for b in range(count)
        ]
        began = time.process_time()
        groups: dict[str, list[tuple[int, int, float]]] = {}
        for number, body in enumerate(bodies, 1):
            for point in msgspec.json.decode(body, type=Batch).metrics:
                groups.setdefault(point.key, []).append((point.step, point.timestamp, point.value))
            if number % 64 and number < len(bodies):  # as many calls become one segment of each metric
                continue
            packed = [segment for key, points in groups.items() for segment in sealed(key, columns(points))]
            store.database.write(lambda tx, p=packed: [store.series.append(tx, "r", s) for s in p])
            groups = {}
        spent = time.process_time() - began
        yield f"  floor in process: decode and segments, {keys} metrics, by CPU", count * 1000 / spent, "points/CPU-s"
    store.close()


def work_disk(server: Server, quick: bool) -> Iterator[tuple[str, float, str]]:
    """A random walk of float64 with regular steps, logged by the batch, then the run is ended."""
    if server.name != "ours":
        return
    import random

    import apsw

    client, chance, value = Client(server.port), random.Random(1), 0.0
    run = client.run(client.experiment())
    points = 20_000 if quick else 100_000
    for start in range(0, points, 1000):
        metrics = []
        for i in range(start, start + 1000):
            value += chance.gauss(0, 1)
            metrics.append({"key": "walk", "value": value, "timestamp": 1_700_000_000_000 + i * 1000, "step": i})
        client.post("runs/log-batch", run_id=run, metrics=metrics)
    client.post("runs/update", run_id=run, status="FINISHED", end_time=1_700_000_000_000)
    database = apsw.Connection(str(server.folder / "project/.interlock/interlock.db"), flags=apsw.SQLITE_OPEN_READONLY)
    ((size,),) = database.execute("SELECT sum(length(data)) FROM metric_segments WHERE run = ?", (run,)).fetchall()
    yield "disk a point, random walk", size / points, "bytes"


WORK = {
    "floor": work_floor,
    "disk": work_disk,
    "batches": work_batches,
    "singles": work_singles,
    "cycle": work_cycle,
    "search": work_search,
    "history": work_history,
    "artifact": work_artifact,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="ours,fasttrackml,mlflow")
    parser.add_argument("--work", default=",".join(WORK))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--large", action="store_true", help="search among 100,000 runs too")
    asked = parser.parse_args()
    names = asked.only.split(",")
    versions = [text for name in names for text in REQUIREMENTS.get(name, ())]
    print(", ".join([f"Python {platform.python_version()}", *versions, f"load {os.getloadavg()[0]:.1f}"]))
    table = Table()
    for name in names:
        for work in asked.work.split(","):
            folder = Path(tempfile.mkdtemp(prefix=f"bench-{name}-"))
            server = Server(name, folder)
            server.start()
            try:
                if work == "singles":
                    table.put("start to first answer", name, server.started_s, "s")
                    time.sleep(1)
                    table.put("memory idle (proportional)", name, server.memory_mb(), "MB")
                for row, value, unit in WORK[work](server, asked.quick):
                    table.put(row, name, value, unit)
            finally:
                server.stop()
                shutil.rmtree(folder, ignore_errors=True)
    table.show(names)


if __name__ == "__main__":
    main()
