"""A version is tried before it gets traffic: opened in a fresh process as the deployment's server will open it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.core.errors import GateClosed, Invalid
from interlock.serve.fresh import fresh_preflight

if TYPE_CHECKING:
    from interlock.core.bundles import Serving
    from interlock.core.errors import Finding
    from interlock.registry.service import ModelVersion, RegistryService
    from interlock.store import Store


def try_version(
    store: Store, registry: RegistryService, name: str, version: ModelVersion, serving: Serving
) -> tuple[Finding, ...]:
    """Return what the trial of a version could not prove; none where all of it is proved.

    Args:
        store: the workspace; a refusal is recorded there.
        registry: where it stands what the version was made with.
        name: the deployment.
        version: the version.
        serving: how the deployment would answer: it says whether originals may.

    Raises:
        Invalid: its files rest elsewhere.
        GateClosed: it may not take traffic; the findings say why.

    Cost: see `fresh_preflight`.
    """
    if not version.bundle:
        raise Invalid(
            f"The files of {version.ref} rest elsewhere.", about="deployment", hint="Register files that are here."
        )
    made_in = registry.pins(version.ref).environment
    found = fresh_preflight(store.root, version.bundle, code_models=bool(serving.code_models), environment=made_in)
    if found.ok:
        return tuple(found.warnings)
    reason = " ".join(map(_sentence, found.findings)) or "The fresh process failed."
    store.database.write(
        lambda tx: store.ledger.append(
            tx, "deployment.refused", f"deployment:{name}", {"model": version.ref, "reason": reason}
        )
    )
    raise GateClosed(
        f"{version.ref} failed its pre-flight, so traffic stays as it is. {reason}",
        about="deployment",
        findings=found.findings,
        hint="The packages or the configuration here are not those that it was validated with, or its files changed.",
    )


def check_beside(registry: RegistryService, champion: str, challenger: str) -> None:
    """Accept a version that can answer beside another one: both predict the same column, in the same kind.

    What has no record of that before it is opened, such as a booster's own file, is judged when its server opens it.

    Args:
        registry: where both are kept.
        champion: the reference of the one.
        challenger: that of the other.

    Raises:
        Invalid: they predict different columns, or one answers values and the other classes.
    """
    try:
        held, wanted = registry.bundle(champion), registry.bundle(challenger)
    except Invalid:
        return
    hint = "Deploy it as a deployment of its own, or with all of the traffic."
    if held.target != wanted.target:
        raise Invalid(
            f"{champion} predicts {held.target!r} and {challenger} predicts {wanted.target!r}: "
            "they cannot answer in one deployment.",
            about="deployment",
            hint=hint,
        )
    kinds = [(bundle.task, tuple(map(type, bundle.classes[:1]))) for bundle in (held, wanted)]
    if kinds[0] != kinds[1]:
        raise Invalid(
            f"{champion} and {challenger} answer in different kinds: values, numbers or names.",
            about="deployment",
            hint=hint,
        )


def _sentence(finding: Finding) -> str:
    return f"{finding.message.rstrip('.')}."
