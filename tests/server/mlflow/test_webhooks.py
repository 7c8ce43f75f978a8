"""Webhooks over the wire: a server that listens, a receiver that is told."""

from __future__ import annotations

import base64
import hashlib
import hmac
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bridges"))

from webhook_receiver import Receiver  # found on the path added above

from interlock.sdk.workspace import Workspace
from interlock.server.guard import Access
from interlock.server.mlflow.webhooks import reach_of
from interlock.server.run import serving
from interlock.store import create_store

API = "/api/2.0/mlflow/"
CREATED = {"entity": "REGISTERED_MODEL", "action": "CREATED"}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace.over(create_store(tmp_path / ".interlock")) as opened:
        yield opened


@pytest.fixture
def http(served: Workspace) -> Iterator[httpx.Client]:
    with serving(served) as address, httpx.Client(base_url=address, timeout=30) as client:
        yield client


def call(http: httpx.Client, method: str, path: str, body: Any = None, **query: Any) -> Any:
    answer = http.request(method, API + path, json=body, params=query or None)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(http: httpx.Client, method: str, path: str, body: Any = None, **query: Any) -> tuple[str, str]:
    answer = http.request(method, API + path, json=body, params=query or None)
    assert 400 <= answer.status_code < 500, answer.text
    return answer.json()["error_code"], answer.json()["message"]


def make(http: httpx.Client, url: str, **more: Any) -> dict[str, Any]:
    return call(http, "POST", "webhooks", {"name": "hook", "url": url, "events": [CREATED], **more})["webhook"]


def wait_for(look: Any) -> Any:
    pause = threading.Event()
    for _ in range(1000):
        if found := look():
            return found
        pause.wait(0.02)
    raise AssertionError("it did not happen")


def test_a_webhook_is_made_shown_changed_and_deleted(http: httpx.Client, receiver: Receiver) -> None:
    made = make(http, receiver.url, description="d", secret="hush")
    assert made["events"] == [CREATED]
    assert (made["name"], made["description"], made["status"], made["url"]) == ("hook", "d", "ACTIVE", receiver.url)
    assert "hush" not in str(made)
    path = f"webhooks/{made['webhook_id']}"
    assert call(http, "GET", path)["webhook"] == made
    assert call(http, "GET", "webhooks") == {"webhooks": [made]}
    changed = call(http, "PATCH", path, {"name": "other", "description": "", "status": "DISABLED"})["webhook"]
    assert (changed["name"], changed["status"], changed["url"]) == ("other", "DISABLED", receiver.url)
    assert "description" not in changed
    assert call(http, "DELETE", path) == {}
    assert refused(http, "GET", path)[0] == "RESOURCE_DOES_NOT_EXIST"
    assert refused(http, "DELETE", path)[0] == "RESOURCE_DOES_NOT_EXIST"


def test_what_happens_is_told_with_signature_and_stands_in_the_history(http: httpx.Client, receiver: Receiver) -> None:
    path = f"webhooks/{make(http, receiver.url, secret='hush')['webhook_id']}"
    call(http, "POST", "registered-models/create", {"name": "m", "tags": [{"key": "a", "value": "b"}]})
    wait_for(lambda: receiver.requests)
    [(_, headers, body)] = receiver.requests
    assert receiver.bodies[0]["data"] == {"name": "m", "tags": {"a": "b"}, "description": ""}
    ident, at = headers["x-mlflow-delivery-id"], headers["x-mlflow-timestamp"]
    signed = hmac.new(b"hush", f"{ident}.{at}.".encode() + body, hashlib.sha256).digest()
    assert headers["x-mlflow-signature"] == "v1," + base64.b64encode(signed).decode()
    delivered = wait_for(lambda: call(http, "GET", f"{path}/deliveries", state="delivered").get("deliveries"))
    assert [(found["delivery_id"], found["response_status"]) for found in delivered] == [(ident, 200)]
    shown = call(http, "GET", f"{path}/deliveries/{ident}")["delivery"]
    assert [tried["response_status"] for tried in shown["history"]] == [200]
    call(http, "POST", f"{path}/deliveries/{ident}/retry", {})
    wait_for(lambda: len(receiver.requests) == 2)
    assert receiver.requests[1][1]["x-mlflow-delivery-id"] == ident


def test_a_test_says_what_came_of_it(http: httpx.Client, receiver: Receiver) -> None:
    path = f"webhooks/{make(http, receiver.url)['webhook_id']}/test"
    result = {"success": True, "response_status": 200, "response_body": "thanks"}
    assert call(http, "POST", path, {})["result"] == result
    receiver.answers = [500]
    event = {"entity": "MODEL_VERSION", "action": "CREATED"}
    found = call(http, "POST", path, {"event": event})["result"]
    assert (found["success"], found["response_status"]) == (False, 500)
    assert receiver.told == ["registered_model.created", "model_version.created"]
    assert refused(http, "POST", path, {"event": {"entity": "X", "action": "Y"}})[0] == "INVALID_PARAMETER_VALUE"
    deliveries = call(http, "GET", path.replace("/test", "/deliveries"))
    assert deliveries == {"deliveries": []}


def test_pages_and_their_tokens(http: httpx.Client, receiver: Receiver) -> None:
    made = [make(http, receiver.url, name=f"n{number}")["webhook_id"] for number in range(5)]
    found, token = [], ""
    while True:
        page = call(http, "GET", "webhooks", max_results=2, **({"page_token": token} if token else {}))
        found += [webhook["webhook_id"] for webhook in page["webhooks"]]
        if not (token := page.get("next_page_token", "")):
            break
    assert found == made[::-1]
    for wrong in ({"page_token": "x"}, {"page_token": "AAAA"}, {"max_results": 0}, {"max_results": 1001}):
        assert refused(http, "GET", "webhooks", **wrong)[0] == "INVALID_PARAMETER_VALUE"


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "a b"},
        {"url": ""},
        {"url": "ftp://example.com/"},
        {"url": "http://169.254.169.254/latest"},
        {"events": []},
        {"events": [{}]},
        {"events": [{"entity": "MODEL_VERSION", "action": "EXCEEDED"}]},
        {"events": ["model_version.created"]},
        {"status": "SLEEPING"},
    ],
)
def test_wrong_wishes_are_refused(http: httpx.Client, wrong: dict[str, Any]) -> None:
    body = {"name": "hook", "url": "http://127.0.0.1:9/", "events": [CREATED], **wrong}
    assert refused(http, "POST", "webhooks", body)[0] == "INVALID_PARAMETER_VALUE"
    assert call(http, "GET", "webhooks") == {"webhooks": []}


def test_only_servers_that_nobody_else_reaches_send_to_private_places(
    served: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("INTERLOCK_WEBHOOKS_PRIVATE", raising=False)
    store = SimpleNamespace(project=served.store.project)
    assert reach_of(store, Access(loopback=True)).private
    assert not reach_of(store, Access(loopback=False)).private
    assert not reach_of(store, Access(loopback=True, hosts=("models.example",))).private  # a proxy lets others in
    monkeypatch.setenv("INTERLOCK_WEBHOOKS_PRIVATE", "true")
    assert reach_of(store, Access(loopback=False)).private
