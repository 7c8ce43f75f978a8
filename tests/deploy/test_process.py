"""At most one server of a deployment lives: whoever starts it, how many at once, and whoever is killed meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from interlock.core.bundles import DeploymentSpec, Route
from interlock.core.errors import Unavailable
from interlock.deploy.claim import TAKEN, place, turn
from interlock.deploy.process import ProcessTarget, Replica
from interlock.deploy.service import DeployService
from interlock.registry.service import ModelVersion
from interlock.store import Store
from interlock.store.workers import born

DEADLINE_S = 30.0
RECONCILE = """
import os, signal, sys
from pathlib import Path
from interlock.deploy import process
from interlock.deploy.service import DeployService
from interlock.store import open_store

store = open_store(Path(sys.argv[1]))
service, moment = DeployService(store), sys.argv[2]
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
if moment == "before it is recorded":
    service._seen = die
if moment == "before it is ready":
    spawn = process._spawn
    process._spawn = lambda *given: (spawn(*given), die())
service.reconcile("happy")
"""


@pytest.fixture
def deploy(store: Store, register: Callable[[], ModelVersion]) -> Iterator[DeployService]:
    """A service, and a deployment `happy` of which nothing runs."""
    version = register()
    spec = store.objects.put(
        msgspec.json.encode(DeploymentSpec("happy", 1, (Route(version.ref, version.bundle, 1.0),)))
    )
    store.database.write(
        lambda tx: tx.run(
            "INSERT INTO deployments (name, revision, spec, state, url, changed_at)"
            " VALUES ('happy', 1, :spec, 'serving', '', 0)",
            {"spec": spec},
        )
    )
    yield DeployService(store)
    for pid in servers(store):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def servers(store: Store) -> list[int]:
    """The pids of all living servers of a workspace, as the kernel knows them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().decode().split("\0")
            pid = int(path.parent.name)
            if "interlock.serve" in words and str(store.root) in words and born(pid) is not None:
                found.append(pid)
    return found


def reconcile(store: Store, moment: str = "") -> subprocess.Popen[bytes]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen([sys.executable, "-c", RECONCILE, str(store.root), moment], env=env)


def settled(store: Store) -> list[int]:
    """The servers, once those that found the place taken have ended."""
    end = time.monotonic() + DEADLINE_S
    while len(found := servers(store)) > 1 and time.monotonic() < end:
        time.sleep(0.05)
    return found


def test_of_several_that_reconcile_at_once_one_starts_a_server(store: Store, deploy: DeployService) -> None:
    callers = [reconcile(store) for _ in range(4)]
    assert [caller.wait(DEADLINE_S) for caller in callers] == [0, 0, 0, 0]
    assert servers(store) == [deploy.show("happy").pid]
    assert len(list((store.root / "replicas").glob("*.log"))) == 1  # nobody even tried


@pytest.mark.parametrize("moment", ["before it is ready", "before it is recorded"])
def test_a_server_that_nobody_recorded_is_adopted(store: Store, deploy: DeployService, moment: str) -> None:
    assert reconcile(store, moment).wait(DEADLINE_S) == -signal.SIGKILL
    (orphan,) = servers(store)
    assert deploy.show("happy").pid == 0
    deploy.reconcile("happy")
    found = deploy.show("happy")
    assert found.live
    assert ProcessTarget(store.root, store.clock).status(Replica(found.pid, 0, found.url))["revision"] == 1
    assert settled(store) == [found.pid]
    assert found.pid == orphan or moment == "before it is ready"  # there the two race for the place


def test_a_server_that_nobody_recorded_is_stopped_with_its_deployment(store: Store, deploy: DeployService) -> None:
    assert reconcile(store, "before it is recorded").wait(DEADLINE_S) == -signal.SIGKILL
    assert len(servers(store)) == 1
    deploy.stop("happy")
    assert servers(store) == []


def test_a_second_server_ends_and_says_so(store: Store, deploy: DeployService) -> None:
    deploy.reconcile("happy")
    command = [sys.executable, "-m", "interlock.serve", "--workspace", str(store.root), "--deployment", "happy"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    second = subprocess.run(command, env=env, stderr=subprocess.PIPE, timeout=DEADLINE_S, check=False)
    assert second.returncode == TAKEN == 3
    assert json.loads(second.stderr)["title"] == "Another server of this workspace serves 'happy' already."
    assert servers(store) == [deploy.show("happy").pid]


def test_a_start_adopts_the_server_whose_place_its_own_child_found_taken(
    store: Store, deploy: DeployService, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy.reconcile("happy")
    target, pid = ProcessTarget(store.root, store.clock), deploy.show("happy").pid
    assert target.start("happy", DEADLINE_S).pid == pid
    announce = place(store.root, "happy", ".json")
    said = announce.read_bytes()
    announce.unlink()  # as it is while that server loads
    attempt, tried = ProcessTarget._attempt, []

    def late(self: ProcessTarget, deployment: str, deadline: float) -> Replica | None:
        tried.append(attempt(self, deployment, deadline))
        announce.write_bytes(said)
        return tried[-1]

    monkeypatch.setattr(ProcessTarget, "_attempt", late)
    assert target.start("happy", DEADLINE_S).pid == pid
    assert tried == [None]
    assert servers(store) == [pid]


def test_an_announcement_counts_only_while_its_server_says_the_same(store: Store, deploy: DeployService) -> None:
    target, announce = ProcessTarget(store.root, store.clock), place(store.root, "happy", ".json")
    assert target.find("happy") is None
    announce.write_text("no announcement")
    assert target.find("happy") is None
    deploy.reconcile("happy")
    found = target.find("happy")
    assert found is not None
    said = json.loads(announce.read_bytes())
    place(store.root, "sad", ".json").write_text(json.dumps(said))  # it answers, but for another deployment
    assert target.find("sad") is None
    announce.write_text(json.dumps(said | {"pid": os.getpid()}))  # that process lives, but is not the server
    assert target.find("happy") is None
    announce.write_text(json.dumps(said))
    os.kill(found.pid, signal.SIGKILL)
    os.waitpid(found.pid, 0)
    assert target.find("happy") is None
    deploy.reconcile("happy")
    deploy.stop("happy")
    assert not announce.exists()  # one that ends in order takes it away


def test_files_are_named_by_digests_and_a_turn_is_waited_for(store: Store) -> None:
    with turn(store.root, "../../evil name", 0):
        assert [path.parent for path in store.root.parent.rglob("*.lock")].count(store.root / "replicas") == 1
        with pytest.raises(Unavailable, match="Somebody else"), turn(store.root, "../../evil name", 0.1):
            pass
        with turn(store.root, "other", 0):
            pass
    with turn(store.root, "../../evil name", 0):
        pass
