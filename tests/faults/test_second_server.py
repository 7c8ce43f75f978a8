"""A second server of one workspace is refused with the first one's name; commands work beside it; a kill frees it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def interlock(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "interlock", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.slow
def test_one_server_a_workspace(tmp_path: Path, serve: Callable[[Path], Any]) -> None:
    assert interlock(tmp_path, "init").returncode == 0
    first = serve(tmp_path / ".interlock")
    second = interlock(tmp_path, "up", "--port", "0", "--no-loop")
    assert second.returncode == 4
    assert f"Process {first.pid} serves this workspace at http://{first.host} since 20" in second.stderr
    assert "Commands and scripts work beside it" in second.stderr
    assert second.stdout == ""
    beside = interlock(tmp_path, "--json", "experiments", "search")
    assert beside.returncode == 0, beside.stderr
    assert '"experiments": []' in beside.stdout
    first.end()
    third = serve(tmp_path / ".interlock")
    assert third.pid != first.pid
    third.end(15)
    fourth = serve(tmp_path / ".interlock")
    fourth.end()
