"""The fluent API, as a notebook uses it."""

from __future__ import annotations

import math
import threading
import time

import mlflow
import numpy as np
import pandas as pd
import pytest
from errors import raises


@pytest.mark.route("GET experiments/get-by-name", "POST experiments/create", "GET experiments/get")
def test_set_experiment_makes_it_once(unique) -> None:
    name = unique()
    made = mlflow.set_experiment(name)
    assert mlflow.set_experiment(name).experiment_id == made.experiment_id
    assert mlflow.set_experiment(experiment_id=made.experiment_id).name == name
    with mlflow.start_run() as run:
        assert run.info.experiment_id == made.experiment_id
    mlflow.set_experiment_tag("a", "1")
    mlflow.set_experiment_tags({"b": "2", "c": "3"})
    assert mlflow.get_experiment_by_name(name).tags == {"a": "1", "b": "2", "c": "3"} | _automatic(made)
    mlflow.delete_experiment(made.experiment_id)
    with raises("INVALID_PARAMETER_VALUE"):
        mlflow.set_experiment(name)


def _automatic(experiment) -> dict[str, str]:
    found = mlflow.get_experiment(experiment.experiment_id).tags
    return {key: value for key, value in found.items() if key.startswith("mlflow.")}


@pytest.mark.route("POST runs/create", "POST runs/update")
def test_a_run_ends_as_the_block_ends(client, experiment) -> None:
    with mlflow.start_run(experiment_id=experiment, run_name="good", description="why") as run:
        assert client.get_run(run.info.run_id).info.status == "RUNNING"
    found = client.get_run(run.info.run_id)
    assert (found.info.status, found.info.run_name) == ("FINISHED", "good")
    assert found.info.end_time >= found.info.start_time > 0
    assert found.data.tags["mlflow.note.content"] == "why"
    assert {"mlflow.user", "mlflow.source.name", "mlflow.source.type"} <= set(found.data.tags)
    with pytest.raises(ZeroDivisionError), mlflow.start_run(experiment_id=experiment) as failing:
        _ = 1 / 0
    assert client.get_run(failing.info.run_id).info.status == "FAILED"


@pytest.mark.route("POST runs/create", "POST runs/search")
def test_nested_runs(client, experiment) -> None:
    with mlflow.start_run(experiment_id=experiment) as parent:
        children = []
        for depth in range(2):
            with mlflow.start_run(experiment_id=experiment, nested=True, run_name=f"child {depth}") as child:
                mlflow.log_metric("depth", depth)
                children.append(child.info.run_id)
        mlflow.log_metric("own", 1)
    mine = f"tags.mlflow.parentRunId = '{parent.info.run_id}'"
    found = client.search_runs([experiment], mine, order_by=["metrics.depth"])
    assert [run.info.run_id for run in found] == children
    assert client.get_run(parent.info.run_id).data.metrics == {"own": 1}


@pytest.mark.route("GET runs/get", "POST runs/update")
def test_a_run_is_resumed(client, run) -> None:
    client.set_terminated(run)
    mlflow.set_experiment(experiment_id=client.get_run(run).info.experiment_id)
    with mlflow.start_run(run_id=run):
        assert client.get_run(run).info.status == "RUNNING"
        mlflow.log_param("resumed", True)
    found = client.get_run(run)
    assert (found.info.status, found.data.params) == ("FINISHED", {"resumed": "True"})
    client.delete_run(run)
    with raises("INTERNAL_ERROR", "deleted"):  # from the client itself
        mlflow.start_run(run_id=run)


@pytest.mark.route("POST runs/log-parameter", "POST runs/log-metric", "POST runs/log-batch", "POST runs/set-tag")
def test_params_metrics_tags(client, active) -> None:
    assert mlflow.log_param("one", 1) == 1
    mlflow.log_params({"two": [1, 2], "none": None, "deep/path": "x", "float": 1e-9})
    mlflow.log_metric("loss", 0.5)
    mlflow.log_metric("loss", 0.25, step=1)
    mlflow.log_metrics({"acc": 0.9, "nan": math.nan, "np": np.float32(0.5)}, step=3)
    mlflow.set_tag("t", 1)
    mlflow.set_tags({"u": "2", "v": {"a": 1}})
    mlflow.delete_tag("u")
    data = client.get_run(active).data
    assert data.params == {"one": "1", "two": "[1, 2]", "none": "None", "deep/path": "x", "float": "1e-09"}
    assert math.isnan(data.metrics.pop("nan"))
    assert data.metrics == {"loss": 0.25, "acc": 0.9, "np": 0.5}
    assert (data.tags["t"], data.tags["v"]) == ("1", "{'a': 1}")
    assert "u" not in data.tags
    with raises("INVALID_PARAMETER_VALUE"):
        mlflow.log_param("one", 2)
    mlflow.log_params({f"p{i}": i for i in range(250)})
    assert len(client.get_run(active).data.params) == 255


@pytest.mark.route("PUT mlflow-artifacts/artifacts/*", "GET mlflow-artifacts/artifacts")
def test_texts_tables_pictures_and_files(client, active, tmp_path) -> None:
    import matplotlib.pyplot as plt

    mlflow.log_text("grüße\n", "notes/hello.txt")
    mlflow.log_dict({"a": [1, 2], "é": None}, "settings.json")
    mlflow.log_dict({"a": 1}, "settings.yaml")
    figure, axes = plt.subplots(figsize=(1, 1))
    axes.plot([1, 2])
    mlflow.log_figure(figure, "plots/line.png")
    plt.close(figure)
    mlflow.log_image(np.zeros((4, 4, 3), dtype=np.uint8), "black.png")
    mlflow.log_image(np.full((4, 4, 3), 0.5), key="steps", step=2)
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.bin").write_bytes(b"\x00\x01")
    (tmp_path / "sub" / "b.txt").write_text("b")
    mlflow.log_artifact(str(tmp_path / "a.bin"), "files")
    mlflow.log_artifacts(str(tmp_path), "folder")
    found = {entry.path: entry.file_size for entry in _all(client, active)}
    fixed = {"notes/hello.txt": 8, "settings.yaml": 5, "files/a.bin": 2}
    fixed |= {"folder/a.bin": 2, "folder/sub/b.txt": 1}
    assert fixed.items() <= found.items()
    assert {"plots/line.png", "black.png"} <= set(found)
    assert any(path.startswith("images/steps") for path in found)
    uri = mlflow.get_artifact_uri()
    assert mlflow.artifacts.load_text(f"{uri}/notes/hello.txt") == "grüße\n"
    assert mlflow.artifacts.load_dict(f"runs:/{active}/settings.json") == {"a": [1, 2], "é": None}
    assert mlflow.artifacts.load_image(f"{uri}/black.png").size == (4, 4)


def _all(client, run: str, path: str | None = None) -> list:
    found = []
    for entry in client.list_artifacts(run, path):
        found += _all(client, run, entry.path) if entry.is_dir else [entry]
    return found


@pytest.mark.route("PUT mlflow-artifacts/artifacts/*", "POST runs/set-tag", "POST runs/search")
def test_tables_grow(active) -> None:
    mlflow.log_table({"question": ["a", "b"], "score": [1, 2]}, "answers.json")
    mlflow.log_table(pd.DataFrame({"question": ["c"], "score": [3]}), "answers.json")
    frame = mlflow.load_table("answers.json", run_ids=[active], extra_columns=["run_id"])
    assert list(frame["question"]) == ["a", "b", "c"]
    assert set(frame["run_id"]) == {active}


@pytest.mark.route("POST runs/log-inputs")
def test_datasets(client, active) -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0], "y": [0, 1]})
    data = mlflow.data.from_pandas(frame, source="https://example.org/people.csv", name="people", targets="y")
    mlflow.log_input(data, context="training", tags={"split": "1"})
    mlflow.log_inputs(
        [mlflow.data.from_numpy(np.eye(2), name="eye"), mlflow.data.from_pandas(frame)], ["a", "b"], [None, None]
    )
    found = {entry.dataset.name: entry for entry in client.get_run(active).inputs.dataset_inputs}
    assert {"people", "eye"} < set(found)
    assert len(found) == 3
    assert {tag.key: tag.value for tag in found["people"].tags} == {"mlflow.data.context": "training", "split": "1"}
    kept = mlflow.data.get_source(found["people"])
    assert kept.to_dict()["url"] == "https://example.org/people.csv"
    assert found["people"].dataset.digest == data.digest


@pytest.mark.route("POST runs/log-batch")
def test_logging_without_waiting(client, active) -> None:
    for step in range(100):
        mlflow.log_metric("m", step, step=step, synchronous=False)
    mlflow.log_params({"a": 1}, synchronous=False)
    mlflow.log_metrics({"n": 1.0, "o": 2.0}, step=1, synchronous=False).wait()
    mlflow.flush_async_logging()
    data = client.get_run(active).data
    assert data.metrics == {"m": 99, "n": 1, "o": 2}
    assert data.params == {"a": "1"}
    assert [point.step for point in client.get_metric_history(active, "m")] == list(range(100))


@pytest.mark.route("POST runs/log-batch")
def test_many_threads_write_to_one_run(client, run) -> None:
    def work(number: int) -> None:
        for step in range(10):
            client.log_metric(run, f"m{number}", step, step=step)
            client.log_param(run, f"p{number}-{step}", step)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(client.get_run(run).data.params) == 40
    for number in range(4):
        assert [point.value for point in client.get_metric_history(run, f"m{number}")] == list(range(10))


@pytest.mark.route("POST runs/log-batch")
def test_the_systems_figures(client, experiment) -> None:
    mlflow.set_system_metrics_sampling_interval(0.05)
    mlflow.set_system_metrics_samples_before_logging(1)
    try:
        with mlflow.start_run(experiment_id=experiment, log_system_metrics=True) as run:
            for _ in range(100):
                time.sleep(0.05)
                if "system/cpu_utilization_percentage" in client.get_run(run.info.run_id).data.metrics:
                    break
    finally:
        mlflow.set_system_metrics_sampling_interval(None)
        mlflow.set_system_metrics_samples_before_logging(None)
    metrics = client.get_run(run.info.run_id).data.metrics
    assert {"system/cpu_utilization_percentage", "system/system_memory_usage_megabytes"} <= set(metrics)


@pytest.mark.route("GET runs/get", "POST runs/delete")
def test_last_active_and_deleted_runs(experiment) -> None:
    with mlflow.start_run(experiment_id=experiment) as run:
        pass
    assert mlflow.last_active_run().info.run_id == run.info.run_id
    mlflow.delete_run(run.info.run_id)
    assert mlflow.get_run(run.info.run_id).info.lifecycle_stage == "deleted"
    assert mlflow.search_runs([experiment]).empty
