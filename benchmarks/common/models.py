"""Two classifiers of 30 numbers: scikit-learn originals, their ONNX form, and rows with the originals' answers."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import msgspec

NAMES = [f"x{i}" for i in range(30)]
KINDS = ("linear", "forest")
TOLERANCE = 1e-4
_ROWS = 1000


class Model(msgspec.Struct):
    """A trained model.

    Attributes:
        name: `linear` or `forest`.
        folder: where `model.joblib`, `model.onnx` and `rows.json` are.
        rows: 1000 rows of 30 numbers.
        scores: probability of the second class of each, as the original says it.
    """

    name: str
    folder: Path
    rows: list[list[float]]
    scores: list[float]

    @property
    def original(self) -> Path:
        """The scikit-learn object."""
        return self.folder / "model.joblib"

    @property
    def graph(self) -> Path:
        """The ONNX graph."""
        return self.folder / "model.onnx"


def train(name: str, folder: Path, seed: int = 1) -> Model:
    """Return a model that is trained now.

    Args:
        name: `linear` (logistic regression) or `forest` (100 trees).
        folder: where it goes; made if it is missing.
        seed: of the data, so that two models differ.
    """
    import joblib
    import numpy as np
    from skl2onnx import to_onnx
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(seed)
    # As many digits as measurements have, and exact in float32, so that no tree's branch depends on the rounding.
    x = np.round(random.normal(size=(4000, len(NAMES))) * 128) / 128
    y = x[:, :5].sum(axis=1) + x[:, 5] * x[:, 6] + random.normal(size=len(x)) > 0
    kinds = {"linear": LogisticRegression(), "forest": RandomForestClassifier(100, random_state=seed)}
    model = kinds[name].fit(x, y.astype(int))
    folder.mkdir(parents=True, exist_ok=True)
    joblib.dump(model, folder / "model.joblib")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the converter's own
        graph = to_onnx(model, x[:1].astype(np.float32), options={"zipmap": False}, target_opset=18)
    (folder / "model.onnx").write_bytes(graph.SerializeToString())
    # The rows that are asked are the same for every seed: answers then tell which model gave them.
    asked = np.round(np.random.default_rng(0).normal(size=(_ROWS, len(NAMES))) * 128) / 128
    found = Model(name, folder, asked.tolist(), model.predict_proba(asked)[:, 1].tolist())
    (folder / "rows.json").write_text(json.dumps({"columns": NAMES, "data": found.rows}))
    return found
