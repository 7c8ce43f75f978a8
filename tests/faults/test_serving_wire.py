"""What HTTP allows and few send, and what it does not: order of answers, versions, targets, ends of connections."""

from __future__ import annotations

import http.client
import io
import json
import socket
from typing import Any

import pytest
from serving_world import route

ROW = {"age": 40, "hours": 38.0, "income": 30.0}
BODY = json.dumps({"dataframe_records": [ROW]}).encode()
LARGE = json.dumps({"dataframe_records": [ROW] * 3000}).encode()


@pytest.fixture(params=["fsync", "1s"])
def served(request: Any, shop: Any, predicting: Any) -> Any:
    shop.deploy(route(shop.bundle("people")))
    return predicting("shop", "--durability", request.param)


def request(path: str, body: bytes = b"", *headers: str, method: str = "", version: str = "1.1") -> bytes:
    lines = [f"{method or ('POST' if body else 'GET')} {path} HTTP/{version}", "Host: localhost", *headers]
    if body and not any(line.lower().startswith("transfer-encoding") for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def said(server: Any, *parts: bytes) -> bytes:
    """Return all that comes until the server ends the connection; the last part asks it to."""
    host, port = server.said["url"].removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as link:
        for part in parts:
            link.sendall(part)
        return b"".join(iter(lambda: link.recv(1 << 16), b""))


class _Bytes(io.BytesIO):
    def makefile(self, *_: Any, **__: Any) -> Any:
        return self

    def close(self) -> None:
        """Stay: several answers are in here."""


def answers(data: bytes, methods: Any = ()) -> list[Any]:
    """Return statuses and request ids, in their order."""
    stream, found = _Bytes(data), []
    methods = iter(methods)
    while stream.tell() < len(data):
        response = http.client.HTTPResponse(stream, method=next(methods, "GET"))
        response.begin()
        response.read()
        found.append((response.status, response.getheader("interlock-request-id")))
    return found


@pytest.mark.slow
def test_answers_come_in_the_order_of_the_requests(served: Any) -> None:
    """Whatever each costs: what is answered at once, waits for a disk or a thread, is refused, or has no body."""
    asked = []
    for number in range(60):
        own = f"X-Request-Id: n{number}"
        kinds = [
            request("/invocations", BODY, own),
            request("/invocations", LARGE, own),
            request("/metrics", b"", own),
            request("/invocations", b"{", own),
            request("/no/such", BODY, own),
            request("/v2/health/ready", b"", own, method="HEAD"),
            request("/invocations", BODY, own, "Interlock-Timeout-Ms: 20000"),
        ]
        asked.append(kinds[number % len(kinds)])
    methods = ["HEAD" if raw.startswith(b"HEAD") else "GET" for raw in asked] + ["GET"]
    last = request("/ping", b"", "Connection: close", "X-Request-Id: n60")
    together = b"".join([*asked, last])
    pieces = [together[at : at + 1337] for at in range(0, len(together), 1337)]
    for parts in ([together], pieces):
        found = answers(said(served, *parts), methods)
        assert [own for _, own in found] == [f"n{number}" for number in range(61)]
        assert [status for status, _ in found[:7]] == [200, 200, 200, 400, 404, 200, 200]


def test_old_versions_are_answered_and_the_connection_ends(served: Any) -> None:
    for raw in (request("/invocations", BODY, version="1.0"), request("/ping", version="1.0")):
        ((status, _),) = answers(said(served, raw))
        assert status == 200
    kept = request("/invocations", BODY, "Connection: keep-alive", version="1.0")
    found = answers(said(served, kept + request("/invocations", BODY, "Connection: close")))
    assert {status for status, _ in found} == {200}


def test_other_forms_of_targets_are_answered_or_refused(served: Any) -> None:
    close = "Connection: close"
    for target, allowed in {
        "http://localhost/invocations": {200, 404},
        "http://elsewhere.invalid/invocations": {200, 404, 421},
        "*": {400, 404},
        "//invocations": {404},
        "/invocations/": {404},
        "/invocations?x=1": {400},
        "/invocations?model=nobody": {404},
        "/invocations#x": {200, 400, 404},
        "/%69nvocations": {200, 404},
        "/invocations%00": {404},
        "/" + "x" * 60_000: {404, 431},
        "/invocations;a=b": {404},
    }.items():
        ((status, _),) = answers(said(served, request(target, BODY, close)))
        assert status in allowed, (target, status)


def test_lengths_that_contradict_each_other_are_refused(served: Any) -> None:
    """What a proxy before the server may read otherwise: a request inside of another one is never answered."""
    inner = request("/metrics", b"", "X-Request-Id: smuggled")
    framed = b"0\r\n\r\n" + inner
    tries = [
        request("/invocations", framed, "Transfer-Encoding: chunked", f"Content-Length: {len(framed)}"),
        request("/invocations", b"", "Content-Length: 5", "Content-Length: 0", method="POST") + inner,
        request("/invocations", b"", "Content-Length: +0", method="POST") + inner,
        request("/invocations", b"", "Content-Length: 0, 5", method="POST") + inner,
        request("/invocations", b"", "Transfer-Encoding: identity, chunked, x", method="POST") + framed,
        request("/invocations", b"", "Transfer-Encoding : chunked", method="POST") + framed,
    ]
    for raw in tries:
        reply = said(served, raw, request("/ping", b"", "Connection: close"))
        assert b"smuggled" not in reply, (raw, reply)
        assert reply.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5")) or not reply, (raw, reply[:300])
        assert not reply.startswith(b"HTTP/1.1 5"), (raw, reply[:300])


def test_a_caller_who_ends_his_side_gets_his_answers(served: Any) -> None:
    host, port = served.said["url"].removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as link:
        link.sendall(request("/invocations", BODY))
        link.shutdown(socket.SHUT_WR)
        reply = b"".join(iter(lambda: link.recv(1 << 16), b""))
    assert reply.startswith(b"HTTP/1.1 200") or reply == b""  # uvicorn takes the end for a farewell
    assert served.invoke(ROW).status_code == 200
