"""Autologging: what lands in the run when a model is fitted, and that the logged model predicts the same."""

from __future__ import annotations

import json

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient


@pytest.fixture(scope="module")
def rows() -> tuple[pd.DataFrame, pd.Series]:
    chance = np.random.default_rng(1)
    frame = pd.DataFrame({"age": chance.integers(18, 65, 80) * 1.0, "income": chance.normal(30, 5, 80)})
    return frame, pd.Series((frame["age"] > 40).astype(int), name="y")


@pytest.fixture
def fitted(client: MlflowClient, experiment: str):
    """Return what a fit left behind: its only run, its artifacts, its only logged model."""
    mlflow.set_experiment(experiment_id=experiment)

    def look():
        (run,) = [run for run in client.search_runs([experiment]) if "mlflow.parentRunId" not in run.data.tags]
        models = mlflow.search_logged_models([experiment], output_format="list")
        return run, {entry.path for entry in client.list_artifacts(run.info.run_id)}, models

    yield look
    for flavor in (mlflow.sklearn, mlflow.xgboost, mlflow.lightgbm):
        flavor.autolog(disable=True)


@pytest.mark.route("POST runs/log-batch", "POST logged-models", "POST runs/outputs", "POST runs/log-inputs")
def test_scikit_learn(fitted, rows) -> None:
    from sklearn.linear_model import LogisticRegression

    mlflow.sklearn.autolog(log_input_examples=True, silent=True)
    model = LogisticRegression(C=0.5).fit(*rows)
    run, artifacts, (logged,) = fitted()
    assert run.info.status == "FINISHED"
    assert (run.data.params["C"], run.data.params["max_iter"]) == ("0.5", "100")
    assert {"training_accuracy_score", "training_f1_score", "training_log_loss", "training_score"} <= set(
        run.data.metrics
    )
    assert run.data.metrics["training_score"] == pytest.approx(model.score(*rows))
    assert run.data.tags["estimator_name"] == "LogisticRegression"
    assert "training_confusion_matrix.png" in artifacts
    assert {entry.dataset.name for entry in run.inputs.dataset_inputs} == {"dataset"}
    assert [output.model_id for output in run.outputs.model_outputs] == [logged.model_id]
    assert logged.source_run_id == run.info.run_id
    assert logged.status == "READY"
    assert logged.params["C"] == "0.5"
    assert {metric.key for metric in logged.metrics} >= {"training_score"}
    loaded = mlflow.sklearn.load_model(logged.model_uri)
    assert np.array_equal(loaded.predict(rows[0]), model.predict(rows[0]))
    assert mlflow.models.get_model_info(logged.model_uri).signature.inputs.input_names() == ["age", "income"]


@pytest.mark.route("POST runs/create", "POST runs/log-batch", "PUT mlflow-artifacts/artifacts/*")
def test_a_search_has_child_runs(client, experiment, fitted, rows) -> None:
    from sklearn.model_selection import GridSearchCV
    from sklearn.tree import DecisionTreeClassifier

    mlflow.sklearn.autolog(log_models=False, log_datasets=False, silent=True)
    GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [1, 2, 3]}, cv=2).fit(*rows)
    run, artifacts, models = fitted()
    assert models == []
    assert "cv_results.csv" in artifacts
    assert {"best_max_depth", "best_cv_score"} <= {*run.data.params, *run.data.metrics}
    children = client.search_runs([experiment], f"tags.mlflow.parentRunId = '{run.info.run_id}'")
    assert sorted(child.data.params["max_depth"] for child in children) == ["1", "2", "3"]
    assert all("mean_test_score" in child.data.metrics for child in children)


@pytest.mark.route("POST runs/log-batch", "GET metrics/get-history", "POST logged-models")
def test_xgboost(client, fitted, rows) -> None:
    import xgboost

    mlflow.xgboost.autolog(silent=True)
    train = xgboost.DMatrix(*rows)
    params = {"max_depth": 2, "objective": "binary:logistic", "eval_metric": "logloss", "nthread": 1}
    booster = xgboost.train(params, train, num_boost_round=7, evals=[(train, "train")], verbose_eval=False)
    run, artifacts, (logged,) = fitted()
    assert (run.data.params["max_depth"], run.data.params["num_boost_round"]) == ("2", "7")
    history = client.get_metric_history(run.info.run_id, "train-logloss")
    assert [point.step for point in history] == list(range(7))
    assert history[-1].value == run.data.metrics["train-logloss"] < history[0].value
    assert "feature_importance_weight.json" in artifacts
    weights = mlflow.artifacts.load_dict(f"runs:/{run.info.run_id}/feature_importance_weight.json")
    assert set(weights) <= {"age", "income"}
    loaded = mlflow.xgboost.load_model(logged.model_uri)
    assert np.array_equal(loaded.predict(train), booster.predict(train))


@pytest.mark.route("POST runs/log-batch", "GET metrics/get-history", "POST logged-models")
def test_lightgbm(client, fitted, rows) -> None:
    import lightgbm

    mlflow.lightgbm.autolog(silent=True)
    train = lightgbm.Dataset(*rows)
    params = {"num_leaves": 4, "objective": "binary", "metric": "binary_logloss", "verbosity": -1, "num_threads": 1}
    booster = lightgbm.train(params, train, num_boost_round=6, valid_sets=[train], valid_names=["train"])
    run, artifacts, (logged,) = fitted()
    assert (run.data.params["num_leaves"], run.data.params["num_boost_round"]) == ("4", "6")
    history = client.get_metric_history(run.info.run_id, "train-binary_logloss")
    assert [point.step for point in history] == list(range(6))
    assert {"feature_importance_gain.json", "feature_importance_split.json"} <= artifacts
    weights = mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/feature_importance_split.json")
    assert set(json.loads(weights)) == {"age", "income"}
    loaded = mlflow.lightgbm.load_model(logged.model_uri)
    assert np.array_equal(loaded.predict(rows[0]), booster.predict(rows[0]))
