"""Worker processes may die: the run goes on, or says who died of what."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from interlock.core.errors import Unavailable
from interlock.train.engine import PipelineResult

CODE = """
    import os, signal, time
    from pathlib import Path
    from interlock import pipeline, step

    @step
    def dies(folder: str, times: int) -> int:
        number = len(list(Path(folder).iterdir()))
        (Path(folder) / str(os.getpid())).touch()
        if number < times:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    @step
    def waits(folder: str) -> int:
        os.write(1, b"straight to the descriptor\\n")
        (Path(folder) / str(os.getpid())).touch()
        time.sleep(60)
        return 1

    @step
    def plain(value: int) -> int:
        return os.getpid() * 0 + value

    @pipeline
    def main(folder: str, times: int = 0) -> int:
        return dies(folder, times)

    @pipeline
    def interrupted(folder: str) -> int:
        future = waits.submit(folder)
        while not list(Path(folder).iterdir()):
            time.sleep(0.01)
        raise KeyboardInterrupt

    @pipeline
    def waiting(folder: str) -> int:
        return waits(folder)

    @pipeline
    def many() -> list[int]:
        futures = [plain.submit(value) for value in range(20)]
        return [future.result() for future in [plain.submit(future) for future in futures]]
"""


@pytest.fixture
def marks(project) -> Path:
    project.write(pipeline=CODE)
    folder = project.folder / "marks"
    folder.mkdir()
    return folder


def test_a_step_whose_process_dies_once_is_run_again(project, marks: Path) -> None:
    result = project.run(folder=str(marks), times=1, executor="processes")
    assert (result.value, result.steps[0].attempts) == (1, 2)


def test_a_step_that_always_kills_its_process_fails_with_the_signal(project, marks: Path) -> None:
    with pytest.raises(Unavailable, match="The process of dies#1 died \\(SIGKILL\\)"):
        project.run(folder=str(marks), times=9, executor="processes", run_id="r")
    (step,) = PipelineResult.steps_of(project.store, "r")
    assert (step.state, step.attempts) == ("failed", 2)


def test_no_worker_outlives_its_run(project, marks: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        project.run("pipeline:interrupted", folder=str(marks), executor="processes", run_id="r")
    (mark,) = marks.iterdir()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and is_running(int(mark.name)):
        time.sleep(0.02)
    assert not is_running(int(mark.name))
    assert "straight to the descriptor" in (project.store.root / "logs" / "r.log").read_text()


RUN = """
import sys
from pathlib import Path
from interlock.store import open_store
from interlock.train.engine import run_pipeline
from interlock.train.loader import load_entry
folder = Path(sys.argv[1])
store = open_store(folder / ".interlock")
run_pipeline(load_entry("pipeline:waiting", folder), {"folder": sys.argv[2]}, store=store, executor="processes")
"""


def test_no_worker_outlives_a_killed_run(project, marks: Path) -> None:
    assert project.store.root.exists()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    run = subprocess.Popen([sys.executable, "-c", RUN, str(project.folder), str(marks)], env=environment)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not list(marks.iterdir()):
        time.sleep(0.02)
    (mark,) = marks.iterdir()
    run.kill()
    run.wait()
    while time.monotonic() < deadline and is_running(int(mark.name)):
        time.sleep(0.02)
    assert not is_running(int(mark.name))


def is_running(pid: int) -> bool:
    """Return whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_submitted_steps_wait_for_each_other(project, marks: Path) -> None:
    for executor in ("local", "processes"):
        result = project.run("pipeline:many", executor=executor, fresh=True)
        assert result.value == list(range(20))
        assert [step.position for step in result.steps] == list(range(40))
