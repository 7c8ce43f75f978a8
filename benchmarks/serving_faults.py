"""Serving under fire: how much slower those are who do nothing wrong, beside slow clients or a tenfold load.

The same load of a few callers (one row a request, from an address of their own) is measured quiet and under each fault,
in turns; a ratio is that of the medians. None may be lost; beyond the limit on requests under way callers are asked to
come back (429).
    python benchmarks/serving_faults.py [--only ours,ours-1s] [--models linear] [--quick]
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from common.load import Running, need_wrk
from common.models import KINDS, train
from common.servers import SERVERS, Ours

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "faults"))
from serving_crowd import Crowd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

CALLERS: Final = 4
TENFOLD: Final = 2560  # ten times the requests that may be under way
ROWS: Final = 1000
TURNS: Final = 3
ADDRESS: Final = "127.0.0.2"
PROBER: Final = Path(__file__).with_name("common") / "prober.py"


def crowd(server: Ours) -> AbstractContextManager[object]:
    """Return slow and silent clients: more than there are places."""
    _, body = server.request("json", ROWS)
    url = server.url("").rstrip("/")
    return Crowd(url, idle=200, heads=60, bodies=300, deaf=10, body=body)


def callers(count: int, rows: int) -> Callable[[Ours], AbstractContextManager[object]]:
    """Return what lets so many more callers ask."""

    @contextlib.contextmanager
    def asking(server: Ours) -> Iterator[None]:
        running = Running(server, server.request("json", rows), count, 3600).start()
        time.sleep(2.0)  # until all are connected
        try:
            yield
        finally:
            assert running.process is not None
            running.process.kill()
            running.process.communicate()
            running.body.close()

    return asking


FAULTS: Final[dict[str, Callable[[Ours], AbstractContextManager[object]]]] = {
    "570 slow or silent connections": crowd,
    f"{TENFOLD // 10} callers of {ROWS} rows": callers(TENFOLD // 10, ROWS),
    f"{TENFOLD} callers of one row": callers(TENFOLD, 1),
}


class Seen(NamedTuple):
    """What a few callers of one row saw: the median in milliseconds, answers, and refusals."""

    median_ms: float
    good: int
    refused: int


def ask(server: Ours, seconds: float) -> Seen:
    """Return what a few callers of one row see."""
    path, body = server.request("json", 1)
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        file.write(body)
        file.flush()
        asked = [str(server.port), path, file.name, str(CALLERS), str(seconds), ADDRESS]
        said = subprocess.run([sys.executable, PROBER, *asked], capture_output=True, text=True, check=True)
    median, good, refused = said.stdout.split()
    return Seen(float(median), int(good), int(refused))


def compare(server: Ours, seconds: float) -> Iterator[str]:
    """Yield a line a fault."""
    ask(server, 1)
    for name, fault in FAULTS.items():
        quiet, beside = [], []
        for _ in range(TURNS):
            quiet.append(ask(server, seconds))
            with fault(server):
                beside.append(ask(server, seconds))
        before, after = (statistics.median(one.median_ms for one in turns) for turns in (quiet, beside))
        rate, rate_beside = (statistics.median(one.good for one in turns) / seconds for turns in (quiet, beside))
        refused = sum(one.refused for one in beside)
        said = f"median {before:.2f} ms quiet, {after:.2f} ms beside: {after / before:.1f}x"
        rates = f"answers a second {rate:.0f} and {rate_beside:.0f}"
        yield f"{server.name}: {server.model.name}: {name}: {said}; {rates}; 429: {refused}"


def main() -> int:
    """Print a line a fault, a server and a model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="ours,ours-1s")
    parser.add_argument("--models", default=",".join(KINDS))
    parser.add_argument("--quick", action="store_true", help="turns of one second")
    asked = parser.parse_args()
    print(need_wrk(), flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        for kind in asked.models.split(","):
            model = train(kind, Path(place) / kind)
            for name in asked.only.split(","):
                folder = Path(place) / name
                folder.mkdir()
                server = SERVERS[name](name, folder, model)
                try:
                    server.start()
                    for line in compare(server, 1 if asked.quick else 4):
                        print(line, flush=True)
                finally:
                    server.stop()
                    shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
