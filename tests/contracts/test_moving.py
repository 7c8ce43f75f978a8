"""Stores of MLflow are taken over, and what is given back loads in MLflow: made and read by MLflow itself."""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import servers
from mlflow import MlflowClient
from mlflow.entities import LoggedModelInput, LoggedModelOutput
from servers import ROOT
from sklearn.linear_model import LogisticRegression

Told = dict[str, Any]
ALL = 3  # MLflow's view of what is active and what is deleted


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
                mlflow.log_text("hello", "a b/\u00fc 1.txt")
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
    fill_more(client)


def fill_more(client: MlflowClient) -> None:
    """Write what fewer users have: links to models, metrics of models, every state, stages, copies, what is deleted."""
    mlflow.set_experiment("rich")
    with mlflow.start_run(run_name="\U0001f600 trainer", description="what it is for") as run:
        ident = run.info.run_id
        mlflow.log_text("flavors: {}", "model/MLmodel")
        mlflow.log_input(mlflow.data.from_numpy(np.ones(3), name="ones: all"), context="train", tags={"k/x": "v: 'w'"})
        agent = mlflow.create_external_model("agent", ident, tags={"mt": "mv"}, params={"a/b": "1"}, model_type="agent")
        mlflow.initialize_logged_model("pending", ident)
        mlflow.finalize_logged_model(mlflow.initialize_logged_model("failed", ident).model_id, "FAILED")
        mlflow.log_metric("accuracy", 0.5, step=1, model_id=agent.model_id)
        client.log_outputs(ident, [LoggedModelOutput(agent.model_id, 7)])
        with mlflow.start_run(nested=True) as child:
            client.log_inputs(child.info.run_id, models=[LoggedModelInput(agent.model_id)])
    for status in ("FAILED", "KILLED"):
        client.set_terminated(client.create_run(run.info.experiment_id, run_name=status).info.run_id, status)
    client.update_run(client.create_run(run.info.experiment_id, run_name="waits").info.run_id, status="SCHEDULED")
    client.create_registered_model("staged", tags={"team": "red"}, description="two\nlines")
    for number in range(3):
        client.create_model_version(
            "staged", f"runs:/{ident}/model", ident, description=f"v{number}", run_link="http://x"
        )
    client.transition_model_version_stage("staged", "1", "Production")
    client.transition_model_version_stage("staged", "2", "Archived")
    client.delete_model_version("staged", "2")
    client.copy_model_version("models:/staged/1", "copied")
    client.create_registered_model("empty")
    client.delete_experiment(client.create_experiment("gone"))


def fill_prompts() -> None:
    """Write prompts, which MLflow's folders do not hold."""
    mlflow.genai.register_prompt("greet", "Hello {{name}}", commit_message="first", tags={"tone": "kind"})
    mlflow.genai.register_prompt("greet", [{"role": "user", "content": "Hi {{name}}"}], commit_message="second")
    mlflow.genai.set_prompt_alias("greet", "prod", 2)


def _finite(value: float) -> str:
    """Return a value as text; MLflow's databases make the largest number of an infinity."""
    return repr(math.copysign(math.inf, value) if abs(value) > 1e308 else value)


def told(address: str) -> Told:
    """Return all that MLflow's client says of a store, by names that mean the same elsewhere."""
    mlflow.set_tracking_uri(address)
    client = MlflowClient()
    found: Told = {}
    for experiment in client.search_experiments(view_type=ALL):
        ident = experiment.experiment_id
        runs = {run.info.run_id: told_run(client, run.info.run_id) for run in client.search_runs([ident], "", ALL)}
        found[f"experiment {experiment.name}"] = (experiment.lifecycle_stage, experiment.tags, runs)
        if experiment.lifecycle_stage == "active":
            models = client.search_logged_models([ident])
            found[f"models of {experiment.name}"] = {m.model_id: told_model(client, m.model_id) for m in models}
    for name in [model.name for model in client.search_registered_models()]:
        model = client.get_registered_model(name)
        versions = {
            str(v.version): (v.current_stage, v.description or "", v.run_id, v.run_link or "", v.status, v.tags)
            for v in client.search_model_versions(f"name = '{name}'")
        }
        aliases = {alias: str(version) for alias, version in model.aliases.items()}
        found[f"registered {name}"] = (model.description or "", model.tags, aliases, versions)
    return found


def told_run(client: MlflowClient, ident: str) -> dict[str, Any]:
    """Return what a store says of a run."""
    run = client.get_run(ident)
    return {
        "info": (run.info.run_name, run.info.status, run.info.start_time, run.info.end_time, run.info.lifecycle_stage),
        "user": run.info.user_id,
        "params": run.data.params,
        "tags": run.data.tags,
        "metrics": {
            key: sorted((p.step, p.timestamp, _finite(p.value)) for p in client.get_metric_history(ident, key))
            for key in run.data.metrics
        },
        "inputs": [
            (given.dataset.to_dictionary(), sorted((tag.key, tag.value) for tag in given.tags))
            for given in run.inputs.dataset_inputs
        ],
        "models": [given.model_id for given in run.inputs.model_inputs],
        "outputs": sorted((made.model_id, made.step) for made in (run.outputs.model_outputs if run.outputs else ())),
        "files": sorted(files(run.info.artifact_uri)),
    }


def files(place: str, above: str = "") -> Iterator[tuple[str, int]]:
    """Yield the files below a place with their sizes."""
    for entry in mlflow.artifacts.list_artifacts(place):
        name = entry.path.rpartition("/")[2]
        if entry.is_dir:
            yield from files(f"{place}/{name}", f"{above}{name}/")
        else:
            yield f"{above}{name}", entry.file_size


def told_model(client: MlflowClient, ident: str) -> tuple[Any, ...]:
    """Return what a store says of a logged model."""
    model = client.get_logged_model(ident)
    metrics = [(m.key, m.step, m.timestamp, m.value, m.run_id) for m in model.metrics or ()]
    return model.name, model.model_type or "", model.source_run_id, str(model.status), model.params, model.tags, metrics


def told_prompts() -> list[Any]:
    """Return what the store that the client points to says of prompts."""
    (prompt,) = mlflow.genai.search_prompts()
    versions = [mlflow.genai.load_prompt(prompt.name, version=number) for number in (1, 2)]
    alias = mlflow.genai.load_prompt(f"prompts:/{prompt.name}@prod").version
    return [prompt.name, alias, [(v.template, v.commit_message, v.tags) for v in versions], prompt.tags["tone"]]


@pytest.fixture(scope="module", params=["database", "folder", "server"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A store and how Interlock is told where it is."""
    folder = tmp_path_factory.mktemp(request.param)
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    with contextlib.ExitStack() as stack:
        address = f"sqlite:///{folder}/mlflow.db"
        if request.param == "folder":
            address = (folder / "mlruns").as_uri()
        if request.param == "server":
            address = stack.enter_context(servers.mlflow(folder)).address
        before = Path.cwd()
        os.chdir(folder)  # MLflow puts the files of a database's runs beside the present folder
        try:
            fill(address)
            if request.param != "folder":
                fill_prompts()
        finally:
            os.chdir(before)
            mlflow.set_tracking_uri(None)
        yield address, str(folder / "mlruns") if request.param == "folder" else address


@pytest.mark.ours_only("MLflow takes over no other store")
def test_a_store_is_taken_over_whole_and_given_back_the_same(store: tuple[str, str], tmp_path: Path) -> None:
    address, source = store
    prompts = not address.startswith("file:")
    with servers.interlock(tmp_path) as ours:  # it goes on serving meanwhile
        counted = json.loads(interlock(tmp_path, "import", "mlflow", source, "--dry-run", "--json"))
        report = json.loads(interlock(tmp_path, "import", "mlflow", source, "--json"))
        assert (report["complete"], report["left"]) == (True, [])
        assert [(c["what"], c["there"]) for c in counted["counts"]] == [
            (c["what"], c["there"]) for c in report["counts"]
        ]
        assert {count["here"] for count in counted["counts"]} == {0}
        again = json.loads(interlock(tmp_path, "import", "mlflow", source, "--json"))
        assert again == report
        counts = {count["what"]: count["here"] for count in report["counts"]}
        assert (counts["points"], counts["stages"], counts["logged model points"]) == (129, 1, 1)
        there, here = told(address), told(ours.address)
        assert here == there
        if prompts:
            mlflow.set_tracking_uri(address)
            wanted = told_prompts()
            mlflow.set_tracking_uri(ours.address)
            assert told_prompts() == wanted
    interlock(tmp_path, "export", "mlflow", "out")
    try:
        given = told((tmp_path / "out/mlruns").as_uri())
        kept = {name: facts for name, facts in there.items() if name != "experiment gone"}
        for name, facts in kept.items():
            if name.startswith("experiment "):
                runs = {ident: run for ident, run in facts[2].items() if run["info"][-1] == "active"}
                kept[name] = (*facts[:2], runs)
        assert {name: facts for name, facts in given.items() if name != "registered greet"} == kept
        rows = np.array([[0.9, 0.1, 0.1], [0.1, 0.9, 0.9]])
        for uri in ("models:/shop@champion", "models:/shop/1", str(tmp_path / "out/models/shop/3")):
            assert mlflow.pyfunc.load_model(uri).predict(rows).tolist() == [1, 0]
    finally:
        mlflow.set_tracking_uri(None)
