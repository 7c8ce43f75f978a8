"""Save a scikit-learn model in MLflow's format: `python save_mlflow.py MODEL.joblib ROWS.json TARGET`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import joblib
import mlflow.sklearn
import pandas as pd
from mlflow.models import infer_signature

model = joblib.load(sys.argv[1])
rows = json.loads(Path(sys.argv[2]).read_bytes())
frame = pd.DataFrame(rows["data"], columns=rows["columns"])
signature = infer_signature(frame, model.predict_proba(frame.to_numpy()))
mlflow.sklearn.save_model(
    model,
    sys.argv[3],
    signature=signature,
    pyfunc_predict_fn="predict_proba",
    serialization_format="cloudpickle",
)
