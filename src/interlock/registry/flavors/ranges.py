"""What training saw, in a few numbers: bundles carry it, so that answers can say that a row is unlike all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from interlock.core.bundles import Range

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from interlock.core.bundles import Column

MOST_CATEGORIES: Final = 100
_LONGEST: Final = 200  # characters of a category
_REPEATED: Final = 2  # how often a category comes, on average: what hardly repeats is a name, and no category


def ranges_of(columns: Iterable[Column], inputs: pl.DataFrame) -> dict[str, Range]:
    """Return what training saw of each input, by column; a column of free text or of no values is left out.

    Args:
        columns: the model's inputs.
        inputs: the training rows.

    Cost: one pass over the columns.
    """
    found = {column.name: _range(column, inputs[column.name]) for column in columns}
    return {name: one for name, one in found.items() if one is not None}


def answers_of(values: Sequence[NDArray[np.float64]]) -> Range | None:
    """Return the lowest and the highest of a regression's values; None when there is none.

    Args:
        values: the values that were seen, such as targets and the original's answers.
    """
    import numpy as np

    every = np.concatenate([one.ravel() for one in values]) if values else np.empty(0)
    every = every[np.isfinite(every)]
    return Range(float(every.min()), float(every.max())) if every.size else None


def _range(column: Column, values: pl.Series) -> Range | None:
    import polars as pl

    if column.type == "string":
        texts = values.cast(pl.String).drop_nulls()
        few = texts.unique().sort()
        if not len(few) or len(few) > MOST_CATEGORIES or len(few) * _REPEATED > len(texts):
            return None
        return Range(categories=tuple(few)) if few.str.len_chars().max() <= _LONGEST else None  # type: ignore[operator]
    numbers = values.cast(pl.Float64, strict=False).drop_nulls()
    numbers = numbers.filter(numbers.is_finite())
    if not len(numbers):
        return None
    low, high = numbers.to_numpy().min(), numbers.to_numpy().max()
    return Range(float(low), float(high))
