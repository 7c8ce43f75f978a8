"""Resuming: what had ended is answered, the rest runs, and another way through the pipeline is refused."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from interlock.core.errors import Conflict
from interlock.store import open_store
from interlock.train.engine import PipelineResult
from interlock.train.journal import steps_of

CODE = """
    import time
    from pathlib import Path
    from interlock import pipeline, step

    def mark(name):
        with (Path(__file__).parent / "marks").open("a") as file:
            file.write(name + "\\n")

    @step
    def one(value: int) -> int:
        mark("one")
        return value + 1

    @step
    def two(value: int) -> list[int]:
        mark("two")
        if (Path(__file__).parent / "stop").exists():
            raise RuntimeError("stopped")
        for _ in range(500):
            if not (Path(__file__).parent / "hold").exists():
                break
            time.sleep(0.02)
        return [value, value]

    @step
    def three(values: list[int]) -> int:
        mark("three")
        return sum(values)

    @pipeline
    def main(start: int = 1) -> int:
        return three(two(one(start)))
"""


@pytest.fixture
def stopped(project):
    """Return a project whose run `r` has failed in its second step."""
    project.write(pipeline=CODE)
    (project.folder / "stop").touch()
    with pytest.raises(RuntimeError, match="stopped"):
        project.run(run_id="r")
    (project.folder / "stop").unlink()
    return project


def marks(project) -> list[str]:
    return (project.folder / "marks").read_text().split()


def test_a_resumed_run_does_only_the_rest(stopped) -> None:
    assert [step.state for step in PipelineResult.steps_of(stopped.store, "r")] == ["done", "failed"]
    result = stopped.run(run_id="r")
    assert result.value == 4
    assert marks(stopped) == ["one", "two", "two", "three"]
    assert [step.replayed for step in result.steps] == [True, False, False]
    assert [step.state for step in PipelineResult.steps_of(stopped.store, "r")] == ["done"] * 3
    assert stopped.run(run_id="r").value == 4
    assert len(marks(stopped)) == 4


def test_a_step_that_takes_long_is_seen_running(stopped) -> None:
    (stopped.folder / "hold").touch()
    database = stopped.store.database
    states = []
    run = threading.Thread(target=stopped.run, kwargs={"run_id": "r"})
    run.start()
    deadline = time.monotonic() + 8
    while time.monotonic() < deadline and states != ["done", "running"]:
        states = [step.state for step in steps_of(database, "r")]
        time.sleep(0.02)
    (stopped.folder / "hold").unlink()
    run.join()
    assert states == ["done", "running"]
    assert [step.state for step in steps_of(database, "r")] == ["done"] * 3


def test_a_mended_step_can_be_resumed(stopped) -> None:
    stopped.edit("pipeline", "return [value, value]", "return [value, 10]")
    assert stopped.run(run_id="r").value == 12
    assert marks(stopped) == ["one", "two", "two", "three"]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("return value + 1", "return value + 2", r"code pipeline\.one changed"),
        ("three(two(one(start)))", "three(two(one(start + 1)))", "input value changed from 1 to 2"),
        ("three(two(one(start)))", "three([one(1)] and two(2)) or one(1)", "it calls pipeline.two, and the first time"),
        ("three(two(one(start)))", "start", "it returns, and the first time it called pipeline.one"),
    ],
)
def test_another_way_is_refused(stopped, before: str, after: str, message: str) -> None:
    if "first time it called" in message or "it calls" in message:
        stopped.run(run_id="r")
        after = after.replace("[one(1)] and ", "")
    stopped.edit("pipeline", before, after)
    with pytest.raises(Conflict, match=message):
        stopped.run(run_id="r")
    assert stopped.run().value is not None


def test_results_that_may_not_be_cached_still_resume(stopped) -> None:
    assert PipelineResult.steps_of(stopped.store, "r")[0].reason.startswith("not cached: pipeline.mark reads files")
    other = stopped.run(run_id="other")
    assert [step.cached for step in other.steps] == [False] * 3
    assert [step.replayed for step in stopped.run(run_id="other").steps] == [True] * 3


@pytest.mark.parametrize("executor", ["local", "processes"])
def test_a_lost_result_is_computed_again(project, executor: str) -> None:
    project.write(
        pipeline="""
            from interlock import pipeline, step
            @step
            def work(n: int) -> bytes: return bytes(n)
            @step
            def size(data: bytes) -> int: return len(data)
            @pipeline
            def main() -> int: return size.submit(work.submit(9000)).result()
        """
    )
    first = project.run(run_id="r", executor=executor)
    for digest in list(project.store.objects.digests()):
        path = project.store.objects.root / digest[:2] / digest[2:]
        path.chmod(0o600)
        path.unlink()
    for run_id in ("r", ""):
        again = project.run(run_id=run_id, executor=executor)
        assert again.digest == first.digest
        assert list(project.store.objects.digests()), "it is stored again"
    assert again.steps[0].cached


def test_a_seal_of_another_workspace_is_no_result(project) -> None:
    project.write(
        pipeline="""
            from interlock import pipeline, step
            @step
            def work() -> int: return 3
            @pipeline
            def main() -> int: return work()
        """
    )
    project.run()
    (project.store.root / "keys" / "values.key").unlink()
    assert not project.run().steps[0].cached
    assert project.run().steps[0].cached


def test_results_that_differ_stay_with_their_runs(project) -> None:
    project.write(
        pipeline="""
            from interlock import pipeline, step
            import uuid
            @step
            def work() -> str: return str(uuid.UUID(bytes=uuid.uuid4.__globals__["os"].urandom(16)))
            @step
            def draw() -> str: return object().__repr__()
            @pipeline
            def main() -> list[str]: return [draw(), work()]
        """
    )
    first = project.run(run_id="a")
    second = project.run(run_id="b", fresh=True)
    assert second.value != first.value
    assert project.run(run_id="a").value == first.value
    assert project.run(run_id="b").value == second.value
    assert project.run().value[0] == second.value[0], "the newest result answers from now on"


SLOW = """
    import time
    from pathlib import Path
    import polars as pl
    from interlock import Model, pipeline, step

    def mark(name):
        with (Path(__file__).parent / "marks").open("a") as file:
            file.write(name + "\\n")

    class Estimator:
        def __init__(self, weights): self.weights = weights
        def predict(self, frame): return frame["x"] * self.weights["x"]

    @step
    def load(rows: int) -> pl.DataFrame:
        mark("load"); time.sleep(0.04)
        return pl.DataFrame({"x": range(rows), "y": [n % 3 for n in range(rows)]})

    @step
    def clean(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        mark("clean"); time.sleep(0.04)
        return frame.filter(pl.col("x") % 4 > 0), frame.filter(pl.col("x") % 4 == 0)

    @step
    def fit(frame: pl.DataFrame, factor: int) -> Estimator:
        mark(f"fit{factor}"); time.sleep(0.04)
        return Estimator({"x": frame["y"].mean() * factor})

    @step
    def judge(model: Estimator, frame: pl.DataFrame) -> float:
        mark(f"judge{model.weights['x']}"); time.sleep(0.04)
        return float((model.predict(frame) - frame["y"]).abs().mean())

    @pipeline
    def main(rows: int = 3000) -> Model:
        training, held = clean(load(rows))
        models = [fit.submit(training, factor) for factor in (1, 2)]
        best = min((model.result() for model in models), key=lambda model: judge(model, held))
        return Model(best, training.select("x"), "y", held, metrics={"mae": judge(best, held)})
"""
CHILD = """
import sys
from pathlib import Path
from interlock.store import create_store
from interlock.train.engine import run_pipeline
from interlock.train.loader import load_entry
folder, executor = Path(sys.argv[1]), sys.argv[2]
store = create_store(folder / ".interlock")
print("ready", flush=True)
result = run_pipeline(load_entry("pipeline:main", folder), {}, store=store, run_id="r", executor=executor)
print("digest", result.digest, flush=True)
store.close()
"""


def child(folder: Path, executor: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", CHILD, str(folder), executor]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["local", "processes"])
def test_killed_at_any_moment_it_resumes_what_had_not_ended(project, executor: str) -> None:
    project.write(pipeline=SLOW)
    expected = project.run(executor="local").digest
    (project.folder / "marks").unlink()
    copy = project.folder.parent / "copy"
    copy.mkdir()
    (copy / "pipeline.py").write_bytes((project.folder / "pipeline.py").read_bytes())
    chance, ended, kills = random.Random(executor), {}, 0
    while True:
        process = child(copy, executor)
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        if kills < 4:
            time.sleep(chance.uniform(0.01, 0.19))
            process.send_signal(signal.SIGKILL)
        kills += 1
        left = process.stdout.read()
        process.wait()
        process.stdout.close()
        store = open_store(copy / ".interlock")
        steps = PipelineResult.steps_of(store, "r")
        store.close()
        now = {step.position: step for step in steps if step.state == "done"}
        assert {position: now[position] for position in ended} == ended, "what had ended is as it was"
        ended = now
        if left:
            break
    assert left == f"digest {expected}\n"
    began = (copy / "marks").read_text().split()
    assert len(steps) == 6 or len(steps) == 7
    assert len(began) <= len(steps) + kills * 2, "at most what ran when it was killed ran again"
