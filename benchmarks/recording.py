"""What `run.metrics` costs the thread that calls it, against a bare `deque.append`, in one run.

    python benchmarks/recording.py [--calls 200000] [--rounds 5]

Both sides are called from a loop that does nothing else, which is harder than any training: the recorder's thread
competes for the interpreter all the time. "wall" is what passes in the loop; "own" is the processor time of the calling
thread alone; "paced" is the wall time of a call when the loop rests a millisecond after each, as a fast training step
would. After the loops, every point must be in the workspace. Bar: under 3 microseconds of the calling thread a call,
with two metrics; on a machine with a core to spare the wall time is under it too.
"""

from __future__ import annotations

import argparse
import collections
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import interlock
from interlock.store import create_store

BAR_US = 3.0
PACED = 500


class Cost(NamedTuple):
    """Microseconds a call."""

    wall_us: float
    own_us: float
    paced_us: float


def measure(call: Callable[[int], None], calls: int) -> Cost:
    """Return what a call costs, the cost of the empty loop taken off."""
    wall, own = time.perf_counter(), time.thread_time()
    for _ in range(calls):
        pass
    empty = time.perf_counter() - wall, time.thread_time() - own
    wall, own = time.perf_counter(), time.thread_time()
    for step in range(calls):
        call(step)
    wall, own = time.perf_counter() - wall - empty[0], time.thread_time() - own - empty[1]
    paced = []
    for step in range(calls, calls + PACED):
        before = time.perf_counter()
        call(step)
        paced.append(time.perf_counter() - before)
        time.sleep(0.001)
    return Cost(wall / calls * 1e6, own / calls * 1e6, statistics.median(paced) * 1e6)


def best(costs: list[Cost]) -> Cost:
    """Return the median of each column."""
    return Cost(*(statistics.median(column) for column in zip(*costs, strict=True)))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    cases: dict[str, list[Cost]] = collections.defaultdict(list)
    kept = True
    for _ in range(args.rounds):
        with tempfile.TemporaryDirectory() as name:
            create_store(Path(name) / ".interlock").close()
            bare: collections.deque[tuple[str, int]] = collections.deque()
            cases["deque.append of a tuple"].append(measure(lambda n, add=bare.append: add(("run", n)), args.calls))
            with interlock.run("bench", workspace=name, console=False, machine=False) as run:
                cases["run.metrics, one metric"].append(measure(lambda n: run.metrics(loss=0.5, step=n), args.calls))
                two = measure(lambda n: run.metrics(acc=0.25, val=0.75, step=n), args.calls)
                cases["run.metrics, two metrics"].append(two)
            with interlock.Workspace.open(name) as workspace:
                wanted = args.calls + PACED
                kept &= all(len(workspace.track.metric(run.id, key).steps) == wanted for key in ("loss", "acc", "val"))
    print(f"{platform.machine()}, CPython {platform.python_version()}, {args.rounds} x {args.calls:,} calls, medians")
    print(f"{'':28}{'wall us':>9}{'own us':>9}{'paced us':>10}")
    for title, costs in cases.items():
        print(f"{title:28}{best(costs).wall_us:9.2f}{best(costs).own_us:9.2f}{best(costs).paced_us:10.2f}")
    slow = best(cases["run.metrics, two metrics"]).own_us >= BAR_US
    print(f"every point in the workspace: {'yes' if kept else 'NO'}; under {BAR_US:g} us: {'NO' if slow else 'yes'}")
    return int(slow or not kept)


if __name__ == "__main__":
    sys.exit(main())
