"""Run the demo and put its output into README.md, between the marks. `tests/docs/test_readme.py` compares the two."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- demo: begin -->\n", "<!-- demo: end -->"


def demo_output(folder: Path) -> str:
    """Return what `interlock demo` prints when it tells its story in a folder; the folder's parents are left out."""
    command = [sys.executable, "-m", "interlock", "demo", "--folder", str(folder)]
    # With `interlock` on the path, as after `source .venv/bin/activate`; without it the demo says to do that first.
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder.parent, env=environ)
    if done.returncode:
        raise SystemExit(f"the demo failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done.stdout.replace(str(folder), folder.name).strip() + "\n"


def normal(text: str) -> str:
    """Return the output without what differs from run to run: ids, digests, ports, pids, times of day, user names."""
    patterns = {
        r"\b[0-9A-HJKMNP-TV-Z]{26}\b": "ULID",
        r"\b(?=[0-9a-f]*\d)[0-9a-f]{12,64}\b": "DIGEST",
        r"127\.0\.0\.1:\d+": "ADDRESS",
        r"process \d+": "process PID",
        r"20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+Z?)?": "INSTANT",
        r"\b\d:\d\d:\d\d(\.\d+)?": "TIME",
        r"Done in \d+ s": "Done in N s",
        r"user:\S+": "user:NAME",
        r"event:\d+": "event:N",
        r"\d+ entries, \d+ signed checkpoints": "N entries, N signed checkpoints",
        r"\s+": " ",
    }
    for pattern, word in patterns.items():
        text = re.sub(pattern, word, text)
    return text


def main() -> None:
    """Write the output into README.md."""
    path = ROOT / "README.md"
    text = path.read_text("utf-8")
    before, rest = text.split(BEGIN)
    with tempfile.TemporaryDirectory() as folder:
        told = demo_output(Path(folder) / "interlock-demo")
    told = re.sub(r"user:\w+", "user:you", told)
    path.write_text(f"{before}{BEGIN}```text\n{told}```\n{END}{rest.split(END)[1]}", "utf-8")


if __name__ == "__main__":
    main()
