"""A full disk: writes are refused with 507, reads go on, and with room again so do writes, without a restart."""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import http.client
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from interlock.store import open_store

SIZE = 32 << 20
MLFLOW = "/api/2.0/mlflow/"


@pytest.fixture
def connect() -> Iterator[Callable[[Any], Client]]:
    """Connect to a server until the test ends."""
    with contextlib.ExitStack() as opened:
        yield lambda server: opened.enter_context(contextlib.closing(Client(server.host)))


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of its own, in memory, with little room."""
    libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
    folder = tmp_path / "disk"
    folder.mkdir()
    if libc.mount(b"none", os.fsencode(folder), b"tmpfs", 0, f"size={SIZE}".encode()) != 0:
        pytest.skip(f"NOT TESTED: no disk can be mounted here ({os.strerror(ctypes.get_errno())}); run it as root")
    try:
        yield folder
    finally:
        assert libc.umount2(os.fsencode(folder), 2) == 0, os.strerror(ctypes.get_errno())


class Client:
    """One connection to a server."""

    def __init__(self, host: str) -> None:
        self.connection = http.client.HTTPConnection(host, timeout=30)

    def close(self) -> None:
        """Close it."""
        self.connection.close()

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Return the status and the answer, of which JSON is decoded."""
        raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        self.connection.request(method, path, raw, {"Content-Type": "application/json"})
        response = self.connection.getresponse()
        answer = response.read()
        is_json = "json" in (response.getheader("content-type") or "")
        return response.status, json.loads(answer) if is_json else answer

    def made(self, method: str, path: str, body: Any = None) -> Any:
        """Return the answer to what is done."""
        status, answer = self.ask(method, path, body)
        assert status == 200, answer
        return answer


def fill(folder: Path) -> Path:
    """Leave no room at all."""
    path = folder / "filler"
    with path.open("ab", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return path


def metrics(number: int) -> list[dict[str, Any]]:
    return [{"key": f"m{key}", "value": key, "timestamp": number, "step": number} for key in range(1000)]


def writes(run: str, number: int) -> list[tuple[str, str, Any]]:
    """Return requests that write, each in another way."""
    files = f"/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts"
    return [
        ("POST", f"{MLFLOW}runs/log-batch", {"run_id": run, "metrics": metrics(number)}),
        ("POST", f"{MLFLOW}runs/set-tag", {"run_id": run, "key": f"t{number}", "value": "x" * 8000}),
        ("POST", f"{MLFLOW}runs/create", {"experiment_id": "0", "tags": [{"key": "t", "value": "x" * 8000}]}),
        ("PUT", f"{files}/small{number}", b"x" * 5000 + str(number).encode()),
        ("PUT", f"{files}/large{number}", os.urandom(3 << 20)),
        ("POST", f"{MLFLOW}model-versions/create", {"name": "m", "source": "s3://b/x", "description": "x" * 5000}),
        ("POST", "/api/v1/track/start", {"start": {"experiment": f"e{number}", "params": {"p": "x" * 5000}}}),
        ("PUT", "/api/v1/uploads?name=x", os.urandom(1 << 20)),
    ]


def reads(client: Client, run: str) -> Any:
    """Return what a reader sees of a run."""
    seen = [
        client.made("GET", f"{MLFLOW}runs/get?run_id={run}"),
        client.made("GET", f"{MLFLOW}metrics/get-history?run_id={run}&metric_key=m7"),
        client.made("POST", f"{MLFLOW}runs/search", {"experiment_ids": ["0"], "filter": "metrics.m7 >= 0"}),
        client.made("GET", f"/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts/small0"),
        client.made("GET", f"/api/2.0/mlflow-artifacts/artifacts?path=0/{run}/artifacts"),
        client.made("GET", f"{MLFLOW}registered-models/get?name=m"),
        client.made("POST", "/api/v1/track/run", {"run": run}),
        client.made("POST", "/api/v1/ledger/events", {}),
        client.made("GET", "/health"),
    ]
    return json.dumps(seen, default=repr)


@pytest.mark.slow
def test_a_full_disk_stops_writers_only_and_only_while_it_is_full(small: Path, serve: Any, connect: Any) -> None:
    server = serve(small / ".interlock")
    client = connect(server)
    client.made("POST", f"{MLFLOW}registered-models/create", {"name": "m"})
    run = client.made("POST", f"{MLFLOW}runs/create", {"experiment_id": "0"})["run"]["info"]["run_id"]
    for request in writes(run, 0):
        client.made(*request)
    for number in range(1, 4):
        before = reads(client, run)
        filler = fill(small)
        for attempt in range(300):  # what lies ready in the database's log is used up first
            answers = [client.ask(*request) for request in writes(run, 1000 * number + attempt)]
            assert {status for status, _ in answers} <= {200, 507}, answers
            if all(status == 507 for status, _ in answers):
                break
        codes = [answer.get("error_code") or answer["code"] for _, answer in answers]
        assert codes == ["INSUFFICIENT_STORAGE"] * 6 + ["database.storage_full", "object.storage_full"]
        assert all("Make room on the server's disk" in json.dumps(answer) for _, answer in answers)
        assert len(reads(client, run)) >= len(before)
        filler.unlink()
        for request in writes(run, number):
            client.made(*request)
    history = client.made("GET", f"{MLFLOW}metrics/get-history?run_id={run}&metric_key=m7")["metrics"]
    assert {0, 1, 2, 3} <= {point["step"] for point in history}
    assert len(history) == len({point["step"] for point in history})
    server.end()
    store = open_store(small / ".interlock")
    assert store.ledger.verify().ok
    for digest in store.objects.digests():
        store.objects.get(digest)
    assert list((store.objects.root / "incoming").iterdir()) == []
    store.close()


@pytest.mark.slow
def test_a_workspace_on_a_full_disk_can_be_opened_and_read(small: Path, serve: Any, connect: Any) -> None:
    server = serve(small / ".interlock")
    client = connect(server)
    client.made("POST", f"{MLFLOW}registered-models/create", {"name": "m"})
    run = client.made("POST", f"{MLFLOW}runs/create", {"experiment_id": "0"})["run"]["info"]["run_id"]
    for request in writes(run, 0):
        client.made(*request)
    before = reads(client, run)
    server.end()
    filler = fill(small)
    second = serve(small / ".interlock")
    again = connect(second)
    assert reads(again, run) == before
    filler.unlink()
    for request in writes(run, 1):
        again.made(*request)
    second.end()
