"""The gate `metric`: the model is as good on its held-out rows as its owners ask.

It decides on the metric itself, as the policy is written; the interval says how much chance is in that figure, and a
bound inside it is a warning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interlock.audit.evidence import GateResult, rows_text
from interlock.audit.gates.intervals import CONFIDENCE
from interlock.audit.gates.measures import measure
from interlock.core.errors import Finding

if TYPE_CHECKING:
    from interlock.audit.evidence import Evidence
    from interlock.audit.gates.measures import Figure
    from interlock.audit.policy import Bound, Policy


class MetricGate:
    """Holds the bounds of metrics against the evaluation rows."""

    name = "metric"

    def run(self, evidence: Evidence, policy: Policy) -> GateResult:
        """Return whether every metric satisfies its bound.

        Args:
            evidence: scores and labels are read.
            policy: `metrics` is read.
        """
        if not policy.metrics:
            return GateResult(self.name, "not applicable", summary="The policy bounds no metric.")
        rows, positives = len(evidence.labels), int(evidence.labels.sum())
        findings, warnings, facts = [], [], []
        for bound in policy.metrics:
            figure = measure(bound.measure, evidence.labels, evidence.scores)
            facts.append(_fact(bound, figure))
            if figure is None:
                told = f"{bound.measure} cannot be calculated: all {rows_text(rows)} have the same label."
                findings.append(Finding("undefined", told, count=rows))
            elif not bound.holds(figure.value):
                findings.append(Finding("bound", f"{_told(figure, bound)} on {rows_text(rows)}.", count=rows))
            elif not (bound.holds(figure.low) and bound.holds(figure.high)):
                told = f"{_told(figure, bound)}: the bound is inside the interval, {rows_text(rows)} cannot be sure."
                warnings.append(Finding("interval_crosses", told, count=rows))
        return GateResult(
            gate=self.name,
            status="failed" if findings else "passed",
            findings=tuple(findings),
            warnings=tuple(warnings),
            facts={"rows": rows, "positives": positives, "confidence": CONFIDENCE, "metrics": facts},
            summary="; ".join(f"{f['metric']} {f['shown']} ({f['asked']})" for f in facts) + f" on {rows_text(rows)}.",
        )


def _told(figure: Figure, bound: Bound) -> str:
    asked = "at least" if bound.operator == ">=" else "at most"
    return (
        f"{bound.measure} is {figure.value:.4f} ({CONFIDENCE:.0%} interval {figure.low:.4f} to {figure.high:.4f}), "
        f"{asked} {bound.threshold:g} is asked"
    )


def _fact(bound: Bound, figure: Figure | None) -> dict[str, Any]:
    return {
        "metric": bound.measure,
        "asked": f"{bound.operator} {bound.threshold:g}",
        "operator": bound.operator,
        "threshold": bound.threshold,
        "value": figure.value if figure else None,
        "low": figure.low if figure else None,
        "high": figure.high if figure else None,
        "method": figure.method if figure else "",
        "shown": f"{figure.value:.4f}" if figure else "undefined",
        "holds": figure is not None and bound.holds(figure.value),
    }
