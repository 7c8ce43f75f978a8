"""What the gates say of a version that came without a bundle: there is nothing that they could judge it on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.audit.evidence import GateResult
from interlock.audit.judge import GROUP, applies
from interlock.core.errors import Finding
from interlock.core.plugins import names

if TYPE_CHECKING:
    from interlock.audit.policy import Policy
    from interlock.registry.service import ModelVersion


def unjudged(version: ModelVersion, policy: Policy) -> list[GateResult]:
    """Return a result a gate: failed where it would have judged, for a gate that cannot judge has not been passed.

    A person may waive each of them, for a reason and until a day; then it is validated and may be approved.

    Args:
        version: the version.
        policy: what is asked for.
    """
    told = f"{version.ref} came without held-out rows and golden requests, so this gate has nothing to judge it on."
    return [
        GateResult(name, "failed", (Finding("no_evidence", told),), summary=told)
        if applies(name, policy)
        else GateResult(name, "not applicable", summary="The policy asks for nothing here.")
        for name in names(GROUP)
    ]
