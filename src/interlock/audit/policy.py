"""Policies: what the owners of a model wrote under `[model.NAME.gates]`, parsed, checked and named by its digest.

One key a gate:

    roc_auc = ">= 0.75"                      a bound of a metric on the evaluation rows
    "selection_rate_ratio[SEX]" = ">= 0.8"   a bound of a fairness measure between the groups of a column
    leakage = "none"                         the leakage rules must find nothing
    approvals = 1                            so many people approve before the version may be deployed
"""

from __future__ import annotations

import difflib
import hashlib
import math
import re
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from interlock.core.canonical import canonical
from interlock.core.errors import Finding, Invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

Better = Literal["larger", "smaller"]

# Which way each figure is better; the gates know how to calculate them, and which model each is about.
METRICS: Final[dict[str, Better]] = {
    "roc_auc": "larger",
    "average_precision": "larger",
    "accuracy": "larger",
    "balanced_accuracy": "larger",
    "precision": "larger",
    "recall": "larger",
    "f1": "larger",
    "precision_macro": "larger",
    "precision_weighted": "larger",
    "recall_macro": "larger",
    "recall_weighted": "larger",
    "f1_macro": "larger",
    "f1_weighted": "larger",
    "log_loss": "smaller",
    "brier": "smaller",
    "mae": "smaller",
    "rmse": "smaller",
    "r2": "larger",
    "median_absolute_error": "smaller",
    "mape": "smaller",
}
FAIRNESS: Final[dict[str, Better]] = {
    "selection_rate_ratio": "larger",
    "equal_opportunity_difference": "smaller",
    "equalized_odds_difference": "smaller",
}
_UNBOUNDED: Final = frozenset({"log_loss", "mae", "rmse", "median_absolute_error", "mape"})
_OTHERS: Final = ("leakage", "approvals")
_MOST_APPROVALS: Final = 20
_BOUND: Final = re.compile(r"\s*(>=|<=)\s*([0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*\Z")
_KEY: Final = re.compile(r"([a-z0-9_]+)(?:\[([^\[\]]+)\])?\Z")


class Bound(msgspec.Struct, frozen=True):
    """A figure that must be at least or at most a threshold.

    Attributes:
        measure: what is measured, such as `roc_auc`.
        operator: `>=` or `<=`.
        threshold: the bound itself, in the measure's unit.
        column: the column whose groups are compared, or "" for a metric.
    """

    measure: str
    operator: Literal[">=", "<="]
    threshold: float
    column: str = ""

    def __str__(self) -> str:
        return f"{self.key} {self.operator} {self.threshold:g}"

    @property
    def key(self) -> str:
        """The bound's key in the gates table."""
        return f"{self.measure}[{self.column}]" if self.column else self.measure

    def holds(self, value: float) -> bool:
        """Return whether a value satisfies the bound; NaN never does."""
        return value >= self.threshold if self.operator == ">=" else value <= self.threshold


class Policy(msgspec.Struct, frozen=True):
    """What a version of one model must show before it may move forward.

    Attributes:
        metrics: bounds of metrics, sorted by key.
        fairness: bounds between groups, sorted by key.
        leakage: whether the leakage rules must find nothing.
        approvals: how many people must approve.
        sensitive: columns that may not be inputs, nor be given away by one.
        target: the column that is predicted, or "" when it is not known.
        id: the column that names the data subject, or "".
    """

    metrics: tuple[Bound, ...] = ()
    fairness: tuple[Bound, ...] = ()
    leakage: bool = False
    approvals: int = 0
    sensitive: tuple[str, ...] = ()
    target: str = ""
    id: str = ""

    @property
    def digest(self) -> str:
        """The SHA-256 of the policy's canonical bytes; two policies that ask for the same have the same."""
        plain = {name: msgspec.to_builtins(getattr(self, name)) for name in Policy.__struct_fields__}
        for bound in [*plain["metrics"], *plain["fairness"]]:
            bound["threshold"] = repr(bound["threshold"])
        return hashlib.sha256(canonical(plain)).hexdigest()


def parse_policy(
    table: Mapping[str, str | float],
    sensitive: tuple[str, ...] | list[str] = (),
    target: str = "",
    id: str = "",
    *,
    beside: tuple[str, ...] = (),
) -> Policy:
    """Return the policy that a gates table and its data table spell.

    Args:
        table: the `[model.NAME.gates]` table.
        sensitive: the data table's sensitive columns.
        target: the data table's target.
        id: the data table's id column.
        beside: names that may stand beside the gates, which one that is misspelt may have meant.

    Raises:
        Invalid: `policy.invalid`: a key or value is wrong; one finding each, the message names the first.
    """
    read = {key: _problem(key, value) if key in _OTHERS else _bound(key, value, beside) for key, value in table.items()}
    bounds = [found for found in read.values() if isinstance(found, Bound)]
    findings = [
        Finding("gate", f"{key} = {table[key]!r}: {found}")
        for key, found in read.items()
        if found and found not in bounds
    ]
    if findings:
        more = f" ({len(findings) - 1} more)" if len(findings) > 1 else ""
        raise Invalid(
            f"Gate {findings[0].message}{more}",
            about="policy",
            hint='Gates look like: roc_auc = ">= 0.75", "selection_rate_ratio[SEX]" = ">= 0.8", leakage = "none".',
            findings=findings,
        )
    bounds.sort(key=lambda bound: (bound.key, bound.operator))
    return Policy(
        metrics=tuple(bound for bound in bounds if not bound.column),
        fairness=tuple(bound for bound in bounds if bound.column),
        leakage="leakage" in table,
        approvals=int(table.get("approvals", 0)),
        sensitive=tuple(sensitive),
        target=target,
        id=id,
    )


def _problem(key: str, value: str | float) -> str:
    """Return what is wrong with the value of `leakage` or `approvals`, or ""."""
    if key == "leakage":
        return "" if value == "none" else 'the only value is "none"; leave the key out to allow leakage.'
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_APPROVALS:
        return ""
    return f"a whole number from 0 to {_MOST_APPROVALS} is wanted."


def _bound(key: str, value: str | float, beside: tuple[str, ...]) -> Bound | str:
    """Return the bound that a key and a value spell, or what is wrong with them."""
    match = _KEY.match(key)
    measure, column = (match[1], (match[2] or "").strip()) if match else (key, "")
    if measure in METRICS and not column:
        better = METRICS[measure]
    elif measure in FAIRNESS and column:
        better = FAIRNESS[measure]
    else:
        return _misnamed(measure, column, beside)
    operator = ">=" if better == "larger" else "<="
    asked = _BOUND.match(value) if isinstance(value, str) else None
    if asked is None:
        plain = isinstance(value, int | float) and not isinstance(value, bool)
        return f'write "{operator} {value}".' if plain else f'a bound is wanted, such as "{operator} 0.8".'
    if asked[1] != operator:
        return f'{measure} is better when {better}; write "{operator} {asked[2]}".'
    threshold = float(asked[2])
    if not math.isfinite(threshold) or (threshold > 1 and measure not in _UNBOUNDED):
        return f"{measure} lies between 0 and 1, so {asked[2]} cannot be its bound."
    return Bound(measure, ">=" if better == "larger" else "<=", threshold, column)


def _misnamed(measure: str, column: str, beside: tuple[str, ...]) -> str:
    if measure in FAIRNESS:
        return f'it compares groups; name their column: "{measure}[COLUMN]".'
    if measure in METRICS:
        return f"{measure} is one figure of all rows; leave [{column}] out."
    names = [*METRICS, *(f"{name}[COLUMN]" for name in FAIRNESS), *_OTHERS, *beside]
    plain = {name.partition("[")[0]: name for name in names}
    near = difflib.get_close_matches(measure, plain, n=1, cutoff=0.4)
    meant = f"did you mean {plain[near[0]]!r}?" if near else f"there are {', '.join(names)}."
    return f"there is no gate of this name; {meant}"
