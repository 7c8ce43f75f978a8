"""Rows that a model accepts, as its engine takes them and as the prediction log keeps them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

Value = object
FAR: Final = 0.501
"""How far from the middle a probability may be, with room for rounding; what is farther, is none."""
FEW: Final = 8  # rows whose values are cheaper one by one


class Prepared:
    """Rows that a model accepts.

    Attributes:
        feeds: the graph's input arrays by name.
        missing: whether a number is missing somewhere (NaN in the arrays).
        rows: how many rows there are.
    """

    __slots__ = ("_block", "_values", "feeds", "missing", "rows")

    def __init__(
        self,
        values: list[Sequence[Value]] | None,
        feeds: dict[str, NDArray[np.generic]],
        missing: bool,
        rows: int,
        block: NDArray[np.float64] | None = None,
    ) -> None:
        self._values = values
        self._block = block  # (columns, rows), where all columns are floats
        self.feeds = feeds
        self.missing = missing
        self.rows = rows

    @property
    def values(self) -> list[Sequence[Value]]:
        """One list a column, in the model's order; None where a value is missing."""
        if self._values is None:
            block = self._block
            self._values = [] if block is None else block.tolist()
            if self.missing:
                self._values = [[None if v != v else v for v in column] for column in self._values]  # noqa: PLR0124
        return self._values

    def kept(self) -> Sequence[Sequence[Value] | bytes]:
        """Return the columns as the prediction log takes them: many floats as their bytes."""
        if self._block is not None and self.rows > FEW:
            return [column.astype("<f8", copy=False).tobytes() for column in self._block]
        return self.values

    def take(self, rows: Sequence[int]) -> Prepared:
        """Return some of the rows."""
        at = list(rows)
        values: list[Sequence[Value]] = [[column[row] for row in at] for column in self.values]
        return Prepared(values, {name: array[at] for name, array in self.feeds.items()}, self.missing, len(at))

    @staticmethod
    def joined(parts: Sequence[Prepared]) -> Prepared:
        """Return the rows of several, prepared for the same inputs, one after the other."""
        import numpy as np

        values: list[Sequence[Value]] = [
            [value for column in columns for value in column]
            for columns in zip(*[part.values for part in parts], strict=True)
        ]
        feeds = {name: np.concatenate([part.feeds[name] for part in parts]) for name in parts[0].feeds}
        return Prepared(values, feeds, any(part.missing for part in parts), sum(part.rows for part in parts))
