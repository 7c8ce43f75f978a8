"""The verdict: keep the model, retrain it, or wait for labels.

`false_alarms` is the chance that a year of windows in which nothing changed brings any alarm. It is spent like this:

- Half goes to drift, in equal parts to the windows of a year; within a window `drift` divides its part over columns.
- Half goes to quality while the inputs look as they did: in equal parts to the windows, and within a window to the
  last 1, 3 and 12 windows taken together, so that a small loss that stays is found too.
- A drift alarm opens an episode. From then on the labels of the episode are pooled, and each look at them may err with
  chance `false_alarms`. Where nothing changed this costs nothing more, as a false verdict needs a false drift alarm
  first (serial gatekeeping: Dmitrienko and Tamhane 2007). Where inputs did change, and harmlessly so, a look brings a
  needless retraining with at most that chance; what it trains must still pass its gates.
- Within an episode harm is looked for in two ways, each at half the level: rows in a worse order (ROC AUC), and
  probabilities that came out wrong (Brier score). New kinds of rows often keep much of the order and lose the
  probabilities.

Drift alone never retrains: it says that something changed, not that it does harm. Only labels say that.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from interlock.core.errors import Invalid
from interlock.monitor.tails import normal_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

CLEAR: Final = 2
SPANS: Final = (1, 3, 12)
TOLERANCE: Final = 0.02
MANY: Final = 20


class WindowFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one window.

    Attributes:
        name: the window, such as "2017-01".
        drift: the worst severity of its columns: "none", "warn" or "alarm".
        reason: the sentence of the worst column, or "".
        labels: rows whose label is known.
        auc: their ROC AUC in 0-1, or None when it cannot be computed.
        auc_se: its standard error.
        brier: their Brier score in 0-1 (mean squared error of the probability, lower is better), or None.
        brier_se: its standard error.
    """

    name: str
    drift: Literal["none", "warn", "alarm"] = "none"
    reason: str = ""
    labels: int = 0
    auc: float | None = None
    auc_se: float = 0.0
    brier: float | None = None
    brier_se: float = 0.0


class Standard(msgspec.Struct, frozen=True, kw_only=True):
    """What quality is held against.

    Attributes:
        auc: ROC AUC of the reference in 0-1, or None.
        auc_se: its standard error.
        tolerance: the loss, as a share (0-1) of the reference, that is not worth a retraining.
        at_least: a floor that holds whatever the reference, in 0-1, or None.
        false_alarms: chance (0-1) of any false alarm in a year.
        windows: windows in a year.
        brier: Brier score of the reference in 0-1, or None.
        brier_se: its standard error.
        unjudged: why nothing is held against anything, in words, or "".
    """

    auc: float | None = None
    auc_se: float = 0.0
    tolerance: float = TOLERANCE
    at_least: float | None = None
    false_alarms: float = 0.01
    windows: int = 12
    brier: float | None = None
    brier_se: float = 0.0
    unjudged: str = ""

    def __post_init__(self) -> None:
        if not (0.0 < self.false_alarms < 1.0 and self.windows >= 1 and 0.0 <= self.tolerance < 1.0):
            raise Invalid(
                "A monitor needs false_alarms and tolerance in 0-1 and at least one window a year.",
                about="monitor",
                hint="Write, for instance, false_alarms = 0.01.",
            )

    @property
    def limit(self) -> float | None:
        """The ROC AUC below which the model is to be replaced, or None when nothing says so."""
        bounds = [] if self.auc is None else [self.auc * (1.0 - self.tolerance)]
        return max([*bounds, *([] if self.at_least is None else [self.at_least])], default=None)

    @property
    def limit_se(self) -> float:
        """Its standard error: a floor is exact, a reference was measured."""
        relative = self.auc is not None and self.limit == self.auc * (1.0 - self.tolerance)
        return self.auc_se * (1.0 - self.tolerance) if relative else 0.0

    @property
    def brier_limit(self) -> float | None:
        """The Brier score above which probabilities do harm, or None when nothing says so."""
        return None if self.brier is None else self.brier * (1.0 + self.tolerance)


class Verdict(msgspec.Struct, frozen=True):
    """What to do, and why.

    Attributes:
        action: "keep", "retrain" or "wait for labels".
        reason: a sentence or two for people.
        since: the first window of the open drift episode, or "".
        auc: the ROC AUC that decided, pooled over `windows`, or None.
        bound: the end of its one-sided confidence interval that faces `limit`, or None.
        limit: what it was held against, or None.
        labels: the labels it rests on.
        windows: the windows it rests on.
    """

    action: Literal["keep", "retrain", "wait for labels"]
    reason: str
    since: str = ""
    auc: float | None = None
    bound: float | None = None
    limit: float | None = None
    labels: int = 0
    windows: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.action


class _Pool(msgspec.Struct, frozen=True):
    auc: float
    se: float
    labels: int
    windows: tuple[str, ...]


def drift_alpha(false_alarms: float, windows: int = 12) -> float:
    """Return the `alpha` to give `drift` for one window.

    Args:
        false_alarms: chance (0-1) of any false alarm of the whole monitor in a year.
        windows: windows in a year.

    Returns:
        A chance in 0-1: half of `false_alarms`, in equal parts.

    Cost: O(1).
    """
    return false_alarms / (2 * windows)


def decide(windows: Sequence[WindowFacts], standard: Standard) -> Verdict:
    """Return what to do about the model, from what is known of its windows.

    Args:
        windows: all windows since the model took over, oldest first; the newest may lack labels, and a window may
            get them later.
        standard: what quality is held against.

    Returns:
        "retrain" when quality is below the limit beyond chance. "wait for labels" when inputs drift and labels are
        missing or do not decide yet. "keep" otherwise, also when inputs drift and labels show that quality holds.

    Cost: O(windows).
    Source: Podkopaev and Ramdas 2022 for harmful against harmless shift; pooled by labels; the bounds are normal,
        with the reference's own standard error in them.
    """
    episode = _episode(windows)
    if episode:
        return _judge_episode(episode, standard)
    labelled = [w for w in windows if w.auc is not None]
    limit = standard.limit
    if limit is None or not labelled:
        missing = "no labels yet" if limit is not None else standard.unjudged or "no quality to hold it against"
        return Verdict("keep", f"No drift beyond chance; {missing}." if windows else "No windows yet.", limit=limit)
    level = standard.false_alarms / (2 * standard.windows * len(SPANS))
    for span in SPANS:
        pool = _pool(labelled[-span:])
        upper = pool.auc + _margin(pool, standard, level)
        if upper < limit:
            reason = f"Quality fell, inputs look as before: {_told(pool)}, at most {upper:.3f}, below {limit:.3f}."
            return _verdict("retrain", reason, pool, (upper, limit))
    pool = _pool(labelled[-1:])
    return _verdict(
        "keep",
        f"No drift beyond chance; {_told(pool)}; an alarm needs it surely below {limit:.3f}.",
        pool,
        (None, limit),
    )


def _judge_episode(episode: Sequence[WindowFacts], standard: Standard) -> Verdict:
    since, limit = episode[0].name, standard.limit
    drifted = f"Drift since {since} ({episode[0].reason})" if episode[0].reason else f"Drift since {since}"
    labelled = [w for w in episode if w.auc is not None]
    if limit is None or not labelled:
        why = standard.unjudged or "nothing says how good is good enough"
        why = why if limit is None else "no labels of these windows yet"
        return Verdict("wait for labels", f"{drifted}; {why}.", since=since, limit=limit)
    pool, loss = _pool(labelled), _loss(labelled, standard)
    level = standard.false_alarms / (1 if loss is None else 2)
    margin = _margin(pool, standard, level)
    upper, lower = pool.auc + margin, pool.auc - margin
    if upper < limit:
        reason = f"{drifted}, and it does harm: {_told(pool)}, at most {upper:.3f}, below {limit:.3f}."
        return _verdict("retrain", reason, pool, (upper, limit), since)
    if loss is not None and loss.low > loss.limit:
        fell = "" if standard.auc is None else f" ({standard.auc:.3f} in the reference)"
        reason = f"{drifted}, and it does harm: {_told(pool)}{fell}, and Brier score {loss.told()}."
        return _verdict("retrain", reason, pool, (upper, limit), since)
    if lower >= limit and (loss is None or loss.high <= loss.limit):
        reason = f"{drifted}, without harm: {_told(pool)}, at least {lower:.3f}, limit {limit:.3f}."
        return _verdict("keep", reason, pool, (lower, limit), since)
    reason = f"{drifted}; {_told(pool)}, {lower:.3f} to {upper:.3f}, does not decide against {limit:.3f}"
    return _verdict("wait for labels", f"{reason}{_more(pool, standard)}.", pool, (upper, limit), since)


class _Loss(msgspec.Struct, frozen=True):
    value: float
    low: float
    high: float
    limit: float

    def told(self) -> str:
        return f"{self.value:.3f}, at least {self.low:.3f}, above {self.limit:.3f}"


def _loss(windows: Sequence[WindowFacts], standard: Standard) -> _Loss | None:
    """Return the pooled Brier score with its bounds at half the level, or None when it has nothing to be held to."""
    limit = standard.brier_limit
    facts = [(w.labels, w.brier, w.brier_se) for w in windows if w.brier is not None]
    if limit is None or not facts:
        return None
    labels = sum(n for n, _, _ in facts)
    value = sum(n * brier for n, brier, _ in facts) / labels
    se = math.sqrt(sum((n * se) ** 2 for n, _, se in facts)) / labels
    z = normal_quantile(1.0 - standard.false_alarms / 2)
    margin = z * math.hypot(se, standard.brier_se * (1.0 + standard.tolerance))
    return _Loss(value, value - margin, value + margin, limit)


def _episode(windows: Sequence[WindowFacts]) -> Sequence[WindowFacts]:
    """Return the windows since the first drift alarm that `CLEAR` windows in a row without one have not closed."""
    start, clear = -1, 0
    for place, window in enumerate(windows):
        if window.drift == "alarm":
            start, clear = place if start < 0 else start, 0
        elif start >= 0:
            clear += 1
            start = start if clear < CLEAR else -1
    return windows[start:] if start >= 0 else ()


def _pool(windows: Sequence[WindowFacts]) -> _Pool:
    """Return the mean ROC AUC of labelled windows, each weighing as many as its labels."""
    facts = [(w.labels, w.auc, w.auc_se) for w in windows if w.auc is not None]
    labels = sum(n for n, _, _ in facts)
    auc = sum(n * auc for n, auc, _ in facts) / labels
    se = math.sqrt(sum((n * se) ** 2 for n, _, se in facts)) / labels
    return _Pool(auc, se, labels, tuple(w.name for w in windows))


def _margin(pool: _Pool, standard: Standard, level: float) -> float:
    """Return how far chance alone moves the difference between a pool and the limit, at a one-sided level."""
    return normal_quantile(1.0 - level) * math.hypot(pool.se, standard.limit_se)


def _more(pool: _Pool, standard: Standard) -> str:
    """Return how many more labels would decide if the gap stays as it is, or "" when no sensible number would."""
    gap = abs(pool.auc - (standard.limit or 0.0)) / normal_quantile(1.0 - standard.false_alarms)
    room = gap**2 - standard.limit_se**2
    needed = pool.labels * pool.se**2 / room if room > 0 else math.inf
    if not needed < MANY * pool.labels:
        return "; it is too close to the limit to say how many would"
    return f"; about {math.ceil((needed - pool.labels) / 10) * 10} more labels would, should it stay so"


def _told(pool: _Pool) -> str:
    where = pool.windows[0] if len(pool.windows) == 1 else f"{pool.windows[0]} to {pool.windows[-1]}"
    return f"ROC AUC {pool.auc:.3f} on {pool.labels} labels of {where}"


def _verdict(
    action: Literal["keep", "retrain", "wait for labels"],
    reason: str,
    pool: _Pool,
    bounds: tuple[float | None, float],
    since: str = "",
) -> Verdict:
    return Verdict(action, reason, since, pool.auc, bounds[0], bounds[1], pool.labels, pool.windows)
