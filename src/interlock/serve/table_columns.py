"""One column of a table: whether a model takes its type, and its values as the engine's numbers or texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from interlock.serve.columns import TAKES

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from interlock.core.bundles import Column

_TOO_LARGE: Final = "is too large for the model"
_UNSEEN: Final = "is missing, and none was missing in training"
_WHOLE_LIMITS: Final = {"int32": 2**31}
_WHOLE_LIMIT: Final = 2**63
_NARROW: Final = 3.4e38  # a little below the largest number of 32 bits


class Fault(NamedTuple):
    """Values of a column that a model does not take.

    Attributes:
        rule: the rule's name: `type`, `missing`, `range` or `value`.
        column: the column, or "" where no single one is to blame.
        rows: all rows it is about, ascending.
        trouble: the rest of the sentence, such as `is missing`.
    """

    rule: str
    column: str
    rows: NDArray[np.intp]
    trouble: str


class Values(NamedTuple):
    """A column as it may be given to an engine.

    Attributes:
        array: its values; floats in full, to be narrowed by whoever copies them.
        missing: whether a number is missing (NaN).
        faults: what must not be answered.
    """

    array: NDArray[Any]
    missing: bool
    faults: tuple[Fault, ...] = ()


def fit(kind: str, dtype: pl.DataType) -> str:
    """Return what a column of a table holds when a model's column cannot take it, else "".

    Args:
        kind: the type of the model's column.
        dtype: the type in the table.
    """
    import polars as pl

    if dtype == pl.Null:
        return ""  # values are missing: rows decide
    if dtype.is_integer() or dtype.is_float():
        held = "integer" if dtype.is_integer() else "float"
        return "" if kind in {"integer", "float"} else {"integer": "whole numbers", "float": "numbers"}[held]
    if dtype == pl.Boolean:
        return "" if kind == "boolean" else "true or false"
    if isinstance(dtype, pl.String | pl.Categorical | pl.Enum):
        return "" if kind == "string" else "text"
    if dtype.is_decimal():
        return "decimals (cast them to numbers first)"
    return "dates or times" if dtype.is_temporal() else "something else"


def values_of(column: Column, series: pl.Series, dtype: str, *, look: bool = True) -> Values:
    """Return a column's values, looked at as `InputColumns.prepare` looks at them.

    Args:
        column: the model's column.
        series: the values; `fit` accepts their type.
        dtype: the engine's element type.
        look: whether to look at floats; without, whoever copies them sees whether one is missing or too large.

    Cost: 0.3 ns a value for floats without missing ones, which are not copied.
    """
    if column.type == "string":
        return _texts(column, series)
    if column.type == "boolean":
        return _numbers(series.fill_null(value=False), dtype, _lacking(column, series))
    if column.type == "integer":
        return _whole(column, series, dtype)
    return _floats(column, series, dtype, look=look or series.null_count() > 0)


def cast_text(column: Column, series: pl.Series) -> tuple[pl.Series, tuple[Fault, ...]]:
    """Return a column of text in the type that a model's column takes, and the texts that do not spell it.

    Args:
        column: the model's column.
        series: text; an empty one is a missing value.
    """
    import polars as pl

    text = series.cast(pl.String)
    text = text.set(text == "", None)
    if column.type == "string":
        return text, ()
    if column.type == "boolean":
        cast = text.str.strip_chars().str.to_lowercase()
        cast = cast.replace_strict(
            {"true": True, "false": False, "1": True, "0": False}, default=None, return_dtype=pl.Boolean
        )
    else:
        cast = text.str.strip_chars().cast(pl.Float64, strict=False)
        cast = cast.set(cast.is_infinite(), None)
        if column.type == "integer":
            whole = text.str.strip_chars().str.strip_prefix("+").cast(pl.Int64, strict=False)
            # Beyond 2**53 the text says more than a float holds.
            cast = whole if whole.null_count() == cast.null_count() else _merged(whole, cast)
    wrong = (cast.is_null() & text.is_not_null()).to_numpy()
    if not wrong.any():
        return cast, ()
    return cast, (Fault("type", column.name, wrong.nonzero()[0], f"does not spell {TAKES[column.type]}"),)


def _merged(whole: pl.Series, cast: pl.Series) -> pl.Series:
    """Return whole numbers where the text spells some; else what is whole as a float, where all fit one type."""
    import polars as pl

    fraction = cast.is_not_null() & (cast != cast.floor())
    near = cast.set(fraction | (cast.abs() >= float(_WHOLE_LIMIT)), None).cast(pl.Int64, strict=False)
    return pl.select(pl.coalesce(whole.alias("a"), near.alias("a"))).to_series().alias(whole.name)


def _texts(column: Column, series: pl.Series) -> Values:
    import polars as pl

    series = series.cast(pl.String)
    faults = () if column.nulls else _lacking(column, series)
    return Values(series.fill_null("").to_numpy(), False, faults)


def _lacking(column: Column, series: pl.Series) -> tuple[Fault, ...]:
    """Return the fault of values that are missing in a column that cannot lack any."""
    if not series.null_count():
        return ()
    rows = series.is_null().to_numpy().nonzero()[0]
    return (Fault("type", column.name, rows, f"is missing, the column takes {TAKES[column.type]}"),)


def _whole(column: Column, series: pl.Series, dtype: str) -> Values:
    import numpy as np
    import polars as pl

    faults = list(_lacking(column, series))
    series = (series.cast(pl.Int64) if series.dtype == pl.Null else series).fill_null(0)
    if series.dtype.is_float():
        numbers = series.cast(pl.Float64).to_numpy()
        odd = (~(np.floor(numbers) == numbers) | np.isinf(numbers)).nonzero()[0]
        if len(odd):
            nan = np.isnan(numbers[odd[0]])
            holds = "is missing" if nan else "is a number" if np.isinf(numbers[odd[0]]) else "is a fraction"
            faults.append(Fault("type", column.name, odd, f"{holds}, the column takes {TAKES[column.type]}"))
            numbers = numbers.copy()
            numbers[odd] = 0.0
            series = pl.Series(numbers)
    over = _over(series, _WHOLE_LIMITS.get(dtype, _WHOLE_LIMIT))
    if len(over):
        faults.append(Fault("range", column.name, over, _TOO_LARGE))
        return Values(np.zeros(len(series)), False, tuple(faults))
    return _numbers(series, dtype, tuple(faults))


def _over(series: pl.Series, limit: int) -> NDArray[np.intp]:
    """Return the rows whose whole numbers are not from `-limit` to below `limit`."""
    import numpy as np
    import polars as pl

    if limit == _WHOLE_LIMIT and series.dtype.is_signed_integer() and series.dtype != pl.Int128:
        return np.empty(0, dtype=np.intp)
    low, high = series.min(), series.max()
    if low is None or high is None or (-limit <= low and high < limit):  # type: ignore[operator]  # numbers
        return np.empty(0, dtype=np.intp)
    wide = series.cast(pl.Float64) if series.dtype.is_float() else series.cast(pl.Int128)
    found: NDArray[np.intp] = ((wide < -limit) | (wide >= limit)).to_numpy().nonzero()[0]
    return found


def _floats(column: Column, series: pl.Series, dtype: str, *, look: bool) -> Values:
    import numpy as np
    import polars as pl

    if not (series.dtype == pl.Float64 or (series.dtype == pl.Float32 and dtype == "float32")):
        series = series.cast(pl.Float64)  # whole numbers round twice on their way to 32 bits, as they do in requests
    numbers = series.to_numpy()
    if not look or (np.isfinite(numbers).all() and (numbers.dtype == dtype or not _narrowed(numbers))):
        return Values(numbers, False)
    with np.errstate(over="ignore"):
        large = np.isinf(numbers.astype(dtype))
    lacks = np.isnan(numbers)
    faults = []
    if large.any():
        faults.append(Fault("range", column.name, large.nonzero()[0], _TOO_LARGE))
    if column.nulls is False and lacks.any():
        faults.append(Fault("missing", column.name, lacks.nonzero()[0], _UNSEEN))
    return Values(numbers, bool(lacks.any()), tuple(faults))


def _narrowed(numbers: NDArray[Any]) -> bool:
    """Return whether a number may be too large for 32 bits."""
    return len(numbers) > 0 and not -_NARROW < numbers.min() <= numbers.max() < _NARROW


def _numbers(series: pl.Series, dtype: str, faults: tuple[Fault, ...]) -> Values:
    """Return whole numbers or truths; those that become floats go through 64 bits first."""
    import polars as pl

    wide = series.cast(pl.Float64) if dtype.startswith("float") else series
    return Values(wide.to_numpy(), False, faults)
