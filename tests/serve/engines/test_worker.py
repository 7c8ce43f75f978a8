"""An original in a process of its own: answers, bad rows, death, time, and what it cannot reach."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.preprocessing import FunctionTransformer

from interlock.core.bundles import Column
from interlock.core.errors import Corrupt, Unavailable
from interlock.serve.engines.worker import RowsRefused, WorkerRunner

ROWS = np.random.default_rng(1).normal(size=(60, 2))
MODEL = RandomForestClassifier(3, random_state=0).fit(ROWS, np.where(ROWS[:, 0] > 0, "up", "down"))
COLUMNS = (Column("a", "float"), Column("b", "float"))


@pytest.fixture
def start():
    """Return what starts workers; they end with the test."""
    started = []

    def begin(model: bytes | None = None, **options) -> WorkerRunner:
        started.append(WorkerRunner(skops.io.dumps(MODEL) if model is None else model, COLUMNS, "matrix", **options))
        return started[-1]

    yield begin
    for runner in started:
        runner.close()


@pytest.fixture(scope="module")
def runner():
    """A worker for tests that do not hurt it."""
    found = WorkerRunner(skops.io.dumps(MODEL), COLUMNS, "matrix")
    yield found
    found.close()


def test_it_answers_as_the_original(runner) -> None:
    np.testing.assert_array_equal(runner.run({"inputs": ROWS}), MODEL.predict_proba(ROWS))
    assert runner.classes == ["down", "up"]


def test_a_regression_has_one_answer(start) -> None:
    model = RandomForestRegressor(3, random_state=0).fit(ROWS, ROWS[:, 0])
    found = start(skops.io.dumps(model))
    np.testing.assert_array_equal(found.run({"inputs": ROWS})[:, 0], model.predict(ROWS))
    assert found.classes == []


def test_rows_that_it_fails_over_leave_it_well(runner) -> None:
    pid = runner.pid
    for _ in range(3):
        with pytest.raises(RowsRefused):
            runner.run({"inputs": np.full((2, 5), 1.0)})
    assert runner.pid == pid
    assert len(runner.run({"inputs": ROWS[:2]})) == 2


def test_many_rows_go_through_the_pipe(runner) -> None:
    rows = np.random.default_rng(2).normal(size=(50_000, 2))
    np.testing.assert_array_equal(runner.run({"inputs": rows}), MODEL.predict_proba(rows))


def test_one_that_died_is_started_again(start) -> None:
    found = start()
    first = found.pid
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    np.testing.assert_array_equal(found.run({"inputs": ROWS}), MODEL.predict_proba(ROWS))
    assert found.pid not in {0, first}


def test_one_that_does_not_answer_is_killed(start) -> None:
    found = start(call_s=0.2)
    pid = found.pid
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(Unavailable, match="did not answer in time"):
        found.run({"inputs": ROWS})
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(Unavailable, match="a moment ago"):  # so that a model that hangs does not cost a start a request
        found.run({"inputs": ROWS})


@pytest.mark.parametrize(
    "model",
    [
        pickle.dumps(MODEL),
        b"",
        skops.io.dumps(MODEL)[:-100],
        skops.io.dumps(FunctionTransformer(func=os.getcwd)),
    ],
    ids=["pickle", "empty", "cut", "types"],
)
def test_a_file_that_is_not_on_the_list_is_refused(start, model) -> None:
    with pytest.raises(Corrupt, match="original is not loaded"):
        start(model)


@pytest.mark.parametrize(
    "script",
    [
        "import sys; sys.exit(3)",
        "import sys; sys.stdout.buffer.write(b'\\xff' * 4096); sys.stdout.flush(); input()",
        "import sys; sys.stdout.buffer.write(b'\\0\\0\\0\\1\\x01'); sys.stdout.flush(); input()",
    ],
)
def test_a_child_that_speaks_nonsense_is_unavailable(start, script) -> None:
    with pytest.raises(Unavailable, match="does not start"):
        start(command=[sys.executable, "-c", script])


def test_it_inherits_neither_descriptors_nor_variables(start, monkeypatch) -> None:
    monkeypatch.setenv("INTERLOCK_SECRET", "hush")
    found = start()
    child = Path(f"/proc/{found.pid}")
    there = {str(path.readlink()) for path in (child / "fd").iterdir()}
    assert {path.split(":")[0] for path in there} <= {"pipe", os.devnull}
    assert b"hush" not in (child / "environ").read_bytes()
    assert os.getsid(found.pid) == found.pid
    limits = {line[:26].strip(): line[26:].split()[0] for line in (child / "limits").read_text().splitlines()}
    assert (limits["Max file size"], limits["Max core file size"]) == ("0", "0")
    assert int(limits["Max address space"]) == 4 << 30
    if found.network == "none":
        assert (child / "ns" / "net").readlink() != Path("/proc/self/ns/net").readlink()


def test_it_ends_with_its_server() -> None:
    code = (
        "import skops.io, sys, time, numpy as np;"
        "from sklearn.linear_model import LinearRegression;"
        "from interlock.core.bundles import Column;"
        "from interlock.serve.engines.worker import WorkerRunner;"
        "m = skops.io.dumps(LinearRegression().fit([[0.0], [1.0]], [0, 1]));"
        "w = WorkerRunner(m, (Column('a', 'float'),), 'matrix'); print(w.pid, flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment) as server:
        assert server.stdout is not None
        child = int(server.stdout.readline())
        server.kill()
    end = time.monotonic() + 20
    while Path(f"/proc/{child}").exists():
        assert time.monotonic() < end, "the child outlived its server"
        time.sleep(0.05)
