"""A BentoML service over a scikit-learn model, whose path is in BENCH_MODEL."""

from __future__ import annotations

import os

import bentoml
import joblib
import numpy as np


@bentoml.service
class Predictor:
    """The service."""

    def __init__(self) -> None:
        self.model = joblib.load(os.environ["BENCH_MODEL"])

    @bentoml.api
    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Return the probabilities of the rows."""
        return self.model.predict_proba(inputs)
