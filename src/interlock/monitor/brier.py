"""The Brier score: how wrong probabilities were, on average, and how well that is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from interlock.core.errors import Invalid

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class Brier(msgspec.Struct, frozen=True):
    """A Brier score in 0-1 (0 is perfect), its standard error, and the rows it rests on."""

    value: float
    se: float
    rows: int


def brier_score(labels: ArrayLike, scores: ArrayLike) -> Brier:
    """Return the mean squared difference between label and score.

    Args:
        labels: (rows,), 0 or 1; at least one.
        scores: float (rows,), the chance (0-1) of label 1.

    Raises:
        Invalid: there are no rows, or the two differ in length.

    Cost: O(rows).
    Source: Brier 1950; equals scikit-learn's `brier_score_loss`. The standard error is that of a mean of
        independent rows.
    """
    import numpy as np

    truth, chance = np.asarray(labels, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if truth.shape != chance.shape or not truth.size:
        raise Invalid("Labels and scores must have the same rows, at least one.", about="brier")
    losses = (truth - chance) ** 2
    spread = float(losses.std(ddof=1)) if losses.size > 1 else 1.0
    return Brier(float(losses.mean()), spread / float(losses.size) ** 0.5, int(losses.size))
