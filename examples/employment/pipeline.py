"""The employment project: from census rows to a model that finds people likely to be out of work.

Plain functions. `train` also runs in a debugger or a notebook: `train(people=some_frame)`.
"""

from __future__ import annotations

import logging

import polars as pl
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from interlock import Model, holdout, log_metric, log_param, pipeline, step

TARGET = "employed"
SENSITIVE = ["SEX", "RAC1P"]
INPUTS = ["AGEP", "SCHL", "MAR", "RELP", "DIS", "ESP", "CIT", "MIG", "MIL", "ANC", "NATIVITY", "DEAR", "DEYE", "DREM"]


@step
def prepare(people: pl.DataFrame) -> pl.DataFrame:
    """Return the rows with all codes as whole numbers."""
    return people.with_columns(pl.exclude("person", "year").cast(pl.Int64))


@step
def split(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return training rows and the held-out rows of the newest year; the same people are held out in every version."""
    training, held_out = holdout(rows, by="person", share=0.25)
    return training, held_out.filter(pl.col("year") == pl.col("year").max())


@step
def fit(training: pl.DataFrame, inputs: list[str], trees: int) -> GradientBoostingClassifier:
    """Return the classifier fitted on the training rows."""
    model = GradientBoostingClassifier(n_estimators=trees, max_depth=3, random_state=0)
    return model.fit(training.select(inputs).to_numpy(), training[TARGET].to_numpy())


@step
def measure(model: GradientBoostingClassifier, held_out: pl.DataFrame, inputs: list[str]) -> float:
    """Return the ROC AUC on the held-out rows."""
    scores = model.predict_proba(held_out.select(inputs).to_numpy())[:, 1]
    return float(roc_auc_score(held_out[TARGET].to_numpy(), scores))


@pipeline
def train(people: pl.DataFrame, use_sensitive: bool = False, trees: int = 100) -> Model:
    """Train a classifier. `use_sensitive` lets it see SEX and RAC1P, which its gates will not let pass."""
    inputs = INPUTS + SENSITIVE if use_sensitive else INPUTS
    training, held_out = split(prepare(people))
    model = fit(training, inputs, trees)
    log_param("inputs", ",".join(inputs))
    log_metric("roc_auc", measure(model, held_out, inputs))
    logging.getLogger("train").info("trained on %d rows, held out %d", training.height, held_out.height)
    return Model(model, inputs=training.select(inputs), target=TARGET, evaluation=held_out, training=training)
