"""The flavor `sklearn`: classifiers and pipelines of scikit-learn, served as ONNX, kept as skops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interlock.core.errors import Invalid, MissingExtra
from interlock.registry.flavors.frames import columns_of, layout_of, select

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import polars as pl


class Sklearn:
    """Writes fitted two-class estimators of scikit-learn as files that are read without running code."""

    name = "sklearn"

    def recognise(self, estimator: object) -> bool:
        """Return whether this is an estimator that scikit-learn itself brings (of a pipeline: its last step)."""
        if type(estimator).__module__.partition(".")[0] != "sklearn":
            return False
        steps = getattr(estimator, "steps", None)
        return self.recognise(steps[-1][1]) if steps else hasattr(estimator, "get_params")

    def save(self, estimator: object, sample: pl.DataFrame, folder: Path) -> Mapping[str, Any]:
        """Write `model.onnx` and `model.skops` into a folder; return facts about them.

        Args:
            estimator: a fitted two-class classifier.
            sample: rows of the inputs, for their names and types.
            folder: an existing folder.

        Returns:
            `classes` (labels, the last is the positive one), `inputs` (columns in the model's order), `layout`, `files`
            (path by role), `versions` (of the libraries that wrote the files) and `untrusted` (types in the skops file
            that its reader must grant).

        Raises:
            Invalid: it is not fitted, has not two classes or labels that are no whole numbers, gives no probabilities,
                or has no ONNX form.
            MissingExtra: skl2onnx or skops is not installed.
        """
        _need("sklearn", "skl2onnx", "onnx", "skops")
        from interlock.registry.flavors.onnx_file import to_onnx
        from interlock.registry.flavors.skops_file import to_skops, untrusted_types

        classes = classes_of(estimator)
        names = getattr(estimator, "feature_names_in_", sample.columns)
        columns = columns_of(select(sample, [str(name) for name in names]))
        layout = layout_of(columns)
        original = to_skops(estimator)
        (folder / "model.onnx").write_bytes(to_onnx(estimator, columns, layout))
        (folder / "model.skops").write_bytes(original)
        return {
            "classes": classes,
            "inputs": columns,
            "layout": layout,
            "files": {"serving": "model.onnx", "original": "model.skops"},
            "versions": _versions("scikit-learn", "skl2onnx", "onnx", "skops"),
            "untrusted": untrusted_types(original),
        }


def classes_of(estimator: object) -> tuple[int, int]:
    """Return the two labels of a fitted classifier, the positive one last.

    Raises:
        Invalid: see `Sklearn.save`.
    """
    kind = type(estimator).__name__
    labels = getattr(estimator, "classes_", None)
    if labels is None:
        raise Invalid(
            f"{kind} is not a fitted classifier.", about="model", hint="Call fit first; regression is not served yet."
        )
    if len(labels) != 2:
        raise Invalid(
            f"{kind} tells {len(labels)} classes apart; Interlock serves classifiers of two classes now.",
            about="model",
            hint="Train one model a class against the rest, or merge classes.",
        )
    if not hasattr(estimator, "predict_proba"):
        raise Invalid(
            f"{kind} gives labels but no probabilities.",
            about="model",
            hint="Wrap it in sklearn.calibration.CalibratedClassifierCV.",
        )
    try:
        first, second = (int(label) for label in labels)
    except (TypeError, ValueError):
        first, second = 0, 0
    if [first, second] != list(labels):
        shown = ", ".join(repr(str(label)) for label in labels)
        raise Invalid(
            f"The labels of {kind} are {shown}, not whole numbers.",
            about="model",
            hint="Train on 0 and 1, where 1 is the label whose probability is the score.",
        )
    return first, second


def _versions(*distributions: str) -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in distributions}


def _need(*modules: str) -> None:
    from importlib.util import find_spec

    for module in modules:
        if find_spec(module) is None:
            raise MissingExtra.named("train", module)
