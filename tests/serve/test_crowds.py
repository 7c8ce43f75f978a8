"""What one caller may do to others: packed bodies, bodies that do not come, answers that nobody takes."""

from __future__ import annotations

import gzip
import json
import socket
import time

import pytest

ROW = {"city": "Oslo", "age": 21, "spend": 150.5}
BODY = json.dumps({"dataframe_records": [ROW]}).encode()


def link(live, address="127.0.0.1"):
    port = int(live.said["url"].rpartition(":")[2])
    return socket.create_connection(("127.0.0.1", port), timeout=20, source_address=(address, 0))


def head(path, size, more=""):
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{more}Content-Length: {size}\r\n\r\n".encode()


def status(one) -> int:
    return int(one.recv(65536).split()[1])


def test_a_packed_body_is_answered_as_any_other(live):
    found = live.client.post("/invocations", content=gzip.compress(BODY), headers={"Content-Encoding": "gzip"})
    assert found.json()["predictions"][0]["probability"] == live.invoke(ROW).json()["predictions"][0]["probability"]
    bomb = gzip.compress(b" " * 17_000_000)
    assert live.client.post("/invocations", content=bomb, headers={"Content-Encoding": "gzip"}).status_code == 413
    assert live.client.post("/labels", content=bomb, headers={"Content-Encoding": "gzip"}).status_code == 413
    assert live.client.post("/labels", content=b"{}", headers={"Content-Encoding": "gzip"}).status_code == 400
    assert live.client.post("/-/reload", content=BODY, headers={"Content-Encoding": "br"}).status_code == 415


@pytest.mark.parametrize(("path", "places"), [("/labels", 16), ("/invocations", 128)])
def test_bodies_that_do_not_come_leave_places_for_other_addresses(live, path, places):
    links = []
    try:
        for _ in range(places // 2 + 4):
            links.append(link(live, "127.0.0.3"))
            links[-1].sendall(head(path, 1_000_000) + b"{")
        time.sleep(0.2)
        body = json.dumps({"labels": []} if path == "/labels" else {"dataframe_records": [ROW] * 2000}).encode()
        body += b" " * 70_000
        with link(live, "127.0.0.4") as other:
            other.sendall(head(path, len(body)) + body)
            assert status(other) in {200, 400}
        assert [status(one) for one in links[-3:]] == [429] * 3
    finally:
        for one in links:
            one.close()


def test_small_bodies_in_two_pieces_need_no_task_and_no_place(live):
    links = [link(live) for _ in range(300)]
    try:
        for one in links:
            one.sendall(head("/invocations", len(BODY)) + BODY[:5])
        assert live.invoke(ROW).status_code == 200
        for one in links:
            one.sendall(BODY[5:])
        assert {status(one) for one in links} == {200}
    finally:
        for one in links:
            one.close()
