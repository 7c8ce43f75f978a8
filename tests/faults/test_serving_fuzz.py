"""Every route of a server of predictions under fire, in a real process, for both classes of durability.

Requests are real ones of every protocol of which something was changed: values, bytes, content type, framing. Whatever
comes: no 5xx (503 where it is true: a model is not loaded, labels enough for now), no hang, no value of a row in an
error; the server does not grow, and answers rightly afterwards.

SERVING_FUZZ_REQUESTS=10000 fires longer (with -o faulthandler_timeout=0); SERVING_FUZZ_SEED=text fires other requests.
"""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from fuzz_watch import size_of
from fuzz_wire import BROKEN, Line, Reply, Shot, shown
from serving_shots import ROW, SECRETS, Aim, large, reals
from serving_world import SRC, oip, route, until

from interlock.serve.server import protocols
from interlock.serve.vertex import PREDICT_ROUTE

REQUESTS = int(os.environ.get("SERVING_FUZZ_REQUESTS", "3000"))
SEED = os.environ.get("SERVING_FUZZ_SEED", "interlock")
PREDICT = "/predict"
MEMORY = 8 << 20
MORE = 12
FURTHER = [("GET", "/"), ("GET", "/metrics"), ("GET", "/-/status"), ("POST", "/-/reload"), ("POST", "/labels")]
TRUE = ("enough for now",)  # what a 503 may say here


@pytest.fixture(params=["fsync", "1s"])
def served(request: Any, shop: Any, predicting: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A server of one model."""
    monkeypatch.setenv(PREDICT_ROUTE, PREDICT)
    monkeypatch.setenv("AIP_HEALTH_ROUTE", "/alive")
    shop.deploy(route(shop.bundle("customers"), "model:buyer@3"))
    server = predicting("shop", "--durability", request.param)
    server.durability = request.param
    return server


def routes(server: Any) -> list[tuple[str, str]]:
    """Return verbs and patterns of all routes; the server knows each of them."""
    found = [(one.method, one.path) for spoken in protocols() for one in spoken.routes(None)] + FURTHER
    for _, pattern in found:
        path = pattern.replace("{name}", "shop").replace("{version}", "3")
        assert server.client.request("PROPFIND", path).status_code == 405, path
    return found


class Range:
    """Fires at a server, and looks at what it answers."""

    def __init__(self, server: Any) -> None:
        self.line = Line(server.said["url"].removeprefix("http://"))
        self.answers: Counter[int] = Counter()
        self.slowest = (0.0, "")

    def fire(self, shot: Shot) -> bool:
        """Return whether a request was refused.

        Raises:
            AssertionError: the answer is wrong.
        """
        began = time.monotonic()
        try:
            reply = self.line.ask(shot)
        except TimeoutError:
            pytest.fail(f"no answer in time: {shown(shot)}")
        self.slowest = max(self.slowest, (time.monotonic() - began, shown(shot, 300)))
        self.answers[reply.status] += 1
        if fault := fault_of(shot, reply):
            pytest.fail(f"{fault}\n{shown(reply)}\nSERVING_FUZZ_SEED={SEED!r}: {shown(shot, 4000)}")
        return reply.status >= 400


def fault_of(shot: Shot, reply: Reply) -> str:
    """Return what is wrong with an answer, or ""."""
    if reply.status == 0:
        return "" if shot.framing in BROKEN or shot.method == "CONNECT" else "no answer"
    if reply.status < 400:
        return ""
    if reply.status >= 500 and not (reply.status == 503 and any(said in reply.body.decode() for said in TRUE)):
        return f"status {reply.status}"
    if len(reply.body) > 64 << 10:
        return "the error is as large as what was sent"
    if shot.method == "HEAD":
        return ""
    if any(secret in reply.body for secret in SECRETS):
        return "the error repeats a value"
    try:
        json.loads(reply.body)
    except ValueError:
        return "the error is no JSON"
    return ""


def right(server: Any) -> None:
    """Look whether a server answers rightly."""
    kind = server.kind
    for row, score in zip(kind.rows[:3], kind.scores[:3], strict=True):
        found = server.client.post("/invocations", json={"dataframe_records": [row]})
        assert found.status_code == 200, found.text
        assert ready(server) == 200
        values = {name: [value] for name, value in row.items()}
        outputs = server.client.post("/v2/models/shop/infer", json=oip(**values)).json()["outputs"]
        numbers = [number for output in outputs for number in output["data"]]
        assert any(isinstance(n, float) and n == pytest.approx(score, abs=1e-4) for n in numbers), outputs


def ready(server: Any) -> int:
    return server.client.get("/v2/health/ready").status_code


@pytest.mark.slow
def test_no_request_breaks_a_server_of_predictions(served: Any, kinds: Any, request: pytest.FixtureRequest) -> None:
    served.kind = kinds["customers"]
    right(served)
    identity = served.client.post("/v2/models/shop/infer", json=json_of(ROW)).json()
    label = {"prediction_id": str(identity["id"]), "label": 1}
    real = reals(PREDICT, label)
    for one in real:
        body = one.body if isinstance(one.body, bytes) else json.dumps(one.body).encode()
        answer = served.client.post(one.path, content=body, headers={"content-type": one.media, **dict(one.headers)})
        known = answer.status_code < 300 or any(part in one.path for part in ("repository", "labels", "explain"))
        assert known or one.path == "/models", (one, answer.text)
    gun = Range(served)
    request.addfinalizer(gun.line.close)
    seed = f"{SEED} {served.durability}"
    aim = Aim(random.Random(seed), real, routes(served))
    refused = [shot for shot in (aim.shot() for _ in range(REQUESTS)) if gun.fire(shot)]
    for shot in large():
        gun.fire(shot)
    assert len(refused) > REQUESTS / 3
    again = refused[: max(300, REQUESTS // 10)]
    sizes = []
    for _ in range(4):
        for shot in again:
            gun.fire(shot)
        gun.line.close()
        sizes.append(size_of(served.process.pid))
    print(dict(gun.answers), "slowest:", gun.slowest, sizes)
    before, after = sizes[-2:]
    assert after.memory - before.memory < MEMORY, sizes
    assert after.threads - sizes[0].threads < MORE, sizes
    assert after.files - before.files < MORE, sizes
    assert set(gun.answers) > {200, 400, 404, 405, 413}, gun.answers
    right(served)
    assert served.status()["under_way"] == 0
    assert served.stop() == 0, served.errors.read_text()
    assert "Traceback" not in served.errors.read_text()


def json_of(row: dict[str, Any]) -> dict[str, Any]:
    return oip(**{name: [value] for name, value in row.items()})


class Plain:
    """A process of `interlock serve` over a folder, without a deployment; it looks like a server of `serving_world`."""

    def __init__(self, folder: Path, durability: str, environment: dict[str, str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        command = [sys.executable, "-m", "interlock", "serve", f"./{folder.name}", "--port", str(port)]
        self.errors = folder.parent / "stderr.txt"
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [*command, "--durability", durability], cwd=folder.parent, env=environment, stderr=errors
            )
        self.said = {"url": f"http://127.0.0.1:{port}"}
        self.client = httpx.Client(base_url=self.said["url"], timeout=30)

    def alive(self) -> bool:
        """Return whether it answers."""
        assert self.process.poll() is None, self.errors.read_text()
        try:
            return self.client.get("/ping").status_code == 200
        except httpx.TransportError:
            return False


@pytest.mark.slow
@pytest.mark.parametrize("durability", ["fsync", "1s"])
def test_no_request_breaks_interlock_serve(durability: str, shop: Any, kinds: Any, tmp_path: Path) -> None:
    shop.bundle("customers")
    folder = tmp_path / "bundle-1"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("INTERLOCK_", "AIP_"))}
    server = Plain(folder, durability, {**environment, "PYTHONPATH": str(SRC), "TMPDIR": str(tmp_path)})
    gun = Range(server)
    try:
        until(server.alive)
        real = reals("/invocations", {"subject": "p", "label": 1})
        real = [one._replace(path=one.path.replace("models/shop", f"models/{folder.name}")) for one in real]
        aim = Aim(random.Random(f"{SEED} {durability}"), real, routes(server))
        refused = sum(gun.fire(aim.shot()) for _ in range(REQUESTS))
        assert refused > REQUESTS / 3
        kind = kinds["customers"]
        answer = server.client.post("/invocations", json={"dataframe_records": kind.rows[:5]})
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["predictions"]) == 5
        server.process.terminate()
        assert server.process.wait(30) == 0, server.errors.read_text()
        assert "Traceback" not in server.errors.read_text()
    finally:
        gun.line.close()
        server.client.close()
        server.process.kill()
        server.process.wait()
    print(dict(gun.answers))
