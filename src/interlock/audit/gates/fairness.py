"""The gate `fairness`: groups of people are treated alike, within the bounds that the owners wrote.

It decides on what the rows prove (decision 0008). Every pair of groups is tested; a pair fails when its 90 % interval,
corrected for the number of pairs, lies wholly beyond the bound. A figure beyond it that chance could explain is a
warning, and the sentence says so. Groups of fewer than 30 rows are named as not judged, and where fewer than two groups
can be judged the gate does not pass.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.audit.evidence import GateResult, rows_text
from interlock.audit.gates.figures import kind_of
from interlock.audit.gates.groups import LEAST_ROWS, groups_of
from interlock.core.errors import Finding
from interlock.registry.flavors.scoring import THRESHOLD
from interlock.registry.measures.intervals import (
    ALPHA,
    CONFIDENCE,
    difference_interval,
    difference_tail,
    holm,
    ratio_interval,
    ratio_tail,
    wilson,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from interlock.audit.evidence import Evidence
    from interlock.audit.policy import Bound, Policy

_LEAST_ABOUT: Final = 5
# What each measure compares between groups: the share of these rows that the model selects.
_RATES: Final = {
    "selection_rate_ratio": ("selected",),
    "equal_opportunity_difference": ("true positive",),
    "equalized_odds_difference": ("true positive", "false positive"),
}


class _Rate(msgspec.Struct, frozen=True):
    """How many rows of one group the model selects, of those that a rate is about, and how many the group has."""

    group: str
    kind: str
    hits: int
    rows: int
    size: int

    @property
    def is_enough(self) -> bool:
        return self.size >= LEAST_ROWS and self.rows >= _LEAST_ABOUT

    @property
    def share(self) -> float:
        return self.hits / self.rows

    @property
    def counts(self) -> tuple[int, int]:
        return self.hits, self.rows


class _Pair(msgspec.Struct, frozen=True):
    """Two groups compared: the one with the lower rate first."""

    low: _Rate
    high: _Rate
    value: float | None
    interval: tuple[float, float]
    tail: float
    corrected: float = 1.0


class FairnessGate:
    """Holds the bounds of fairness measures against the evaluation rows."""

    name = "fairness"

    def applies(self, policy: Policy) -> bool:
        """Return whether a policy asks for it: by `fairness`."""
        return bool(policy.fairness)

    def run(self, evidence: Evidence, policy: Policy) -> GateResult:
        """Return whether no pair of groups is proven to be beyond a bound.

        Args:
            evidence: scores, labels and the evaluation rows' group columns are read.
            policy: `fairness` is read.
        """
        if not self.applies(policy):
            return GateResult(self.name, "not applicable", summary="The policy bounds no fairness measure.")
        if kind_of(evidence) != "two classes":
            told = "Fairness bounds compare how often the positive of two classes is chosen; this model has not two."
            return GateResult(self.name, "failed", (Finding("unfit", told, count=len(evidence.truth)),))
        findings: list[Finding] = []
        warnings: list[Finding] = []
        facts = []
        for bound in policy.fairness:
            if bound.column not in evidence.evaluation.columns:
                told = f"The evaluation rows lack {bound.column!r}, so {bound.key} cannot be measured."
                findings.append(Finding("missing_column", told, bound.column))
                continue
            fact = _judge(bound, evidence, findings, warnings)
            facts.append(fact)
        shown = "; ".join(_shown(fact) for fact in facts)
        return GateResult(
            gate=self.name,
            status="failed" if findings else "passed",
            findings=tuple(findings),
            warnings=tuple(warnings),
            facts={"rows": len(evidence.labels), "confidence": CONFIDENCE, "alpha": ALPHA, "bounds": facts},
            summary=f"{shown or 'Nothing could be measured'} on {rows_text(len(evidence.labels))}.",
        )


def _judge(bound: Bound, evidence: Evidence, findings: list[Finding], warnings: list[Finding]) -> dict[str, Any]:
    """Return the facts about one bound; add what is wrong to the findings and warnings."""
    names, codes = groups_of(evidence.evaluation[bound.column])
    rates = _rates(bound, names, codes, evidence)
    judged = [rate for rate in rates if rate.is_enough]
    pairs = _pairs(bound, judged)
    small = [rate for rate in rates if not rate.is_enough]
    if small:
        listed = ", ".join(f"{r.group} ({rows_text(r.rows)} for the {r.kind} rate)" for r in small)
        told = f"{bound.key} does not judge {bound.column} {listed}: too few."
        warnings.append(Finding("not_enough_data", told, bound.column, count=sum(rate.rows for rate in small)))
    if not pairs:
        told = f"{bound.key} cannot be judged: fewer than two groups have {LEAST_ROWS} rows."
        findings.append(Finding("not_enough_data", told, bound.column))
    elif all(pair.value is None for pair in pairs):
        findings.append(Finding("nothing_selected", f"{bound.key}: the model selects nobody.", bound.column))
    failed: set[tuple[str, str]] = set()
    beyond = None
    for pair in sorted(pairs, key=lambda pair: pair.tail):
        behind = (pair.low.group, pair.low.kind)
        if pair.corrected < ALPHA and behind not in failed:
            failed.add(behind)
            findings.append(Finding("bound", _told(bound, pair, len(pairs)), bound.column, count=pair.low.rows))
        elif pair.value is not None and not bound.holds(pair.value):
            beyond = beyond or pair
    if beyond is not None and not failed:
        told = f"{_told(bound, beyond, len(pairs))} Chance could explain it."
        warnings.append(Finding("bound", told, bound.column, count=beyond.low.rows))
    return _fact(bound, rates, pairs)


def _rates(bound: Bound, names: list[str], codes: NDArray[np.int64], evidence: Evidence) -> list[_Rate]:
    import numpy as np

    selected = evidence.scores > THRESHOLD
    about = {
        "selected": np.ones(len(codes), dtype=bool),
        "true positive": evidence.labels == 1,
        "false positive": evidence.labels == 0,
    }
    sizes = np.bincount(codes, minlength=len(names))
    found = []
    for kind in _RATES[bound.measure]:
        rows = np.bincount(codes[about[kind]], minlength=len(names))
        hits = np.bincount(codes[about[kind] & selected], minlength=len(names))
        counts = zip(names, hits.tolist(), rows.tolist(), sizes.tolist(), strict=True)
        found += [_Rate(name, kind, h, n, size) for name, h, n, size in counts]
    return found


def _is_ratio(bound: Bound) -> bool:
    return bound.operator == ">="


def _pairs(bound: Bound, rates: list[_Rate]) -> list[_Pair]:
    """Return every two groups, compared, their tails corrected for the number of comparisons."""
    found = []
    for one, other in combinations(rates, 2):
        if one.kind != other.kind:
            continue
        low, high = sorted((one, other), key=lambda rate: rate.share)
        if _is_ratio(bound):
            value = low.share / high.share if high.hits else None
            interval = ratio_interval(low.counts, high.counts)
            tail = ratio_tail(low.counts, high.counts, bound.threshold) if bound.threshold > 0 else 1.0
        else:
            value = high.share - low.share
            interval = difference_interval(high.counts, low.counts)
            tail = difference_tail(high.counts, low.counts, bound.threshold)
        found.append(_Pair(low, high, value, interval, tail))
    corrected = holm([pair.tail for pair in found])
    return [msgspec.structs.replace(pair, corrected=p) for pair, p in zip(found, corrected, strict=True)]


def _told(bound: Bound, pair: _Pair, pairs: int) -> str:
    low, high = pair.low, pair.high
    verb = {"selected": "are selected", "true positive": "with the label are selected"}
    rate = verb.get(low.kind, "without the label are selected")
    asked = f"at least {bound.threshold:g}" if _is_ratio(bound) else f"at most {bound.threshold:g}"
    how = "times" if _is_ratio(bound) else "away from"
    more = f", corrected for {pairs} comparisons" if pairs > 1 else ""
    return (
        f"{bound.column}={low.group}: {low.share:.1%} of {rows_text(low.rows)} {rate}, {_figure(pair.value)} {how} the "
        f"{high.share:.1%} of {bound.column}={high.group} ({rows_text(high.rows)}); {CONFIDENCE:.0%} interval "
        f"{pair.interval[0]:.3f} to {pair.interval[1]:.3f}, {asked} is asked (p {pair.corrected:.2g}{more})."
    )


def _fact(bound: Bound, rates: list[_Rate], pairs: list[_Pair]) -> dict[str, Any]:
    known = [pair for pair in pairs if pair.value is not None]
    worst = None
    if known:
        worst = (min if _is_ratio(bound) else max)(known, key=lambda pair: pair.value or 0.0)
    return {
        "key": bound.key,
        "measure": bound.measure,
        "column": bound.column,
        "asked": f"{bound.operator} {bound.threshold:g}",
        "operator": bound.operator,
        "threshold": bound.threshold,
        "value": worst.value if worst else None,
        "holds": worst is not None and bound.holds(worst.value or 0.0),
        "low": worst.interval[0] if worst else None,
        "high": worst.interval[1] if worst else None,
        "p": worst.corrected if worst else None,
        "groups_compared": [worst.low.group, worst.high.group] if worst else [],
        "comparisons": len(pairs),
        "groups": [
            {
                "group": rate.group,
                "rate": rate.kind,
                "hits": rate.hits,
                "rows": rate.rows,
                "share": rate.share if rate.rows else None,
                "low": wilson(*rate.counts)[0],
                "high": wilson(*rate.counts)[1],
                "judged": rate.is_enough,
            }
            for rate in rates
        ],
    }


def _shown(fact: dict[str, Any]) -> str:
    """Return a bound's figure; one beyond the bound in a gate that passes is so within chance, and says it."""
    chance = ""
    if fact["value"] is not None and not fact["holds"]:
        interval = f"{CONFIDENCE:.0%} interval {fact['low']:.3f} to {fact['high']:.3f}"
        chance = f" within chance: p {fact['p']:.2g}, {interval}"
    return f"{fact['key']} {_figure(fact['value'])} ({fact['asked']}{chance})"


def _figure(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
