from __future__ import annotations

import hashlib
from typing import Any

import pytest
from starlette.testclient import TestClient

MPU = "/api/2.0/mlflow-artifacts/mpu/"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts/"


@pytest.fixture
def run(client: TestClient) -> str:
    answer = client.post("/api/2.0/mlflow/runs/create", json={"experiment_id": "0"})
    return answer.json()["run"]["info"]["run_id"]


@pytest.fixture
def begin(client: TestClient, run: str):
    def start(num_parts: int = 2, path: str = "/data/big file.bin", folder: str = "/models") -> dict[str, Any]:
        answer = client.post(f"{MPU}create/0/{run}/artifacts{folder}", json={"path": path, "num_parts": num_parts})
        assert answer.status_code == 200, answer.text
        return answer.json()

    return start


def send(client: TestClient, begun: dict[str, Any], *pieces: bytes) -> list[dict[str, Any]]:
    parts = []
    for credential, piece in zip(begun["credentials"], pieces, strict=True):
        answer = client.put(credential["url"], content=piece, headers=credential["headers"])
        assert answer.status_code == 200, answer.text
        parts.append(
            {"part_number": credential["part_number"], "etag": answer.headers["etag"], "url": credential["url"]}
        )
    return parts


def finish(client: TestClient, run: str, begun: dict[str, Any], parts: list[dict[str, Any]], **more: Any) -> Any:
    body = {"path": "/data/big file.bin", "upload_id": begun["upload_id"], "parts": parts, **more}
    return client.post(f"{MPU}complete/0/{run}/artifacts/models", json=body)


def test_parts_become_a_file(client: TestClient, run: str, begin) -> None:
    begun = begin(3)
    assert [credential["part_number"] for credential in begun["credentials"]] == [1, 2, 3]
    assert all(credential["url"].startswith("http://127.0.0.1:8230/api/2.0/") for credential in begun["credentials"])
    parts = send(client, begun, b"one", b"two", b"")
    listed = client.get("/api/2.0/mlflow/artifacts/list", params={"run_id": run}).json()
    assert "files" not in listed
    assert finish(client, run, begun, parts[::-1]).json() == {}
    found = client.get(f"{ARTIFACTS}0/{run}/artifacts/models/big file.bin")
    assert found.content == b"onetwo"
    assert found.headers["etag"] == f'"{hashlib.sha256(b"onetwo").hexdigest()}"'


def test_asked_twice_it_answers_the_same(client: TestClient, run: str, begin) -> None:
    begun = begin(1)
    parts = send(client, begun, b"a")
    assert [finish(client, run, begun, parts).status_code for _ in range(2)] == [200, 200]


def test_parts_that_did_not_come_are_named(client: TestClient, run: str, begin) -> None:
    begun = begin(2)
    [first] = send(client, {"credentials": begun["credentials"][:1]}, b"a")
    answer = finish(client, run, begun, [first, {"part_number": 2, "etag": "0" * 64}])
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert "Part 2 did not come" in answer.json()["message"]


def test_an_upload_belongs_to_its_path(client: TestClient, run: str, begin) -> None:
    begun = begin(1)
    parts = send(client, begun, b"a")
    answer = finish(client, run, begun, parts, path="other.bin")
    assert "another path" in answer.json()["message"]


def test_what_is_given_up_is_gone(client: TestClient, run: str, begin) -> None:
    begun = begin(1)
    body = {"path": "big file.bin", "upload_id": begun["upload_id"]}
    assert client.post(f"{MPU}abort/0/{run}/artifacts/models", json=body).json() == {}
    assert client.post(f"{MPU}abort/0/{run}/artifacts/models", json=body).json() == {}
    answer = client.put(begun["credentials"][0]["url"], content=b"late")
    assert (answer.status_code, answer.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")


@pytest.mark.parametrize(
    ("where", "body"),
    [
        ("0/{run}/artifacts", {"path": "", "num_parts": 1}),
        ("0/{run}/artifacts", {"path": "a/..", "num_parts": 1}),
        ("0/{run}/artifacts", {"path": "a", "num_parts": 0}),
        ("0/{run}/artifacts", {"path": "a", "num_parts": 10_001}),
        ("0/{run}/artifacts", {"path": "a", "num_parts": "many"}),
        ("0/{run}/artifacts/../../x", {"path": "a"}),
        ("0/nobody/artifacts", {"path": "a"}),
        ("nowhere", {"path": "a"}),
    ],
)
def test_uploads_that_cannot_be(client: TestClient, run: str, where: str, body: dict[str, Any]) -> None:
    answer = client.post(MPU + "create/" + where.format(run=run), json=body)
    assert answer.status_code in {400, 404}
    assert set(answer.json()) == {"error_code", "message"}


def test_a_deleted_run_takes_no_parts(client: TestClient, run: str, begin) -> None:
    begun = begin(1)
    parts = send(client, begun, b"a")
    client.post("/api/2.0/mlflow/runs/delete", json={"run_id": run})
    assert finish(client, run, begun, parts).status_code == 400
    assert client.post(f"{MPU}create/0/{run}/artifacts", json={"path": "a"}).status_code == 400


def test_behind_a_proxy_the_addresses_are_the_proxys(client: TestClient, run: str) -> None:
    answer = client.post(f"{MPU}create/0/{run}/artifacts", json={"path": "a"}, headers={"X-Forwarded-Proto": "https"})
    assert answer.json()["credentials"][0]["url"].startswith("https://127.0.0.1:8230/")


def test_the_server_says_that_it_takes_parts(client: TestClient) -> None:
    said = client.get("/api/3.0/mlflow/server-info").json()
    assert (said["multipart_uploads_enabled"], said["multipart_downloads_enabled"]) == (True, False)
