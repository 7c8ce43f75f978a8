"""Setting a policy: both spellings, what is refused, what is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from interlock.audit.gates.figures import METRICS_OF, unfit
from interlock.audit.policy import parse_policy
from interlock.audit.service import AuditService
from interlock.core.errors import Invalid
from interlock.registry.service import ModelVersion, RegistryService
from interlock.store import Store

Register = Callable[[], ModelVersion]
FULL = {"roc_auc": ">= 0.9", "selection_rate_ratio[group]": ">= 0.8", "leakage": "none", "approvals": 2}


def test_the_spelling_of_the_project_file_and_that_of_an_answer_are_one(store: Store) -> None:
    audit = AuditService(store)
    told = {**FULL, "sensitive": ["group"], "target": "happy", "id": "person"}
    audit.set_policy("happy", told)
    wanted = parse_policy(FULL, ("group",), "happy", "person")
    assert audit.policy("happy") == wanted
    shown = {
        "metrics": [{"measure": "roc_auc", "operator": ">=", "threshold": 0.9}],
        "fairness": [{"measure": "selection_rate_ratio", "operator": ">=", "threshold": 0.8, "column": "group"}],
        "leakage": True,
        "approvals": 2,
        "sensitive": ["group"],
        "target": "happy",
        "id": "person",
    }
    size = store.ledger.size()
    found = audit.set_policy("happy", shown)
    assert (found.digest, found.weaker, store.ledger.size()) == (wanted.digest, (), size)


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        ({"approvalz": 1}, "approvals"),
        ({"sensitiv": ["sex"]}, "sensitive"),
        ({"metrics": [{"measure": "roc_auk", "operator": ">=", "threshold": 0.9}]}, "roc_auc"),
        ({"metrics": [{"measure": "rmse", "operator": ">=", "threshold": 60}]}, "better when smaller"),
        ({"metrics": [{"measure": "zzz", "operator": ">=", "threshold": 0.5}]}, "there are roc_auc"),
        ({"metrics": [{"measure": "f1", "operator": ">=", "treshold": 0.5}]}, "threshold"),
        ({"metrics": [{"measure": "f1", "operator": ">="}]}, "lacks threshold"),
        ({"metrics": [{"measure": "f1", "operator": ">=", "threshold": "much"}]}, "bound is wanted"),
        ({"f1": ">= 0.5", "metrics": [{"measure": "f1", "operator": ">=", "threshold": 0.9}]}, "once more"),
        ({"metrics": {"f1": 1}}, "list of bounds"),
        ({"metrics": ["f1"]}, "an object with"),
        ({"rmse": ">= 60"}, "better when smaller"),
        ({"leakage": "some"}, "none"),
        ({"approvals": True}, "whole number"),
        ({"sensitive": "sex"}, "list of columns"),
        ({"id": 3}, "name of a column"),
    ],
)
def test_what_is_misspelt_is_refused_and_nothing_is_stored(store: Store, policy: dict[str, Any], told: str) -> None:
    with pytest.raises(Invalid) as refused:
        AuditService(store).set_policy("happy", policy)
    assert told in str(refused.value)
    assert store.ledger.size() == 0
    assert AuditService(store).policy_of("happy") is None


def test_a_weaker_policy_is_told_in_the_answer_and_the_event(store: Store) -> None:
    audit = AuditService(store)
    assert audit.set_policy("happy", {**FULL, "sensitive": ["group"], "target": "happy", "id": "person"}).weaker == ()
    found = audit.set_policy("happy", {"roc_auc": ">= 0.6", "approvals": 1, "target": "happy"})
    assert found.weaker == (
        "roc_auc was bounded by >= 0.9, now by 0.6.",
        "The bound selection_rate_ratio[group] >= 0.8 is gone.",
        "Leakage is allowed.",
        "Approvals: 1 instead of 2.",
        "Sensitive no more: group.",
        "The id column person is named no more, so rules about it look at nothing.",
    )
    first, second = (event.data for event in store.ledger.events(kinds=("policy.set",)))
    assert first
    assert first["weaker"] == []
    assert second
    assert second["weaker"] == list(found.weaker)
    assert audit.set_policy("happy", {"roc_auc": ">= 0.7", "approvals": 1, "target": "happy"}).weaker == ()


def test_an_alias_that_gates_take_away_is_told_before_and_after(store: Store, register: Register) -> None:
    audit, registry, version = AuditService(store), RegistryService(store), register()
    registry.alias("happy", "champion", version.version)
    told = "model:happy@1 is 'registered', not approved: it is the champion no more."
    assert audit.takes_away("happy", parse_policy({"approvals": 1})) == (told,)
    assert registry.model("happy").aliases == {"champion": 1}
    assert audit.set_policy("happy", {"approvals": 1}).taken == (told,)
    assert registry.model("happy").aliases == {}


def test_a_metric_that_nobody_knows_is_told_by_name(evidence: Callable[..., Any]) -> None:
    import polars as pl

    found = evidence(pl.DataFrame({"a": [1.0, 2.0], "y": [0, 1]}), inputs=["a"])
    assert "no metric 'zzz'" in unfit("zzz", found)
    assert all(name in unfit("zzz", found) for name in METRICS_OF["two classes"])


def test_what_waived_gates_are_called_and_a_reason_is_given_once() -> None:
    from datetime import UTC, datetime

    from interlock.audit.evidence import GateResult
    from interlock.audit.reports import GateReport, told, why_failed
    from interlock.core.errors import Finding

    failed = [GateResult(name, "failed", (Finding("no_evidence", "No rows."),), summary="") for name in ("a", "b")]
    at = datetime(2026, 12, 31, tzinfo=UTC)
    report = GateReport("model:m@1", "", "", True, tuple(failed), ("a", "b"), at)
    assert told(report, {"a": at, "b": at}) == "gates: 0 passed, 2 waived until 2026-12-31"
    assert why_failed(failed) == "a, b gates: No rows."
    other = GateResult("c", "failed", (Finding("x", "Too low"),), summary="")
    assert why_failed([other, *failed]) == "c gate: Too low. No rows."
    assert why_failed([other]) == "c gate: Too low."


def test_run_model_leaves_what_the_leakage_gate_needs(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np
    import polars as pl
    from sklearn.linear_model import LogisticRegression

    import interlock

    monkeypatch.setenv("XDG_STATE_HOME", str(store.root / "state"))
    monkeypatch.chdir(store.project)
    made = np.random.default_rng(1)
    rows = pl.DataFrame({"person": [f"p{n}" for n in range(300)], "age": made.normal(size=300)})
    rows = rows.with_columns(happy=pl.Series((rows["age"].to_numpy() + made.normal(size=300) > 0).astype(int)))
    model = LogisticRegression().fit(rows[:200].select("age").to_pandas(), rows["happy"][:200].to_numpy())
    with interlock.run("e", machine=False, console=False) as run:
        apart = run.model(model, "apart", training=rows[:200], target="happy", evaluation=rows[200:])
        model = LogisticRegression(C=0.5).fit(rows[:250].select("age").to_pandas(), rows["happy"][:250].to_numpy())
        leaky = run.model(model, "leaky", training=rows[:250], target="happy", evaluation=rows[200:])
    audit = AuditService(store)
    for version, passes in ((apart.reference, True), (leaky.reference, False)):
        audit.set_policy(version.partition("@")[0], {"leakage": "none", "target": "happy", "id": "person"})
        found = {result.gate: result for result in audit.check(version).results}["leakage"]
        assert (found.status == "passed") == passes, found
        assert found.facts["ids"]["shared"] == (0 if passes else 50)
