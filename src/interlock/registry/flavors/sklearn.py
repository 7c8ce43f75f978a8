"""The flavor `sklearn`: classifiers, regressors and pipelines of scikit-learn, served as ONNX, kept as skops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interlock.core.errors import Invalid, MissingExtra
from interlock.registry.flavors.frames import columns_of, layout_of, select

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import polars as pl

    from interlock.core.bundles import Column


class Sklearn:
    """Writes fitted estimators of scikit-learn as files that are read without running code."""

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
            estimator: a fitted classifier or regressor.
            sample: rows of the inputs, for their names and types.
            folder: an existing folder.

        Returns:
            `classes` (labels; of two the last is the positive one; none of a regression),
            `inputs` (columns in the model's order), `layout`, `files`
            (path by role), `versions` (of the libraries that wrote the files) and `untrusted` (types in the skops file
            that its reader must grant).

        Raises:
            Invalid: it is not fitted, has labels that are neither whole numbers nor texts, is a classifier without
                probabilities, or has no ONNX form.
            MissingExtra: skl2onnx or skops is not installed.
        """
        _need("sklearn", "skl2onnx", "onnx", "skops")
        from interlock.registry.flavors.skops_file import to_skops, untrusted_types

        classes = classes_of(estimator)
        names = getattr(estimator, "feature_names_in_", sample.columns)
        columns = columns_of(select(sample, [str(name) for name in names]))
        layout = layout_of(columns)
        original = to_skops(estimator)
        (folder / "model.onnx").write_bytes(_graph(estimator, columns, classes))
        (folder / "model.skops").write_bytes(original)
        return {
            "classes": classes,
            "inputs": columns,
            "layout": layout,
            "files": {"serving": "model.onnx", "original": "model.skops"},
            "versions": _versions("scikit-learn", "skl2onnx", "onnx", "skops"),
            "untrusted": untrusted_types(original),
        }


def classes_of(estimator: Any) -> tuple[int, ...] | tuple[str, ...]:
    """Return the labels of a fitted classifier in its order, of two the positive one last; none of a regressor.

    Raises:
        Invalid: see `Sklearn.save`.
    """
    from sklearn.base import is_regressor

    kind = type(estimator).__name__
    labels = getattr(estimator, "classes_", None)
    if labels is None:
        if is_regressor(estimator) and _is_fitted(estimator):
            return ()
        raise Invalid(f"{kind} is no fitted classifier or regressor.", about="model", hint="Call fit first.")
    if not hasattr(estimator, "predict_proba"):
        raise Invalid(
            f"{kind} gives labels but no probabilities.",
            about="model",
            hint="Wrap it in sklearn.calibration.CalibratedClassifierCV.",
        )
    if isinstance(labels, list) or len(labels) < 2:
        what = f"answers {len(labels)} questions at once" if isinstance(labels, list) else "saw one class only"
        raise Invalid(f"{kind} {what}.", about="model", hint="Train one model for each question, on all its classes.")
    plain = [label.item() if hasattr(label, "item") else label for label in labels]
    if all(isinstance(label, str) for label in plain):
        return tuple(str(label) for label in plain)
    try:
        whole = tuple(int(label) for label in plain)
    except (TypeError, ValueError):
        whole = ()
    if list(whole) != plain:
        shown = ", ".join(repr(str(label)) for label in plain[:5])
        raise Invalid(
            f"The labels of {kind} are {shown}, neither whole numbers nor texts.",
            about="model",
            hint="Train on 0, 1, 2 ... or on names.",
        )
    return whole


def _is_fitted(estimator: object) -> bool:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(estimator)
    except (NotFittedError, TypeError):
        return False
    return True


def _graph(estimator: Any, columns: tuple[Column, ...], classes: tuple[int, ...] | tuple[str, ...]) -> bytes:
    """Return the bytes of an estimator's graph."""
    from interlock.registry.flavors import boosting, ensembles
    from interlock.registry.flavors.onnx_file import to_onnx

    whole = len(classes) == 2 and not isinstance(classes[0], str)
    if type(estimator).__name__.startswith("HistGradientBoosting") and not whole:
        return ensembles.to_onnx(boosting.read(estimator), classes or None)
    return to_onnx(estimator, columns, layout_of(columns))


def _versions(*distributions: str) -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in distributions}


def _need(*modules: str) -> None:
    from importlib.util import find_spec

    for module in modules:
        if find_spec(module) is None:
            raise MissingExtra.named("train", module)
