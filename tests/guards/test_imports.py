"""Start-up stays short: what `import interlock` and `interlock --help` may load."""

from __future__ import annotations

import subprocess
import sys

import pytest

IMPORT = "import interlock"
HELP = """
import sys
sys.argv = ["interlock", "--help"]
from interlock.cli.main import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""
REPORT = "\nimport sys; print(*sys.modules, file=sys.stderr)"


def modules(code: str) -> set[str]:
    """Return what a fresh interpreter has loaded after running some code."""
    done = subprocess.run([sys.executable, "-c", code + REPORT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


# The most modules beyond a bare interpreter's, with room for what newer Pythons split. The help needs 79 now, most of
# them click's; every fifty cost some ten milliseconds of each command (benchmarks/startup.py measures it).
@pytest.mark.parametrize(
    ("code", "allowed", "most"),
    [
        pytest.param(IMPORT, set(), 10, id="import interlock"),
        pytest.param(HELP, {"click"}, 100, id="interlock --help"),
    ],
)
def test_starts_light(code: str, allowed: set[str], most: int) -> None:
    loaded = modules(code) - modules("")
    foreign = {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names - {"interlock"}
    assert foreign - allowed == set(), "import these inside the functions that need them"
    assert len(loaded) <= most
