"""Setting a policy: read in either spelling by the one parser, compared with the one before, and recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.audit.policy import Bound, Policy, parse_policy
from interlock.core.clock import to_micros
from interlock.core.errors import Finding, Invalid
from interlock.core.refs import parse
from interlock.data.contract import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interlock.core.ports import Transaction
    from interlock.registry.service import RegistryService
    from interlock.store import Store

_BOUNDS: Final = ("metrics", "fairness")
_ROLES: Final = ("sensitive", "target", "id")


class PolicySet(Policy, frozen=True):
    """A policy as it was set, and what setting it took away.

    Attributes:
        weaker: what it asks less than the policy before it, a sentence each.
        taken: the aliases that are gone, as only approved versions may have them from now on, a sentence each.
    """

    weaker: tuple[str, ...] = ()
    taken: tuple[str, ...] = ()


def spelt(policy: Policy | Mapping[str, Any]) -> Policy:
    """Return the policy that plain values spell: as interlock.toml does, as a policy is shown, or as both.

    Args:
        policy: keys of `[model.NAME.gates]`, and `metrics`, `fairness`, `sensitive`, `target`, `id`.

    Raises:
        Invalid: `policy.invalid`: a key or value is wrong.
    """
    plain: dict[str, Any] = msgspec.to_builtins(policy) if isinstance(policy, Policy) else dict(policy)
    table = {key: value for key, value in plain.items() if key not in {*_BOUNDS, *_ROLES}}
    if isinstance(held := table.get("leakage"), bool):
        table["leakage"] = "none"
        if not held:
            del table["leakage"]
    findings: list[Finding] = []
    for kind in _BOUNDS:
        _spell_bounds(kind, plain.get(kind, ()), table, findings)
    sensitive, target, ident = plain.get("sensitive", ()), plain.get("target", ""), plain.get("id", "")
    if not isinstance(sensitive, list | tuple) or not all(isinstance(name, str) for name in sensitive):
        findings.append(Finding("gate", f"sensitive = {sensitive!r}: a list of columns is wanted."))
    findings += [
        Finding("gate", f"{role} = {name!r}: the name of a column is wanted.")
        for role, name in (("target", target), ("id", ident))
        if not isinstance(name, str)
    ]
    if findings:
        raise Invalid(
            findings[0].message,
            about="policy",
            hint='Write for example {"roc_auc": ">= 0.75", "leakage": "none", "approvals": 1}.',
            findings=findings,
        )
    return parse_policy(table, tuple(sensitive), target, ident, beside=(*_BOUNDS, *_ROLES))


def weaker(held: Policy | None, wanted: Policy) -> tuple[str, ...]:
    """Return what a policy asks less than the one before it, a sentence each; nothing where there was none."""
    if held is None:
        return ()
    told = []
    bounds = {bound.key: bound for bound in (*wanted.metrics, *wanted.fairness)}
    for before in (*held.metrics, *held.fairness):
        now = bounds.get(before.key)
        if now is None:
            told.append(f"The bound {before} is gone.")
        elif _looser(before, now):
            told.append(
                f"{before.key} was bounded by {before.operator} {before.threshold:g}, now by {now.threshold:g}."
            )
    if held.leakage and not wanted.leakage:
        told.append("Leakage is allowed.")
    if wanted.approvals < held.approvals:
        told.append(f"Approvals: {wanted.approvals} instead of {held.approvals}.")
    if gone := [name for name in held.sensitive if name not in wanted.sensitive]:
        told.append(f"Sensitive no more: {', '.join(gone)}.")
    for role, before_name, now_name in (("target", held.target, wanted.target), ("id", held.id, wanted.id)):
        if before_name and not now_name:
            told.append(f"The {role} column {before_name} is named no more, so rules about it look at nothing.")
    return tuple(told)


def set_policy(store: Store, registry: RegistryService, name: str, policy: Policy, held: Policy | None) -> PolicySet:
    """Return a policy that was recorded as a model's, with what it took away; the same one again is nothing new.

    Args:
        store: the workspace.
        registry: where its versions and aliases stand.
        name: the model.
        policy: what its versions must show from now on.
        held: what they had to show before.

    Raises:
        Invalid: the name is no model's, or is more than a model's.
    """
    ref = parse(name, "model")
    if ref != ref.whole:
        raise Invalid(f"{name!r} names more than a model.", about="policy", hint="Policies hold for all versions.")
    model, stored, less = ref.name, store.objects.put(msgspec.json.encode(policy)), weaker(held, policy)
    taken: list[str] = []

    def change(tx: Transaction) -> None:
        taken[:] = registry.unearned(tx, model)
        registry.guard(tx, model)
        row = tx.one("SELECT digest FROM applied WHERE name = :name", {"name": f"policy:{model}"})
        if row is not None and row["digest"] == stored:
            return
        tx.run(
            "INSERT INTO applied (name, digest, applied_at) VALUES (:name, :digest, :at)"
            " ON CONFLICT (name) DO UPDATE SET digest = excluded.digest, applied_at = excluded.applied_at",
            {"name": f"policy:{model}", "digest": stored, "at": to_micros(store.clock.now())},
        )
        gates = [str(bound) for bound in (*policy.metrics, *policy.fairness)]
        gates += ["leakage none"] * policy.leakage + [f"approvals {policy.approvals}"]
        data = {"digest": policy.digest, "gates": gates, "weaker": list(less)}
        store.ledger.append(tx, "policy.set", f"model:{model}", data)

    store.database.write(change)
    fields = {field: getattr(policy, field) for field in Policy.__struct_fields__}
    return PolicySet(**fields, weaker=less, taken=tuple(taken))


def _looser(before: Bound, now: Bound) -> bool:
    return now.threshold < before.threshold if before.operator == ">=" else now.threshold > before.threshold


def _spell_bounds(kind: str, bounds: Any, table: dict[str, Any], findings: list[Finding]) -> None:
    """Write bounds as they are shown into a table as interlock.toml spells them."""
    if not isinstance(bounds, list | tuple):
        findings.append(Finding("gate", f"{kind} = {bounds!r}: a list of bounds is wanted."))
        return
    fields = Bound.__struct_fields__
    for place, bound in enumerate(bounds):
        where = f"{kind}[{place}]"
        if not isinstance(bound, dict):
            findings.append(Finding("gate", f"{where} = {bound!r}: an object with {', '.join(fields)} is wanted."))
            continue
        unknown = [key for key in bound if key not in fields]
        findings += [
            Finding("gate", f"{where} has no {key!r}; did you mean {nearest(key, fields)}?") for key in unknown
        ]
        if missing := [key for key in ("measure", "operator", "threshold") if key not in bound]:
            findings.append(Finding("gate", f"{where} lacks {', '.join(missing)}."))
        elif not unknown:
            key = f"{bound['measure']}[{bound['column']}]" if bound.get("column") else str(bound["measure"])
            if key in table:
                findings.append(Finding("gate", f"{where} bounds {key} once more."))
            threshold = bound["threshold"]
            table[key] = f"{bound['operator']} {threshold!r}" if isinstance(threshold, int | float) else threshold
