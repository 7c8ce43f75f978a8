"""Serving: our server beside a bare ASGI application and peers, the same models and rows, one after the other.

Load is made by wrk (Debian: apt-get install wrk), one thread of it, which takes one core of the machine. Peers are
installed from the registry into environments of their own (.venv-peers) the first time. Each server runs in processes
of its own, with one worker, and each form of answer is compared with scikit-learn's before it is timed. One server runs
at a time; only ours and the bare application, whose ratio counts most, are asked in turns. CPU is that of the server's
whole process tree. Ours and the bare application run ONNX; peers serve the scikit-learn
original as their users do, and answer probabilities like ours.
Peers take rows as their users send them: MLServer one matrix tensor, where ours and the bare application get one tensor
a column. A p99 during swaps is that of the whole load while versions are swapped, one swap after the other.
    python benchmarks/serving.py [--only ours,bare,mlflow] [--work single,large,swaps,log] [--models linear] [--quick]
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from common.deploying import CannotDeploy, Workspace
from common.load import Running, Window, drive, need_wrk, take_turns
from common.models import KINDS, Model, train
from common.peers import REQUIREMENTS
from common.servers import SERVERS, Ours, PredictionServer
from common.tables import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Figure = tuple[str, float, str]
WORK = ("single", "large", "swaps", "log")
FORMS = ("json", "v2")
CALLERS = (1, 8, 64)
LARGE_CALLERS = (1, 8)
SWAPS = 20
SWAP_CALLERS = 8
SLOWER_UNDER_LOAD = 5  # swaps, at most; the load must outlast them
BARS = (
    ("  {}: start, CPU", 1.5, "CPU-s"),
    ("{}: memory idle (proportional)", 120, "MB"),
    ("{}: memory after that load", 120, "MB"),
    ("{}: prediction log, 100 rows a request, c4", 20_000, "rows/s"),
    ("  {}: prediction log, acknowledged and not logged", 0, "rows"),
    (f"{{}}: {SWAPS} swaps, c{SWAP_CALLERS}, failed requests", 0, "requests"),
    (f"  {{}}: {SWAPS} swaps, c{SWAP_CALLERS}, answers of neither version", 0, "answers"),
    (f"  {{}}: {SWAPS} swaps, c{SWAP_CALLERS}, load ended before the swaps", 0, "0 or 1"),
)


class Effort(NamedTuple):
    """How long is looked: turns of a comparison, and seconds of a window of its own."""

    compared: Window = Window(1, 3, 3)
    alone_s: int = 15


def work_start(server: PredictionServer) -> Iterator[Figure]:
    """How it started, and what it takes when idle."""
    name = server.model.name
    yield f"{name}: start to first right answer", server.started_s, "s"
    yield f"  {name}: start, CPU", server.started_cpu_s, "CPU-s"
    time.sleep(1)
    yield f"{name}: memory idle (proportional)", server.memory_mb(), "MB"


def work_single(servers: Sequence[PredictionServer], effort: Effort) -> Iterator[tuple[str, Figure]]:
    """One row a request."""
    for form in FORMS:
        for callers in CALLERS:
            for name, load in take_turns(servers, form, 1, callers, effort.compared).items():
                label = f"{servers[0].model.name} {form}, 1 row, c{callers}"
                yield name, (label, load.good / load.wall_s, "requests/s")
                yield name, (f"  {label}, CPU", load.cpu_s / max(load.good, 1) * 1e6, "us/request")
                yield name, (f"  {label}, p50", load.p50_ms, "ms")
                yield name, (f"  {label}, p99", load.p99_ms, "ms")
                yield name, (f"  {label}, errors", load.bad, "requests")


def work_large(servers: Sequence[PredictionServer], effort: Effort) -> Iterator[tuple[str, Figure]]:
    """A thousand rows a request."""
    rows = len(servers[0].model.rows)
    for form in FORMS:
        for callers in LARGE_CALLERS:
            for name, load in take_turns(servers, form, rows, callers, effort.compared).items():
                label = f"{servers[0].model.name} {form}, {rows} rows, c{callers}"
                yield name, (label, load.good * rows / load.wall_s, "rows/s")
                yield name, (f"  {label}, CPU", load.cpu_s / max(load.good * rows, 1) * 1e6, "us/row")
                yield name, (f"  {label}, p99", load.p99_ms, "ms")
                yield name, (f"  {label}, errors", load.bad, "requests")


def work_swaps(server: Ours, other: Model, effort: Effort) -> Iterator[Figure]:
    """Swaps between two versions, one after the other, under load; each answer must be one of the two versions'."""
    texts, spent = [], []
    workspace = Workspace(server.folder / ".interlock", server.durability)
    request = server.request("json", 1)
    for revision, model in enumerate((server.model, other), 2):
        spent.append(swap(server, workspace, workspace.add(model), revision))
        texts.append(probability(server.post(*request)))
    if texts[0] == texts[1]:
        raise RuntimeError("two models that answer the same cannot be told apart")
    drive(server, request, SWAP_CALLERS, effort.compared.warm_s)
    quiet = Running(server, request, SWAP_CALLERS, effort.alone_s).start(tuple(texts)).result()
    seconds = max(effort.alone_s, int(SWAPS * max(spent) * SLOWER_UNDER_LOAD))
    running = Running(server, request, SWAP_CALLERS, seconds).start(tuple(texts))
    spent = []
    for number in range(SWAPS):
        spent.append(swap(server, workspace, 1 + number % 2, number + 4))
        time.sleep(max(0.0, (seconds - 1) / SWAPS - spent[-1]))
    late = running.process is None or running.process.poll() is not None
    load = running.result()
    workspace.close()
    label = f"{server.model.name}: {SWAPS} swaps, c{SWAP_CALLERS}"
    yield f"{label}, failed requests", load.refused + load.lost, "requests"
    yield f"  {label}, requests", load.requests, "requests"
    yield f"  {label}, answers of neither version", load.strange, "answers"
    yield f"  {label}, answers of the version less heard", min(load.first, load.second), "answers"
    yield f"  {label}, load ended before the swaps", float(late), "0 or 1"
    yield f"  {label}, a swap takes", sum(spent) / len(spent) * 1e3, "ms"
    yield f"{server.model.name}: p99 quiet, c{SWAP_CALLERS}", quiet.p99_ms, "ms"
    yield f"{server.model.name}: p99 during swaps, c{SWAP_CALLERS}", load.p99_ms, "ms"
    yield f"  {label}, largest latency", load.max_ms, "ms"


def swap(server: Ours, workspace: Workspace, version: int, revision: int) -> float:
    """Return the seconds until a version is served."""
    began = time.perf_counter()
    workspace.switch(version, revision)
    server.post("/-/reload", b"")
    while server.figure("interlock_revision") != revision:
        if time.perf_counter() - began > 30:
            raise RuntimeError(f"revision {revision} is not served: {server.get('/-/status').decode()[:1000]}")
        time.sleep(0.02)
    return time.perf_counter() - began


def probability(answer: bytes) -> str:
    """Return the part of an answer that tells which model gave it, as its text stands there."""
    begin = answer.index(b'"probability":')
    return answer[begin : answer.index(b",", begin) + 1].decode()


def work_log(server: Ours, effort: Effort) -> Iterator[Figure]:
    """Rows into the prediction log by requests of 100 rows, beside somebody who asks a row at a time."""
    single, many = server.request("json", 1), server.request("json", 100)
    drive(server, single, 1, effort.compared.warm_s)
    before, began = server.figure("interlock_log_rows"), time.perf_counter()
    beside = Running(server, single, 1, effort.alone_s).start()
    load = drive(server, many, 4, effort.alone_s)
    quick = beside.result()
    wall = time.perf_counter() - began
    while server.figure("interlock_log_queue_rows"):
        time.sleep(0.05)
    logged = server.figure("interlock_log_rows") - before
    acknowledged = load.good * 100 + quick.good
    label = f"{server.model.name}: prediction log"
    yield f"{label}, 100 rows a request, c4", logged / wall, "rows/s"
    yield f"  {label}, acknowledged and not logged", max(0, acknowledged - logged), "rows"
    yield f"  {label}, CPU with parsing and model", load.cpu_s / logged * 1e6, "us/row"
    yield f"  {label}, p99 of one row beside it", quick.p99_ms, "ms"
    yield f"  {label}, errors of both", load.bad + quick.bad, "requests"


def measure_alone(server: PredictionServer, other: Model, works: list[str], effort: Effort) -> Iterator[Figure]:
    """Yield the figures of a server that are its own business; it is the only one that runs."""
    yield from work_start(server)
    if isinstance(server, Ours) and "log" in works:
        yield from work_log(server, effort)
        yield f"{server.model.name}: memory after that load", server.memory_mb(), "MB"
    if isinstance(server, Ours) and "swaps" in works:
        yield from work_swaps(server, other, effort)


class Bench:
    """The run: a folder for all it makes, the table, and which servers failed."""

    def __init__(self, folder: Path, works: list[str], effort: Effort) -> None:
        self.folder, self.works, self.effort = folder, works, effort
        self.table = Table()
        self.failed = False
        self._count = 0

    def run(self, kind: str, names: list[str]) -> None:
        """Measure servers with one kind of model: each alone, then ours and the bare one in turns, then each peer."""
        model, other = (train(kind, self.folder / f"{kind}{seed}", seed) for seed in (1, 2))

        def alone(servers: list[PredictionServer]) -> None:
            for row, value, unit in measure_alone(servers[0], other, self.works, self.effort):
                self.table.put(row, servers[0].name, value, unit)

        sound = [name for name in names if self._served([name], model, alone)]
        close = [name for name in sound if name not in REQUIREMENTS]
        for group in (close, *([name] for name in sound if name in REQUIREMENTS)):
            if group and {"single", "large"} & set(self.works):
                self._served(group, model, self._compare)

    def _compare(self, servers: list[PredictionServer]) -> None:
        for server in servers:
            for form in server.forms:
                for rows in (1, len(server.model.rows)):
                    server.right(form, rows)
        for work, figures in (("single", work_single), ("large", work_large)):
            if work in self.works:
                for name, (row, value, unit) in figures(servers, self.effort):
                    self.table.put(row, name, value, unit)

    def _served(self, names: list[str], model: Model, look: Callable[[list[PredictionServer]], None]) -> bool:
        """Look at servers while they run; return whether that went well. What did not is said, and others go on."""
        servers: list[PredictionServer] = []
        self._count += 1
        try:
            for name in names:
                folder = self.folder / f"{name}{self._count}"
                folder.mkdir()
                servers.append(SERVERS[name](name, folder, model))
                servers[-1].start()
            look(servers)
        except CannotDeploy as error:
            print(f"{', '.join(names)}: left out: {error}", file=sys.stderr)
        except (OSError, RuntimeError) as error:
            self.failed = True
            print(f"{', '.join(names)}: FAILED with {model.name}: {error}", file=sys.stderr)
        else:
            return True
        finally:
            for server in servers:
                server.stop()
                shutil.rmtree(server.folder, ignore_errors=True)
        return False


def verdicts(table: Table, models: list[str]) -> Iterator[str]:
    """Yield what is asked for beside what was found, for each of ours."""
    for ours in ("ours", "ours-1s"):
        for model in models:
            for form in FORMS:
                for callers in CALLERS:
                    row = f"{model} {form}, 1 row, c{callers}"
                    yield from against(table, f"  {row}, CPU", ours, "bare", "at most 2x")
                for callers in LARGE_CALLERS:
                    yield from against(table, f"{model} {form}, 1000 rows, c{callers}", ours, "bare", "at least 0.6x")
            aim = {"linear": "at least 20x", "forest": "at least 50x"}[model]
            yield from against(table, f"{model} json, 1 row, c8", ours, "mlflow", aim)
            for callers in CALLERS:
                for name, form in (("bentoml", "json"), ("litserve", "json"), ("ray", "json"), ("mlserver", "v2")):
                    yield from against(table, f"{model} {form}, 1 row, c{callers}", ours, name, "over 1x")
            yield from swaps_against(table, model, ours)
            for row, bar, unit in BARS:
                found = table.get(row.format(model), ours)
                if found is not None:
                    held = found >= bar if unit == "rows/s" else found <= bar
                    aim = f"{'at least' if unit == 'rows/s' else 'at most'} {bar:,g}"
                    said = f"{ours}: {row.format(model).strip()}: {found:,.3g} {unit} ({aim})"
                    yield said if held else f"{said}, MISSED"


def swaps_against(table: Table, model: str, ours: str) -> Iterator[str]:
    """Yield a line about latency while versions are swapped, against the same load before."""
    row = f"{model}: p99 {{}}, c{SWAP_CALLERS}"
    during, quiet = (table.get(row.format(when), ours) for when in ("during swaps", "quiet"))
    if during and quiet:
        ratio = during / quiet
        yield f"{ours}: {model}: p99 during swaps: {ratio:.2f}x of quiet (under 3x){'' if ratio < 3 else ', MISSED'}"


def against(table: Table, row: str, ours: str, other: str, aim: str) -> Iterator[str]:
    """Yield a line with the ratio of two columns, if both are there."""
    mine, theirs = table.get(row, ours), table.get(row, other)
    if mine is not None and theirs:
        ratio = mine / theirs
        bar = float(aim.rsplit(maxsplit=1)[-1].rstrip("x"))
        held = ratio <= bar if "most" in aim else ratio >= bar
        yield f"{ours}: {row.strip()}: {ratio:.2f}x of {other} ({aim}){'' if held else ', MISSED'}"


def main() -> int:
    """Print the table; return 1 when a server failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(SERVERS), help="which servers")
    parser.add_argument("--work", default=",".join(WORK), help="which work; start and memory are always looked at")
    parser.add_argument("--models", default=",".join(KINDS))
    parser.add_argument("--quick", action="store_true", help="one turn of 3 seconds each")
    asked = parser.parse_args()
    names, models = asked.only.split(","), asked.models.split(",")
    effort = Effort(Window(1, 3, 1), 12) if asked.quick else Effort()
    versions = [text for name in names for text in REQUIREMENTS.get(name, ())]
    versions += [f"{name}=={version(name)}" for name in ("scikit-learn", "onnxruntime", "uvicorn", "uvloop", "msgspec")]
    said = (need_wrk(), f"Python {platform.python_version()}", *versions, f"load {os.getloadavg()[0]:.1f}")
    print(", ".join(said), flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        bench = Bench(Path(folder), asked.work.split(","), effort)
        for kind in models:
            bench.run(kind, names)
    bench.table.show(names)
    print(*verdicts(bench.table, models), sep="\n")
    return int(bench.failed)


if __name__ == "__main__":
    sys.exit(main())
