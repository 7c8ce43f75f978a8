"""What a durable run costs: each step has a key, a journal row on disk and a stored value.

Our figure stands beside the plain function calls of the same run. Targets: cold run of three steps 0.35 s, a step
1.5 ms, a cached step 0.5 ms, a submitted step in a warm worker process 2 ms.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

from interlock.store import create_store
from interlock.train.engine import run_pipeline
from interlock.train.loader import load_entry

CODE = """
    from interlock import pipeline, step

    def helper(value):
        return value + 1

    @step
    def load(value: int) -> list[int]:
        return [helper(value)] * 3

    @step
    def train(rows: list[int]) -> dict[str, int]:
        return {"weight": sum(rows)}

    @step
    def judge(model: dict[str, int], rows: list[int]) -> float:
        return model["weight"] / len(rows)

    @pipeline
    def three(value: int = 1) -> float:
        rows = load(value)
        return judge(train(rows), rows)

    @step
    def add(value: int) -> int:
        return helper(value)

    @pipeline
    def chain(count: int) -> int:
        value = 0
        for _ in range(count):
            value = add(value)
        return value

    @pipeline
    def fan(count: int) -> int:
        add(-1)
        return sum(future.result() for future in [add.submit(value) for value in range(count)])

    @step
    def narrow(frame, number: int):
        return frame.with_columns(frame["x"] + number)

    @pipeline
    def frames(frame, count: int) -> int:
        for number in range(count):
            frame = narrow(frame, number)
        return frame.height
"""
COLD = """
import sys
from pathlib import Path
from interlock.store import create_store
from interlock.train.engine import run_pipeline
from interlock.train.loader import load_entry
folder = Path(sys.argv[1])
store = create_store(folder / ".interlock")
print(run_pipeline(load_entry("pipeline:three", folder), {}, store=store).value)
store.close()
"""
PLAIN = """
import sys
sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = True
import pipeline
print(pipeline.three())
"""


def main() -> None:
    """Print the table."""
    folder = Path(tempfile.mkdtemp(prefix="interlock-bench-"))
    (folder / "pipeline.py").write_text(textwrap.dedent(CODE))
    print(f"{'':44}{'ours':>11}{'plain calls':>13}   target")
    cold(folder)
    warm(folder)


def cold(folder: Path) -> None:
    """Time whole processes: import, workspace, three durable steps."""
    figures = {}
    for name, code in (("empty", "pass"), ("plain", PLAIN), ("ours", COLD)):
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        times = []
        for number in range(7):
            place = folder / f"{name}{number}"
            place.mkdir()
            (place / "pipeline.py").write_bytes((folder / "pipeline.py").read_bytes())
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code, str(place)], env=environment, check=True, capture_output=True)
            times.append(time.perf_counter() - start)
        figures[name] = sorted(times)[len(times) // 2]
    show("cold: process, workspace and 3 steps", figures["ours"], figures["plain"], "<= 350 ms")
    print(f"{'  of which an empty interpreter':44}{figures['empty'] * 1e3:>8.1f} ms")


def warm(folder: Path) -> None:
    """Time steps within one process."""
    import polars as pl

    store = create_store(folder / ".interlock")
    count = 400

    def run(entry: str, executor: str = "local", **arguments: object) -> float:
        function = load_entry(f"pipeline:{entry}", folder)
        start = time.perf_counter()
        run_pipeline(function, arguments, store=store, executor=executor)
        return (time.perf_counter() - start) / count

    plain = load_entry("pipeline:chain", folder)
    start = time.perf_counter()
    plain(count)
    calls = (time.perf_counter() - start) / count
    show("step in a chain, recorded and stored", run("chain", count=count), calls, "<= 1.5 ms")
    show("the same from the cache", run("chain", count=count), calls, "<= 0.5 ms")
    empty = run("fan", "processes", count=0) * count
    show(
        "submitted to worker processes (2)", run("fan", "processes", count=count + 500) * count / 900, calls, "<= 2 ms"
    )
    print(f"{'  with the start of the workers, once':44}{empty * 1e3:>8.1f} ms")
    frame = pl.DataFrame({"x": range(100_000), "y": [str(number % 50) for number in range(100_000)]})
    count = 20
    show("step over a frame of 100k rows", run("frames", frame=frame, count=count), calls, "-")
    show("the same from the cache", run("frames", frame=frame, count=count), calls, "-")
    store.close()


def show(what: str, ours: float, plain: float, target: str) -> None:
    """Print one line."""
    print(f"{what:44}{ours * 1e3:>8.2f} ms{plain * 1e3:>10.4f} ms   {target}")


if __name__ == "__main__":
    main()
