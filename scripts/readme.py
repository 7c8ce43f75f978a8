"""Clone, `make demo`, and put its output into README.md, between the marks.

`tests/docs/test_readme.py` compares the two.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- demo: begin -->\n", "<!-- demo: end -->"


def clone(folder: Path) -> Path:
    """Return a clone of this repository in a folder, with what is not committed yet laid over it."""
    target = folder / "interlock"
    subprocess.run(["git", "clone", "--quiet", ROOT, target], check=True)
    listed = ["git", "ls-files", "-z", "--modified", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, capture_output=True, text=True, check=True, cwd=ROOT).stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
        elif name:
            (target / name).unlink()
    return target


def demo_output(folder: Path) -> str:
    """Return what the first two commands of the README print from the demo's first line on, as a newcomer runs them.

    Args:
        folder: an empty folder, for the clone; its own path is left out of the output.
    """
    here = str(Path(sys.executable).parent)  # a newcomer has no `interlock` on the path yet
    path = os.pathsep.join(part for part in os.environ["PATH"].split(os.pathsep) if part != here)
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("VIRTUAL_ENV", "MAKE"))}
    made = clone(folder)
    done = subprocess.run(
        ["make", "demo"], capture_output=True, text=True, check=False, cwd=made, env={**environ, "PATH": path}
    )
    if done.returncode:
        raise SystemExit(f"the demo failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    told = done.stdout[done.stdout.index("Interlock: one model's life") :]
    return told.replace(f"{made}/", "").strip() + "\n"


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
        told = demo_output(Path(folder))
    told = re.sub(r"user:\w+", "user:you", told)
    path.write_text(f"{before}{BEGIN}```text\n{told}```\n{END}{rest.split(END)[1]}", "utf-8")


if __name__ == "__main__":
    main()
