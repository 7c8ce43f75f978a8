"""Revisions come and go under load: every request is answered, by the model that its headers name."""

from __future__ import annotations

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from interlock.core.clock import SystemClock
from interlock.serve.engine import Engine
from interlock.serve.hands import Hands
from interlock.serve.watch import Watcher


class Load:
    """Callers who never stop asking."""

    def __init__(self, server, kinds, callers=3):
        self.url = server.said["url"]
        self.row = kinds["people"].rows[0]
        self.answers = []
        self.failures = []
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(callers)
        self._work = [self._pool.submit(self._ask) for _ in range(callers)]

    def _ask(self):
        with httpx.Client(base_url=self.url, timeout=20) as client:
            while not self._stop.is_set():
                response = client.post("/invocations", json={"instances": [self.row]})
                if response.status_code != 200:
                    self.failures.append(response.text)
                    continue
                (found,) = response.json()["predictions"]
                headers = response.headers
                self.answers.append((headers["interlock-model"], int(headers["interlock-revision"]), found))

    def stop(self):
        self._stop.set()
        for work in self._work:
            work.result()
        self._pool.shutdown()


def test_a_swap_under_load_drops_no_request_and_mixes_no_models(shop, serve, kinds, tools):
    bundles = {"model:buyer@1": shop.bundle("people"), "model:buyer@2": shop.bundle("reversed")}
    scores = {"model:buyer@1": kinds["people"].scores[0], "model:buyer@2": kinds["reversed"].scores[0]}
    shop.deploy(tools.route(bundles["model:buyer@1"], "model:buyer@1"))
    server = serve()
    load = Load(server, kinds)
    tools.until(lambda: load.answers)
    last = 6
    for revision in range(2, last + 1):
        model = f"model:buyer@{revision % 2 + 1}"
        shop.deploy(tools.route(bundles[model], model), revision=revision)
        assert server.client.post("/-/reload").json()["revision"] == revision
        seen = len(load.answers)
        tools.until(lambda seen=seen: len(load.answers) > seen + 5)
    load.stop()
    assert load.failures == []
    assert {revision for _, revision, _ in load.answers} == set(range(1, last + 1))
    for model, revision, found in load.answers:
        assert model == f"model:buyer@{revision % 2 + 1}" or revision == 1
        assert found["probability"] == pytest.approx(scores[model], abs=1e-5)
    recorded = {row.id: row for row in shop.store.predictions.rows()}
    for model, revision, found in load.answers:
        row = recorded[found["prediction_id"]]
        assert (row.model, row.revision, row.score) == (model, revision, found["probability"])


def test_the_server_follows_its_row_by_itself(shop, serve, tools):
    bundle = shop.bundle("people")
    shop.deploy(tools.route(bundle))
    server = serve()
    shop.deploy(tools.route(bundle), tools.route(shop.bundle("reversed"), "model:buyer@2", 0.1), revision=2)
    tools.until(lambda: server.status()["revision"] == 2)
    found = server.status()
    assert [(r["model"], r["weight"], r["bundle"] == bundle) for r in found["routes"]] == [
        ("model:buyer@1", 1.0, True),
        ("model:buyer@2", 0.1, False),
    ]
    tools.until(lambda: json.loads(server.announce.read_bytes())["revision"] == 2)


def test_a_revision_that_fails_its_golden_requests_takes_no_traffic(shop, serve, kinds, tools):
    shop.deploy(tools.route(shop.bundle("people")))
    server = serve()
    wrong = shop.bundle("reversed", scores=kinds["people"].scores)
    shop.deploy(tools.route(wrong, "model:buyer@2"), revision=2)
    answer = server.client.post("/-/reload")
    assert answer.status_code == 409
    found = answer.json()
    assert (found["revision"], found["wanted_revision"], found["ready"]) == (1, 2, True)
    assert "golden rows get another score" in " ".join(found["errors"])
    served = server.invoke(kinds["people"].rows[0])
    assert served.headers["interlock-revision"] == "1"
    shop.deploy(tools.route(shop.bundle("reversed"), "model:buyer@2"), revision=3)
    tools.until(lambda: server.status()["revision"] == 3)
    assert server.status()["errors"] == []
    text = server.client.get("/metrics").text
    assert 'interlock_revisions_total{result="refused"} 1.0' in text
    assert 'interlock_revisions_total{result="served"} 2.0' in text


def test_without_a_sound_first_revision_it_is_alive_and_not_ready(shop, serve, kinds, tools):
    shop.deploy(tools.route(shop.bundle("people", scores=kinds["reversed"].scores)))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = serve("shop", "--port", str(port), wait=False)
    server.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20)

    def alive():
        try:
            return server.client.get("/v2/health/live").status_code == 200
        except httpx.TransportError:
            return False

    tools.until(alive)
    assert server.client.get("/v2/health/ready").status_code == 503
    assert server.client.get("/ping").status_code == 503
    assert server.client.get("/v2/models/shop").status_code == 503
    answer = server.invoke(kinds["people"].rows[0])
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert not server.announce.exists()
    shop.deploy(tools.route(shop.bundle("people")), revision=2)
    server.ready()
    assert server.said["revision"] == 2
    assert server.client.get("/v2/health/ready").status_code == 200


def test_a_failed_revision_is_not_tried_again_until_told(shop, kinds, tools):
    shop.deploy(tools.route(shop.bundle("people", scores=kinds["reversed"].scores)))
    engine = Engine("shop", None, SystemClock(), Hands(None))
    watcher = Watcher(engine, shop.source())
    watcher.check(force=False)
    first = watcher.error
    watcher.check(force=False)
    assert watcher.error is first
    watcher.check()
    assert watcher.error is not first
    assert engine.metrics.swaps == {"served": 0, "refused": 1}


def test_a_deployment_that_went_away_goes_on_being_served(shop, tools):
    shop.deploy(tools.route(shop.bundle("people")))
    engine = Engine("shop", None, SystemClock(), Hands(None))
    watcher = Watcher(engine, shop.source())
    watcher.check()
    shop.store.database.write(lambda tx: tx.run("DELETE FROM deployments"))
    watcher.check()
    assert "no deployment 'shop'" in str(watcher.error)
    assert engine.revision.number == 1
    assert engine.check() == []
    shop.deploy(tools.route(shop.bundle("people")), revision=1)
    watcher.check()
    assert watcher.error is None
