"""Counts in bins that the reference fixed: the only thing that drift tests read.

Bins are made once, from the reference; each window is then counted into the same bins. Counts of two windows add up,
so ten million rows cost an alarm no more than ten thousand, and no raw row need be kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from interlock.core.errors import Invalid

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

MAX_BINS: Final = 256
MAX_VALUES: Final = 50
MAX_KNOWN: Final = 5000
FEW_INTEGERS: Final = 30


class Numeric(msgspec.Struct, frozen=True, tag="numeric"):
    """A numeric column of the reference, counted in its own quantile bins.

    Attributes:
        name: the column.
        lowest: the smallest finite reference value (0.0 when there is none).
        uppers: upper ends of the bins, ascending, at most `MAX_BINS`; the last is the largest reference value.
        scale: standard deviation of the finite reference values, in the column's unit.
        counts: rows that are empty, below `lowest`, in each bin, above the last bin.
    """

    name: str
    lowest: float
    uppers: tuple[float, ...]
    scale: float
    counts: tuple[int, ...]


class Categorical(msgspec.Struct, frozen=True, tag="categorical"):
    """A categorical column of the reference.

    Attributes:
        name: the column.
        values: its most frequent values, at most `MAX_VALUES`, most frequent first.
        counts: rows with each of `values`, with any other value, empty.
        rare: all other values seen, or None when they are more than `MAX_KNOWN` (then nothing counts as unseen).
        singletons: how many values occur in one row only.
    """

    name: str
    values: tuple[str, ...]
    counts: tuple[int, ...]
    rare: tuple[str, ...] | None
    singletons: int


class Counts(msgspec.Struct, frozen=True):
    """A window's rows in the bins of one reference column; two of the same column add up.

    Attributes:
        cells: counts in the order of the reference column's `counts`.
        beyond: numeric: summed distance of out-of-range values from the range, in the column's unit.
        unseen: categorical: rows whose value the reference never had.
        samples: categorical: up to three unseen values, most frequent first.
    """

    cells: tuple[int, ...]
    beyond: float = 0.0
    unseen: int = 0
    samples: tuple[str, ...] = ()

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            tuple(a + b for a, b in zip(self.cells, other.cells, strict=True)),
            self.beyond + other.beyond,
            self.unseen + other.unseen,
            tuple(dict.fromkeys(self.samples + other.samples))[:3],
        )


def is_categorical(series: pl.Series) -> bool:
    """Return whether a column is compared value by value rather than by order.

    Texts, categories, enumerations and booleans are; integers are when they take at most `FEW_INTEGERS` values.

    Raises:
        Invalid: `column.invalid`, the column holds lists, records or bytes.

    Cost: O(rows) for integers, O(1) otherwise.
    """
    import polars as pl

    kind = series.dtype
    if kind.is_nested() or kind in (pl.Binary, pl.Object):
        raise Invalid(
            f"Column {series.name!r} holds {kind} values, which cannot be monitored.",
            about="column",
            hint="Leave it out of the monitored columns.",
            column=series.name,
        )
    if kind in (pl.String, pl.Categorical, pl.Enum, pl.Boolean, pl.Null):
        return True
    return kind.is_integer() and series.drop_nulls().n_unique() <= FEW_INTEGERS


def bin_numbers(series: pl.Series) -> Numeric:
    """Return the reference record of a column compared by order: quantile bins and the rows in each.

    Args:
        series: the column's values, (rows,); NaN counts as empty, infinite values lie outside the range.

    Cost: O(rows log rows) once; the record holds at most `MAX_BINS` bins.
    """
    import numpy as np

    array = _numbers(series)
    finite = array[np.isfinite(array)]
    if not finite.size:
        return Numeric(series.name, 0.0, (), 0.0, _count_numbers(Numeric(series.name, 0.0, (), 0.0, ()), series).cells)
    shares = np.linspace(0.0, 1.0, MAX_BINS + 1)[1:]
    uppers = tuple(np.unique(np.quantile(finite, shares, method="inverted_cdf")).tolist())
    bins = Numeric(series.name, float(finite.min()), uppers, float(finite.std()), ())
    return msgspec.structs.replace(bins, counts=_count_numbers(bins, series).cells)


def bin_values(series: pl.Series) -> Categorical:
    """Return the reference record of a column compared value by value: the rows with each of its top values.

    Args:
        series: the column's values, (rows,); 3 and 3.0 are the same value, NaN counts as empty.

    Cost: O(rows) once; the record holds at most `MAX_KNOWN` values.
    """
    import polars as pl

    keys = _keys(series)
    table = keys.drop_nulls().alias("key").value_counts(name="n").sort(["n", "key"], descending=[True, False])
    top, rest = table.head(MAX_VALUES), table.slice(MAX_VALUES)
    return Categorical(
        series.name,
        tuple(top["key"].to_list()),
        (*top["n"].to_list(), int(rest["n"].sum()), keys.null_count()),
        tuple(rest["key"].to_list()) if rest.height <= MAX_KNOWN else None,
        table.filter(pl.col("n") == 1).height,
    )


def count(column: Numeric | Categorical, series: pl.Series) -> Counts:
    """Return a window's rows counted in the bins of a reference column.

    Args:
        column: the reference column.
        series: the window's values, (rows,), of any type; a number that arrives as text is read as a number, and
            what cannot be read counts as empty.

    Cost: O(rows log bins), one pass.
    """
    return _count_numbers(column, series) if isinstance(column, Numeric) else _count_values(column, series)


def _count_numbers(column: Numeric, series: pl.Series) -> Counts:
    import numpy as np

    array = _numbers(series)
    known = array[~np.isnan(array)]
    if not column.uppers:
        return Counts((array.size - known.size, 0, known.size))
    inside = known[(known >= column.lowest) & (known <= column.uppers[-1])]
    places = np.searchsorted(np.asarray(column.uppers), inside, side="left")
    cells = np.bincount(places, minlength=len(column.uppers)).tolist()
    low, high = known[known < column.lowest], known[known > column.uppers[-1]]
    gaps = (column.lowest - low[np.isfinite(low)]).sum() + (high[np.isfinite(high)] - column.uppers[-1]).sum()
    return Counts((array.size - known.size, low.size, *cells, high.size), beyond=float(gaps))


def _count_values(column: Categorical, series: pl.Series) -> Counts:
    keys = _keys(series)
    table = keys.drop_nulls().alias("key").value_counts(name="n").sort(["n", "key"], descending=[True, False])
    seen = dict(zip(table["key"].to_list(), table["n"].to_list(), strict=True))
    cells = [seen.pop(value, 0) for value in column.values]
    other = sum(seen.values())
    if column.rare is None:
        return Counts((*cells, other, keys.null_count()))
    known = set(column.rare)
    new = {key: n for key, n in seen.items() if key not in known}
    return Counts((*cells, other, keys.null_count()), unseen=sum(new.values()), samples=tuple(new)[:3])


def _numbers(series: pl.Series) -> NDArray[np.float64]:
    import polars as pl

    if series.dtype in (pl.Categorical, pl.Enum):
        series = series.cast(pl.String)
    return series.cast(pl.Float64, strict=False).to_numpy()


def _keys(series: pl.Series) -> pl.Series:
    """Return the values as texts; 3.0 and 3 are the same value, as JSON makes no difference between them."""
    import polars as pl

    if series.dtype.is_float():
        return series.fill_nan(None).cast(pl.String).str.strip_suffix(".0")
    return series.cast(pl.String)
