"""The file by which MLflow's clients load a model of ours.

Of scikit-learn's the ONNX twin answers where there is one: MLflow refuses skops files of trees, whose types it does not
trust. Boosters are loaded by MLflow's own loaders of their libraries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

FILE: Final = "MLmodel"
_LOADERS: Final = {
    "model.onnx": ("onnx", "data", {"data": "model.onnx", "providers": "[CPUExecutionProvider]"}),
    "model.skops": ("sklearn", "model_path", {"pickled_model": "model.skops", "serialization_format": "skops"}),
    "model.ubj": ("xgboost", "data", {"data": "model.ubj", "model_class": "xgboost.core.Booster"}),
    "model.txt": ("lightgbm", "data", {"data": "model.txt", "model_class": "lightgbm.basic.Booster"}),
}
_ORDER: Final = ("model.ubj", "model.txt", "model.onnx", "model.skops")


def mlmodel(names: Iterable[str]) -> dict[str, bytes]:
    """Return the file by its name, for a folder with these files; nothing where MLflow could load none of them.

    It holds neither instant nor run, so that equal models have equal files.
    """
    there = set(names)
    for name in _ORDER:
        if name in there:
            flavor, key, facts = _LOADERS[name]
            lines = ["flavors:", "  python_function:", f"    loader_module: mlflow.{flavor}", f"    {key}: {name}"]
            lines += [f"  {flavor}:", *(f"    {word}: {value}" for word, value in facts.items())]
            return {FILE: ("\n".join(lines) + "\n").encode()}
    return {}
