"""kill -9 at thirty random moments of the demo: the loop goes on, nothing acknowledged is lost, the ledger verifies."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from interlock.core.clock import from_micros
from interlock.deploy.service import DeployService
from interlock.store import Store, open_store
from interlock.store.merkle import verify_consistency

KILLS = 30
PEOPLE = 240  # enough for the rule that approves a challenger: it wants fifty held-out rows
RUN = [sys.executable, "-m", "interlock"]


def start(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    with (folder.parent / "out.txt").open("ab") as log:
        return subprocess.Popen([*RUN, *words], cwd=folder.parent, stdout=log, stderr=log, stdin=subprocess.DEVNULL)


def kill_replica(folder: Path) -> None:
    """Kill the server process of the deployment too, as losing power would."""
    store = open_store(folder / ".interlock")
    row = store.database.one("SELECT pid FROM deployments")
    store.close()
    if row and row["pid"]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(row["pid"], signal.SIGKILL)


def acknowledged(folder: Path) -> list[str]:
    """Return the ids that the client was told; a line that was torn by the kill was told to nobody."""
    path = folder / "answers.jsonl"
    lines = path.read_text("utf-8").split("\n")[:-1] if path.exists() else []
    ids: list[str] = []
    for line in lines:
        with contextlib.suppress(json.JSONDecodeError):
            ids += json.loads(line)["predictions"]
    return ids


def check(store: Store, folder: Path, before: tuple[int, bytes]) -> tuple[int, bytes]:
    """Check what must hold after any kill; return the ledger's size and root."""
    verified = store.ledger.verify()
    assert verified.ok, verified
    size, root = store.ledger.size(), store.ledger.root()
    if before[0]:
        proof = store.ledger.consistency_proof(before[0], size)
        assert verify_consistency(before[0], size, before[1], root, proof), "what was recorded is not what was recorded"
    logged = [row.id for row in store.predictions.rows("employment")]
    assert len(logged) == len(set(logged))
    assert set(acknowledged(folder)) <= set(logged), "an acknowledged prediction is lost"
    for row in store.database.all("SELECT digest FROM dataset_versions"):
        store.objects.get(row["digest"])
    return size, root


@pytest.mark.slow
def test_the_demo_survives_thirty_kills(tmp_path: Path) -> None:
    folder, chance = tmp_path / "demo", random.Random(20260101)
    state, kills, told = (0, b""), 0, 0
    try:
        while kills < KILLS:
            demo = ["demo", "--folder", str(folder), "--people", str(PEOPLE)]
            process = start(folder, *demo)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(chance.uniform(0.2, 2.2))
            if process.poll() == 0:  # the story was over before all kills were spent: tell it again elsewhere
                store = open_store(folder / ".interlock")
                check(store, folder, state)
                finished(store)
                store.close()
                told += 1
                folder, state = tmp_path / f"demo-{told}", (0, b"")
                continue
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            if not (folder / ".interlock" / "workspace.json").exists():
                continue
            if chance.random() < 0.3:
                kill_replica(folder)
            if kills % 3 == 0:  # the loop by itself, without the script, takes up what was begun
                turn = start(folder, "--workspace", str(folder), "loop", "turn", "--until", "2016-01-01")
                assert turn.wait(120) == 0 or b"Nothing has been applied" in (tmp_path / "out.txt").read_bytes()
            store = open_store(folder / ".interlock")
            state = check(store, folder, state)
            store.close()
        assert start(folder, *demo).wait(300) == 0, (tmp_path / "out.txt").read_text()[-3000:]
        store = open_store(folder / ".interlock")
        check(store, folder, state)
        finished(store)
        store.close()
    finally:
        if (folder / ".interlock" / "workspace.json").exists():
            store = open_store(folder / ".interlock")
            if store.database.one("SELECT 1 FROM deployments"):
                DeployService(store).stop("employment")
            store.close()
    assert kills == KILLS


def finished(store: Store) -> None:
    """Check that the story came to its end as if nobody had killed anything."""
    months: dict[str, int] = {}
    requests: set[tuple[str, int]] = set()
    for row in store.predictions.rows("employment"):
        at = from_micros(row.occurred_at)
        months[f"{at:%Y-%m}"] = months.get(f"{at:%Y-%m}", 0) + 1
        assert (row.request_id, row.row) not in requests, "a request was scored twice"
        requests.add((row.request_id, row.row))
    assert len(months) == 36
    assert set(months.values()) == {PEOPLE}
    versions = store.database.all("SELECT version, stage FROM model_versions ORDER BY version")
    assert [row["version"] for row in versions] == list(range(1, len(versions) + 1))
    assert sum(row["stage"] == "deployed" for row in versions) == 1
    running = store.database.all("SELECT id FROM runs WHERE status = 'running'")
    assert running == []
    assert store.database.all("SELECT id FROM jobs WHERE state IN ('queued', 'running')") == []
