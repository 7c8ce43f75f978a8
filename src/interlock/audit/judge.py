"""All gates over one version's evidence. A gate that cannot judge has not been passed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from interlock.audit.evidence import Evidence, GateResult, sentences
from interlock.core.errors import Error, Finding, Unavailable
from interlock.core.plugins import load, names

if TYPE_CHECKING:
    from interlock.audit.policy import Policy

GROUP: Final = "interlock.gate"


class Gate(Protocol):
    """What a gate is; one that has no method `applies` is asked for by every policy."""

    name: str

    def applies(self, policy: Policy) -> bool:
        """Return whether a policy asks for it; where not, its result is `not applicable`."""
        ...

    def run(self, evidence: Evidence, policy: Policy) -> GateResult:
        """Return what it finds."""
        ...


def judge(evidence: Evidence, policy: Policy) -> list[GateResult]:
    """Return what every installed gate says; one that does not load or breaks counts as failed.

    Args:
        evidence: what they judge.
        policy: what is asked for.

    Raises:
        Unavailable: no gate is installed at all.
    """
    installed = names(GROUP)
    if not installed:
        raise Unavailable(
            "No gate is installed, so nothing can be validated.", about="gate", hint="Install Interlock again."
        )
    return [_ask(name, evidence, policy) for name in installed]


def applies(name: str, policy: Policy) -> bool:
    """Return whether a policy asks for a gate; for one that does not load or breaks too, as it was not passed.

    Args:
        name: the gate.
        policy: what is asked for.
    """
    try:
        gate: Gate = load(GROUP, name)()
        return bool(gate.applies(policy)) if hasattr(gate, "applies") else True
    except Exception:  # noqa: BLE001 - a gate may be anybody's plug-in: this is its border
        return True


def _ask(name: str, evidence: Evidence, policy: Policy) -> GateResult:
    try:
        gate: Gate = load(GROUP, name)()
        result = gate.run(evidence, policy)
    except Error as error:
        return _broken(name, str(error))
    except Exception as error:  # noqa: BLE001 - a gate may be anybody's plug-in: this is its border
        return _broken(name, f"{type(error).__name__}: {error}")
    if result.status == "failed" and result.findings:
        return msgspec.structs.replace(result, summary=sentences(result.findings))
    return result


def _broken(name: str, why: str) -> GateResult:
    message = f"gate {name} could not judge: {why}"
    return GateResult(name, "failed", (Finding("broken_gate", message),), summary=message)
