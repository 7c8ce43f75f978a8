"""Collections of garbage beside four threads that name old bytes, killed in the middle: what was named is there."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from interlock.registry.gc import DAY_S
from interlock.registry.service import RegistryService
from interlock.store import Store, open_store
from interlock.store.manifests import read_manifest
from interlock.track.records import Start
from interlock.track.service import TrackService

ROUNDS = int(os.environ.get("KILL_ROUNDS", "3"))
CONTENTS = 300
Told = dict[str, list[list[object]]]


def a_day_passes(store: Store) -> None:
    then = time.time() - 2 * DAY_S
    for digest in store.objects.digests():
        os.utime(store.root / "objects" / digest[:2] / digest[2:], (then, then))


def killed(folder: Path, run: str, seed: int) -> Told:
    """Return what was acknowledged until the kill, which comes when collections and threads are at it."""
    script = Path(__file__).parent / "collecting.py"
    command = [sys.executable, str(script), str(folder), run, str(CONTENTS), str(seed)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    told: Told = {"artifact": [], "version": [], "removed": [], "gone": []}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout
        enough = random.Random(seed).randrange(20, 200)
        for line in child.stdout:
            kind, *words = json.loads(line)
            told[kind].append(words)
            if len(told["artifact"]) + len(told["version"]) == enough:
                child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    return told


def check(store: Store, told: Told) -> None:
    """Check that whatever is named is there and verifies, and what was acknowledged is named."""
    registry = RegistryService(store)
    artifacts = {row["path"]: row["digest"] for row in store.database.all("SELECT path, digest FROM artifacts")}
    assert dict(told["artifact"]).items() <= artifacts.items()
    for digest in set(artifacts.values()):
        assert store.objects.get(digest)
    versions = registry.versions("m") if told["version"] else []
    assert [version.version for version in versions] == list(range(1, len(versions) + 1))
    bundles = {version.version: version.bundle for version in versions}
    assert dict(told["version"]).items() <= bundles.items()
    for version in versions:
        assert registry.verify(version.ref).ok, version.ref
        assert registry.pins(version.ref).bundle == version.bundle
        for entry in read_manifest(store.objects, version.bundle).files:
            assert store.objects.get(entry.digest)
    verified = store.ledger.verify()
    assert verified.ok, verified


@pytest.mark.parametrize("first", [7])
def test_killed_amid_collections_nothing_that_is_named_is_lost(store: Store, first: int) -> None:
    run = TrackService(store).start(Start("e")).id
    folder, told = store.root, Told(artifact=[], version=[], removed=[], gone=[])
    for seed in range(first, first + ROUNDS):
        for number in range(CONTENTS):
            store.objects.put(f"content {number}".encode())
        a_day_passes(store)  # what was named before must stay by its name alone
        for kind, words in killed(folder, run, seed).items():
            told[kind] += words
        again = open_store(folder)
        check(again, told)
        a_day_passes(again)
        for _ in range(2):  # what a broken-off removal had aside comes back at the end of the first
            RegistryService(again).gc(apply=True)
        check(again, told)
        assert RegistryService(again).gc().share("garbage").objects == 0
        again.close()
    assert len(told["artifact"]) > 20
    assert len(told["version"]) > 10
    assert told["gone"], "collections and threads met"
