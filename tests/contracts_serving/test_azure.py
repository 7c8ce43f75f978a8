"""Azure ML's own inference server with the score.py that `interlock export azureml` writes.

It pins packages that the other clients do not go with, and so has an environment of its own, whose Python
CONTRACTS_AZURE_PYTHON names; `make test-contracts-serving` makes it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from pathlib import Path

import pytest
import requests
from servers import ROOT, free_port, register

PYTHON = os.environ.get("CONTRACTS_AZURE_PYTHON", "")
pytestmark = pytest.mark.skipif(not PYTHON, reason="CONTRACTS_AZURE_PYTHON names no environment with Azure's server")
INTERLOCK = str(ROOT / ".venv/bin/interlock")
# Its packages come first, ours behind: it runs in an environment of its own, as in Azure's images.
BEHIND = "import sys; sys.path += {paths!r}; from azureml_inference_server_http.amlserver import run; run()"
DEADLINE_S = 60


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """Return the folder that `export azureml` writes of a model, and what scikit-learn says of its rows."""
    folder = tmp_path_factory.mktemp("workspace")
    facts = register(folder)["line"]
    words = [INTERLOCK, "export", "azureml", "line", "packed", "--unapproved", "--workspace", str(folder)]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stderr
    return folder / "packed", facts


@pytest.fixture(scope="module")
def server(packed):
    """Run the real server over it, and give its address."""
    folder, port = packed[0], free_port()
    site = subprocess.run(
        [str(ROOT / ".venv/bin/python"), "-c", "import site; print(site.getsitepackages()[0])"],
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE_S,
    ).stdout.strip()
    code = BEHIND.format(paths=[str(ROOT / "src"), site])
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("INTERLOCK_", "PYTHON"))}
    variables = {
        **clean,
        "INTERLOCK_WORKSPACE": str(folder / "kept"),
        "INTERLOCK_UNAPPROVED": "a test",
        "AZUREML_MODEL_DIR": str(folder / "model"),
    }
    words = [PYTHON, "-c", code, "--entry_script", "score.py", "--port", str(port)]
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            words, cwd=folder, env=variables, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield _answering(f"http://127.0.0.1:{port}", process, log)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


def _answering(address: str, process: subprocess.Popen[bytes], log: Path) -> str:
    for _ in range(int(DEADLINE_S / 0.1)):
        assert process.poll() is None, log.read_text("utf-8")[-4000:]
        with contextlib.suppress(requests.ConnectionError):
            if requests.get(address, timeout=5).status_code == 200:
                return address
        time.sleep(0.1)
    raise AssertionError(log.read_text("utf-8")[-4000:])


def test_it_gives_scikit_learns_answers(server, packed) -> None:
    facts = packed[1]
    names, columns = list(facts["columns"]), facts["columns"].values()
    rows = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    answer = requests.post(f"{server}/score", json={"dataframe_records": rows}, timeout=20)
    assert answer.status_code == 200, answer.text
    found = answer.json()["predictions"]
    assert [one["probability"] for one in found] == pytest.approx(facts["probability"], abs=1e-5)
    assert all(one["prediction_id"] for one in found)


def test_what_is_wrong_is_a_400_with_our_sentence(server) -> None:
    answer = requests.post(f"{server}/score", json={"dataframe_records": [{}]}, timeout=20)
    assert answer.status_code == 400
    assert answer.json()["message"]
