"""Trains, registers and tells the three models that are served: run by this checkout's own Python, in a workspace.

Usage: python models.py WORKSPACE. Prints JSON: a model's columns as OIP datatypes, rows, scikit-learn's own answers.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import polars as pl
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import interlock

ROWS = 400
DATATYPES = {pl.Float64: "FP64", pl.Int64: "INT64", pl.String: "BYTES", pl.Boolean: "BOOL"}


def customers() -> pl.DataFrame:
    """Return people with texts, whole numbers, floats and truths about them; one city is not ASCII."""
    random = np.random.default_rng(7)
    return pl.DataFrame(
        {
            "city": random.choice(["Oslo", "Łódź", "Lima"], ROWS).tolist(),
            "plan": random.choice(["basic", "plus", "none yet"], ROWS).tolist(),
            "age": random.integers(18, 90, ROWS).tolist(),
            "spend": random.normal(100, 30, ROWS).round(2).tolist(),
        }
    )


def texts(frame: pl.DataFrame) -> tuple[object, np.ndarray]:
    """Return a pipeline that knows texts, and its labels."""
    random = np.random.default_rng(8)
    y = (frame["spend"].to_numpy() + 20 * (frame["city"] == "Oslo").to_numpy() + random.normal(0, 20, ROWS)) > 108
    parts = ColumnTransformer(
        [
            ("texts", OneHotEncoder(handle_unknown="ignore"), ["city", "plan"]),
            ("numbers", StandardScaler(), ["age", "spend"]),
        ]
    )
    return make_pipeline(parts, LogisticRegression()).fit(frame, y.astype(int)), y


def floats() -> tuple[object, pl.DataFrame]:
    """Return a logistic regression over three columns of floats, and its rows."""
    random = np.random.default_rng(9)
    x = random.normal([40.0, 30.0, 0.5], [9.0, 8.0, 0.2], (ROWS, 3))
    frame = pl.DataFrame(x, schema=["hours", "income", "share"])
    y = x[:, 0] / 9 + x[:, 1] / 8 - 4 * x[:, 2] + random.normal(0, 1, ROWS) > 6
    return LogisticRegression(max_iter=2000).fit(frame, y.astype(int)), frame


def named(frame: pl.DataFrame) -> object:
    """Return a logistic regression over floats that tells three named classes apart."""
    names = np.array(["low", "mid", "top"])[np.digitize(frame["hours"].to_numpy(), [36.0, 44.0])]
    return LogisticRegression(max_iter=2000).fit(frame, names)


def register(run: object, name: str, model: object, frame: pl.DataFrame) -> dict[str, object]:
    """Register a model, and return what a client needs to ask it and to judge its answers."""
    version = run.model(model, name, example=frame[:5], training=frame)
    few = frame[:50]
    return {
        "version": version.reference.partition("@")[2],
        "datatypes": {column: DATATYPES[type(dtype)] for column, dtype in frame.schema.items()},
        "columns": few.to_dict(as_series=False),
        "probability": model.predict_proba(few)[:, 1].tolist(),
        "probabilities": model.predict_proba(few).tolist(),
        "classes": model.classes_.tolist(),
        "label": model.predict(few).tolist(),
    }


def main(workspace: str) -> None:
    """Do it in a workspace that is there."""
    people = customers()
    with interlock.run("contracts", workspace=workspace, console=False, machine=False) as run:
        line, rows = floats()
        found = {"line": register(run, "line", line, rows), "shop": register(run, "shop", texts(people)[0], people)}
        found["named"] = register(run, "named", named(rows), rows)
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
