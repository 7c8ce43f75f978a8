"""What a data scientist writes, with nothing of Interlock: two models, compared, the better one registered and used.

Run it with MLFLOW_TRACKING_URI set.
"""

from __future__ import annotations

import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.models import infer_signature
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.model_selection import train_test_split

# --- data
chance = np.random.default_rng(42)
people = pd.DataFrame(
    {
        "age": chance.integers(18, 65, 400).astype(float),
        "income": chance.normal(30, 10, 400).round(2),
        "hours": chance.integers(0, 60, 400).astype(float),
    }
)
happy = ((people["age"] - 40) ** 2 / 200 + people["income"] / 30 + chance.normal(0, 0.3, 400) > 1.6).astype(int)
train, test, y_train, y_test = train_test_split(people, happy, random_state=0)

# --- two models
mlflow.set_experiment("Who is happy?")
candidates = {
    "line": LogisticRegression(max_iter=500),
    "boost": HistGradientBoostingClassifier(max_iter=30, random_state=0),
}
for name, model in candidates.items():
    with mlflow.start_run(run_name=name):
        mlflow.log_input(mlflow.data.from_pandas(train, name="people"), context="training")
        mlflow.log_params(model.get_params())
        mlflow.set_tag("kind", type(model).__name__)
        model.fit(train, y_train)
        chances = model.predict_proba(test)[:, 1]
        for step, cut in enumerate((0.3, 0.5, 0.7)):
            mlflow.log_metric("accuracy_at", accuracy_score(y_test, chances > cut), step=step)
        mlflow.log_metric("roc_auc", roc_auc_score(y_test, chances))
        mlflow.log_table(pd.DataFrame({"truth": y_test, "chance": chances}), "predictions.json")
        mlflow.log_text(repr(model), "model.txt")
        mlflow.sklearn.log_model(
            model,
            name="model",
            serialization_format="cloudpickle",
            signature=infer_signature(train, model.predict(train)),
            input_example=train.head(3),
            # The slow and usual way, which looks at what the model imports, is taken once.
            pip_requirements=None if name == "line" else ["scikit-learn"],
        )

# --- compare
runs = mlflow.search_runs(experiment_names=["Who is happy?"], order_by=["metrics.roc_auc DESC"])
print(runs[["tags.mlflow.runName", "metrics.roc_auc", "params.max_iter"]].to_string(index=False))
best = runs.iloc[0]
assert len(runs) == 2
assert best["metrics.roc_auc"] > runs.iloc[1]["metrics.roc_auc"]

# --- register
client = MlflowClient()
version = mlflow.register_model(f"runs:/{best.run_id}/model", "happiness", tags={"auc": str(best["metrics.roc_auc"])})
client.set_registered_model_alias("happiness", "champion", version.version)
client.update_model_version("happiness", version.version, description="The best of two.")

# --- load and predict, as another process would
champion = mlflow.pyfunc.load_model("models:/happiness@champion")
predicted = champion.predict(test)
winner = candidates[best["tags.mlflow.runName"]]
assert np.array_equal(predicted, winner.predict(test))
assert champion.metadata.signature.inputs.input_names() == ["age", "income", "hours"]
table = mlflow.load_table("predictions.json", run_ids=[best.run_id])
assert np.allclose(table["chance"], winner.predict_proba(test)[:, 1])


@mlflow.trace
def ask(age: float, income: float, hours: float) -> bool:
    """Return whether somebody is happy, and leave a trace of the question."""
    return bool(champion.predict(pd.DataFrame({"age": [age], "income": [income], "hours": [hours]}))[0])


ask(25.0, 50.0, 20.0)
print(f"happiness v{version.version}: {best['tags.mlflow.runName']}, accuracy {accuracy_score(y_test, predicted):.3f}")
