"""Real sockets to a real server that has two threads for uploads: who sends slowly holds up nobody."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from interlock.sdk.workspace import Workspace
from interlock.server import bodies, resources
from interlock.server.run import serving

MB = 1 << 20
THREADS = 2


@pytest.fixture
def host(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(resources, "_WORKERS", THREADS)
    monkeypatch.setattr(bodies, "_LOOK_S", 0.05)
    with serving(workspace) as address:
        yield address.removeprefix("http://")


@pytest.fixture
def run(host: str) -> str:
    asked = http.client.HTTPConnection(host, timeout=20)
    with contextlib.closing(asked):
        asked.request("POST", "/api/2.0/mlflow/runs/create", b'{"experiment_id": "0"}')
        return str(json.loads(asked.getresponse().read())["run"]["info"]["run_id"])


@pytest.fixture
def put(host: str) -> Iterator[Callable[..., socket.socket]]:
    """Send a request's head and some of its body."""
    name, _, port = host.rpartition(":")
    with contextlib.ExitStack() as opened:

        def one(path: str, length: int, some: bytes, method: str = "PUT") -> socket.socket:
            sock = opened.enter_context(socket.create_connection((name, int(port)), timeout=20))
            head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n"
            sock.sendall(head.encode() + some)
            return sock

        yield one


def answer_of(sock: socket.socket) -> tuple[int, dict[str, str], Any]:
    response = http.client.HTTPResponse(sock)
    with contextlib.closing(response):
        response.begin()
        return response.status, {n.lower(): v for n, v in response.getheaders()}, json.loads(response.read())


@pytest.fixture(params=["upload", "artifact", "part"])
def path(request: pytest.FixtureRequest, put: Callable[..., socket.socket], run: str) -> str:
    below = f"0/{run}/artifacts"
    if request.param == "upload":
        return "/api/v1/uploads?name=x"
    if request.param == "artifact":
        return f"/api/2.0/mlflow-artifacts/artifacts/{below}/x"
    ask = b'{"path": "x", "num_parts": 1}'
    _, _, told = answer_of(put(f"/api/2.0/mlflow-artifacts/mpu/create/{below}", len(ask), ask, "POST"))
    return "/api" + str(told["credentials"][0]["url"]).partition("/api")[2]


def test_who_has_only_begun_holds_no_thread(put: Callable[..., socket.socket], path: str) -> None:
    begun = [put(path, 3 * MB, b"x" * 1000) for _ in range(4 * THREADS)]
    assert answer_of(put(path, 5, b"whole"))[0] == 200
    for sock in begun:
        sock.sendall(b"y" * (3 * MB - 1000))
        assert answer_of(sock)[0] == 200


def test_who_is_silent_gives_way_to_who_waits(
    put: Callable[..., socket.socket], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "_IMPATIENCE_S", 0.2)
    silent = [put(path, 3 * MB, b"x" * (2 * MB)) for _ in range(THREADS)]
    time.sleep(0.6)  # nobody waits, so nobody is sent away
    going, silent = silent[0], silent[1:]
    going.sendall(b"x" * MB)
    assert answer_of(going)[0] == 200
    silent += [put(path, 3 * MB, b"x" * (2 * MB)) for _ in range(THREADS)]
    assert answer_of(put(path, 2 * MB, b"x" * (2 * MB)))[0] == 200
    left = [sock for sock in silent if not _is_answered(sock)]
    assert len(left) < THREADS + 1
    for sock in silent:
        if sock not in left:
            status, headers, told = answer_of(sock)
            assert (status, headers["retry-after"]) == (503, "1")
            assert "Nothing came" in told.get("title", told.get("message"))
    for sock in left:
        sock.sendall(b"x" * MB)
        assert answer_of(sock)[0] == 200


@pytest.mark.parametrize(
    ("size", "steps"), [(0, 1), (1, 1), (bodies._PIECE, 3), (5 * MB + 17, 1), (5 * MB + 17, 7), (5 * MB + 17, 400)]
)
def test_what_comes_in_pieces_is_whole(
    put: Callable[..., socket.socket], path: str, run: str, host: str, size: int, steps: int
) -> None:
    data, step = random.Random(size).randbytes(size), size // steps + 1
    sock = put(path, size, b"")
    for start in range(0, size, step):
        sock.sendall(data[start : start + step])
        if start % 50 == 0:
            time.sleep(0.001)
    status, headers, told = answer_of(sock)
    assert status == 200
    digest = hashlib.sha256(data).hexdigest()
    if told:
        assert told == {"name": "x", "digest": digest, "size_bytes": size}
    elif "etag" in headers:
        assert headers["etag"] == f'"{digest}"'
    else:
        asked = http.client.HTTPConnection(host, timeout=20)
        with contextlib.closing(asked):
            asked.request("GET", path)
            assert asked.getresponse().read() == data


def _is_answered(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
    finally:
        sock.settimeout(20)


def test_what_comes_slowly_is_taken(
    put: Callable[..., socket.socket], path: str, monkeypatch: pytest.MonkeyPatch, workspace: Workspace
) -> None:
    """A megabyte may take longer than silence lasts."""
    monkeypatch.setattr(bodies, "_SILENCE_S", 0.6)
    sock = put(path, 2 * MB + 9, b"x" * (2 * MB))
    for _ in range(9):
        time.sleep(0.1)
        sock.sendall(b"y")
    assert answer_of(sock)[0] == 200


def test_who_goes_away_leaves_nothing(put: Callable[..., socket.socket], path: str, workspace: Workspace) -> None:
    def kept() -> list[str]:
        folders = (workspace.store.objects.root, workspace.store.uploads.root)  # type: ignore[attr-defined]
        return sorted(str(file) for folder in folders for file in folder.rglob("*") if file.name != "plan.json")

    before = kept()
    for size in (1000, 2 * MB):
        for sock in [put(path, 3 * MB, b"x" * size) for _ in range(2 * THREADS)]:
            sock.close()
    assert answer_of(put("/api/v1/uploads?name=x", 3, b"abc"))[0] == 200  # the threads are free
    for _ in range(200):
        if len(kept()) == len(before) + 2:  # that file, and its folder
            return
        time.sleep(0.05)
    assert kept() == before


def test_who_sends_byte_by_byte_gives_way_to_who_waits(
    put: Callable[..., socket.socket], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each byte comes in time; together they are too few."""
    monkeypatch.setattr(bodies, "_IMPATIENCE_S", 0.5)
    begun = [put(path, 8 * MB, b"x" * (2 * MB + MB // 5)) for _ in range(THREADS + 1)]
    ended = threading.Event()

    def drip() -> None:
        while not ended.wait(0.05):
            for sock in begun:
                with contextlib.suppress(OSError):
                    sock.send(b"y")

    dripping = threading.Thread(target=drip)
    dripping.start()
    try:
        honest = put(path, 2 * MB, b"x" * (2 * MB))
        honest.settimeout(10)
        assert answer_of(honest)[0] == 200
        status, headers, told = next(answer_of(sock) for sock in begun if _is_answered(sock))
    finally:
        ended.set()
        dripping.join()
    assert (status, headers["retry-after"]) == (503, "1")
    assert "and others wait" in told.get("title", told.get("message"))


def test_who_sends_a_fair_share_keeps_its_thread(
    put: Callable[..., socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "_IMPATIENCE_S", 2.0)
    monkeypatch.setattr(bodies, "_FAIR", 1000)
    path, size = "/api/v1/uploads?name=x", 2 * MB
    begun = [put(path, size + 25_000, b"x" * size) for _ in range(THREADS)]
    waits = put(path, 2 * MB, b"x" * size)
    for _ in range(25):  # longer than patience lasts
        time.sleep(0.1)
        for sock in begun:
            sock.sendall(b"y" * 1000)
    assert [answer_of(sock)[0] for sock in (*begun, waits)] == [200] * (THREADS + 1)
