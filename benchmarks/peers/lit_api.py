"""A LitServe API over a scikit-learn model: `python lit_api.py MODEL.joblib PORT`."""

from __future__ import annotations

import sys

import joblib
import litserve as ls
import numpy as np


class Predictor(ls.LitAPI):
    """The API."""

    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe gives it
        """Load the model in a worker."""
        self.model = joblib.load(sys.argv[1])

    def decode_request(self, request: dict) -> np.ndarray:
        """Return the rows."""
        return np.array(request["inputs"])

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return their probabilities."""
        return self.model.predict_proba(x)

    def encode_response(self, output: np.ndarray) -> dict:
        """Return the answer."""
        return {"predictions": output.tolist()}


if __name__ == "__main__":
    server = ls.LitServer(Predictor(), accelerator="cpu")
    server.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, log_level="warning")
