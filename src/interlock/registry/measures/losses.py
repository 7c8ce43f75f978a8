"""Metrics of probabilities, of two classes and of more: what each row costs, on average."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from interlock.registry.measures.figure import Figure, of_mean

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ALWAYS: Final = frozenset({"accuracy", "recall_weighted", "log_loss", "brier"})
"""The metrics of classes that are defined where all rows are of one class too."""


def log_loss(truth: NDArray[np.integer], table: NDArray[np.float64]) -> Figure:
    """Return the mean of minus the logarithm of the probability of what came true.

    Args:
        truth: the place of each row's class, (rows,).
        table: the probability of each class, (rows, classes).
    """
    import numpy as np

    tiny = np.finfo(np.float64).eps
    return of_mean(-np.log(np.clip(table[np.arange(len(truth)), truth], tiny, 1 - tiny)))


def brier(truth: NDArray[np.integer], table: NDArray[np.float64]) -> Figure:
    """Return the mean squared distance of probabilities from what came true; of two classes half of it.

    Args:
        truth: the place of each row's class, (rows,).
        table: the probability of each class, (rows, classes).

    Source: Brier 1950, Monthly Weather Review 78; that of two classes is their usual one, of the last class alone.
    """
    import numpy as np

    if table.shape[1] == 2:
        return of_mean((table[:, 1] - truth) ** 2)
    wanted = np.zeros_like(table)
    wanted[np.arange(len(truth)), truth] = 1
    return of_mean(((table - wanted) ** 2).sum(axis=1))
