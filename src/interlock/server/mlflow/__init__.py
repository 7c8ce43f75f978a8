"""The MLflow protocol: its clients speak to Interlock unmodified (docs/reference/mlflow.md says where we differ)."""
