"""Webhooks: made and changed through MlflowClient, and received by a listener that checks their signatures."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import queue
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import mlflow
import pytest
from errors import raises

EVENTS = [
    "registered_model.created",
    "model_version.created",
    "model_version_tag.set",
    "model_version_tag.deleted",
    "model_version_alias.created",
    "model_version_alias.deleted",
]
PROMPTS = ["prompt.created", "prompt_version.created", "prompt_tag.set", "prompt_alias.created", "prompt_alias.deleted"]
PATIENCE_S = 20
SECRET = "correct horse"


class Received(NamedTuple):
    """One delivery."""

    headers: Any
    body: bytes

    @property
    def event(self) -> tuple[str, dict[str, Any]]:
        """What happened, and to what."""
        payload = json.loads(self.body)
        return f"{payload['entity']}.{payload['action']}", payload["data"]


class Listener:
    """An HTTP server that keeps what it is sent; `answers` are the statuses of its next answers, then 200."""

    def __init__(self) -> None:
        self.got: queue.Queue[Received] = queue.Queue()
        self.answers: list[int] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = outer.answers.pop(0) if outer.answers else 200
                self.send_response(status)
                self.end_headers()
                self.wfile.write(b"thanks")
                outer.got.put(Received(self.headers, body))

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def wait_for(self, name: str, kinds: list[str]) -> list[Received]:
        """Return the deliveries about one thing, once there is one for each of these events."""
        missing, found, until = list(kinds), [], time.monotonic() + PATIENCE_S
        while missing:
            try:
                received = self.got.get(timeout=max(until - time.monotonic(), 0.01))
            except queue.Empty:
                raise AssertionError(f"never came: {missing}; came: {[entry.event for entry in found]}") from None
            kind, data = received.event
            if data["name"] == name:
                found.append(received)
                if kind in missing:
                    missing.remove(kind)
        return found

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.close()


@pytest.fixture
def hook(client, listener, unique):
    """Makes webhooks that are removed again."""
    made = []

    def make(events: list[str], **more):
        made.append(client.create_webhook(unique("hook"), listener.url, events, **more))
        return made[-1]

    yield make
    for entry in made:
        try:
            client.delete_webhook(entry.webhook_id)
        except mlflow.MlflowException:
            continue


@pytest.mark.route("POST webhooks", "GET webhooks", "GET webhooks/*", "PATCH webhooks/*", "DELETE webhooks/*")
def test_the_life_of_a_webhook(client, hook, listener, unique) -> None:
    made = hook(["model_version.created"], description="why", secret=SECRET)
    found = client.get_webhook(made.webhook_id)
    assert (found.url, found.description, str(found.status)) == (listener.url, "why", "ACTIVE")
    assert [str(event) for event in found.events] == ["model_version.created"]
    assert SECRET not in repr(vars(found)), "a secret is not given back"
    assert found.creation_timestamp > 0
    name = unique("renamed")
    client.update_webhook(made.webhook_id, name=name, status="DISABLED", events=EVENTS[:3])
    found = client.get_webhook(made.webhook_id)
    assert (found.name, str(found.status), len(found.events)) == (name, "DISABLED", 3)
    others = [hook(["registered_model.created"]) for _ in range(3)]
    seen, token, pages = [], None, 0
    while pages == 0 or token:
        page = client.list_webhooks(max_results=2, page_token=token)
        seen += [entry.webhook_id for entry in page]
        token, pages = page.token, pages + 1
    assert {made.webhook_id, *(other.webhook_id for other in others)} <= set(seen)
    assert len(seen) == len(set(seen))
    client.delete_webhook(made.webhook_id)
    for call in (client.get_webhook, client.delete_webhook):
        with raises("RESOURCE_DOES_NOT_EXIST"):
            call(made.webhook_id)


@pytest.mark.route("POST webhooks")
def test_a_webhook_that_makes_no_sense_is_refused(client, wire, listener) -> None:
    good = {"name": "x", "url": listener.url, "events": [{"entity": "MODEL_VERSION", "action": "CREATED"}]}
    for wrong in (
        {"url": "ftp://example.org"},
        {"url": "nothing"},
        {"events": []},
        {"name": ""},
        {"events": [{"entity": "MODEL_VERSION", "action": "EXCEEDED"}]},
    ):
        wire.refused("POST", "webhooks", {**good, **wrong})


@pytest.mark.route("registry: every event")
def test_events_of_the_registry_arrive_signed(client, hook, listener, run, unique) -> None:
    hook(EVENTS, secret=SECRET)
    name = unique("hooked")
    client.create_registered_model(name, tags={"t": "1"}, description="words")
    client.log_text(run, "weights", "model/weights.txt")
    source = f"{client.get_run(run).info.artifact_uri}/model"
    client.create_model_version(name, source, run, tags={"a": "1"}, description="first")
    client.set_model_version_tag(name, "1", "k", "v")
    client.delete_model_version_tag(name, "1", "k")
    client.set_registered_model_alias(name, "champion", 1)
    client.delete_registered_model_alias(name, "champion")
    received = listener.wait_for(name, EVENTS)
    assert dict(entry.event for entry in received) == {
        "registered_model.created": {"name": name, "tags": {"t": "1"}, "description": "words"},
        "model_version.created": {
            "name": name,
            "version": "1",
            "source": source,
            "run_id": run,
            "tags": {"a": "1"},
            "description": "first",
        },
        "model_version_tag.set": {"name": name, "version": "1", "key": "k", "value": "v"},
        "model_version_tag.deleted": {"name": name, "version": "1", "key": "k"},
        "model_version_alias.created": {"name": name, "alias": "champion", "version": "1"},
        "model_version_alias.deleted": {"name": name, "alias": "champion"},
    }
    for headers, body in received:
        delivery, at = headers["X-MLflow-Delivery-Id"], headers["X-MLflow-Timestamp"]
        signed = f"{delivery}.{at}.".encode() + body
        digest = hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()
        assert headers["X-MLflow-Signature"] == f"v1,{base64.b64encode(digest).decode()}"
        assert abs(int(at) - time.time()) < 60
        assert headers["Content-Type"].startswith("application/json")
        assert json.loads(body)["timestamp"]
    assert len({entry.headers["X-MLflow-Delivery-Id"] for entry in received}) == len(EVENTS)


@pytest.mark.route("prompts: every event")
def test_events_of_prompts_are_their_own(client, hook, listener, unique) -> None:
    hook([*PROMPTS, *EVENTS])
    name = unique("prompted")
    mlflow.genai.register_prompt(name, "Hello {{name}}", commit_message="first")
    mlflow.genai.set_prompt_tag(name, "team", "red")
    mlflow.genai.set_prompt_alias(name, "live", 1)
    mlflow.genai.delete_prompt_alias(name, "live")
    received = [entry.event for entry in listener.wait_for(name, PROMPTS)]
    assert {kind for kind, _ in received} == set(PROMPTS), "and none of those of models"
    assert ("prompt_tag.set", {"name": name, "key": "team", "value": "red"}) in received
    found = dict(received)
    assert found["prompt_version.created"]["template"] == "Hello {{name}}"
    assert found["prompt_alias.created"] == {"name": name, "alias": "live", "version": "1"}


@pytest.mark.route("POST webhooks/*/test")
def test_a_webhook_is_tried(client, hook, listener) -> None:
    made = hook(["model_version.created", "model_version_tag.set"])
    result = client.test_webhook(made.webhook_id)
    assert (result.success, result.response_status, result.response_body) == (True, 200, "thanks")
    event, data = listener.got.get(timeout=10).event
    assert event == "model_version.created"
    assert set(data) == {"name", "version", "source", "run_id", "tags", "description"}
    result = client.test_webhook(made.webhook_id, "model_version_tag.set")
    assert listener.got.get(timeout=10).event[0] == "model_version_tag.set"
    listener.answers = [404]
    failed = client.test_webhook(made.webhook_id)
    assert (failed.success, failed.response_status) == (False, 404)


@pytest.mark.route("webhooks: what is not wanted")
def test_what_nobody_asked_for_is_not_sent(client, hook, listener, unique) -> None:
    hook(["registered_model.created"], status="DISABLED")
    hook(["model_version_alias.created"])
    hook(["registered_model.created"])
    first, second = unique("first"), unique("second")
    client.create_registered_model(first)
    assert len(listener.wait_for(first, ["registered_model.created"])) == 1
    client.create_registered_model(second)
    assert len(listener.wait_for(second, ["registered_model.created"])) == 1
    assert listener.got.empty(), "each came once"


@pytest.mark.route("webhooks: retries")
def test_a_delivery_is_tried_again(client, hook, listener, unique) -> None:
    hook(["registered_model.created"])
    listener.answers = [503]
    name = unique("again")
    client.create_registered_model(name)
    first, second = listener.wait_for(name, ["registered_model.created"] * 2)
    assert first.body == second.body
