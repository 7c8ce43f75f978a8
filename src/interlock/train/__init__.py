"""Training: plain functions become pipelines whose steps are cached, recorded and resumed.

    from interlock import pipeline, step

    @step
    def clean(people): ...

    @pipeline
    def train(people, lr: float = 0.1): ...

Outside of a run these are plain functions. The names below are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interlock.train.context import log_artifact, log_metric, log_param
    from interlock.train.helpers import bucket, holdout
    from interlock.train.model import Model
    from interlock.train.steps import pipeline, step

__all__ = ["Model", "bucket", "holdout", "log_artifact", "log_metric", "log_param", "pipeline", "step"]

_HOMES = {
    "Model": "model",
    "bucket": "helpers",
    "holdout": "helpers",
    "log_artifact": "context",
    "log_metric": "context",
    "log_param": "context",
    "pipeline": "steps",
    "step": "steps",
}


def __getattr__(name: str) -> object:
    """Return one of the public names, importing its home."""
    if name not in _HOMES:
        raise AttributeError(f"module 'interlock.train' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"interlock.train.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
