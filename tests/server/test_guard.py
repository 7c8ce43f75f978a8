from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from notes_service import SERVICES
from starlette.testclient import TestClient

from interlock.core.errors import Invalid
from interlock.core.ids import is_ulid
from interlock.sdk.workspace import Workspace
from interlock.server.app import create_app
from interlock.server.guard import Access
from interlock.store import create_store

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace.over(create_store(tmp_path_factory.mktemp("w") / ".interlock"), services=SERVICES) as opened:
        yield opened


@pytest.fixture(scope="module")
def client(workspace: Workspace) -> Iterator[TestClient]:
    with TestClient(create_app(workspace), base_url="http://127.0.0.1:8230") as opened:
        yield opened


@pytest.mark.parametrize("host", ["127.0.0.1:8230", "localhost:8230", "LOCALHOST:8230", "[::1]:8230"])
def test_own_names_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "10.evil.example:8230",
        "localhost.evil.example:8230",
        "127.0.0.1.evil.example:8230",
        "localhost",
        "localhost:80",
        "localhost:8231",
        "localhost:08230x",
        "127.0.0.2:8230",
        "0.0.0.0:8230",
        "localhost:8230@evil.example",
        "evil.example#localhost:8230",
        "localhost:\u0668",
        "",
    ],
)
@pytest.mark.parametrize("path", ["/health", "/", "/api/v1/openapi.json"])
def test_other_hosts_are_refused_everywhere(client: TestClient, host: str, path: str) -> None:
    response = client.get(path, headers={"Host": host.encode()})
    assert response.status_code == 421
    assert response.json()["code"] == "host.denied"


def test_two_hosts_are_refused(client: TestClient) -> None:
    response = client.get("/health", headers=[("Host", "localhost:8230"), ("Host", "evil.example")])
    assert response.status_code == 421


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "http://localhost:8230"},  # another origin than the Host 127.0.0.1
        {"Origin": "http://127.0.0.1:8230.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_no_verb_of_another_site_gets_through(client: TestClient, method: str, headers: dict[str, str]) -> None:
    response = client.request(method, "/api/v1/notes/who", headers={**JSON, **headers}, content="{}")
    assert response.status_code == 403
    assert response.json()["code"] == "origin.denied"


@pytest.mark.parametrize(
    "headers",
    [{}, {"Origin": "http://127.0.0.1:8230", "Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}],
)
def test_own_pages_and_programs_get_through(client: TestClient, headers: dict[str, str]) -> None:
    assert client.post("/api/v1/notes/who", headers={**JSON, **headers}, content="{}").status_code == 200


@pytest.mark.parametrize("path", ["/health", "/no/such/thing", "/api/v1/openapi.json"])
def test_every_answer_is_dressed(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert is_ulid(headers["interlock-request-id"])
    assert "server" not in headers


def test_refusals_are_dressed_too(client: TestClient) -> None:
    response = client.get("/health", headers={"Host": "evil.example"})
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["interlock-request-id"] == response.json()["request_id"]


def test_a_proxy_is_answered_by_its_name(workspace: Workspace) -> None:
    app = create_app(workspace, access=Access(hosts=("ml.example.org",)))
    with TestClient(app, base_url="https://ml.example.org") as client:
        headers = {**JSON, "Origin": "https://ml.example.org"}
        assert client.post("/api/v1/notes/who", headers=headers, content="{}").status_code == 200
        assert client.get("/health", headers={"Host": "other.example.org"}).status_code == 421


def test_beyond_loopback_literal_addresses_are_answered_and_names_are_not() -> None:
    access = Access(loopback=False)
    assert access.answers_to("192.0.2.7:8230", 8230)
    assert access.answers_to("[2001:db8::1]:8230", 8230)
    assert access.answers_to(f"{socket.gethostname()}:8230", 8230)
    assert not access.answers_to("rebound.example:8230", 8230)
    assert not access.answers_to("192.0.2.7:8231", 8230)
    assert not Access().answers_to("192.0.2.7:8230", 8230)


def test_loopback_callers_may_say_who_acts(client: TestClient) -> None:
    def who(actor: str) -> str:
        return client.post("/api/v1/notes/who", headers={**JSON, "Interlock-Actor": actor}, content="{}").json()

    assert who("user:ann") == "user:ann"
    assert who("user:J%C3%BCrg") == "user:J\u00fcrg"
    assert who("").startswith("user:")


@pytest.mark.parametrize("claim", ["ann", ":ann", "user:", "user:a%0Ab", "user:%1b[31m", "user:" + "x" * 300])
def test_claims_that_are_no_actor_are_refused(client: TestClient, claim: str) -> None:
    headers = {**JSON, "Interlock-Actor": claim}
    response = client.post("/api/v1/notes/who", headers=headers, content="{}")
    assert (response.status_code, response.json()["code"]) == (422, "actor.invalid")


def test_beyond_loopback_nobody_is_believed() -> None:
    assert Access(loopback=False).actor("user:ann", "192.0.2.7") == "anonymous:192.0.2.7"
    with pytest.raises(Invalid):
        Access().actor("ann", "127.0.0.1")


def test_websockets_are_closed(client: TestClient) -> None:
    from starlette.websockets import WebSocketDisconnect

    with pytest.raises(WebSocketDisconnect) as caught, client.websocket_connect("/health"):
        pass
    assert caught.value.code == 1008
