"""Models as files: the original in a form that runs no code when it is read, and beside it the form that is served."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypedDict

import msgspec

from interlock.core.errors import Error, Invalid, MissingExtra, NotFound
from interlock.core.refs import check_name
from interlock.sdk.recording.mlmodel import mlmodel

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl


class Given(TypedDict, total=False):
    """What may be said of a model besides.

    Attributes:
        example: a few rows of its inputs.
        training: the rows that it was fitted on; beside its inputs they may hold other columns, such as an id.
        target: the column that it predicts.
        evaluation: labelled rows that it did not see, as a table with the target, or as a pair (inputs, truths).
    """

    example: Any
    training: Any
    target: str
    evaluation: Any


def write_model(model: Any, name: str, given: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the files of a version of a model, by path.

    Args:
        model: a fitted estimator.
        name: the model's name.
        given: see `Given`; with `target` and `evaluation`, the files are a bundle that can be judged and served.

    Raises:
        Invalid: something else was given, the parts do not fit together, or no file can be made of the model.
        MissingExtra: a library that writes the files is not installed.
    """
    check_name(name, "model")
    known = sorted(Given.__annotations__)
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise Invalid(f"run.model takes no {unknown[0]!r}.", about="model", hint=f"It takes {', '.join(known)}.")
    example, training = given.get("example"), given.get("training")
    if "evaluation" in given or "target" in given:
        return _bundle(model, given)
    from interlock.sdk.recording import rows

    if example is None and training is not None:
        example = rows.head(training)
    able = callable(getattr(model, "predict", None))
    files, why = files_of(model, example, training) if able else ({}, "it has no predict.")
    if not files:
        raise Invalid(f"No file can be made of a {type(model).__name__}: {why}", about="model", hint=_HINT)
    if example is not None:
        files["signature.json"] = rows.encoded(rows.signature(model, example))
        if (first := rows.example(example)) is not None:
            files["example.json"] = rows.encoded(first)
    return files


_PAIR: Final = 2
_KEPT: Final = (
    "To keep the original all the same, without a form that can be judged, leave target and evaluation out: "
    "run.model(model, NAME, example=..., training=...)."
)
_HINT: Final = "Models of scikit-learn, XGBoost and LightGBM can be kept; keep others as files with run.artifact."


def files_of(model: Any, example: Any, training: Any = None) -> tuple[dict[str, bytes], str]:
    """Return the files of a model by name: the original, and its ONNX twin where it agrees; and what is missing, or "".

    Args:
        model: a fitted estimator or booster.
        example: rows of its inputs, on which the two forms are compared; None makes no twin.
        training: the rows that it was fitted on; a sample of them is compared too.

    Cost: scores the compared rows twice.
    """
    files, why = _original(model)
    if example is None or not files:
        return files | mlmodel(files), why
    try:
        from interlock.registry.flavors.twins import make_twin
        from interlock.sdk.recording import rows

        seen = None if training is None else frame(rows.sample(training), model)
        twin, more = make_twin(model, frame(example, model), seen)
    except (Error, ModuleNotFoundError) as error:
        return files | mlmodel(files), str(error)
    files |= more
    return files | mlmodel(files), twin.reason


def frame(rows: Any, model: Any = None) -> pl.DataFrame:
    """Return rows as a Polars frame; columns without names take those that the model knows, or x0, x1 ...

    Raises:
        Invalid: they are no table.
        MissingExtra: Polars is not installed.
    """
    from interlock.train.frames import to_polars

    if hasattr(rows, "columns") or hasattr(rows, "__arrow_c_stream__"):
        return to_polars(rows)
    try:
        import numpy as np
        import polars as pl
    except ModuleNotFoundError as error:
        raise MissingExtra.behind(error) or error from None
    values = rows.toarray() if hasattr(rows, "toarray") else np.asarray(rows)
    if values.ndim != 2:
        raise Invalid("An example is a table: rows of the model's inputs.", about="model")
    names = getattr(model, "feature_names_in_", None)
    names = [str(n) for n in names] if names is not None else [f"x{place}" for place in range(values.shape[1])]
    return pl.DataFrame({name: values[:, place] for place, name in enumerate(names)})


def _bundle(model: Any, given: Mapping[str, Any]) -> dict[str, bytes]:
    from interlock.registry.flavors import build_bundle

    seen = given.get("training", given.get("example"))
    missing = ["training"] if seen is None else sorted({"target", "evaluation"} - set(given))
    if missing:
        raise Invalid(
            f"run.model needs {missing[0]!r} too.",
            about="model",
            hint="Give training (rows of the inputs), target and evaluation (held-out rows); or the first alone.",
        )
    with tempfile.TemporaryDirectory(prefix="interlock-") as name:
        folder = Path(name)
        evaluation = _labelled(given["evaluation"], given["target"], model)
        inputs = _inputs(frame(seen, model), given["target"], model)
        try:
            build_bundle(model, inputs=inputs, target=given["target"], evaluation=evaluation, folder=folder)
        except (Invalid, NotFound) as error:
            if error.about != "frame":  # it is the model, which may be kept all the same
                error.hint = f"{error.hint} {_KEPT}".strip()
            raise
        files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
        return files | mlmodel(files)


def trained_on(written: Mapping[str, bytes], given: Mapping[str, Any], model: Any) -> tuple[str, bytes] | None:
    """Return where the rows that a judged model was fitted on are kept in its run, and as what; None for no such rows.

    Audits look in them for people of the evaluation rows. The name tells models of one run apart.

    Args:
        written: the files of the version.
        given: as `write_model` takes it.
        model: the estimator.
    """
    if "bundle.json" not in written or given.get("training") is None:
        return None
    from interlock.core.bundles import Bundle, training_rows
    from interlock.core.canonical import digest

    original = msgspec.json.decode(written["bundle.json"], type=Bundle).files["original"]
    sink = io.BytesIO()
    frame(given["training"], model).write_parquet(sink, compression="zstd")
    return training_rows(digest(written[original])), sink.getvalue()


def _inputs(rows: pl.DataFrame, target: str, model: Any) -> pl.DataFrame:
    """Return the columns of training rows that a model takes, where it says which; else all but the target."""
    from interlock.registry.flavors.frames import names_in

    names = names_in(model, rows.columns)
    if names and set(names) <= set(rows.columns):
        return rows.select(names)
    return rows.drop(target, strict=False)


def _labelled(evaluation: Any, target: Any, model: Any) -> pl.DataFrame:
    """Return evaluation rows as a frame; of a pair, the truths become its target column.

    Raises:
        Invalid: they are no table and no such pair.
    """
    if not isinstance(evaluation, tuple | list) or len(evaluation) != _PAIR or isinstance(evaluation[0], int | float):
        return frame(evaluation)
    import numpy as np
    import polars as pl

    rows, truths = frame(evaluation[0], model), np.asarray(evaluation[1])
    if truths.ndim != 1 or len(truths) != rows.height:
        raise Invalid(
            f"The evaluation pair has {rows.height} rows, and truths of shape {truths.shape}.",
            about="model",
            hint="Give evaluation=(inputs, truths) with one truth a row, or a table that has the target as a column.",
        )
    return rows.with_columns(pl.Series(str(target), truths.tolist() if truths.dtype == object else truths))


def _original(model: Any) -> tuple[dict[str, bytes], str]:
    """Return a model in its library's own format, or as skops; or nothing, and why."""
    library = type(model).__module__.partition(".")[0]
    try:
        if library == "xgboost":
            inner = model.get_booster() if hasattr(model, "get_booster") else model
            return {"model.ubj": bytes(inner.save_raw("ubj"))}, ""
        if library == "lightgbm":
            inner = getattr(model, "booster_", model)
            return {"model.txt": inner.model_to_string().encode()}, ""
        from interlock.registry.flavors.skops_file import to_skops

        return {"model.skops": to_skops(model)}, ""
    except ModuleNotFoundError as error:
        return {}, str(MissingExtra.behind(error) or error)
    except Exception as error:  # noqa: BLE001 - the border to what an unknown estimator is made of
        return {}, repr(error)
