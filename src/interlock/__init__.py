"""Interlock: data, training, tracking, registry, audit, deployment, monitoring and retraining as one loop.

The names below are loaded when they are first used, so `import interlock` costs next to nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take this name for true; `typing` itself is not worth its import here
if TYPE_CHECKING:
    from interlock import data
    from interlock.sdk import duckdb, polars
    from interlock.sdk.recording.autolog import autolog
    from interlock.sdk.recording.door import current_run, run
    from interlock.sdk.workspace import Workspace
    from interlock.train import Model, bucket, holdout, log_artifact, log_metric, log_param, pipeline, step

__version__ = "0.1.0"
__all__ = [
    "Model",
    "Workspace",
    "__version__",
    "autolog",
    "bucket",
    "current_run",
    "data",
    "duckdb",
    "holdout",
    "log_artifact",
    "log_metric",
    "log_param",
    "pipeline",
    "polars",
    "run",
    "step",
]

_HOMES = {
    "Workspace": "interlock.sdk.workspace",
    "autolog": "interlock.sdk.recording.autolog",
    "current_run": "interlock.sdk.recording.door",
    "run": "interlock.sdk.recording.door",
    "Model": "interlock.train",
    "bucket": "interlock.train",
    "holdout": "interlock.train",
    "log_artifact": "interlock.train",
    "log_metric": "interlock.train",
    "log_param": "interlock.train",
    "pipeline": "interlock.train",
    "step": "interlock.train",
}
_ROOMS = {"data": "interlock.data", "duckdb": "interlock.sdk.duckdb", "polars": "interlock.sdk.polars"}


def __getattr__(name: str) -> object:
    """Return one of the public names, importing its home."""
    from importlib import import_module

    if name in _ROOMS:
        return import_module(_ROOMS[name])
    if name not in _HOMES:
        raise AttributeError(f"module 'interlock' has no attribute {name!r}")
    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, loaded or not."""
    return sorted({*globals(), *__all__})
