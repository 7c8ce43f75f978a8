"""The gate `environment`: what serves the model is what it was checked with, and a fresh process agrees.

Packages are compared by the rule of a server's trial (`serve/recorded.py`), and more follows from a difference here. A
trial tells that its engine is another than in training, and lets golden requests settle what it answers; this gate
fails, because what it judges shall be approved, and can still be prepared or trained again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.audit.evidence import GateResult
from interlock.core.errors import Finding
from interlock.serve.recorded import ENGINES, release

if TYPE_CHECKING:
    from interlock.audit.evidence import Evidence
    from interlock.audit.policy import Policy
    from interlock.serve.recorded import Release

# What computes an answer must be the same to the last digit; the rest matters when somebody trains again.
SERVING: Final = ENGINES["onnx"]
TRAINING: Final = (("scikit-learn",), ("skl2onnx",), ("skops",), ("polars",))


class EnvironmentGate:
    """Compares the recorded environment with the present one, and reads the preflight of a fresh process."""

    name = "environment"

    def applies(self, policy: Policy) -> bool:  # noqa: ARG002 - every gate is asked alike
        """Return that it always does."""
        return True

    def run(self, evidence: Evidence, policy: Policy) -> GateResult:  # noqa: ARG002 - every gate is asked alike
        """Return whether the model will be served by what it was validated with.

        Args:
            evidence: both environments, the preflight and the bundle's agreement are read.
            policy: not read; the gate always applies.
        """
        findings: list[Finding] = []
        warnings: list[Finding] = []
        trained, present = evidence.training_environment, evidence.present_environment
        packages: list[dict[str, Any]] = []
        if trained is None or present is None:
            which = "training" if trained is None else "present"
            findings.append(Finding("not_recorded", f"The {which} environment was not recorded."))
        else:
            fresh = (evidence.preflight or {}).get("versions") or {}
            for need in (*SERVING, *TRAINING):
                # What the fresh process says counts before what this one has.
                one = release(need, trained.packages, lambda name: fresh.get(name) or present.packages.get(name, ""))
                packages.append({"package": one.name, "trained": one.then, "present": one.now})
                (findings if need in SERVING else warnings).extend(_differing(one, serving=need in SERVING))
            if _minor(trained.python) != _minor(present.python):
                told = f"Python is {present.python} here and was {trained.python} in training."
                warnings.append(Finding("python", told))
        findings += _agreement(evidence)
        findings += _preflight(evidence.preflight)
        agreement = evidence.bundle.agreement
        return GateResult(
            gate=self.name,
            status="failed" if findings else "passed",
            findings=tuple(findings),
            warnings=tuple(warnings),
            facts={
                "packages": packages,
                "python": {"trained": trained.python if trained else "", "present": present.python if present else ""},
                "agreement": msgspec.to_builtins(agreement),
                "preflight": msgspec.to_builtins(evidence.preflight),
            },
            summary=f"{', '.join(need[0] for need in SERVING)} compared with training; both forms of the model "
            f"differ by at most {agreement.max_difference:.2g} on {agreement.rows:,} rows (tolerance"
            f" {agreement.tolerance:g}).",
        )


def _differing(one: Release, *, serving: bool) -> list[Finding]:
    if serving and not one.now:
        told = f"{one.name} is not installed here; training had {one.then or 'none either'}."
        return [Finding("missing_package", told, one.name)]
    if serving and not one.then:
        return [Finding("not_recorded", f"The training environment does not say which {one.name} it had.", one.name)]
    if one.now and one.differs:
        return [Finding("version", f"{one.name} is {one.now} here and was {one.then} in training.", one.name)]
    return []


def _agreement(evidence: Evidence) -> list[Finding]:
    agreement = evidence.bundle.agreement
    if not agreement.rows:
        return [Finding("agreement", "The ONNX form was never compared with the original.")]
    if not agreement.max_difference <= agreement.tolerance:  # turned around, so that NaN is a difference
        told = (
            f"The ONNX form differs from the original by {agreement.max_difference:.3g} on {agreement.rows:,} rows, "
            f"{agreement.tolerance:g} is allowed."
        )
        return [Finding("agreement", told, count=agreement.rows)]
    return []


def _preflight(preflight: dict[str, Any] | None) -> list[Finding]:
    if preflight is None:
        return [Finding("preflight", "No fresh process was asked the golden requests.")]
    if preflight.get("ok") is True:
        return []
    told = msgspec.convert(msgspec.to_builtins(preflight.get("findings") or ()), tuple[Finding, ...])
    return list(told) or [Finding("preflight", "The fresh process did not agree on the golden requests.")]


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
