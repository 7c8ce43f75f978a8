"""Worker processes may die: the run goes on, or says who died of what."""

from __future__ import annotations

import os
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
    while time.monotonic() < deadline and Path(f"/proc/{mark.name}").exists():
        time.sleep(0.02)
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.name), 0)
    assert "straight to the descriptor" in (project.store.root / "logs" / "r.log").read_text()


def test_submitted_steps_wait_for_each_other(project, marks: Path) -> None:
    for executor in ("local", "processes"):
        result = project.run("pipeline:many", executor=executor, fresh=True)
        assert result.value == list(range(20))
        assert [step.position for step in result.steps] == list(range(40))
