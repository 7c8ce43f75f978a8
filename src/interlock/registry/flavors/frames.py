"""Frames on their way into a model: column types, ONNX tensors, and what a fitted estimator wants to be given."""

from __future__ import annotations

import difflib
import random
from typing import TYPE_CHECKING, Any, Final, Literal

from interlock.core.bundles import Column
from interlock.core.errors import Finding, Invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from interlock.core.bundles import ColumnType

MATRIX = "inputs"  # name of the one tensor of layout `matrix`
TRAINING_ROWS: Final = 2_000
"""Of so many training rows, at most, the two forms of a model are compared."""
_SEED: Final = 20_11  # any number will do, as long as it stays


def columns_of(frame: pl.DataFrame) -> tuple[Column, ...]:
    """Return the columns of a frame with their logical types.

    A column of whole numbers or booleans that has empty values is `float`: only that type may be empty.

    Raises:
        Invalid: a column holds dates, lists or other values that no model takes.
    """
    return tuple(Column(series.name, _logical(series), _lacks(series)) for series in frame)


def layout_of(columns: Sequence[Column]) -> Literal["matrix", "columns"]:
    """Return `matrix` when all columns are numbers or booleans, else `columns`."""
    return "columns" if any(column.type == "string" for column in columns) else "matrix"


def drawn(rows: int, most: int = TRAINING_ROWS) -> list[int]:
    """Return the numbers of at most so many rows of a table, by a fixed seed: always the same ones; in their order."""
    if rows <= most:
        return list(range(rows))
    return sorted(random.Random(_SEED).sample(range(rows), most))  # noqa: S311 - a sample, no secret


def select(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Return some columns of a frame, in the order asked for.

    Raises:
        Invalid: some are missing; one finding each, with near names.
    """
    missing = [name for name in names if name not in frame.columns]
    if not missing:
        return frame.select(names)
    raise Invalid(
        f"The frame lacks {len(missing)} of the model's {len(names)} inputs: {', '.join(missing[:8])}.",
        about="frame",
        hint="Give the columns that the model was trained on.",
        findings=[_missing(name, frame.columns) for name in missing],
    )


def names_in(estimator: object, columns: Sequence[str]) -> list[str] | None:
    """Return the columns that an estimator was fitted on, as a frame spells them; None where it remembers no names.

    LightGBM writes `_` for every space of a name: such a name is the one column that it can have been made of.

    Args:
        estimator: the fitted estimator.
        columns: the frame's columns.
    """
    known = getattr(estimator, "feature_names_in_", None)
    if known is None:
        return None
    names = [str(name) for name in known]
    if type(estimator).__module__.partition(".")[0] != "lightgbm":
        return names
    spelt: dict[str, list[str]] = {}
    for column in columns:
        spelt.setdefault(column.replace(" ", "_"), []).append(column)
    held = set(columns)
    return [name if name in held or len(spelt.get(name, ())) != 1 else spelt[name][0] for name in names]


def tensors(frame: pl.DataFrame, columns: Sequence[Column], layout: str) -> dict[str, NDArray[Any]]:
    """Return the rows as the ONNX graph of a bundle takes them.

    Args:
        frame: rows with the model's inputs.
        columns: the inputs, in the model's order.
        layout: `matrix`: one float32 tensor (rows, columns) named `inputs`; `columns`: one tensor (rows, 1) a column,
            text for strings and float32 for the rest. An empty number is NaN, an empty text is "".

    Raises:
        Invalid: a column is missing, or holds what its type does not allow.

    Cost: one copy of the rows.
    """
    import numpy as np

    chosen = select(frame, [column.name for column in columns])
    if layout == "matrix":
        return {MATRIX: np.column_stack([_numbers(series, np.float32) for series in chosen])}
    return {
        column.name: (_texts(series) if column.type == "string" else _numbers(series, np.float32)).reshape(-1, 1)
        for column, series in zip(columns, chosen, strict=True)
    }


def matrix(frame: pl.DataFrame) -> NDArray[np.float64]:
    """Return columns of numbers as one array, float64 (rows, columns); an empty number is NaN.

    Raises:
        Invalid: a column holds text.
    """
    import numpy as np

    return np.column_stack([_numbers(series, np.float64) for series in frame])


def for_estimator(estimator: object, frame: pl.DataFrame) -> pl.DataFrame | NDArray[Any]:
    """Return the rows in the form that an estimator was fitted on.

    One that remembers column names gets a frame with these columns in that order; one that does not gets a NumPy
    array: float64 when all columns are numbers (empty ones NaN), objects otherwise.

    Raises:
        Invalid: the estimator was fitted on other columns.
    """
    import numpy as np

    names = names_in(estimator, frame.columns)
    if names is not None:
        return select(frame, names)
    width = getattr(estimator, "n_features_in_", frame.width)
    if width != frame.width:
        raise Invalid(
            f"The estimator was fitted on {width} columns, the frame has {frame.width}.",
            about="frame",
            hint="Give the inputs that it was fitted on, in their order.",
        )
    if layout_of(columns_of(frame)) == "matrix":
        return np.column_stack([_numbers(series, np.float64) for series in frame])
    return np.column_stack([np.array(series.to_list(), dtype=object) for series in frame])


def _logical(series: pl.Series) -> ColumnType:
    import polars as pl

    kind = series.dtype
    if kind == pl.Boolean:
        return "float" if series.null_count() else "boolean"
    if kind in (pl.String, pl.Categorical, pl.Enum):
        return "string"
    if kind.is_integer():
        return "float" if series.null_count() else "integer"
    if kind.is_numeric():
        return "float"
    raise Invalid(
        f"Column {series.name!r} holds {kind} values, which a model cannot take.",
        about="frame",
        hint="Make a number or a text of it first, such as the days since a date.",
        column=series.name,
    )


def _lacks(series: pl.Series) -> bool:
    """Return whether some row has no value; NaN is none."""
    return bool(series.null_count()) or (series.dtype.is_float() and bool(series.is_nan().any()))


def _numbers(series: pl.Series, kind: type[np.floating[Any]]) -> NDArray[Any]:
    import polars as pl

    text = series.cast(pl.String) if series.dtype in (pl.Categorical, pl.Enum) else series
    try:
        return text.cast(pl.Float64).to_numpy().astype(kind, copy=False)
    except pl.exceptions.PolarsError:
        raise Invalid(
            f"Column {series.name!r} holds {series.dtype} values where the model takes numbers.",
            about="frame",
            column=series.name,
        ) from None


def _texts(series: pl.Series) -> NDArray[np.object_]:
    import numpy as np
    import polars as pl

    return np.array(series.cast(pl.String).fill_null("").to_list(), dtype=object)


def _missing(name: str, known: Sequence[str]) -> Finding:
    near = difflib.get_close_matches(name, known, n=1)
    return Finding("missing_column", f"There is no column {name!r}." + (f" Is it {near[0]!r}?" if near else ""), name)
