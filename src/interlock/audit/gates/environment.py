"""The gate `environment`: what serves the model is what it was checked with, and a fresh process agrees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.audit.evidence import GateResult
from interlock.core.errors import Finding

if TYPE_CHECKING:
    from interlock.audit.evidence import Evidence
    from interlock.audit.policy import Policy
    from interlock.track.environment import Environment

# What computes an answer must be the same to the last digit; the rest matters when somebody trains again.
SERVING: Final = ("onnxruntime", "numpy")
TRAINING: Final = ("scikit-learn", "skl2onnx", "skops", "polars")


class EnvironmentGate:
    """Compares the recorded environment with the present one, and reads the preflight of a fresh process."""

    name = "environment"

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
            packages = [_compare(name, trained, present, fresh) for name in (*SERVING, *TRAINING)]
            for fact in packages:
                (findings if fact["package"] in SERVING else warnings).extend(_differing(fact))
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
            summary=f"{', '.join(SERVING)} compared with training; both forms of the model differ by at most "
            f"{agreement.max_difference:.2g} on {agreement.rows:,} rows (tolerance {agreement.tolerance:g}).",
        )


def _compare(name: str, trained: Environment, present: Environment, fresh: dict[str, str]) -> dict[str, Any]:
    """Return both versions of a package; what the fresh process says counts before what this one has."""
    now = fresh.get(name) or present.packages.get(name, "")
    return {"package": name, "trained": trained.packages.get(name, ""), "present": now}


def _differing(fact: dict[str, Any]) -> list[Finding]:
    name, then, now = fact["package"], fact["trained"], fact["present"]
    if name in SERVING and not now:
        told = f"{name} is not installed here; training had {then or 'none either'}."
        return [Finding("missing_package", told, name)]
    if name in SERVING and not then:
        return [Finding("not_recorded", f"The training environment does not say which {name} it had.", name)]
    if then and now and then != now:
        return [Finding("version", f"{name} is {now} here and was {then} in training.", name)]
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
