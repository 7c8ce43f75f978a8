from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from interlock.core.clock import FixedClock
from interlock.sdk.workspace import Workspace
from interlock.server.app import create_app
from interlock.store import create_store

API = "/api/2.0/mlflow/"
PROXY = "/api/2.0/mlflow-artifacts/"


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
def client(tmp_path: Path, clock: FixedClock):
    with (
        Workspace.over(create_store(tmp_path / ".interlock", clock)) as workspace,
        TestClient(create_app(workspace), base_url="http://127.0.0.1:8230", raise_server_exceptions=False) as opened,
    ):
        yield opened


@pytest.fixture
def run(client: TestClient) -> str:
    run = client.post(API + "runs/create", json={"experiment_id": "0"}).json()["run"]["info"]["run_id"]
    client.put(f"{PROXY}artifacts/0/{run}/artifacts/d/ä b.txt", content=b"0123456789")
    return run


def test_a_signed_address_gives_the_bytes_that_were_there(client: TestClient, run: str) -> None:
    said = client.get(f"{PROXY}presigned/0/{run}/artifacts/d/ä b.txt").json()
    assert (said["file_size"], said["headers"]) == (10, {})
    client.put(f"{PROXY}artifacts/0/{run}/artifacts/d/ä b.txt", content=b"other bytes")
    parts = [client.get(said["url"], headers={"Range": f"bytes={at}-{at + 4}"}) for at in (0, 5)]
    assert [part.status_code for part in parts] == [206, 206]
    assert b"".join(part.content for part in parts) == b"0123456789"
    assert client.get(said["url"]).content == b"0123456789"


def test_addresses_for_a_run(client: TestClient, run: str) -> None:
    said = client.post(API + "artifacts/presigned-download-url", json={"run_id": run, "path": "d/ä b.txt"}).json()
    assert said["file_size"] == 10
    assert client.get(said["presigned_url"]).content == b"0123456789"
    to = client.post(API + "artifacts/presigned-upload-url", json={"run_id": run, "path": "new/x.bin"}).json()
    assert client.put(to["presigned_url"], content=b"sent").status_code == 200
    assert client.get(f"{PROXY}artifacts/0/{run}/artifacts/new/x.bin").content == b"sent"


def test_an_address_does_what_it_was_signed_for_and_for_its_time(
    client: TestClient, run: str, clock: FixedClock
) -> None:
    ask = {"run_id": run, "path": "d/ä b.txt", "expiration": 60}
    down = client.post(API + "artifacts/presigned-download-url", json=ask).json()["presigned_url"]
    up = client.post(API + "artifacts/presigned-upload-url", json=ask).json()["presigned_url"]
    assert client.put(down, content=b"x").status_code == 403
    assert client.get(up).status_code == 403
    clock.at += timedelta(seconds=61)
    for answer in (client.get(down), client.put(up, content=b"x")):
        assert (answer.status_code, answer.json()["error_code"]) == (403, "PERMISSION_DENIED")
        assert "expired" in answer.json()["message"]
    assert client.get(f"{PROXY}artifacts/0/{run}/artifacts/d/ä b.txt").content == b"0123456789"


def test_what_was_not_signed_here_opens_nothing(client: TestClient, run: str) -> None:
    url = client.get(f"{PROXY}presigned/0/{run}/artifacts/d/ä b.txt").json()["url"]
    head, _, tail = url.rpartition("/signed/")
    token, _, name = tail.partition("/")
    flipped = [token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :] for at in (0, 30, 60, len(token) - 3)]
    for wrong in [*flipped, "", "x", "=", "ä", token[:-4], token + "AAAA"]:
        answer = client.get(f"{head}/signed/{wrong}/{name}")
        assert answer.status_code in {403, 404}, wrong
        assert set(answer.json()) == {"error_code", "message"}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("artifacts/presigned-download-url", {}),
        ("artifacts/presigned-download-url", {"run_id": "{run}"}),
        ("artifacts/presigned-download-url", {"run_id": "{run}", "path": "nothing"}),
        ("artifacts/presigned-download-url", {"run_id": "{run}", "path": "../x"}),
        ("artifacts/presigned-download-url", {"run_id": "{run}", "path": "d/ä b.txt", "expiration": 0}),
        ("artifacts/presigned-download-url", {"run_id": "nobody", "path": "a"}),
        ("artifacts/presigned-upload-url", {"path": "a"}),
        ("artifacts/presigned-upload-url", {"run_id": "{run}", "model_id": "m-1", "path": "a"}),
        ("artifacts/presigned-upload-url", {"run_id": "{run}", "path": ""}),
        ("artifacts/presigned-upload-url", {"model_id": "m-nobody", "path": "a"}),
        ("artifacts/presigned-upload-url", {"run_id": "{run}", "path": "a", "expiration": 604_801}),
    ],
)
def test_what_cannot_be_signed(client: TestClient, run: str, path: str, body: dict) -> None:
    body = {name: run if value == "{run}" else value for name, value in body.items()}
    answer = client.post(API + path, json=body)
    assert answer.status_code in {400, 404}
    assert set(answer.json()) == {"error_code", "message"}
