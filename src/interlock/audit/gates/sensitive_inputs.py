"""The gate `sensitive_inputs`: no declared sensitive column is an input, and no input gives one away.

An input that is a proxy tells a sensitive column's groups apart by itself: a cross-validated ROC AUC of 0.90 or more
fails, 0.70 or more is a warning. Several weak inputs together may still tell; this gate does not look for that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from interlock.audit.evidence import GateResult, rows_text
from interlock.audit.gates.groups import groups_of
from interlock.audit.gates.strength import sample, strengths
from interlock.core.errors import Finding
from interlock.registry.measures.intervals import CONFIDENCE

if TYPE_CHECKING:
    import polars as pl

    from interlock.audit.evidence import Evidence
    from interlock.audit.gates.strength import Strength
    from interlock.audit.policy import Policy

WARN: Final = 0.70
FAIL: Final = 0.90


class SensitiveInputsGate:
    """Looks for sensitive columns and their proxies among the inputs."""

    name = "sensitive_inputs"

    def applies(self, policy: Policy) -> bool:
        """Return whether a policy asks for it: by `sensitive`."""
        return bool(policy.sensitive)

    def run(self, evidence: Evidence, policy: Policy) -> GateResult:
        """Return whether the model decides without sensitive columns.

        Args:
            evidence: the bundle's inputs and up to 10,000 evaluation rows are read.
            policy: `sensitive` is read.
        """
        if not self.applies(policy):
            return GateResult(self.name, "not applicable", summary="The policy declares no sensitive column.")
        inputs = [column.name for column in evidence.bundle.inputs]
        findings: list[Finding] = []
        warnings: list[Finding] = []
        for name in policy.sensitive:
            if name in inputs:
                told = f"{name} is declared sensitive and is one of the model's {len(inputs)} inputs."
                findings.append(Finding("sensitive_input", told, name))
            if name not in evidence.evaluation.columns:
                told = (
                    f"The evaluation rows lack {name}, so its proxies cannot be looked for; keep it beside the inputs."
                )
                findings.append(Finding("not_tested", told, name))
        rows = sample(evidence.evaluation)
        others = [name for name in inputs if name not in policy.sensitive]
        facts = [fact for name in policy.sensitive if name in rows.columns for fact in _proxies(rows, others, name)]
        facts.sort(key=lambda fact: -fact["auc"])
        for fact in facts:
            if fact["auc"] >= WARN:
                found = Finding("proxy", _told(fact), fact["input"], count=fact["rows"])
                (findings if fact["auc"] >= FAIL else warnings).append(found)
        strongest = f"; {_short(facts[0])} is the strongest proxy of {len(others)} inputs" if facts else ""
        used = [name for name in policy.sensitive if name in inputs]
        return GateResult(
            gate=self.name,
            status="failed" if findings else "passed",
            findings=tuple(findings),
            warnings=tuple(warnings),
            facts={
                "sensitive": list(policy.sensitive),
                "used": used,
                "rows": rows.height,
                "confidence": CONFIDENCE,
                "warn": WARN,
                "fail": FAIL,
                "proxies": facts,
            },
            summary=f"{', '.join(used) or 'No sensitive column'} among the inputs{strongest}.",
        )


def _proxies(rows: pl.DataFrame, inputs: list[str], sensitive: str) -> list[dict[str, Any]]:
    """Return, for each input, the group of the sensitive column that it tells best."""
    names, codes = groups_of(rows[sensitive])
    found = []
    for name in inputs:
        every = strengths(rows[name], codes, len(names))
        if every:
            found.append(_fact(max(every, key=lambda strength: strength.auc), sensitive, names))
    return found


def _fact(strength: Strength, sensitive: str, names: list[str]) -> dict[str, Any]:
    return {
        "input": strength.column,
        "sensitive": sensitive,
        "group": names[strength.group],
        "auc": strength.auc,
        "low": strength.low,
        "high": strength.high,
        "rows": strength.rows,
    }


def _told(fact: dict[str, Any]) -> str:
    limit = f"{FAIL:g} fails" if fact["auc"] >= FAIL else f"{WARN:g} warns, {FAIL:g} fails"
    return (
        f"Input {fact['input']} alone tells {fact['sensitive']}={fact['group']} from the rest with an AUC of "
        f"{fact['auc']:.3f} ({CONFIDENCE:.0%} interval {fact['low']:.3f} to {fact['high']:.3f}, "
        f"{rows_text(fact['rows'])}); {limit}."
    )


def _short(fact: dict[str, Any]) -> str:
    return f"{fact['input']} for {fact['sensitive']}={fact['group']} (AUC {fact['auc']:.3f})"
