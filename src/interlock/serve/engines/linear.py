"""The engine `linear`: one matrix product in NumPy, in 64 bits, from a file of coefficients."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from interlock.core.errors import Corrupt

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from interlock.core.bundles import Bundle, Linear
    from interlock.serve.engines.port import Feeds, Table

_MATRIX: Final = "inputs"


class LinearRunner:
    """Answers by coefficients.

    Args:
        form: the coefficients.
        bundle: whose they are.

    Raises:
        Corrupt: they do not fit the bundle, or are no finite numbers.
    """

    name = "linear"
    threads = True
    inputs: Sequence[tuple[str, str]] = ((_MATRIX, "tensor(double)"),)

    def __init__(self, form: Linear, bundle: Bundle) -> None:
        import numpy as np

        _check(form, bundle)
        self.form = form
        weights = np.array(form.coefficients, dtype=np.float64).T
        start = np.array(form.intercepts, dtype=np.float64)
        if form.link in {"sigmoid", "shares"}:
            # A sigmoid is half a hyperbolic tangent of the half, which neither overflows nor warns.
            weights, start = weights / 2, start / 2
        # A vector and a number where there is one sum: NumPy is quicker with them.
        self._one = len(start) == 1
        self._weights: NDArray[Any] = np.ascontiguousarray(weights[:, 0] if self._one else weights.T)
        self._start: Any = float(start[0]) if self._one else start
        self._dot = np.vecdot  # each row alone: a product of matrices adds up in an order that depends on their number

    def run(self, feeds: Feeds) -> Table:
        """Return the answers; see `Runner.run`.

        Cost: 1.5 us for one row of 30 columns.
        """
        rows: NDArray[Any] = feeds[_MATRIX]
        sums: NDArray[np.float64] = self._dot(rows if self._one else rows[:, None, :], self._weights)
        sums += self._start
        return self._linked(sums).reshape(len(rows), -1)

    def _linked(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        import numpy as np

        link = self.form.link
        if link in {"sigmoid", "shares"}:
            np.tanh(sums, sums)
            sums *= 0.5
            sums += 0.5
            if link == "shares":
                sums /= sums.sum(axis=1, keepdims=True)
        elif link == "softmax":
            sums -= sums.max(axis=1, keepdims=True)
            np.exp(sums, sums)
            sums /= sums.sum(axis=1, keepdims=True)
        elif link == "exp":
            with np.errstate(over="ignore"):
                np.exp(sums, sums)
        return sums

    def close(self) -> None:
        """Do nothing: the coefficients are memory of this process."""


def _check(form: Linear, bundle: Bundle) -> None:
    width, sums = len(bundle.inputs), len(form.intercepts)
    wanted = 1 if bundle.task == "regression" or len(bundle.classes) == 2 else len(bundle.classes)
    links = (
        {"identity", "exp"} if bundle.task == "regression" else {"sigmoid"} if wanted == 1 else {"softmax", "shares"}
    )
    if (
        bundle.layout != "matrix"
        or form.columns != tuple(column.name for column in bundle.inputs)
        or sums != wanted
        or form.link not in links
        or len(form.coefficients) != sums
        or any(len(row) != width for row in form.coefficients)
        or len(form.means) not in {0, width}
    ):
        raise Corrupt("The file of coefficients is not one of this bundle's model.", about="bundle")
    numbers = [*form.intercepts, *form.means, *(value for row in form.coefficients for value in row)]
    if not all(map(math.isfinite, numbers)):
        raise Corrupt("The file of coefficients holds something else than finite numbers.", about="bundle")
