"""Models: log_model, load_model by every kind of address, flavors, and logged models as things of their own."""

from __future__ import annotations

import json

import mlflow
import numpy as np
import pandas as pd
import pytest
from errors import raises
from mlflow.entities import LoggedModelInput, LoggedModelOutput, LoggedModelStatus, Metric
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature
from mlflow.tracking import artifact_utils

FRAME = pd.DataFrame({"age": np.arange(20.0), "income": np.arange(20.0)[::-1] ** 2})
TRUTH = (FRAME["age"] > 9).astype(int)


@pytest.fixture(scope="module")
def model():
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression().fit(FRAME[["age", "income"]], TRUTH)


def log(fitted, name: str = "model", **more):
    return mlflow.sklearn.log_model(fitted, name=name, pip_requirements=["scikit-learn"], **more)


@pytest.mark.route("POST logged-models", "PUT mlflow-artifacts/*", "PATCH logged-models/*", "POST runs/outputs")
def test_a_logged_model_is_loaded_by_every_address(client, active, model, unique) -> None:
    name = unique("credit")
    info = log(model, registered_model_name=name, signature=infer_signature(FRAME, TRUTH), input_example=FRAME.head(2))
    client.set_registered_model_alias(name, "champion", 1)
    client.transition_model_version_stage(name, "1", "Staging")
    logged = client.get_logged_model(info.model_id)
    addresses = [
        info.model_uri,
        f"models:/{info.model_id}",
        f"runs:/{active}/model",
        f"models:/{name}/1",
        f"models:/{name}/latest",
        f"models:/{name}@champion",
        f"models:/{name}/Staging",
        logged.artifact_location,
        client.get_model_version_download_uri(name, "1"),
    ]
    assert info.model_uri == f"models:/{info.model_id}"
    assert logged.artifact_location.startswith("mlflow-artifacts:/")
    for address in addresses:
        loaded = mlflow.sklearn.load_model(address)
        assert np.array_equal(loaded.predict(FRAME), TRUTH), address
        found = mlflow.models.get_model_info(address)
        assert found.signature.inputs.input_names() == ["age", "income"], address
    wrapped = mlflow.pyfunc.load_model(f"models:/{name}@champion")
    assert np.array_equal(wrapped.predict(FRAME), TRUTH)
    assert (wrapped.metadata.model_id, wrapped.metadata.run_id) == (info.model_id, active)
    assert mlflow.models.Model.load(info.model_uri).load_input_example().equals(FRAME.head(2))
    with raises("INVALID_PARAMETER_VALUE"), pytest.MonkeyPatch.context():
        wrapped.predict(FRAME[["age"]])
    assert client.get_model_version(name, "1").source == info.model_uri
    assert client.get_model_version(name, "1").run_id == active


@pytest.mark.route("POST runs/outputs", "GET runs/get", "GET logged-models/*")
def test_run_and_model_know_each_other(client, active, model) -> None:
    mlflow.log_param("depth", 3)
    info = log(model, params={"depth": 3, "x": "y"}, tags={"team": "red"}, model_type="logit", step=4)
    with mlflow.start_run(nested=True):
        pass
    mlflow.log_metric("acc", 0.5, model_id=info.model_id)
    mlflow.log_metric("acc", 0.75, step=2, model_id=info.model_id)
    logged = mlflow.get_logged_model(info.model_id)
    assert (logged.name, logged.source_run_id, logged.model_type) == ("model", active, "logit")
    assert logged.experiment_id == client.get_run(active).info.experiment_id
    assert logged.status == LoggedModelStatus.READY
    assert {"depth": "3", "x": "y"}.items() <= logged.params.items()
    assert logged.tags["team"] == "red"
    assert logged.creation_timestamp > 0
    assert [(m.key, m.value, m.step, m.run_id) for m in logged.metrics] == [
        ("acc", 0.5, 0, active),
        ("acc", 0.75, 2, active),
    ], "all points, not the latest"
    run = client.get_run(active)
    assert [(out.model_id, out.step) for out in run.outputs.model_outputs] == [(info.model_id, 4)]
    assert run.data.metrics["acc"] == 0.75
    assert {point.model_id for point in client.get_metric_history(active, "acc")} <= {info.model_id, None}


@pytest.mark.route("POST logged-models", "PATCH logged-models/*", "PATCH logged-models/*/tags", "POST *params")
def test_the_life_of_a_logged_model(client, experiment, run) -> None:
    made = client.create_logged_model(
        experiment, name="by hand", source_run_id=run, tags={"a": "1"}, params={"p": "1"}, model_type="agent"
    )
    assert made.model_id.startswith("m-")
    assert len(made.model_id) == 34
    assert made.status == LoggedModelStatus.PENDING
    ready = client.finalize_logged_model(made.model_id, LoggedModelStatus.READY)
    assert ready.status == LoggedModelStatus.READY
    assert ready.last_updated_timestamp >= made.creation_timestamp
    client.log_model_params(made.model_id, {f"q{i}": str(i) for i in range(150)})
    client.set_logged_model_tags(made.model_id, {"a": "2", "b": "3"})
    client.delete_logged_model_tag(made.model_id, "b")
    found = client.get_logged_model(made.model_id)
    assert len(found.params) == 151
    assert found.tags == {"a": "2"}
    with raises("RESOURCE_DOES_NOT_EXIST"):
        client.delete_logged_model_tag(made.model_id, "b")
    client.delete_logged_model(made.model_id)
    with raises("RESOURCE_DOES_NOT_EXIST"):
        client.get_logged_model(made.model_id)
    for call in (client.get_logged_model, client.delete_logged_model):
        with raises("RESOURCE_DOES_NOT_EXIST"):
            call("m-" + "0" * 32)
    with raises("RESOURCE_DOES_NOT_EXIST"):
        client.create_logged_model("987654", name="x")
    with raises("INVALID_PARAMETER_VALUE"):
        client.create_logged_model(experiment, name="a/b")
    failed = client.create_logged_model(experiment)
    assert failed.name
    assert client.finalize_logged_model(failed.model_id, "FAILED").status == LoggedModelStatus.FAILED


@pytest.mark.route("POST logged-models", "GET mlflow-artifacts/artifacts")
def test_files_of_a_logged_model(client, wire, experiment, tmp_path) -> None:
    made = client.create_logged_model(experiment, name="files")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.txt").write_text("a")
    client.log_model_artifact(made.model_id, str(tmp_path / "sub" / "a.txt"))
    client.log_model_artifacts(made.model_id, str(tmp_path))
    assert [entry.path for entry in client.list_logged_model_artifacts(made.model_id)] == ["a.txt", "sub"]
    assert [entry.path for entry in client.list_logged_model_artifacts(made.model_id, "sub")] == ["sub/a.txt"]
    listed = wire.get(f"logged-models/{made.model_id}/artifacts/directories")
    assert [entry["path"] for entry in listed["files"]] == ["a.txt", "sub"]
    got = wire.call(
        "GET",
        f"/ajax-api/2.0/mlflow/logged-models/{made.model_id}/artifacts/files",
        {"artifact_file_path": "sub/a.txt"},
    )
    assert (got.status, got.text) == (200, "a")


@pytest.mark.route("POST runs/outputs", "POST runs/log-inputs")
def test_inputs_and_outputs_of_a_run(client, experiment, run) -> None:
    made = [client.create_logged_model(experiment, name=f"n{i}").model_id for i in range(2)]
    client.log_outputs(run, [LoggedModelOutput(made[0], 1), LoggedModelOutput(made[1], 2)])
    client.log_inputs(run, models=[LoggedModelInput(made[0])])
    found = client.get_run(run)
    assert sorted((out.model_id, out.step) for out in found.outputs.model_outputs) == sorted(
        zip(made, (1, 2), strict=True)
    )
    assert [entry.model_id for entry in found.inputs.model_inputs] == [made[0]]


@pytest.fixture(scope="module")
def family(server):
    """Four logged models of one experiment; d has failed."""
    client = mlflow.MlflowClient()
    experiment = client.create_experiment("search logged models")
    run = client.create_run(experiment).info.run_id
    made = {}
    for name, acc, params, tags in (
        ("a", 0.5, {"lr": "0.1"}, {"team": "red"}),
        ("b", 0.9, {"lr": "0.2"}, {"team": "Red"}),
        ("c", None, {}, {}),
        ("d", 0.7, {"lr": "0.1"}, {}),
    ):
        logged = client.create_logged_model(experiment, name, source_run_id=run, params=params, tags=tags)
        if acc is not None:
            points = [Metric("acc", acc, 1, 0, model_id=logged.model_id)]
            points += [Metric("acc", 1 - acc, 0, 0, model_id=logged.model_id, dataset_name="test", dataset_digest="1")]
            client.log_batch(run, metrics=points)
        client.finalize_logged_model(logged.model_id, "FAILED" if name == "d" else "READY")
        made[logged.model_id] = name
    return experiment, made


def search(family, **more) -> str:
    experiment, made = family
    found = mlflow.search_logged_models([experiment], output_format="list", **more)
    return "".join(made[model.model_id] for model in found)


FILTERS = {
    "name = 'a'": "a",
    "attributes.name != 'a'": "bcd",
    "name LIKE 'A'": "",
    "name ILIKE 'A'": "a",
    "params.lr = '0.1'": "ad",
    "params.lr LIKE '0%'": "abd",
    "tags.team = 'red'": "a",
    "tags.team ILIKE 'RED'": "ab",
    "metrics.acc > 0.6": "bd",
    "metrics.acc > 0.6 AND params.lr = '0.1'": "d",
    "creation_timestamp > 0": "abcd",
    "name IN ('a', 'c')": "ac",
}


@pytest.mark.route("POST logged-models/search")
@pytest.mark.parametrize("text", FILTERS)
def test_logged_models_are_found_by_filter(family, text) -> None:
    assert "".join(sorted(search(family, filter_string=text))) == FILTERS[text]


@pytest.mark.route("POST logged-models/search")
def test_metrics_of_a_dataset(family) -> None:
    data = [{"dataset_name": "test", "dataset_digest": "1"}]
    assert "".join(sorted(search(family, filter_string="metrics.acc < 0.4", datasets=data))) == "bd"
    assert search(family, filter_string="metrics.acc > 0", datasets=[{"dataset_name": "other"}]) == ""


ORDERS = {
    "name": [{"field_name": "name"}],
    "by time": [{"field_name": "creation_timestamp", "ascending": True}, {"field_name": "name"}],
    "acc up": [{"field_name": "metrics.acc", "ascending": True}],
    "acc down": [{"field_name": "metrics.acc", "ascending": False}],
    "acc on test": [{"field_name": "metrics.acc", "dataset_name": "test", "ascending": True}],
}


@pytest.mark.route("POST logged-models/search")
@pytest.mark.parametrize(
    ("order", "wanted"),
    [("name", "abcd"), ("by time", "abcd"), ("acc up", "adbc"), ("acc down", "bdac"), ("acc on test", "bdac")],
)
def test_logged_models_are_ordered(family, order, wanted) -> None:
    keys = [{"ascending": True, **key} for key in ORDERS[order]]
    assert search(family, order_by=keys) == wanted


@pytest.mark.route("POST logged-models/search")
@pytest.mark.ours_only("MLflow answers 500, takes numbers for texts, and compares statuses with its own numbers")
def test_logged_models_have_types(family) -> None:
    for wrong in ("metrics.acc = 'x'", "params.lr ="):
        with raises("INVALID_PARAMETER_VALUE"):
            search(family, filter_string=wrong)
    assert "".join(sorted(search(family, filter_string="attributes.status = 'READY'"))) == "abc"


@pytest.mark.route("POST logged-models/search")
def test_logged_models_have_pages(client, family) -> None:
    experiment, made = family
    seen, token, pages = "", None, 0
    while pages == 0 or token:
        page = client.search_logged_models(
            [experiment], max_results=1, order_by=[{"field_name": "name", "ascending": True}], page_token=token
        )
        seen += "".join(made[model.model_id] for model in page)
        token, pages = page.token, pages + 1
    assert seen == "abcd"
    for wrong in ("nonsense ~", "thing.x = '1'", "params.a = 'b"):
        with raises("INVALID_PARAMETER_VALUE"):
            search(family, filter_string=wrong)
    with raises("INVALID_PARAMETER_VALUE"):
        search(family, order_by=[{"field_name": "nonsense"}])
    assert set(mlflow.search_logged_models([experiment])["name"]) == set("abcd")


@pytest.mark.route("POST logged-models", "GET mlflow-artifacts/artifacts/*")
def test_boosters(active) -> None:
    import lightgbm
    import xgboost

    matrix = xgboost.DMatrix(FRAME, TRUTH)
    booster = xgboost.train({"max_depth": 2, "nthread": 1}, matrix, 3)
    info = mlflow.xgboost.log_model(booster, name="xgb", pip_requirements=["xgboost"])
    assert np.array_equal(mlflow.xgboost.load_model(info.model_uri).predict(matrix), booster.predict(matrix))
    trees = lightgbm.LGBMClassifier(n_estimators=3, min_child_samples=2, verbosity=-1, n_jobs=1).fit(FRAME, TRUTH)
    info = mlflow.lightgbm.log_model(trees, name="lgb", pip_requirements=["lightgbm"])
    assert np.array_equal(mlflow.lightgbm.load_model(f"runs:/{active}/lgb").predict(FRAME), trees.predict(FRAME))
    assert np.array_equal(mlflow.pyfunc.load_model(info.model_uri).predict(FRAME), trees.predict(FRAME))


class Doubled(mlflow.pyfunc.PythonModel):
    """A model of the author's own, with a file beside it."""

    def load_context(self, context) -> None:
        with open(context.artifacts["factor"], encoding="utf-8") as file:  # noqa: PTH123
            self.factor = json.load(file)

    def predict(self, context, model_input, params=None):
        return model_input * self.factor


@pytest.mark.route("POST logged-models", "GET mlflow-artifacts/artifacts/*")
def test_a_python_model_with_files(active, tmp_path) -> None:
    (tmp_path / "factor.json").write_text("2")
    info = mlflow.pyfunc.log_model(
        name="doubled",
        python_model=Doubled(),
        artifacts={"factor": str(tmp_path / "factor.json")},
        pip_requirements=["mlflow"],
        metadata={"owner": "us"},
    )
    loaded = mlflow.pyfunc.load_model(f"runs:/{active}/doubled")
    assert list(loaded.predict(pd.DataFrame({"x": [1, 2]}))["x"]) == [2, 4]
    assert mlflow.models.get_model_info(info.model_uri).metadata == {"owner": "us"}


@pytest.mark.route("POST logged-models", "POST logged-models/search")
def test_a_model_without_a_run_and_addresses_of_nobody(client, experiment, model) -> None:
    mlflow.set_experiment(experiment_id=experiment)
    info = log(model, name="alone")
    assert np.array_equal(mlflow.sklearn.load_model(info.model_uri).predict(FRAME), TRUTH)
    mlflow.end_run()
    run = client.create_run(experiment).info.run_id
    for nobody in (
        f"runs:/{run}/model",
        "models:/m-" + "0" * 32,
        "models:/nobody/1",
        "models:/nobody@x",
        "models:/nobody/latest",
    ):
        with pytest.raises(MlflowException):
            mlflow.sklearn.load_model(nobody)
    assert artifact_utils.get_artifact_uri(run, "x").endswith("/artifacts/x")
