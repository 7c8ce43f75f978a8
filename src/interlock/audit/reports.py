"""What audits leave behind: reports of gates, and waivers."""

from __future__ import annotations

from datetime import datetime

import msgspec

from interlock.audit.evidence import GateResult


class GateReport(msgspec.Struct, frozen=True):
    """What the gates said about a version, under which policy: the evidence an approver signs.

    Attributes:
        version: the version's reference.
        bundle: the digest of its bundle.
        policy: the digest of the policy.
        passed: whether every gate passed or was waived.
        results: one a gate.
        waived: gates that failed and were waived.
    """

    version: str
    bundle: str
    policy: str
    passed: bool
    results: tuple[GateResult, ...]
    waived: tuple[str, ...]
    made_at: datetime


class Waiver(msgspec.Struct, frozen=True):
    """A failed gate that a version may pass until an instant; it counts when the version is checked again."""

    version: str
    gate: str
    actor: str
    reason: str
    until: datetime
