"""What a durable run costs: each step has a key, a journal row on disk and a stored value.

Our figure stands beside the plain function calls of the same run. Targets: cold run of three steps 0.35 s, a step
1.5 ms, a cached step 0.5 ms, a submitted step in a warm worker process 2 ms.
"""

from __future__ import annotations

import os
import platform
import resource
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
    print(f"Python {platform.python_version()}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    with tempfile.TemporaryDirectory(prefix="interlock-bench-") as name:
        folder = Path(name)
        (folder / "pipeline.py").write_text(textwrap.dedent(CODE))
        print(f"{'':46}{'wall':>10}{'CPU':>12}{'plain calls':>15}   target")
        cold(folder)
        warm(folder)


def cold(folder: Path) -> None:
    """Time whole processes: import, workspace, three durable steps."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    figures = {}
    for name, code in (("empty", "pass"), ("plain", PLAIN), ("ours", COLD)):
        times = []
        for number in range(9):
            place = folder / f"{name}{number}"
            place.mkdir()
            (place / "pipeline.py").write_bytes((folder / "pipeline.py").read_bytes())
            start, before = time.perf_counter(), used(resource.RUSAGE_CHILDREN)
            subprocess.run([sys.executable, "-c", code, str(place)], env=environment, check=True, capture_output=True)
            times.append((time.perf_counter() - start, used(resource.RUSAGE_CHILDREN) - before))
        figures[name] = sorted(times)[len(times) // 2]
    show("cold: process, workspace and 3 steps", figures["ours"], figures["plain"][0], "350 ms")
    show("  of which an empty interpreter", figures["empty"], figures["empty"][0])


def warm(folder: Path) -> None:
    """Time steps within one process; the workers' CPU is not in our figure."""
    import polars as pl

    store = create_store(folder / ".interlock")

    def run(entry: str, executor: str = "local", **arguments: object) -> tuple[float, float]:
        function = load_entry(f"pipeline:{entry}", folder)
        start, before = time.perf_counter(), time.process_time()
        run_pipeline(function, arguments, store=store, executor=executor)
        return time.perf_counter() - start, time.process_time() - before

    def each(times: tuple[float, float], count: int) -> tuple[float, float]:
        return times[0] / count, times[1] / count

    plain = load_entry("pipeline:chain", folder)
    start = time.perf_counter()
    plain(400)
    call = (time.perf_counter() - start) / 400
    show("step in a chain, recorded and stored", each(run("chain", count=400), 400), call, "1.5 ms")
    show("the same from the cache", each(run("chain", count=400), 400), call, "0.5 ms")
    first = run("fan", "processes", count=0)
    both = run("fan", "processes", count=1000)
    fan = (both[0] - first[0], both[1] - first[1])
    show("submitted to warm worker processes", each(fan, 600), call, "2 ms")  # 400 are cached: the chain's
    show("  start of the first worker, with its step", first, call)
    frame = pl.DataFrame({"x": range(100_000), "y": [str(number % 50) for number in range(100_000)]})
    start = time.perf_counter()
    load_entry("pipeline:frames", folder)(frame=frame, count=20)
    call = (time.perf_counter() - start) / 20
    show("step over a frame of 100k rows", each(run("frames", frame=frame, count=20), 20), call)
    show("the same from the cache", each(run("frames", frame=frame, count=20), 20), call)
    store.close()


def used(who: int) -> float:
    """Return the CPU seconds of this process's children."""
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def show(what: str, ours: tuple[float, float], plain: float, target: str = "-") -> None:
    """Print one line."""
    print(f"{what:46}{ours[0] * 1e3:>7.2f} ms{ours[1] * 1e3:>9.2f} ms{plain * 1e3:>12.4f} ms   {target}")


if __name__ == "__main__":
    main()
