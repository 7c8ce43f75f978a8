"""A figure: what a metric is on some rows, and how much of it may be chance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from interlock.registry.measures.intervals import Z

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SEED: Final = 20150101  # a gate says the same whenever it is asked


class Figure(msgspec.Struct, frozen=True):
    """A metric on some rows.

    Attributes:
        value: the metric.
        low: lower end of its 90 % interval.
        high: upper end.
        method: where the interval comes from.
    """

    value: float
    low: float
    high: float
    method: str


def of_mean(losses: NDArray[np.float64]) -> Figure:
    """Return the mean of what each row costs, none less than 0; the interval is that of the mean, by the normal law."""
    value, half = float(losses.mean()), half_width(losses)
    return Figure(value, max(0.0, value - half), value + half, "normal, of the mean")


def half_width(values: NDArray[np.float64]) -> float:
    """Return half the 90 % interval of a mean; infinite for one row."""
    return Z * float(values.std(ddof=1)) / len(values) ** 0.5 if len(values) > 1 else float("inf")
