"""The gate `metric`: the model is as good on its held-out rows as its owners ask.

It decides on the metric itself, as the policy is written; the interval says how much chance is in that figure, and a
bound inside it is a warning. Every other metric of the model and its confusion matrix are kept beside, so that a
version's evaluation can be looked at whether or not anything of it is bounded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interlock.audit.evidence import GateResult, rows_text
from interlock.audit.gates.figures import METRICS_OF, confusion_of, figures_of, kind_of, undefined, unfit
from interlock.core.errors import Finding
from interlock.registry.measures.intervals import CONFIDENCE

if TYPE_CHECKING:
    from interlock.audit.evidence import Evidence
    from interlock.audit.policy import Bound, Policy
    from interlock.registry.measures.figure import Figure


class MetricGate:
    """Holds the bounds of metrics against the evaluation rows."""

    name = "metric"

    def applies(self, policy: Policy) -> bool:
        """Return whether a policy asks for it: by `metrics`."""
        return bool(policy.metrics)

    def run(self, evidence: Evidence, policy: Policy) -> GateResult:
        """Return whether every metric satisfies its bound.

        Args:
            evidence: what the model answers and what came true is read.
            policy: `metrics` is read.
        """
        figures = figures_of(METRICS_OF[kind_of(evidence)], evidence)
        kept = _evaluation(evidence, figures)
        if not self.applies(policy):
            return GateResult(self.name, "not applicable", facts=kept, summary="The policy bounds no metric.")
        rows = len(evidence.truth)
        findings, warnings, facts = [], [], []
        for bound in policy.metrics:
            if why := unfit(bound.measure, evidence):
                findings.append(Finding("unfit", why, count=rows))
            figure = figures.get(bound.measure)
            facts.append(_fact(bound, figure))
            if why:
                continue
            if figure is None:
                told = undefined(bound.measure, evidence, rows_text(rows))
                findings.append(Finding("undefined", told, count=rows))
            elif not bound.holds(figure.value):
                findings.append(Finding("bound", f"{_told(figure, bound)} on {rows_text(rows)}.", count=rows))
            elif not (bound.holds(figure.low) and bound.holds(figure.high)):
                told = f"{_told(figure, bound)}: the bound is inside the interval, {rows_text(rows)} cannot be sure."
                warnings.append(Finding("interval_crosses", told, count=rows))
            if bound.measure == "mape" and (zeros := int((evidence.truth == 0).sum())):
                told = f"mape divides by 2.2e-16 in {rows_text(zeros)} whose truth is 0; mae says more."
                warnings.append(Finding("zeros", told, count=zeros))
        return GateResult(
            gate=self.name,
            status="failed" if findings else "passed",
            findings=tuple(findings),
            warnings=tuple(warnings),
            facts={**kept, "metrics": facts},
            summary="; ".join(f"{f['metric']} {f['shown']} ({f['asked']})" for f in facts) + f" on {rows_text(rows)}.",
        )


def _evaluation(evidence: Evidence, figures: dict[str, Figure | None]) -> dict[str, Any]:
    """Return the facts that do not depend on the policy."""
    facts: dict[str, Any] = {"rows": len(evidence.truth), "confidence": CONFIDENCE, "kind": kind_of(evidence)}
    if facts["kind"] == "two classes":
        facts["positives"] = int(evidence.labels.sum())
    facts["figures"] = [_plain(name, figure) for name, figure in figures.items()]
    facts["confusion"] = confusion_of(evidence)
    return facts


def _plain(name: str, figure: Figure | None) -> dict[str, Any]:
    return {
        "metric": name,
        "value": figure.value if figure else None,
        "low": figure.low if figure else None,
        "high": figure.high if figure else None,
        "method": figure.method if figure else "",
    }


def _told(figure: Figure, bound: Bound) -> str:
    asked = "at least" if bound.operator == ">=" else "at most"
    return (
        f"{bound.measure} is {figure.value:.4f} ({CONFIDENCE:.0%} interval {figure.low:.4f} to {figure.high:.4f}), "
        f"{asked} {bound.threshold:g} is asked"
    )


def _fact(bound: Bound, figure: Figure | None) -> dict[str, Any]:
    return {
        **_plain(bound.measure, figure),
        "asked": f"{bound.operator} {bound.threshold:g}",
        "operator": bound.operator,
        "threshold": bound.threshold,
        "shown": f"{figure.value:.4f}" if figure else "undefined",
        "holds": figure is not None and bound.holds(figure.value),
    }
