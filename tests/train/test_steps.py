"""Outside of a run, steps and pipelines are the functions that they wrap."""

from __future__ import annotations

import asyncio
import inspect
import os
import pickle
import subprocess
import sys

import pytest

import interlock.train
from interlock import pipeline, step
from interlock.core.errors import Invalid
from interlock.train.steps import StepFuture, conducted_by, settle

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


@step
def double(value: int) -> int:
    """Return twice the value."""
    return value * 2


@step(retries=2, reads=["data/*.csv"])
def fail(value: int) -> int:
    raise RuntimeError(f"no {value}")


@pipeline
def whole(start: int) -> int:
    """Double until it is large."""
    while start < 100:
        start = double(start)
    return max(start, double.submit(double.submit(1)).result())


def test_they_are_plain_functions() -> None:
    assert double(4) == 8
    assert double.function(4) == 8
    assert double(value=1) == 2
    assert whole(3) == 192
    assert double.__name__ == "double"
    assert double.__doc__ == "Return twice the value."
    assert list(inspect.signature(double).parameters) == ["value"]
    assert double.name.endswith("test_steps.double")
    assert pickle.loads(pickle.dumps(double)) is double
    assert pickle.loads(pickle.dumps(whole)) is whole


def test_importing_them_loads_nothing_heavy() -> None:
    code = "import sys; from interlock import step, pipeline, log_metric; import interlock.train; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=ENVIRONMENT)
    heavy = {"numpy", "polars", "pandas", "sklearn", "apsw", "asyncio", "interlock.train.engine"}
    loaded = heavy & set(done.stdout.split())
    assert loaded == set()
    assert sorted(interlock.train.__all__) == interlock.train.__all__
    assert all(callable(getattr(interlock.train, name)) for name in interlock.train.__all__)


def test_errors_are_the_function_s_own() -> None:
    with pytest.raises(RuntimeError, match="no 3"):
        fail(3)
    with pytest.raises(TypeError):
        double(1, 2, 3)  # type: ignore[call-arg]


def test_a_future_outside_of_a_run_has_ended() -> None:
    future = double.submit(5)
    assert future.done()
    assert future.result() == 10
    assert settle([future, (future, {"a": future}), 3]) == [10, (10, {"a": 10}), 3]
    kept = [1, 2]
    assert settle(kept) is kept


def test_calls_go_through_the_conductor_of_the_block() -> None:
    class Conductor:
        def call(self, step, args, kwargs):
            return ("called", step.name.rpartition(".")[2], args, kwargs)

        def submit(self, step, args, kwargs):
            raise AssertionError

    with conducted_by(Conductor()):
        assert double(1) == ("called", "double", (1,), {})
        with conducted_by(None):
            assert double(1) == 2
    assert double(1) == 2


def test_what_cannot_be_a_step_is_refused() -> None:
    def generator():
        yield 1

    async def coroutine() -> None:
        await asyncio.sleep(0)

    for wrong in (generator, coroutine, len, 3, double, whole):
        with pytest.raises(Invalid):
            step(wrong)
        with pytest.raises(Invalid):
            pipeline(wrong)
    with pytest.raises(Invalid, match="lists of texts"):
        step(reads="data/*.csv")(lambda: 1)
    for outside in ("../a.csv", "/etc/a.csv", "data/../../a"):
        with pytest.raises(Invalid, match="below the project"):
            step(reads=[outside])(lambda: 1)
    with pytest.raises(Invalid, match="negative"):
        step(retries=-1)(lambda: 1)


def test_options_are_kept() -> None:
    assert (fail.retries, fail.reads, fail.cache) == (2, ("data/*.csv",), True)
    assert isinstance(double.submit(1), StepFuture)
