"""Limits and refusals of the whole server, over real HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket

import pytest

from interlock.core.clock import SystemClock
from interlock.serve.app import Application, Limits
from interlock.serve.engine import Engine
from interlock.serve.hands import Hands
from interlock.serve.http import Endpoint

ROW = {"city": "Oslo", "age": 21, "spend": 150.5}
BODY = json.dumps({"instances": [ROW]}).encode()


def raw(server, data: bytes) -> bytes:
    """Return what a server answers to bytes, up to the end of the connection or of the first answer."""
    host, port = server.said["url"].removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as link:
        link.sendall(data)
        return link.recv(65536)


@pytest.fixture(scope="module")
def tight(live, tmp_path_factory, kinds, tools):
    """A server that takes one prediction at a time and small bodies."""
    live.shop.deploy(tools.route(live.shop.bundle("customers"), "model:buyer@3"), name="tight")
    server = tools.Server(
        live.shop, "tight", "--max-concurrent", "1", "--max-body-bytes", "2000", "--allow-host", "My.Org"
    )
    yield server.ready()
    assert server.stop() == 0


def test_an_unknown_path_is_404_in_json(live):
    response = live.client.get("/no/such/path")
    assert (response.status_code, response.json()["code"]) == (404, "path.not_found")


@pytest.mark.parametrize(("path", "allow"), [("/-/reload", "POST"), ("/-/status", "GET"), ("/ping", "GET")])
def test_a_wrong_method_is_405_and_names_the_right_ones(live, path, allow):
    response = live.client.delete(path)
    assert (response.status_code, response.headers["allow"]) == (405, allow)
    assert f"is asked with {allow}, not with" in response.text
    assert response.json()["error"]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "[::2]", ""])
def test_another_host_name_is_refused(live, host):
    answer = live.client.get("/-/status", headers={"host": host})
    assert answer.status_code == 421


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:80", "[::1]:8080", "LOCALHOST:1"])
def test_the_names_of_this_machine_are_answered(live, host):
    assert live.client.get("/-/status", headers={"host": host}).status_code == 200


def test_a_configured_host_name_is_answered(live, tight):
    assert tight.client.get("/ping", headers={"host": "my.org:80"}).status_code == 200
    assert live.client.get("/ping", headers={"host": "my.org:80"}).status_code == 421


def test_every_answer_carries_the_request_id(live):
    assert live.client.get("/nothing", headers={"X-Request-Id": "r-1"}).headers["interlock-request-id"] == "r-1"
    for bad in ("x" * 201, "é"):
        made = live.client.get("/ping", headers={"X-Request-Id": bad.encode()}).headers["interlock-request-id"]
        assert len(made) == 26


def test_a_compressed_request_is_answered(live):
    headers = {"content-encoding": "gzip", "content-type": "application/json"}
    assert live.client.post("/invocations", content=gzip.compress(BODY), headers=headers).status_code == 200


def test_a_body_above_the_limit_is_413(tight):
    for body in (b"x" * 2001, iter([b"x" * 1500, b"x" * 1500])):
        response = tight.client.post("/invocations", content=body)
        assert (response.status_code, set(response.json())) == (413, {"error_code", "message"})
    packed = tight.client.post(
        "/invocations", content=gzip.compress(b" " * 90_000), headers={"content-encoding": "gzip"}
    )
    assert packed.status_code == 413
    assert tight.client.post("/invocations", content=BODY).status_code == 200
    assert tight.client.post("/-/reload", content=b"x" * 5000).status_code == 413


def test_beyond_the_concurrency_limit_callers_are_asked_to_come_back(tight, tools):
    host, port = tight.said["url"].removeprefix("http://").split(":")
    head = b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    tools.until(lambda: tight.status()["under_way"] == 0)
    with socket.create_connection((host, int(port)), timeout=20) as slow:
        slow.sendall(head + b"%x\r\n" % len(BODY) + BODY[:5])
        tools.until(lambda: tight.status()["under_way"] == 1)
        busy = tight.client.post("/invocations", content=BODY)
        assert busy.status_code == 429
        assert busy.headers["retry-after"] == "1"
        assert busy.json()["error_code"] == "REQUEST_LIMIT_EXCEEDED"
        assert tight.client.get("/v2/health/ready").status_code == 200
        slow.sendall(BODY[5:] + b"\r\n0\r\n\r\n")
        assert slow.recv(65536).startswith(b"HTTP/1.1 200")
    assert tight.client.post("/invocations", content=BODY).status_code == 200


def test_who_sends_a_small_body_slowly_holds_no_place(tight):
    """Or some hundred callers who begin a request and fall asleep would shut out all others."""
    host, port = tight.said["url"].removeprefix("http://").split(":")
    head = f"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()
    with contextlib.ExitStack() as opened:
        slow = [opened.enter_context(socket.create_connection((host, int(port)), timeout=20)) for _ in range(5)]
        for link in slow:
            link.sendall(head + BODY[:5])
        for _ in range(5):
            assert tight.client.post("/invocations", content=BODY).status_code == 200
        for link in slow:
            link.sendall(BODY[5:])
            assert link.recv(65536).startswith(b"HTTP/1.1 200")


def test_a_caller_who_leaves_frees_the_place(tight, tools):
    host, port = tight.said["url"].removeprefix("http://").split(":")
    for _ in range(5):
        with socket.create_connection((host, int(port)), timeout=20) as link:
            link.sendall(
                b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf"
            )
    tools.until(lambda: tight.client.post("/invocations", content=BODY).status_code == 200)
    tools.until(lambda: tight.status()["under_way"] == 0)
    assert tight.client.post("/invocations", content=BODY).status_code == 200


@pytest.mark.parametrize("data", [b"\x00\x01\x02\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET\r\n\r\n", b"\r\n" * 8])
def test_what_is_no_http_is_no_500(live, data):
    assert not raw(live, data + b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.1 5")
    assert live.client.get("/ping").status_code == 200


def test_an_error_inside_is_500_and_says_nothing_of_it():
    async def broken(request):
        raise KeyError("secret")

    sent = []

    async def send(message):
        sent.append(message)

    engine = Engine("shop", None, SystemClock(), Hands(None))
    app = Application(engine, [], [Endpoint("GET", "/x", broken)], Limits(hosts=("*",)))
    scope = {"type": "http", "method": "GET", "path": "/x", "headers": []}
    asyncio.run(app(scope, None, send))
    assert sent[0]["status"] == 500
    assert b"secret" not in sent[1]["body"]
    assert engine.metrics.requests["/x", "", 500] == 1


def test_who_sets_a_deadline_is_answered_within_it_or_told_so(tight):
    assert tight.client.post("/invocations", content=BODY, headers={"Interlock-Timeout-Ms": "5000"}).status_code == 200
    for wrong in ("0", "-1", "soon", "1.5", "99999999999"):
        refused = tight.client.post("/invocations", content=BODY, headers={"Interlock-Timeout-Ms": wrong})
        assert refused.status_code == 400
        assert "milliseconds" in refused.json()["message"]
    host, port = tight.said["url"].removeprefix("http://").split(":")
    head = (
        f"POST /invocations HTTP/1.1\r\nHost: localhost\r\nInterlock-Timeout-Ms: 50\r\nContent-Length: {len(BODY)}\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=20) as slow:
        slow.sendall(head.encode() + b"\r\n" + BODY[:5])
        assert slow.recv(65536).startswith(b"HTTP/1.1 504")
