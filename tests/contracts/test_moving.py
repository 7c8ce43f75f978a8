"""Stores of MLflow are taken over, and what is given back loads in MLflow: made and read by MLflow itself."""

from __future__ import annotations

import json
import math
import os
import subprocess
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from servers import ROOT
from sklearn.linear_model import LogisticRegression

Told = dict[str, dict[str, Any]]


def interlock(folder: Path, *words: str) -> str:
    """Return what a command of this checkout's Interlock prints in a folder."""
    command = [str(ROOT / ".venv/bin/interlock"), *words]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("INTERLOCK_", "PYTHON"))}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def fill(address: str) -> None:
    """Write experiments, runs and models into a store, as users do."""
    mlflow.set_tracking_uri(address)
    client = MlflowClient()
    for name in ("plain", "with/slash"):
        mlflow.set_experiment(name)
        for number in range(2):
            with mlflow.start_run(run_name=f"run {number}") as run:
                mlflow.log_params({"depth": number, "text": "a\nb"})
                mlflow.set_tag("kind", "tree's \u00e4")
                for step in range(30):
                    mlflow.log_metric("loss/train", 1 / (step + 1), step=step)
                mlflow.log_metric("nan", math.nan)
                mlflow.log_metric("inf", -math.inf)
                mlflow.log_text("hello", "a b/\u00fc#1.txt")
                mlflow.log_input(mlflow.data.from_numpy(np.ones(3), name="ones"), context="train")
        client.set_experiment_tag(run.info.experiment_id, "owner", "ann")
    inputs = np.random.default_rng(0).random((60, 3))
    model = LogisticRegression().fit(inputs, (inputs[:, 0] > 0.5).astype(int))
    for _ in range(3):
        with mlflow.start_run():
            mlflow.sklearn.log_model(model, name="model", registered_model_name="shop")
    client.delete_model_version("shop", "2")
    client.set_registered_model_alias("shop", "champion", "3")
    client.set_model_version_tag("shop", "3", "team", "red")
    client.update_registered_model("shop", "What people buy: " + "long " * 40)
    with mlflow.start_run() as run:
        pass
    client.delete_run(run.info.run_id)


def _finite(value: float) -> str:
    """Return a value as text; MLflow's databases make the largest number of an infinity."""
    return repr(math.copysign(math.inf, value) if abs(value) > 1e308 else value)


def told(address: str) -> Told:
    """Return all that MLflow's client says of a store, by names that mean the same elsewhere."""
    mlflow.set_tracking_uri(address)
    client = MlflowClient()
    found: Told = {}
    for experiment in client.search_experiments():
        runs: dict[str, Any] = {}
        for run in client.search_runs([experiment.experiment_id]):
            ident = run.info.run_id
            histories = {
                key: sorted((p.step, p.timestamp, _finite(p.value)) for p in client.get_metric_history(ident, key))
                for key in run.data.metrics
            }
            runs[ident] = {
                "params": run.data.params,
                "tags": {k: v for k, v in run.data.tags.items() if not k.startswith("mlflow.")},
                "metrics": histories,
                "name": run.info.run_name,
                "status": run.info.status,
                "times": (run.info.start_time, run.info.end_time),
                "files": sorted(f.path for f in mlflow.artifacts.list_artifacts(f"{run.info.artifact_uri}/a b")),
            }
        if runs:
            found[experiment.name] = runs
    for model in client.search_registered_models():
        versions = {str(v.version): (v.run_id, v.tags) for v in client.search_model_versions(f"name = '{model.name}'")}
        found[f"model {model.name}"] = {
            "text": model.description,
            "versions": versions,
            "aliases": {alias: str(version) for alias, version in model.aliases.items()},
        }
    return found


@pytest.fixture(scope="module", params=["database", "folder"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A store and how Interlock is told where it is."""
    folder = tmp_path_factory.mktemp(request.param)
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    before = Path.cwd()
    os.chdir(folder)  # MLflow puts the files of a database's runs beside the present folder
    try:
        address = f"sqlite:///{folder}/mlflow.db" if request.param == "database" else (folder / "mlruns").as_uri()
        fill(address)
    finally:
        os.chdir(before)
        mlflow.set_tracking_uri(None)
    return address, address if request.param == "database" else str(folder / "mlruns")


@pytest.mark.ours_only("MLflow takes over no other store")
def test_a_store_is_taken_over_whole_and_given_back_the_same(store: tuple[str, str], tmp_path: Path) -> None:
    address, source = store
    interlock(tmp_path, "init")
    report = json.loads(interlock(tmp_path, "import", "mlflow", source, "--json"))
    assert (report["complete"], report["left"]) == (True, [])
    counts = {count["what"]: (count["there"], count["here"]) for count in report["counts"]}
    assert counts["points"] == (128, 128)
    assert counts["versions"] == (2, 2)
    again = json.loads(interlock(tmp_path, "import", "mlflow", source, "--json"))
    assert again == report
    interlock(tmp_path, "export", "mlflow", "out")
    try:
        before, after = told(address), told((tmp_path / "out/mlruns").as_uri())
        assert {name: facts for name, facts in after.items() if facts} == before
        rows = np.array([[0.9, 0.1, 0.1], [0.1, 0.9, 0.9]])
        for uri in ("models:/shop@champion", "models:/shop/1", str(tmp_path / "out/models/shop/3")):
            assert mlflow.pyfunc.load_model(uri).predict(rows).tolist() == [1, 0]
    finally:
        mlflow.set_tracking_uri(None)
