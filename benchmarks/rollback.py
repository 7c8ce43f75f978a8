"""How long a version that was rolled back still answers, under load; and how long a restart of the same server takes.

python benchmarks/rollback.py [--model linear|forest] [--times N] [--callers N]

Callers ask one after the other without a pause. A rollback begins when it is called, and is over with the last answer
of the version that it takes away. A restart, which is how servers change their model that load one when they start,
begins with the stop and is over with the first answer.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
from common.deploying import bundle_folder
from common.models import NAMES, train

from interlock.core.ids import new_id
from interlock.deploy.service import DeployService
from interlock.registry.service import RegistryService
from interlock.store import create_store
from interlock.store.manifests import put_folder
from interlock.track.environment import environment
from interlock.track.records import Start
from interlock.track.service import TrackService

NAME = "bench"
SETTLE_S = 0.5


class Callers:
    """Threads that ask, and remember when which version answered."""

    def __init__(self, url: str, row: dict[str, float], count: int) -> None:
        self.answers: list[tuple[float, str]] = []
        self.failed = 0
        self._address, self._body = url.removeprefix("http://"), json.dumps({"instances": [row]})
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=10)
        while not self._stop.is_set():
            connection.request("POST", "/invocations", self._body, {"content-type": "application/json"})
            response = connection.getresponse()
            response.read()
            if response.status == 200:
                self.answers.append((time.perf_counter(), response.headers["interlock-model"]))
            else:
                self.failed += 1
        connection.close()

    def stop(self) -> None:
        """Ask no more."""
        self._stop.set()
        for thread in self._threads:
            thread.join()


def approved(store: Any, folder: Path) -> str:
    """Register a bundle as the next version, and approve it as the tables say it: no gate is measured here."""
    registry, track = RegistryService(store), TrackService(store)
    run = track.start(Start(NAME, environment=store.objects.put(msgspec.json.encode(environment()))))
    track.finish(run.id)
    version = registry.register(NAME, run.ref, put_folder(store.objects, folder))
    values = {"version": version.version, "bundle": version.bundle, "report": store.objects.put(b'{"waived": []}')}

    def write(tx: Any) -> None:
        for stage in ("environment prepared", "validated", "approved"):
            registry.advance(tx, version.ref, stage, "benchmark")
        tx.run(
            "INSERT INTO approvals (model, version, actor, bundle, report, policy, note, given_at)"
            f" VALUES ('{NAME}', :version, 'user:bench', :bundle, :report, '', '', 0)",
            values,
        )

    store.database.write(write)
    return version.ref


def rollback(deploy: DeployService, row: dict[str, float], bad: str, callers: int, root: Path | None) -> list[float]:
    """Return seconds from the call: to the last answer of the bad version, to the call's end; and failed requests."""
    url = deploy.deploy(NAME, bad).url
    load = Callers(url, row, callers)
    time.sleep(SETTLE_S)
    began = time.perf_counter()
    if root is None:
        deploy.rollback(NAME, f"benchmark {new_id()}")
    else:
        subprocess.run(
            [sys.executable, "-m", "interlock", "deploy", "rollback", NAME],
            cwd=root,
            check=True,
            stdout=subprocess.DEVNULL,
        )
    took = time.perf_counter() - began
    time.sleep(SETTLE_S)
    load.stop()
    last = max(at for at, model in load.answers if model == bad)
    assert load.answers[-1][1] != bad, "the bad version still answers"
    return [last - began, took, float(load.failed)]


def restart(deploy: DeployService, row: dict[str, float]) -> float:
    """Return seconds from the stop of the server to the first answer of the one that is started then."""
    began = time.perf_counter()
    deploy.stop(NAME)
    url = deploy.start(NAME).url
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    connection.request("POST", "/invocations", json.dumps({"instances": [row]}), {"content-type": "application/json"})
    assert connection.getresponse().status == 200
    connection.close()
    return time.perf_counter() - began


def told(what: str, seconds: list[float]) -> None:
    print(f"{what:58} median {statistics.median(seconds) * 1e3:8.1f} ms   slowest {max(seconds) * 1e3:8.1f} ms")


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--model", default="linear")
    arguments.add_argument("--times", type=int, default=20)
    arguments.add_argument("--callers", type=int, default=2)
    said = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        store = create_store(root / ".interlock")
        models = []
        for seed in (1, 2):
            (root / str(seed)).mkdir()
            models.append(train(said.model, root / str(seed), seed))
        good, bad = (approved(store, bundle_folder(model)) for model in models)
        row = dict(zip(NAMES, models[0].rows[0], strict=True))
        deploy = DeployService(store)
        try:
            deploy.deploy(NAME, good)
            rolled = [rollback(deploy, row, bad, said.callers, None) for _ in range(said.times)]
            typed = [rollback(deploy, row, bad, said.callers, root) for _ in range(max(said.times // 4, 1))]
            again = [restart(deploy, row) for _ in range(max(said.times // 4, 1))]
        finally:
            deploy.stop(NAME)
            store.close()
    told("rollback, to the last answer of the bad version", [one[0] for one in rolled])
    told("rollback, to the end of the call", [one[1] for one in rolled])
    told("`interlock deploy rollback`, to the last bad answer", [one[0] for one in typed])
    told("a restart of the server, to its first answer", again)
    print(f"requests that failed: {sum(int(one[2]) for one in [*rolled, *typed])}")
    ratio = statistics.median(again) / statistics.median([one[0] for one in rolled])
    print(f"a restart takes {ratio:.0f} times as long as a rollback")
    return 0


if __name__ == "__main__":
    sys.exit(main())
