"""Groups: the values of a sensitive column as names and codes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

LEAST_ROWS: Final = 30  # a smaller group is named, but not judged
MISSING: Final = "missing"
_MANY_NUMBERS: Final = 12


def groups_of(series: pl.Series) -> tuple[list[str], NDArray[np.int64]]:
    """Return the names of a column's groups, sorted, and for each row the place of its group among them.

    Each value is a group; empty ones are the group `missing`. A number with more than 12 values is cut into its four
    quarters, named by their ends.

    Args:
        series: the column, (rows,).

    Returns:
        Names (groups,) and codes (rows,).
    """
    import numpy as np
    import polars as pl

    if series.dtype.is_numeric() and series.drop_nulls().n_unique() > _MANY_NUMBERS:
        series = _quarters(series)
    texts = series.cast(pl.String).fill_null(MISSING)
    names, codes = np.unique(np.array(texts.to_list(), dtype=str), return_inverse=True)
    return [str(name) for name in names], codes


def _quarters(series: pl.Series) -> pl.Series:
    import numpy as np
    import polars as pl

    values = series.cast(pl.Float64).fill_nan(None)
    numbers = values.drop_nulls().to_numpy()
    cuts = np.unique(np.quantile(numbers, [0.25, 0.5, 0.75], method="inverted_cdf"))
    places = np.searchsorted(cuts, values.fill_null(0.0).to_numpy(), side="left")
    held = values.is_not_null().to_numpy()
    names = []
    for place in range(len(cuts) + 1):
        inside = values.to_numpy()[held & (places == place)]
        names.append(f"{inside.min():g} to {inside.max():g}" if inside.size else "")
    return pl.Series(series.name, [names[p] if ok else None for p, ok in zip(places, held, strict=True)], pl.String)
