"""Frames of other libraries, as Polars sees them. pyarrow is not needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interlock.core.errors import Invalid, MissingExtra

if TYPE_CHECKING:
    import polars as pl

_NUMBERS = "iufb"


def library(value: object) -> str:
    """Return the top package that a value's type comes from, such as `pandas`."""
    return type(value).__module__.partition(".")[0]


def to_polars(frame: Any) -> pl.DataFrame:
    """Return a frame as a Polars frame: Polars, pandas, or whatever speaks the Arrow stream interface.

    Args:
        frame: the frame; the index of a pandas frame is left out.

    Raises:
        Invalid: it is no frame.
        MissingExtra: Polars is not installed.
    """
    try:
        import polars as pl
    except ModuleNotFoundError:
        raise MissingExtra.named("train", "polars") from None
    if isinstance(frame, pl.DataFrame):
        return frame
    if library(frame) == "pandas" and hasattr(frame, "columns"):
        return pl.DataFrame([_column(str(name), frame.iloc[:, place]) for place, name in enumerate(frame.columns)])
    if hasattr(frame, "__arrow_c_stream__") and not isinstance(frame, pl.Series):
        return pl.DataFrame(frame)
    raise Invalid(
        f"A frame is wanted, this is a {type(frame).__name__}.",
        about="frame",
        hint="Give a Polars or pandas DataFrame; collect a LazyFrame first.",
    )


def _column(name: str, column: Any) -> pl.Series:
    import polars as pl

    kind = getattr(column.dtype, "kind", "O")
    if type(column.dtype).__module__.startswith("numpy") and kind in _NUMBERS + "M":
        return pl.Series(name, column.to_numpy())
    missing = column.isna().to_numpy()
    values = [None if gone else value for gone, value in zip(missing, column.astype(object), strict=True)]
    try:
        return pl.Series(name, values)
    except (TypeError, pl.exceptions.PolarsError):
        raise Invalid(
            f"Column {name!r} holds values of several types.", about="frame", hint="Make them all texts or all numbers."
        ) from None
