"""A Ray Serve deployment over a scikit-learn model: `python ray_app.py MODEL.joblib PORT FOLDER`."""

from __future__ import annotations

import signal
import sys

import joblib
import numpy as np
import ray
from ray import serve
from starlette.requests import Request


@serve.deployment(max_ongoing_requests=100)
class Predictor:
    """The deployment."""

    def __init__(self, path: str) -> None:
        self.model = joblib.load(path)

    async def __call__(self, request: Request) -> dict:
        """Return the probabilities of the rows."""
        given = await request.json()
        return {"predictions": self.model.predict_proba(np.array(given["inputs"])).tolist()}


ray.init(include_dashboard=False, object_store_memory=100_000_000, _temp_dir=sys.argv[3], log_to_driver=False)
serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[2])}, logging_config={"enable_access_log": False})
serve.run(Predictor.bind(sys.argv[1]))
signal.pause()
