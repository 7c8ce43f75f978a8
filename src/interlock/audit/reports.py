"""What audits leave behind: reports of gates, and waivers."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from interlock.audit.evidence import GateResult
from interlock.core.clock import from_micros, to_micros
from interlock.core.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from interlock.core.ports import Reader
    from interlock.registry.service import ModelVersion
    from interlock.store import Store


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


def last_report(store: Store, version: ModelVersion, reader: Reader | None = None) -> tuple[str, GateReport]:
    """Return the newest report on a version, and its digest.

    Args:
        store: the workspace.
        version: the version.
        reader: a transaction to read in; None for the database.

    Raises:
        NotFound: no gate has judged it.
    """
    row = (reader or store.database).one(
        "SELECT report FROM gate_reports WHERE model = :model AND version = :version ORDER BY made_at DESC LIMIT 1",
        {"model": version.model, "version": version.version},
    )
    if row is None:
        raise NotFound(
            f"No gate has judged {version.ref} yet.",
            about="gate_report",
            hint=f"Run `interlock audit check {version.ref}`.",
        )
    return row["report"], msgspec.json.decode(store.objects.get(row["report"]), type=GateReport)


def waived(store: Store, version: ModelVersion, reader: Reader | None = None) -> dict[str, datetime]:
    """Return the gates that a version may fail now, and until when; a reader may be a transaction."""
    rows = (reader or store.database).all(
        "SELECT gate, until FROM waivers WHERE model = :model AND version = :version AND until > :now",
        {"model": version.model, "version": version.version, "now": to_micros(store.clock.now())},
    )
    return {row["gate"]: from_micros(row["until"]) for row in rows}


def told(report: GateReport, until: Mapping[str, datetime]) -> str:
    """Return how many gates passed, were waived and until when, and judged nothing, as in `3 passed, 1 waived ...`.

    Args:
        report: what the gates said.
        until: when the waivers end, by gate.
    """
    counts = [f"{sum(result.status == 'passed' for result in report.results)} passed"]
    ends: dict[str, int] = {}
    for gate in report.waived:
        end = until[gate].isoformat().removesuffix("T00:00:00+00:00")
        ends[end] = ends.get(end, 0) + 1
    counts += [f"{count} waived until {end}" for end, count in sorted(ends.items())]
    if other := sum(result.status == "not applicable" for result in report.results):
        counts.append(f"{other} not applicable")
    return f"gates: {', '.join(counts)}"


def why_failed(failed: Sequence[GateResult]) -> str:
    """Return why gates failed, each reason once: gates that could judge nothing all say the same."""
    gates: dict[str, list[str]] = {}
    for result in failed:
        for finding in result.findings:
            names = gates.setdefault(f"{finding.message.rstrip('.')}.", [])
            if result.gate not in names:
                names.append(result.gate)
    alone = len(failed) > 1 and all(len(names) == len(failed) for names in gates.values())
    first = ", ".join(result.gate for result in failed) + " gates" if alone else f"{failed[0].gate} gate"
    return f"{first}: {' '.join(gates)}"
