"""The process: its start, its end, and what is on disk when it is killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from interlock.core.bundles import Serving
from interlock.core.clock import SystemClock
from interlock.serve.__main__ import main
from interlock.serve.app import Application, Limits
from interlock.serve.engine import Engine
from interlock.serve.hands import Hands
from interlock.serve.server import _Follower
from interlock.store.blocklog import BlockReader

ROW = {"age": 40, "hours": 38.0, "income": 30.0}


@pytest.fixture
def deployed(shop, tools):
    shop.deploy(tools.route(shop.bundle("people")))


@pytest.mark.usefixtures("deployed")
def test_it_announces_itself_when_it_is_ready(serve):
    server = serve()
    assert server.said["pid"] == server.process.pid
    assert server.said["revision"] == 1
    assert httpx.get(server.said["url"] + "/v2/health/ready").json() == {"ready": True}
    status = server.status()
    assert (status["pid"], status["deployment"], status["ready"]) == (server.process.pid, "shop", True)
    assert {"python", "onnxruntime", "numpy"} <= set(status["versions"])
    assert list(server.announce.parent.glob("announce*.tmp")) == []


@pytest.mark.usefixtures("deployed")
def test_sigterm_finishes_what_is_under_way_and_closes_the_log(shop, serve):
    server = serve()
    row = json.dumps({"instances": [ROW]}).encode()
    host, port = server.said["url"].removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as link:
        link.sendall(b"POST /invocations HTTP/1.1\r\nHost: localhost\r\n")
        link.sendall(f"Content-Length: {len(row)}\r\n\r\n".encode() + row[:9])
        server.client.get("/ping")  # the half request has been read by now
        server.process.send_signal(signal.SIGTERM)
        link.sendall(row[9:])
        answer = b"".join(iter(lambda: link.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200")
    assert server.stop() == 0
    found = json.loads(answer.partition(b"\r\n\r\n")[2])["predictions"][0]["prediction_id"]
    assert shop.store.predictions.get(found).inputs == ROW
    assert server.errors.read_text() == ""
    (log,) = shop.store.predictions.folder.glob("*.log")
    with BlockReader(log) as reader:
        assert reader.sealed


@pytest.mark.usefixtures("deployed")
def test_killed_under_load_every_acknowledged_prediction_is_in_the_log(shop, serve, tools):
    server = serve()
    acknowledged = []

    def ask():
        with httpx.Client(base_url=server.said["url"], timeout=20) as client:
            while True:
                try:
                    answer = client.post("/invocations", json={"instances": [ROW, ROW]})
                except httpx.TransportError:
                    return
                acknowledged.extend(p["prediction_id"] for p in answer.json()["predictions"])

    callers = [threading.Thread(target=ask) for _ in range(4)]
    for caller in callers:
        caller.start()
    tools.until(lambda: len(acknowledged) > 150)
    server.process.kill()
    for caller in callers:
        caller.join()
    assert server.process.wait(20) == -signal.SIGKILL
    recorded = [row.id for row in shop.store.predictions.rows()]
    assert len(recorded) == len(set(recorded))
    assert set(acknowledged) <= set(recorded)
    assert len(recorded) <= len(acknowledged) + 2 * len(callers)


@pytest.mark.usefixtures("deployed")
@pytest.mark.parametrize("related", [True, False], ids=["child", "stranger"])
def test_it_ends_with_the_process_it_was_told(shop, tools, related):
    """A parent is started that starts a server, or names a third process, and is killed."""
    announce = shop.root.parent / "announce.json"
    command = [sys.executable, "-m", "interlock.serve", "--workspace", str(shop.root), "--deployment", "shop"]
    command += ["--announce", str(announce), "--parent-pid"]
    starter = "import os, subprocess, sys, time; subprocess.Popen(sys.argv[1:] + [str(os.getpid())]); time.sleep(60)"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    if related:
        parent = subprocess.Popen([sys.executable, "-c", starter, *command], env=env)
        server = None
    else:
        parent = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        server = subprocess.Popen([*command, str(parent.pid)], env=env)
    tools.until(announce.exists)
    pid = json.loads(announce.read_bytes())["pid"]
    parent.kill()
    parent.wait(20)
    try:
        if server is not None:
            assert server.wait(20) == 0
        else:
            tools.until(lambda: not _runs(pid))
    finally:
        if _runs(pid):
            os.kill(pid, signal.SIGKILL)


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--deployment", "nobody"], "deployment.not_found"),
        (["--deployment", "shop", "--host", "203.0.113.1"], "address.unavailable"),
        (["--deployment", "shop", "--announce", "/nowhere/announce.json"], "announcement.unavailable"),
        (["--deployment", "shop", "--workspace", "/nowhere/.interlock"], "workspace.not_found"),
    ],
)
@pytest.mark.usefixtures("deployed")
def test_a_server_that_cannot_start_says_why_and_ends_with_2(shop, arguments, says, capsys):
    assert main(["--workspace", str(shop.root), *arguments]) == 2
    assert json.loads(capsys.readouterr().err)["code"] == says
    assert list(shop.store.predictions.folder.glob("*.log")) == []


def test_the_built_in_protocols_are_there_without_entry_points(monkeypatch):
    from interlock.serve import server

    monkeypatch.setattr(server, "load_all", lambda group: {})
    assert [protocol.name for protocol in server.protocols()] == ["mlflow", "oip", "sagemaker", "vertex"]


def test_a_server_follows_another_durability_and_bound_without_a_restart_or_a_lost_row(shop, serve, tools):
    one = tools.route(shop.bundle("people"))
    shop.deploy(one, serving=Serving(durability="1s"))
    server = serve("shop", "--durability", "fsync")
    assert server.status()["serving"]["durability"] == "1s"  # what the spec says counts first
    stop, given, failed = threading.Event(), [], []

    def ask():
        with httpx.Client(base_url=server.said["url"], timeout=20) as client:
            while not stop.is_set():
                answer = client.post("/invocations", json={"instances": [ROW]})
                if answer.status_code == 200:
                    given.append(answer.json()["predictions"][0]["prediction_id"])
                else:
                    failed.append(answer.text)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number, durability in enumerate(["fsync", "1s", None, "1s"], start=2):
        shop.deploy(one, revision=number, serving=Serving(durability=durability))
        found = server.client.post("/-/reload").json()
        assert (found["revision"], found["serving"]["durability"]) == (number, durability or "fsync")
        seen = len(given)
        tools.until(lambda seen=seen: len(given) > seen + 20)
    stop.set()
    for thread in threads:
        thread.join()
    status = server.status()
    assert (failed, status["log"]["written"], status["pid"]) == ([], len(given), server.said["pid"])
    assert server.stop() == 0
    recorded = [row.id for row in shop.store.predictions.rows()]
    assert sorted(recorded) == sorted(given)
    assert len(list(shop.store.predictions.folder.glob("*.log"))) >= 4  # one a change: they did take turns


def test_at_most_so_many_requests_as_the_spec_says_are_under_way():
    app = Application(Engine("shop", None, SystemClock(), Hands(None)), [], [], Limits(concurrent=9))
    follow = _Follower(None, app)
    follow(Serving(concurrent=2))
    assert app.limits.concurrent == 2
    follow(Serving())
    assert app.limits.concurrent == 9
