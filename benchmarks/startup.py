"""How long commands take to start, against a bare interpreter in the same run. CPU seconds of the child, median of 20.

Bar: `interlock --help` costs at most 5 times `python -c pass`. Byte code is written before measuring: where
PYTHONDONTWRITEBYTECODE is set, every import would compile anew and figures would be 3 times too high.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

RUNS = 20
BAR = 5.0
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "python -c 'import interlock'": [sys.executable, "-c", "import interlock"],
    "interlock --help": [str(Path(sys.executable).with_name("interlock")), "--help"],
}


def cpu_s(command: list[str]) -> float:
    """Return the CPU seconds that one run of a command takes."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    """Print the figures; return 1 when the bar is missed."""
    for command in COMMANDS.values():
        cpu_s(command)
    rounds = [{name: cpu_s(command) for name, command in COMMANDS.items()} for _ in range(RUNS)]
    medians = {name: statistics.median(one[name] for one in rounds) for name in COMMANDS}
    base = medians["python -c pass"]
    for name, median in medians.items():
        print(f"{name:32} {median * 1000:7.1f} CPU ms  {median / base:5.2f} x")
    ratio = medians["interlock --help"] / base
    print(f"bar: interlock --help <= {BAR:.0f} x: {'held' if ratio <= BAR else 'MISSED'} ({ratio:.2f} x)")
    return int(ratio > BAR)


if __name__ == "__main__":
    sys.exit(main())
