"""`interlock import mlflow` and `interlock export mlflow` as people and scripts see them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock.cli.main import run
from interlock.cli.moving import bar
from interlock.sdk.workspace import Workspace
from interlock.server.run import serving
from interlock.store import create_store

RUNS = 40


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def mlruns(tmp_path: Path) -> Path:
    """A store of MLflow in a folder: runs with a param, a metric and a file each."""
    root = tmp_path / "there/mlruns"
    write(root / "1/meta.yaml", "experiment_id: '1'\nname: exp\nlifecycle_stage: active\n")
    for number in range(RUNS):
        base = root / f"1/{number:032x}"
        write(
            base / "meta.yaml", f"run_id: {number:032x}\nrun_name: r{number}\nstatus: 3\nstart_time: 1\nend_time: 2\n"
        )
        write(base / "params/p", "1")
        write(base / "metrics/loss", "".join(f"{1000 + step} {step} {step}\n" for step in range(20)))
        write(base / "artifacts/f.txt", f"file {number}")
    return root


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "here"
    folder.mkdir()
    create_store(folder / ".interlock").close()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("INTERLOCK_WORKSPACE", raising=False)
    return folder


def counts(text: str) -> dict[str, tuple[int, int]]:
    return {count["what"]: (count["there"], count["here"]) for count in json.loads(text)["counts"]}


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_a_report_in_words_and_in_json(project: Path, mlruns: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["import", "mlflow", str(mlruns), "--dry-run"]) == 0
    told = capsys.readouterr()
    assert ["runs", f"{RUNS}", "0"] in rows(told.out)
    assert "Counted only" in told.err
    assert run(["import", "mlflow", str(mlruns)]) == 0
    told = capsys.readouterr()
    assert ["runs", f"{RUNS}", f"{RUNS}"] in rows(told.out)
    assert "aliases" not in told.out
    assert "experiment exp" in told.err
    assert "Both sides are equal." in told.err
    assert run(["import", "mlflow", str(mlruns), "--json"]) == 0
    told = capsys.readouterr()
    assert counts(told.out)["points"] == (RUNS * 20, RUNS * 20)
    assert told.err == ""


def test_what_was_left_is_named_and_is_the_exit_code(
    project: Path, mlruns: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(mlruns / f"1/{3:032x}/metrics/loss", "no point\n")
    (mlruns / "1/traces/tr-1").mkdir(parents=True)
    assert run(["import", "mlflow", str(mlruns)]) == 1
    told = capsys.readouterr()
    assert f"Left: run {3:032x}: " in told.err
    assert "Never taken over: 1 traces." in told.err
    assert "Not all could be taken over" in told.err
    assert run(["import", "mlflow", str(mlruns), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["complete"] is False


@pytest.mark.parametrize("words", [["import", "mlflow", "/nowhere"], ["export", "mlflow", "out"]])
def test_a_workspace_elsewhere_is_refused_before_anything_is_read(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    with Workspace.over(create_store(project / ".interlock")) as workspace, serving(workspace) as address:
        monkeypatch.setenv("INTERLOCK_WORKSPACE", address)
        assert run(words) == 2
        told = capsys.readouterr().err
        assert f"The workspace is {address}" in told
        assert f"interlock --workspace FOLDER {words[0]} mlflow" in told
        assert workspace.store.ledger.size() == 0
    assert not (project / "out").exists()


def test_both_go_on_beside_a_server(project: Path, mlruns: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Workspace.over(create_store(project / ".interlock")) as workspace, serving(workspace) as address:
        assert run(["import", "mlflow", str(mlruns), "--workspace", str(project)]) == 0
        with Workspace.open(address) as remote:
            assert len(remote.track.runs(limit=100)) == RUNS
        assert run(["export", "mlflow", "out", "--workspace", str(project)]) == 0
    assert len([*Path("out/mlruns").glob(f"*/{'?' * 32}/meta.yaml")]) == RUNS


@pytest.mark.parametrize(
    ("done", "runs", "took_s", "text"),
    [
        (5, None, 1.0, "5 runs"),
        (0, 10, 0.0, "[------------------------------] 0 of 10 runs, 0:00 left"),
        (5, 10, 65.0, "[###############---------------] 5 of 10 runs, 1:05 left"),
        (1000, 1000, 9.0, "[##############################] 1,000 of 1,000 runs, 0:00 left"),
        (12, 10, 9.0, "[##############################] 12 of 10 runs, 0:00 left"),
    ],
)
def test_the_bar(done: int, runs: int | None, took_s: float, text: str) -> None:
    assert bar(done, runs, took_s) == text


def test_on_a_terminal_a_bar_moves(
    project: Path, mlruns: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interlock.cli.moving._EVERY_S", 0.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.delenv("INTERLOCK_COLOR", raising=False)
    assert run(["import", "mlflow", str(mlruns)]) == 0
    told = capsys.readouterr().err
    assert f" {RUNS} of {RUNS} runs, 0:00 left" in told
    monkeypatch.setenv("INTERLOCK_COLOR", "false")
    assert run(["import", "mlflow", str(mlruns)]) == 0
    assert "left" not in capsys.readouterr().err


@pytest.mark.slow
def test_an_import_that_was_killed_goes_on_and_doubles_nothing(project: Path, mlruns: Path) -> None:
    store = create_store(project / ".interlock")
    command = [sys.executable, "-m", "interlock", "import", "mlflow", str(mlruns)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pause = threading.Event()
    for wanted in (RUNS // 4, RUNS // 2):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(2000):
            if store.database.one("SELECT count(*) AS n FROM runs")["n"] >= wanted:
                break
            pause.wait(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert store.database.one("SELECT count(*) AS n FROM runs")["n"] < RUNS, "the kills came too late"
    done = subprocess.run([*command, "--json"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = counts(done.stdout)
    assert (found["runs"], found["points"], found["artifacts"]) == ((RUNS,) * 2, (RUNS * 20,) * 2, (RUNS,) * 2)
    for table in ("runs", "artifacts", "run_params"):
        assert store.database.one(f"SELECT count(*) AS n FROM {table}")["n"] == RUNS
    assert store.database.one("SELECT sum(points) AS n FROM metric_segments")["n"] == RUNS * 20
    assert store.ledger.verify().ok
    store.close()
