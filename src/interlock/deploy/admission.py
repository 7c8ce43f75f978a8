"""What a version must show before it gets traffic: an approval of its bytes that still counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from interlock.core.clock import to_micros
from interlock.core.errors import GateClosed

if TYPE_CHECKING:
    from interlock.registry.service import ModelVersion, RegistryService
    from interlock.store import Store


class _Judged(msgspec.Struct, frozen=True):
    """What a deployment has to know of the gate report that an approver signed."""

    waived: tuple[str, ...]


def check_approved(store: Store, registry: RegistryService, version: ModelVersion) -> None:
    """Accept a version that is approved, and whose approval rests on no waiver that has ended.

    Args:
        store: the workspace.
        registry: where its approvals stand.
        version: the version.

    Raises:
        GateClosed: it is not.
    """
    approvals = [given for given in registry.approvals(version.ref) if given.bundle == version.bundle]
    if version.stage not in {"approved", "deployed"} or not approvals:
        why = version.stage_reason.rstrip(".")
        raise GateClosed(
            f"{version.ref} is {version.stage!r} ({why}); only an approved version is deployed.",
            about="deployment",
            hint=_way(version),
            version=version.ref,
            stage=version.stage,
        )
    # Signatures under earlier reports may be there still; the newest one is what made it approved.
    waived = msgspec.json.decode(store.objects.get(approvals[-1].report), type=_Judged).waived
    held = store.database.all(
        "SELECT gate FROM waivers WHERE model = :model AND version = :version AND until > :now",
        {"model": version.model, "version": version.version, "now": to_micros(store.clock.now())},
    )
    ended = sorted(set(waived) - {row["gate"] for row in held})
    if ended:
        raise GateClosed(
            f"The waiver of gate {ended[0]!r} has ended since {version.ref} was approved.",
            about="deployment",
            hint=f"Waive it again, or move {version.ref} to development and check again:"
            f" `interlock audit check {version.ref}`.",
            version=version.ref,
            gates=ended,
        )


def _way(version: ModelVersion) -> str:
    """Return what has to happen before a version that is not approved may be deployed."""
    ref = version.ref
    if version.stage == "validated":
        return f"See `interlock audit report {ref}`, then `interlock audit approve {ref}`."
    if version.stage == "development":
        return (
            f"See why: `interlock audit report {ref}`. Mend it and make another: `interlock loop candidate PIPELINE`."
        )
    if version.stage == "retired":
        return f"Deploy another version: `interlock registry versions {version.model}`."
    return f"Let its gates judge it: `interlock audit check {ref}`; then somebody may approve it."
