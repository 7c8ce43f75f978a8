"""Metrics of a regression and how sure they are, in NumPy alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from interlock.registry.measures.figure import Figure, half_width, of_mean
from interlock.registry.measures.intervals import ALPHA

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def measure_values(name: str, truth: NDArray[np.float64], given: NDArray[np.float64]) -> Figure | None:
    """Return a metric with its interval, or None where it is not defined: R2 where all rows have the same truth.

    Args:
        name: a metric of values in `policy.METRICS`.
        truth: (rows,), finite, at least one row.
        given: what the model answers, (rows,), finite.

    Cost: O(rows); median_absolute_error O(rows log rows).
    Source: each equals scikit-learn 1.9's function within 1e-12 of itself (tested). Of these `mape` divides by the
        smallest step of a float, 2.2e-16, where the truth is 0: then it says nothing, and the gate warns.
    """
    return _MEASURES[name](truth, given)


def _mae(truth: NDArray[np.float64], given: NDArray[np.float64]) -> Figure:
    errors, largest = _errors(truth, given)
    return _times(of_mean(errors), largest)


def _rmse(truth: NDArray[np.float64], given: NDArray[np.float64]) -> Figure:
    errors, largest = _errors(truth, given)
    found = of_mean(errors**2)
    root = Figure(found.value**0.5, found.low**0.5, found.high**0.5, "normal, of the mean of squares")
    return _times(root, largest)


def _errors(truth: NDArray[np.float64], given: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return the sizes of errors as shares of the largest, so that their sums and squares are numbers, and that."""
    import numpy as np

    with np.errstate(over="ignore"):
        errors = np.minimum(abs(truth - given), np.finfo(np.float64).max)
    largest = float(errors.max()) or 1.0
    return errors / largest, largest


def _times(figure: Figure, factor: float) -> Figure:
    return Figure(figure.value * factor, figure.low * factor, figure.high * factor, figure.method)


def _mape(truth: NDArray[np.float64], given: NDArray[np.float64]) -> Figure:
    import numpy as np

    return of_mean(abs(truth - given) / np.maximum(abs(truth), np.finfo(np.float64).eps))


def _median_absolute_error(truth: NDArray[np.float64], given: NDArray[np.float64]) -> Figure:
    import numpy as np

    errors = np.sort(abs(truth - given))
    place = _rank(len(errors))
    low, high = (float(errors[place]), float(errors[-1 - place])) if place >= 0 else (0.0, math.inf)
    return Figure(float(np.median(errors)), low, high, "order statistics")


def _rank(rows: int) -> int:
    """Return which of the sorted rows, from either end, is the end of a median's interval; -1 for none.

    Source: the number of rows below the median is binomial with one half (Conover 1999, Practical Nonparametric
        Statistics, 3.2); no shape of the errors is assumed.
    """
    total, steps = 0.0, rows * math.log(2)
    for place in range(rows // 2 + 1):
        total += math.exp(math.lgamma(rows + 1) - math.lgamma(place + 1) - math.lgamma(rows - place + 1) - steps)
        if total > ALPHA:
            return place - 1
    return -1


def _r2(truth: NDArray[np.float64], given: NDArray[np.float64]) -> Figure | None:
    squares, away = (truth - given) ** 2, (truth - truth.mean()) ** 2
    spread = float(away.sum())
    if spread == 0 or truth.min() == truth.max():
        return None
    ratio = float(squares.sum()) / spread
    # What each row adds to the quotient of both means, to the first order (the delta method).
    half = half_width((squares - ratio * away) / (spread / len(truth)))
    return Figure(1 - ratio, 1 - ratio - half, min(1.0, 1 - ratio + half), "normal, delta method")


_MEASURES: Final = {
    "mae": _mae,
    "rmse": _rmse,
    "r2": _r2,
    "median_absolute_error": _median_absolute_error,
    "mape": _mape,
}
