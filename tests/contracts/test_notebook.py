"""A script that knows nothing of us, run as its author would: only MLFLOW_TRACKING_URI is set."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.route("the whole way of a notebook")
def test_a_notebook_runs_unmodified(server, client, tmp_path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    env |= {"MLFLOW_TRACKING_URI": server.address, "MLFLOW_DISABLE_TELEMETRY": "true"}
    script = Path(__file__).with_name("notebook.py")
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "happiness v1" in done.stdout
    assert list(tmp_path.iterdir()) == [], "all went to the server"
    version = client.get_model_version_by_alias("happiness", "champion")
    assert version.description == "The best of two."
    run = client.get_run(version.run_id)
    assert [trace.info.tags["mlflow.traceName"] for trace in client.search_traces([run.info.experiment_id])] == ["ask"]
    assert run.data.metrics["roc_auc"] == float(version.tags["auc"])
