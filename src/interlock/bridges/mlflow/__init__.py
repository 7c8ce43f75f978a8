"""MLflow's stores: what we take over from them, and folders that MLflow reads."""

from __future__ import annotations

from interlock.bridges.mlflow.exporting import Exporter
from interlock.bridges.mlflow.importing import Importer, Report
from interlock.bridges.mlflow.intake import Watch
from interlock.bridges.mlflow.opening import open_source

__all__ = ["Exporter", "Importer", "Report", "Watch", "open_source"]
