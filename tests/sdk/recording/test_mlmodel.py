"""Which loader of MLflow's a folder of ours names."""

from __future__ import annotations

import pytest

from interlock.sdk.recording.mlmodel import mlmodel


@pytest.mark.parametrize(
    ("names", "loader", "file"),
    [
        (("model.skops", "model.onnx"), "mlflow.onnx", "data: model.onnx"),
        (("model.skops", "twin.json"), "mlflow.sklearn", "model_path: model.skops"),
        (("model.onnx", "model.ubj"), "mlflow.xgboost", "data: model.ubj"),
        (("model.txt", "model.onnx"), "mlflow.lightgbm", "data: model.txt"),
    ],
)
def test_the_loader_is_one_that_can_load_the_files(names: tuple[str, ...], loader: str, file: str) -> None:
    lines = mlmodel(names)["MLmodel"].decode().splitlines()
    assert lines[:4] == ["flavors:", "  python_function:", f"    loader_module: {loader}", f"    {file}"]
    assert lines[4] == f"  {loader.partition('.')[2]}:"


def test_nothing_is_named_where_there_is_nothing_to_load() -> None:
    assert mlmodel(("twin.json",)) == {}


def test_the_files_of_a_model_have_it_with_a_twin_and_without() -> None:
    pytest.importorskip("skops")
    from sklearn.linear_model import LinearRegression

    from interlock.sdk.recording.models import files_of

    rows = [[0.0], [1.0], [2.0]]
    model = LinearRegression().fit(rows, [0.0, 1.0, 2.0])
    assert b"loader_module: mlflow.sklearn" in files_of(model, None)[0]["MLmodel"]
    files, why = files_of(model, rows)
    assert (why, b"loader_module: mlflow.onnx" in files["MLmodel"]) == ("", "model.onnx" in files)
    assert "model.onnx" in files
