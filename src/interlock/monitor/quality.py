"""How good the scores are: measured where labels came, estimated where they have not come yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from interlock.monitor.auc import Interval, auc_interval, block_auc, roc_auc
from interlock.monitor.tails import binomial_lower, binomial_upper

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from interlock.monitor.drift import ColumnDrift
    from interlock.monitor.reference import Reference

__all__ = ["Interval", "auc_interval", "estimable", "estimated_auc", "roc_auc"]

UNSUPPORTED: Final = 0.01
DRAWS: Final = 400


def estimated_auc(
    reference: Reference, scores: ArrayLike, *, confidence: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> Interval | None:
    """Return the ROC AUC to expect on rows without labels, or None when the reference has no calibration.

    Each row counts as label 1 with the calibrated chance of its score, and as label 0 with the rest. That is right
    as long as a score still means what it meant in the reference: it follows a change in who is scored, and is
    blind to a change in how labels follow from inputs. Ask `estimable` before showing it.

    Args:
        reference: a reference built with scores and labels.
        scores: float (rows,), finite.
        confidence: two-sided, of the interval for the AUC that the labels will show.
        draws: bootstrap draws; calibration, rows and labels are all drawn.
        seed: of the draws; the same seed gives the same interval.

    Returns:
        AUC in 0-1 and the interval in which the labels' own AUC should fall, `rows` being those without labels.

    Cost: O(rows log steps + draws * steps), steps <= 256.
    Source: confidence-based performance estimation (CBPE, NannyML); calibration by isotonic regression. Isotonic
        steps flatter themselves, so what they gain on the reference itself is taken off the estimate.
    """
    import numpy as np

    values = np.asarray(scores, dtype=np.float64)
    if not reference.blocks or reference.auc is None or not values.size:
        return None
    steps = reference.blocks
    places = np.searchsorted([b.upper for b in steps[:-1]], values, side="left")
    counts = np.bincount(places, minlength=len(steps))
    hits, rows = np.array([b.positives for b in steps]), np.array([b.rows for b in steps])
    rates = hits / rows
    off = reference.auc - reference.block_auc
    value = float(block_auc((counts * (1 - rates))[None, :], (counts * rates)[None, :])[0]) + off
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(values.size, counts / values.size, size=draws)
    chances = rng.binomial(rows, rates, size=(draws, len(steps))) / rows
    positives = rng.binomial(drawn, chances)
    seen = block_auc(drawn - positives, positives) + off
    seen = seen[~np.isnan(seen)]
    if not seen.size or np.isnan(value):
        return None
    low, high = np.clip(np.quantile(seen, ((1 - confidence) / 2, (1 + confidence) / 2)), 0.0, 1.0)
    value = min(max(value, 0.0), 1.0)
    return Interval(value, min(float(low), value), max(float(high), value), float(seen.std()), values.size)


def estimable(reference: Reference, drifts: Sequence[ColumnDrift]) -> str:
    """Return why an estimate without labels is not to be trusted on a window, or "" when it is.

    It is not to be trusted when the model met rows unlike any it was judged on: more rows outside the range, or
    with unseen values, than the reference lets expect, by over 1 point, both shares known with 95 % confidence.

    Args:
        reference: what the window was compared with.
        drifts: what `drift` returned for the window.

    Returns:
        One sentence about the first column at fault, or "".

    Cost: O(columns).
    Source: Clopper-Pearson bounds; the Good-Turing missing mass and exchangeability say what to expect.
    """
    if not reference.blocks:
        return "The reference has no labels, so there is no calibration to estimate from."
    for found in drifts:
        usual = binomial_upper(round(found.outside_expected * reference.rows), reference.rows, 0.95)
        if binomial_lower(found.outside_rows, found.rows, 0.95) > usual + UNSUPPORTED:
            return (
                f"Not to be trusted: {found.outside_rows / found.rows:.1%} of rows have a value of {found.column} that "
                f"the reference never had, so nobody knows how good the score is on them."
            )
    return ""
