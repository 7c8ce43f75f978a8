"""A run: values, cache, order, retries, contracts, logs; on both executors where that can differ."""

from __future__ import annotations

import sys
from typing import Any

import polars as pl
import pytest

from interlock.core.errors import Conflict, Error, Invalid, NotFound
from interlock.train.engine import PipelineResult

EXECUTORS = pytest.mark.parametrize("executor", ["local", "processes"])
CODE = """
    import logging
    import sys
    import polars as pl
    from interlock import pipeline, step, log_metric
    from interlock.train import log_artifact, log_param

    log = logging.getLogger("mine")

    @step
    def load(rows: int) -> pl.DataFrame:
        return pl.DataFrame({"x": range(rows), "y": [row % 2 for row in range(rows)]})

    @step
    def split(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        return frame.filter(pl.col("x") % 5 > 0), frame.filter(pl.col("x") % 5 == 0)

    class Line:
        def __init__(self, c: float, mean: float) -> None:
            self.c = c
            self.mean = mean

        def score(self, frame: pl.DataFrame) -> float:
            return (frame["x"] > self.mean * self.c).mean()

    @step
    def fit(frame: pl.DataFrame, c: float) -> Line:
        log_param("c", c)
        log_metric("loss", 0.5)
        log_metric("loss", 0.25)
        log_metric("late", 1.0, step=7)
        log_artifact("notes/a.txt", "hello")
        print("fitting", end=" ")
        print("now")
        print("complaint", file=sys.stderr)
        log.info("informed")
        return Line(c, frame["x"].mean())

    @step
    def score(model: Line, frame: pl.DataFrame) -> float:
        return float(model.score(frame))

    @pipeline
    def main(rows: int = 40, cs: list[float] = [0.1, 1.0]) -> dict:
        training, held = split(load(rows))
        models = [fit.submit(training, c) for c in cs]
        scores = [score.submit(model, held) for model in models]
        best = max(zip(cs, [future.result() for future in scores]), key=lambda pair: pair[1])
        return {"best": best[0], "model": models[0], "rows": held.height}

    @step
    def nothing() -> None:
        return None

    @step
    def spoil(frame: pl.DataFrame, items: list) -> int:
        frame[0, "x"] = 99
        items.append(1)
        return len(items)

    @step
    def total(frame: pl.DataFrame) -> int:
        return frame["x"].sum()

    @pipeline
    def spoiled() -> list:
        frame = load(3)
        items = [5]
        return [spoil(frame, items), total(frame), len(items), nothing()]

    @step
    def outer(rows: int) -> int:
        return load(rows).height

    @pipeline
    def nested() -> int:
        return outer(3)

    @step
    def wrong() -> int:
        return "text"

    @pipeline
    def broken() -> int:
        return wrong()

    @pipeline
    def misused() -> int:
        return load("many").height
"""


class Book:
    """A recorder that writes everything down."""

    def __init__(self) -> None:
        self.lines: list[tuple[Any, ...]] = []

    def params(self, values):
        self.lines += [("param", *item) for item in values.items()]

    def metric(self, key, step, value):
        self.lines.append(("metric", key, step, value))

    def artifact(self, path, content):
        self.lines.append(("artifact", path, content))


SAID = [
    ("param", "c", 0.1),
    ("metric", "loss", 0, 0.5),
    ("metric", "loss", 1, 0.25),
    ("metric", "late", 7, 1.0),
    ("artifact", "notes/a.txt", b"hello"),
]


def states(result: PipelineResult) -> list[str]:
    return ["replayed" if s.replayed else "cached" if s.cached else s.state for s in result.steps]


@EXECUTORS
def test_a_run_computes_once_and_then_answers_from_the_cache(project, executor: str) -> None:
    project.write(pipeline=CODE)
    first = project.run(executor=executor)
    assert first.value["rows"] == 8
    assert first.value["best"] in {0.1, 1.0}
    assert [step.step for step in first.steps] == [
        f"pipeline.{name}" for name in ("load", "split", "fit", "fit", "score", "score")
    ]
    assert states(first) == ["done"] * 6
    assert first.steps[0].reason == "first time"
    second = project.run(executor=executor)
    assert states(second) == ["cached"] * 6
    assert second.digest == first.digest != ""
    assert [s.output for s in second.steps] == [s.output for s in first.steps]
    recorded = PipelineResult.steps_of(project.store, second.run_id)
    assert [(s.position, s.state, s.cached) for s in recorded] == [(n, "done", True) for n in range(6)]


def test_both_executors_share_the_cache(project) -> None:
    project.write(pipeline=CODE)
    assert states(project.run(executor="processes")) == ["done"] * 6
    assert states(project.run(executor="local")) == ["cached"] * 6
    assert states(project.run(executor="processes")) == ["cached"] * 6
    assert states(project.run(executor="processes", fresh=True)) == ["done"] * 6


def test_only_what_an_edit_reaches_runs_again(project) -> None:
    project.write(pipeline=CODE)
    project.run()
    project.edit("pipeline", "return float(model.score(frame))", "return 2 * float(model.score(frame))")
    result = project.run()
    assert states(result) == ["cached"] * 4 + ["done"] * 2
    assert result.steps[4].reason == "code pipeline.score changed"
    project.edit("pipeline", "> self.mean", "< self.mean")
    assert states(project.run()) == ["cached"] * 2 + ["done"] * 4, "a method reaches the steps that take the model"
    result = project.run(cs=[0.1, 3.0])
    assert states(result) == ["cached", "cached", "cached", "done", "cached", "done"]
    assert result.steps[3].reason in {"input c changed from 0.1 to 3.0", "input c changed from 1.0 to 3.0"}


@EXECUTORS
def test_what_a_step_logs_is_recorded_and_recorded_again_from_the_cache(project, executor: str) -> None:
    project.write(pipeline=CODE)
    book, again = Book(), Book()
    project.run(cs=[0.1], executor=executor, recorder=book)
    assert book.lines == SAID
    project.run(cs=[0.1], executor=executor, recorder=again)
    assert again.lines == SAID


@EXECUTORS
def test_what_a_step_prints_is_in_the_run_s_log(project, executor: str, capsys: pytest.CaptureFixture[str]) -> None:
    project.write(pipeline=CODE)
    out = sys.stdout
    result = project.run(cs=[0.1], executor=executor)
    assert sys.stdout is out
    lines = [line.partition(" ")[2] for line in result.log.read_text().splitlines()]
    assert "fit#3 out| fitting now" in lines
    assert "fit#3 err| complaint" in lines
    assert any(line.startswith("fit#3 log|") and line.endswith("informed") for line in lines)
    assert ("fitting now" in capsys.readouterr().out) == (executor == "local")


@EXECUTORS
def test_a_step_changes_only_its_own_copies(project, executor: str) -> None:
    project.write(pipeline=CODE)
    assert project.run("pipeline:spoiled", executor=executor).value == [2, 3, 1, None]
    assert project.run("pipeline:spoiled", executor=executor).value == [2, 3, 1, None]


def test_a_step_inside_a_step_is_a_plain_function(project) -> None:
    project.write(pipeline=CODE)
    result = project.run("pipeline:nested")
    assert (result.value, len(result.steps)) == (3, 1)
    project.edit("pipeline", '{"x": range(rows)', '{"x": range(1, rows + 1)')
    assert states(project.run("pipeline:nested")) == ["done"], "the inner step's code belongs to the outer step's key"


@EXECUTORS
def test_hints_are_the_contract(project, executor: str) -> None:
    project.write(pipeline=CODE)
    with pytest.raises(Invalid, match="wants int for its value and got str"):
        project.run("pipeline:broken", executor=executor)
    with pytest.raises(Invalid, match="wants int for argument 'rows' and got str"):
        project.run("pipeline:misused", executor=executor)
    with pytest.raises(Invalid, match="'rows' of the pipeline is a str; int is wanted"):
        project.run(rows="3", executor=executor)
    with pytest.raises(NotFound, match="rwos"):
        project.run(rwos=3, executor=executor)


def test_a_changed_frame_is_another_input(project) -> None:
    project.write(
        pipeline="""
            import polars as pl
            from interlock import pipeline, step
            @step
            def make() -> pl.DataFrame: return pl.DataFrame({"x": [1, 2]})
            @step
            def total(frame: pl.DataFrame) -> int: return frame["x"].sum()
            @pipeline
            def main(change: bool) -> int:
                frame = make()
                if change:
                    frame[0, "x"] = 50
                return total(frame)
        """
    )
    assert project.run(change=False).value == 3
    assert project.run(change=True).value == 52
    assert project.run(change=False).value == 3


@EXECUTORS
def test_steps_are_tried_again(project, executor: str) -> None:
    project.write(
        pipeline="""
            from pathlib import Path
            from interlock import pipeline, step, log_metric
            @step(retries=2)
            def shaky(folder: str, good: int) -> int:
                marks = Path(folder)
                number = len(list(marks.iterdir()))
                (marks / str(number)).touch()
                log_metric("tries", number)
                if number + 1 < good:
                    raise OSError(f"not yet {number}")
                return number
            @pipeline
            def main(folder: str, good: int) -> int:
                return shaky(folder, good)
        """
    )
    for good in (3, 4):
        marks = project.folder / f"marks{good}"
        marks.mkdir()
        if good == 3:
            result = project.run(folder=str(marks), good=good, executor=executor)
            assert result.value == 2
            assert result.steps[0].attempts == 3
        else:
            with pytest.raises((OSError, Error), match="not yet 2"):
                project.run(folder=str(marks), good=good, executor=executor, run_id="failing")
            (failed,) = PipelineResult.steps_of(project.store, "failing")
            assert (failed.state, failed.attempts) == ("failed", 3)
            assert "not yet 2" in failed.error
            assert failed.reason.startswith("not cached: pipeline.shaky reads files")


def test_errors_keep_their_class_and_say_where(project) -> None:
    project.write(
        pipeline="""
            from interlock import pipeline, step
            @step
            def bad(value: int) -> int:
                return 1 // value
            @pipeline
            def main() -> int:
                return bad(0)
        """
    )
    with pytest.raises(ZeroDivisionError) as caught:
        project.run(run_id="r1")
    assert caught.value.__notes__ == ["In step pipeline.bad, call 1 of run r1."]
    with pytest.raises(Error, match="bad#1 raised ZeroDivisionError") as caught:
        project.run(executor="processes")
    assert "pipeline.py" in caught.value.__notes__[0]


def test_a_failed_submission_fails_the_run(project) -> None:
    project.write(
        pipeline="""
            from interlock import pipeline, step
            @step
            def bad(value: int) -> int:
                raise ValueError("unseen")
            @pipeline
            def main() -> int:
                bad.submit(0)
                return 1
        """
    )
    with pytest.raises(ValueError, match="unseen"):
        project.run()


def test_values_that_cannot_be_kept_still_reach_the_pipeline(project) -> None:
    project.write(
        pipeline="""
            from interlock import pipeline, step
            @step
            def make():
                return lambda x: x + 1
            @step
            def use(function, value: int) -> int:
                return function(value)
            @pipeline
            def main() -> int:
                return use(make(), 1)
        """
    )
    for _ in range(2):
        result = project.run()
        assert result.value == 2
        assert result.steps[0].reason.startswith("its value cannot be kept")
    assert states(result) == ["done", "cached"]
    with pytest.raises(Invalid, match="cannot be kept"):
        project.run(executor="processes")


def test_a_step_of_no_module_cannot_go_to_a_process(project) -> None:
    project.write(
        pipeline="""
            from interlock import pipeline, step
            @pipeline
            def main() -> int:
                @step
                def inner() -> int: return 1
                return inner()
        """
    )
    assert project.run().value == 1
    with pytest.raises(Invalid, match="cannot import the step"):
        project.run(executor="processes", fresh=True)


def test_a_global_changed_after_the_import_is_refused_by_workers(project) -> None:
    project.write(
        pipeline="""
            from interlock import pipeline, step
            RATE = 2
            @step
            def work(value: int) -> int: return value * RATE
            @pipeline
            def main() -> int:
                global RATE
                RATE = 3
                return work(5)
        """
    )
    assert project.run().value == 15
    with pytest.raises(Conflict, match=r"constant pipeline\.RATE"):
        project.run(executor="processes", fresh=True)


def test_a_run_cannot_go_on_twice_at_once(project) -> None:
    from interlock.train.capture import RunLog, log_path

    project.write(pipeline=CODE)
    held = RunLog(log_path(project.store.root, "held"), project.store.clock)
    with pytest.raises(Conflict, match="going on in another process"):
        project.run("pipeline:nested", run_id="held")
    held.close()
    assert project.run("pipeline:nested", run_id="held").value == 3


@pytest.mark.parametrize("run_id", ["../x", "a/b", "", ".hidden", "x" * 101, "a\nb"])
def test_no_path_is_made_of_a_run_s_id(project, run_id: str) -> None:
    project.write(pipeline=CODE)
    if not run_id:
        assert project.run("pipeline:nested", run_id="").run_id
        return
    with pytest.raises(Invalid):
        project.run("pipeline:nested", run_id=run_id)


def test_unknown_executors_are_named(project) -> None:
    project.write(pipeline=CODE)
    with pytest.raises(NotFound, match="procesess"):
        project.run(executor="procesess")


def test_frames_as_arguments_share_the_cache(project) -> None:
    project.write(
        pipeline="""
            import polars as pl
            from interlock import pipeline, step
            @step
            def total(frame: pl.DataFrame) -> int: return frame["x"].sum()
            @pipeline
            def main(frame: pl.DataFrame) -> int: return total(frame)
        """
    )
    frame = pl.DataFrame({"x": [1, 2, 3]})
    assert project.run(frame=frame).value == 6
    assert states(project.run(frame=frame.clone())) == ["cached"]
    assert states(project.run(frame=frame.with_columns(x=pl.lit(1)))) == ["done"]
