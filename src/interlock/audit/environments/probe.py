"""Run by the Python of a new environment, where nothing of ours is installed: import, load, answer.

    python -I probe.py probe.json

It prints what it found as JSON; the exit status is 0 when all went well, and stderr says why when it did not.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import sys
from pathlib import Path
from typing import Any


def modules_of(names: list[str]) -> dict[str, list[str]]:
    """Return the importable modules that each distribution brings."""
    brought: dict[str, list[str]] = {name: [] for name in names}
    for module, distributions in importlib.metadata.packages_distributions().items():
        for distribution in {name.lower().replace("_", "-").replace(".", "-") for name in distributions}:
            if distribution in brought and module.isidentifier() and not module.startswith("_"):
                brought[distribution].append(module)
    return brought


def load(kind: str, path: str) -> Any:
    """Return a model of a format that holds no code."""
    if kind == "onnx":
        runtime = importlib.import_module("onnxruntime")
        data = Path(path).read_bytes()  # bytes have no folder from which more could be read
        return runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    if kind == "xgboost":
        return importlib.import_module("xgboost").Booster(model_file=path)
    return importlib.import_module("lightgbm").Booster(model_file=path)


def differing(session: Any, golden: dict[str, Any]) -> float:
    """Return the largest difference from the golden scores; infinity where a score is none."""
    numpy = importlib.import_module("numpy")
    feeds = {name: numpy.array(feed["values"], dtype=feed["dtype"]) for name, feed in golden["feeds"].items()}
    floats = {"tensor(float)", "tensor(double)"}
    output = next(node.name for node in session.get_outputs() if node.type in floats and len(node.shape) == 2)
    table = session.run([output], feeds)[0]
    scores = (table.max(axis=1) if table.shape[1] > 2 else table[:, -1]).tolist()  # as `Bundle.task` says
    if len(scores) != len(golden["scores"]):
        return float("inf")
    differences = [abs(score - wanted) for score, wanted in zip(scores, golden["scores"], strict=True)]
    return max(difference if difference == difference else float("inf") for difference in differences)  # noqa: PLR0124


def main(path: str) -> int:
    """Return the exit status."""
    wanted = json.loads(Path(path).read_text(encoding="utf-8"))
    found: dict[str, Any] = {"imported": {}, "loaded": [], "difference": None}
    for distribution, modules in modules_of(wanted["import"]).items():
        for module in sorted(modules):
            importlib.import_module(module)
        found["imported"][distribution] = sorted(modules)
    for file in wanted["load"]:
        model = load(file["format"], file["file"])
        found["loaded"].append(file["path"])
        if file.get("golden"):
            found["difference"] = differing(model, file["golden"])
            if not found["difference"] <= file["golden"]["tolerance"]:
                told = f"{found['difference']:.3g}, {file['golden']['tolerance']:.3g} is allowed"
                sys.stderr.write(f"{file['path']} answers its golden requests differently: {told}\n")
                return 1
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
