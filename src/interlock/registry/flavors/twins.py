"""ONNX twins: a form of a model that answers without the original's code, and the record of how they agree."""

from __future__ import annotations

import contextlib
import hashlib
import sys
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

import msgspec

from interlock.core.bundles import Agreement, Column
from interlock.core.errors import Error, Invalid
from interlock.registry.flavors.frames import (
    columns_of,
    drawn,
    for_estimator,
    layout_of,
    matrix,
    names_in,
    select,
    tensors,
)
from interlock.registry.flavors.linear import LINEAR, LINEAR_FILE, linear_answers, linear_bytes, linear_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from interlock.core.bundles import Linear

TOLERANCE: Final = 1e-4
_STEPS: Final = 8
ONNX_FILE: Final = "model.onnx"
RECORD_FILE: Final = "twin.json"


class Twin(msgspec.Struct, frozen=True):
    """How far a model's ONNX form is from the original.

    Attributes:
        verdict: `agrees` on every row; `differs`, so it is not kept; `none` could be made.
        reason: why there is none, or where they differ most.
        answers: what was compared: probabilities of each class, or values.
        tolerance: the largest difference that is accepted: of a probability, or of a value as a share of the standard
            deviation of the original's values over the compared rows (see `judge` for values that are all the same).
        rows: how many rows were compared.
        compared: how many of each kind: `example`, `training` (a sample of what it learned from), `evaluation`.
        max_difference: the largest difference seen, in the same measure.
        label_flips: rows whose label differs although the original prefers one class clearly.
        ties: rows whose label differs where the original has two classes within the tolerance.
        versions: of the libraries that took part.
        digest: the SHA-256 of the ONNX file, or "".
        inputs: the columns that the model takes, in its order.
        classes: the labels in its order; none of a regression.
        engines: agreement of further forms beside the graph, by role, such as `linear`.
    """

    TABLE: ClassVar = ("verdict", "rows", "compared", "max_difference", "tolerance", "label_flips", "ties", "reason")

    verdict: Literal["agrees", "differs", "none"]
    reason: str
    answers: Literal["probabilities", "values", ""] = ""
    tolerance: float = TOLERANCE
    rows: int = 0
    compared: dict[str, int] = {}
    max_difference: float = 0.0
    label_flips: int = 0
    ties: int = 0
    versions: dict[str, str] = {}
    digest: str = ""
    inputs: tuple[Column, ...] = ()
    classes: tuple[int | str, ...] = ()
    engines: dict[str, Agreement] = {}


def make_twin(model: Any, example: pl.DataFrame, training: pl.DataFrame | None = None) -> tuple[Twin, dict[str, bytes]]:
    """Return the record of a model's twin, and the files to keep: the record, and the graph when it agrees.

    A model that cannot be converted is no error: the record says why, and its original is kept by whoever has it.

    Args:
        model: a fitted estimator of scikit-learn, XGBoost or LightGBM, or a booster.
        example: rows of its inputs.
        training: the rows that it learned from; up to 2,000 of them, drawn by a fixed seed, are compared too.

    Cost: scores the compared rows twice.
    """
    twin, files = _twin(model, example, training)
    return twin, {RECORD_FILE: msgspec.json.format(msgspec.json.encode(twin), indent=2) + b"\n", **files}


def _twin(model: Any, example: pl.DataFrame, training: pl.DataFrame | None) -> tuple[Twin, dict[str, bytes]]:
    import polars as pl

    try:
        names = _names(model, example)
        parts = {"example": select(example, names)}
        if training is not None:
            parts["training"] = select(training, names)[drawn(training.height)]
        rows = pl.concat(parts.values(), how="vertical_relaxed")
        columns = columns_of(rows)
        graph = _convert(model, columns)
        truth, classes = _original(model, rows)
        found, labels = _answers(graph, rows, columns)
    except Error as error:
        return Twin("none", error.message, versions=versions_of(model)), {}
    except Exception as error:  # noqa: BLE001 - the border to three libraries and whatever the model is made of
        told = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        return Twin("none", told, versions=versions_of(model)), {}
    twin = judge(truth, found, None if classes is None else (list(classes), labels))
    twin = msgspec.structs.replace(
        twin,
        compared={kind: part.height for kind, part in parts.items()},
        versions=versions_of(model),
        digest=hashlib.sha256(graph).hexdigest(),
        inputs=columns,
        classes=tuple(classes or ()),
    )
    if twin.verdict != "agrees":
        return twin, {}
    files = {ONNX_FILE: graph}
    form = linear_of(model, columns, rows)
    if form is not None and (agreement := linear_agreement(form, rows, truth)).max_difference <= TOLERANCE:
        files[LINEAR_FILE] = linear_bytes(form)
        twin = msgspec.structs.replace(twin, engines={LINEAR: agreement})
    return twin, files


def linear_agreement(form: Linear, rows: pl.DataFrame, truth: NDArray[np.float64]) -> Agreement:
    """Return how far coefficients are from the original's answers to rows; see `judge` for the measure."""
    found = linear_answers(form, rows)
    verdict = judge(truth, found, None if form.link in {"identity", "exp"} else _numbers(truth, found))
    flips = verdict.label_flips + verdict.ties
    worst = verdict.max_difference if verdict.verdict == "agrees" else max(verdict.max_difference, 2 * TOLERANCE)
    return Agreement(verdict.rows, worst, TOLERANCE, flips)


def _numbers(truth: NDArray[np.float64], found: NDArray[np.float64]) -> tuple[list[int], list[int]]:
    return list(range(truth.shape[1])), found.argmax(axis=1).tolist()


def judge(
    truth: NDArray[np.float64], found: NDArray[np.float64], labels: tuple[Sequence[Any], Sequence[Any]] | None
) -> Twin:
    """Return the verdict on two forms' answers.

    Values are measured by their own standard deviation, so that a twin that always answers their mean does not agree.
    Where the original's values are one value to a 32-bit float, a twin may miss it by 8 steps of such floats.

    Args:
        truth: the original's answers, (rows, classes), or (rows, 1) of a regression.
        found: the twin's answers.
        labels: the classes in the model's order and the twin's label of each row; None of a regression.
    """
    import numpy as np

    if truth.shape != found.shape or not truth.shape[0]:
        return Twin("none", f"the original answers {truth.shape}, the ONNX form {found.shape}, rows by answers")
    spread, step = _measure(truth) if labels is None else (1.0, 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        gap = np.nan_to_num(np.abs(truth - found) / spread, nan=np.inf).max(axis=1)
    worst = int(gap.argmax())
    ties = flips = 0
    if labels is not None:
        classes, given = labels
        differs = np.array([classes[best] != label for best, label in zip(truth.argmax(axis=1), given, strict=True)])
        top = np.sort(truth, axis=1)[:, -2:]
        close = top[:, -1] - top[:, 0] <= 2 * TOLERANCE
        ties, flips = int((differs & close).sum()), int((differs & ~close).sum())
    agrees = bool(gap.max() <= TOLERANCE) and not flips
    reason = ""
    if not agrees:
        reason = (
            f"{int((gap > TOLERANCE).sum())} of {len(gap)} rows differ by more than {TOLERANCE:g}, at most by"
            f" {gap.max():.3g} (row {worst}), and {flips} labels differ"
        )
        if step > TOLERANCE * spread:
            reason += (
                f"; 32-bit floats of the size of these values are {step:.3g} apart, which is much against"
                f" their standard deviation, {spread:.3g}: take a constant off the target"
            )
    return Twin(
        verdict="agrees" if agrees else "differs",
        reason=reason,
        answers="values" if labels is None else "probabilities",
        rows=len(gap),
        max_difference=float(min(gap.max(), 1e308)),
        label_flips=flips,
        ties=ties,
    )


def spread_of(values: NDArray[np.float64]) -> float:
    """Return what differences of values are divided by before they are held against the tolerance; see `judge`."""
    return _measure(values)[0]


def _measure(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the standard deviation by which errors are divided, and how far 32-bit floats of that size are apart.

    Of values that are all the same, the first is what makes `_STEPS` of these steps the tolerance.
    """
    import numpy as np

    finite = values[np.isfinite(values)]
    size = max(float(np.abs(finite).max()) if finite.size else 0.0, float(np.finfo(np.float32).tiny))
    step = size * float(np.finfo(np.float32).eps)
    spread = size * float(np.std(finite / size)) if finite.size else 0.0  # of shares: squares do not overflow
    return (spread, step) if spread > step else (_STEPS * step / TOLERANCE, step)


def _names(model: Any, example: pl.DataFrame) -> list[str]:
    names = names_in(model, example.columns)
    return example.columns if names is None else names


def _library(model: Any) -> str:
    return type(model).__module__.partition(".")[0]


def _convert(model: Any, columns: Sequence[Column]) -> bytes:
    """Return the bytes of a model's graph.

    Raises:
        Invalid: it has no ONNX form.
    """
    from interlock.registry.flavors import boosting, ensembles, lightgbm, onnx_file, xgboost

    library = _library(model)
    if library in {"xgboost", "lightgbm"}:
        ensemble = (xgboost if library == "xgboost" else lightgbm).read(own_format(model))
        classes = getattr(model, "classes_", None)
        if classes is None and ensemble.link == "softmax":
            classes = range(len(ensemble.base))
        return ensembles.to_onnx(ensemble, None if classes is None else [_plain(label) for label in classes])
    if library != "sklearn":
        raise Invalid(
            f"{type(model).__name__} is of {library}; models of scikit-learn, XGBoost and LightGBM are converted.",
            about="model",
        )
    if type(model).__name__ in {"HistGradientBoostingClassifier", "HistGradientBoostingRegressor"}:
        classes = getattr(model, "classes_", None)
        known = None if classes is None else [_plain(label) for label in classes]
        return ensembles.to_onnx(boosting.read(model), known)
    return onnx_file.to_onnx(model, columns, layout_of(columns))


def own_format(model: Any) -> bytes:
    """Return a booster, or an estimator around one, in its library's own format."""
    if _library(model) == "xgboost":
        return bytes((model.get_booster() if hasattr(model, "get_booster") else model).save_raw("ubj"))
    return str(getattr(model, "booster_", model).model_to_string()).encode()


def _original(model: Any, rows: pl.DataFrame) -> tuple[NDArray[np.float64], Sequence[Any] | None]:
    """Return the original's answers, and its classes where it has some.

    Raises:
        Invalid: it gives neither probabilities nor values.
    """
    import numpy as np
    from sklearn.base import is_regressor

    from interlock.registry.flavors.lightgbm import Lightgbm
    from interlock.registry.flavors.xgboost import Xgboost

    classes = getattr(model, "classes_", None)
    library = _library(model)
    if isinstance(classes, list):
        raise Invalid(f"{type(model).__name__} answers {len(classes)} questions at once.", about="model")
    if library == "xgboost":
        found = Xgboost().answers(model, matrix(rows))
    elif library == "lightgbm":
        found = Lightgbm().answers(model, matrix(rows))
    elif hasattr(model, "predict_proba"):
        found = model.predict_proba(for_estimator(model, rows))
    elif is_regressor(model):
        found = model.predict(for_estimator(model, rows))
    else:
        raise Invalid(f"{type(model).__name__} gives neither probabilities nor values.", about="model")
    values = np.asarray(found, dtype=np.float64)
    values = values.reshape(-1, 1) if values.ndim == 1 else values
    if classes is None and values.shape[1] > 1:
        classes = range(values.shape[1])
    return values, None if classes is None else [_plain(label) for label in classes]


def _answers(graph: bytes, rows: pl.DataFrame, columns: Sequence[Column]) -> tuple[NDArray[np.float64], list[Any]]:
    """Return what a graph answers: probabilities or values, and the labels where it gives some."""
    import numpy as np

    from interlock.registry.flavors.scoring import open_session

    session = open_session(graph)
    layout = "matrix" if len(session.get_inputs()) == 1 and layout_of(columns) == "matrix" else "columns"
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run(names, tensors(rows, columns, layout)), strict=True))
    answers = np.asarray(found.get("probabilities", found[names[-1]]), dtype=np.float64)
    labels = [_plain(label) for label in found[names[0]].reshape(-1)] if len(names) > 1 else []
    return answers.reshape(-1, 1) if answers.ndim == 1 else answers, labels


def _plain(label: Any) -> Any:
    value = label.item() if hasattr(label, "item") else label
    return int(value) if isinstance(value, float) and value.is_integer() else value


def versions_of(model: Any) -> dict[str, str]:
    """Return the versions of the libraries that make a model's twin."""
    from importlib import metadata

    library = _library(model)
    found = {}
    for name in "interlock", "skl2onnx" if library == "sklearn" else "", "onnx", "onnxruntime":
        with contextlib.suppress(metadata.PackageNotFoundError, ValueError):
            found[name] = metadata.version(name)
    # The library itself says its version: what installs it goes by several names.
    version = getattr(sys.modules.get(library), "__version__", "")
    return {**({{"sklearn": "scikit-learn"}.get(library, library): str(version)} if version else {}), **found}
