"""KServe's clients, in a process of their own: kserve and tritonclient.grpc register the same protobuf names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from conftest import SERVED

HERE = Path(__file__).parent


def test_kserves_clients(served) -> None:
    told = json.dumps({name: model._asdict() for name, model in served.items()})
    command = [sys.executable, "-m", "pytest", "-c", str(HERE / "pytest.ini"), str(HERE / "kserve_clients.py")]
    done = subprocess.run(command, env={**os.environ, SERVED: told}, check=False, capture_output=True, timeout=100)
    assert done.returncode == 0, done.stdout.decode()[-6000:]
    assert b" passed" in done.stdout
