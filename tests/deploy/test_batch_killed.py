"""kill -9 of a scoring process at chance moments: the output is that of a run that nobody disturbed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

SRC = Path(__file__).parents[2] / "src"
ROWS = 120_000
KILLS = 20


def start(project: Path, *files: Path, output: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "interlock", "--workspace", str(project), "predict", "model:happy"]
    options = ["--keep", "row", "--part-rows", "2500", "--batch-rows", "1000", "--json", "--output", str(output)]
    return subprocess.Popen(
        [*command, *map(str, files), *options],
        env={**os.environ, "PYTHONPATH": str(SRC)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finish(process: subprocess.Popen[bytes]) -> None:
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, (out, errors)


def parts(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.parquet")}


@pytest.mark.slow
def test_twenty_kills_lose_and_double_nothing(store, register, tmp_path):
    register()
    chance = np.random.default_rng(5)
    frame = pl.DataFrame(
        {
            "row": np.arange(ROWS),
            "age": chance.integers(18, 90, ROWS),
            "income": chance.normal(30, 10, ROWS),
        }
    )
    files = [tmp_path / "a.parquet", tmp_path / "b.arrow"]
    frame[: ROWS // 3].write_parquet(files[0])
    frame[ROWS // 3 :].write_ipc(files[1])

    quiet, output = tmp_path / "quiet", tmp_path / "out"
    finish(start(store.project, *files, output=quiet))

    seconds = random.Random(11)
    journal, begun, killed, seen = output / "_interlock" / "journal.jsonl", 0, 0, set()
    while killed < KILLS:
        process = start(store.project, *files, output=output)
        lines = journal.read_bytes().count(b"\n") if journal.exists() else 0
        seen.add(lines)
        # Half of them right after a part was done, half at any moment of the process's life.
        until = time.monotonic() + seconds.uniform(0.05, 1.0)
        if killed % 2:
            while process.poll() is None and (journal.read_bytes().count(b"\n") if journal.exists() else 0) <= lines:
                time.sleep(0.001)
            until = time.monotonic() + seconds.uniform(0, 0.02)
        while process.poll() is None and time.monotonic() < until:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if process.returncode == 0:  # it was faster: begin once more, elsewhere
            check(output, quiet)
            begun += 1
            output = tmp_path / f"out-{begun}"
            journal = output / "_interlock" / "journal.jsonl"
        else:
            killed += 1
    finish(start(store.project, *files, output=output))
    check(output, quiet)
    assert len(seen) > 3, "no kill came in the middle of the work"
    assert len(store.ledger.events(kinds=["batch.scored"])) == begun + 2


def check(output: Path, quiet: Path) -> None:
    assert parts(output) == parts(quiet)
    found = pl.concat(pl.read_parquet(path) for path in sorted(output.glob("*.parquet")))
    assert found["row"].to_list() == list(range(ROWS))
    assert found["prediction_id"].n_unique() == ROWS


def test_a_second_process_is_refused(store, register, tmp_path):
    from interlock.deploy.batch_folder import OutputFolder

    register()
    path = tmp_path / "a.csv"
    path.write_text("row,age,income\n0,30,20\n")
    with OutputFolder(tmp_path / "out"):
        process = start(store.project, path, output=tmp_path / "out")
        _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert f"Process {os.getpid()} is scoring into".encode() in errors
