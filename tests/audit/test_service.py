from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from interlock.audit.policy import parse_policy
from interlock.audit.service import AuditService
from interlock.core.actor import acting_as
from interlock.core.clock import FixedClock
from interlock.core.errors import Conflict, Invalid, NotFound
from interlock.registry.service import ModelVersion, RegistryService
from interlock.store import Store

Register = Callable[[], ModelVersion]
GATES = {"roc_auc": ">= 0.7", "approvals": 2}


@pytest.fixture
def audit(store: Store) -> AuditService:
    service = AuditService(store)
    service.set_policy("happy", parse_policy(GATES, ("group",), "happy", "person"))
    return service


@pytest.fixture
def registry(store: Store) -> RegistryService:
    return RegistryService(store)


def test_a_sound_version_is_validated_and_two_people_approve_it(
    store: Store, audit: AuditService, registry: RegistryService, register: Register
) -> None:
    version = register()
    report = audit.check(version.ref)
    assert report.passed
    assert {r.gate for r in report.results} == {"metric", "fairness", "leakage", "environment", "sensitive_inputs"}
    assert registry.version(version.ref).stage == "validated"
    with acting_as("user:ann"):
        assert audit.approve(version.ref, "fine").stage == "validated"
        assert audit.approve(version.ref, "fine, I said").stage == "validated"  # one person is one signature
    with acting_as("user:bob"):
        assert audit.approve(version.ref).stage == "approved"
    signed = registry.approvals(version.ref)
    assert [a.actor for a in signed] == ["user:ann", "user:bob"]
    assert {a.bundle for a in signed} == {version.bundle}
    assert len(store.ledger.events(kinds=("approval.given",))) == 2


def test_a_failed_gate_sends_the_version_back_and_nobody_can_approve_it(
    store: Store, audit: AuditService, registry: RegistryService, register: Register
) -> None:
    audit.set_policy("happy", parse_policy({"roc_auc": ">= 0.99"}, ("income",), "happy", "person"))
    version = register()
    report = audit.check(version.ref)
    assert [r.gate for r in report.results if r.status == "failed"] == ["metric", "sensitive_inputs"]
    found = registry.version(version.ref)
    assert found.stage == "development"
    assert "metric" in found.stage_reason
    with pytest.raises(Conflict, match="development"):
        audit.approve(version.ref)
    assert [e.data["gate"] for e in store.ledger.events(kinds=("gate.failed",)) if e.data] == [
        "metric",
        "sensitive_inputs",
    ]


def test_an_approval_is_void_when_the_policy_changes(audit: AuditService, register: Register) -> None:
    version = register()
    audit.check(version.ref)
    audit.set_policy("happy", parse_policy({"roc_auc": ">= 0.71"}, ("group",), "happy", "person"))
    with pytest.raises(Conflict, match="policy has changed"):
        audit.approve(version.ref)
    audit.check(version.ref)
    assert audit.approve(version.ref).stage == "approved"


def test_a_waiver_lets_one_gate_pass_until_it_ends(
    store: Store, audit: AuditService, registry: RegistryService, register: Register
) -> None:
    audit.set_policy("happy", parse_policy({"roc_auc": ">= 0.99"}, (), "happy", "person"))
    version = register()
    audit.check(version.ref)
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    with pytest.raises(Invalid, match="reason"):
        audit.waive(version.ref, "metric", " ", later)
    with pytest.raises(Invalid, match="still to come"):
        audit.waive(version.ref, "metric", "pilot", "2020-01-01")
    with pytest.raises(Invalid, match="no instant"):
        audit.waive(version.ref, "metric", "pilot", "soon")
    with pytest.raises(NotFound, match="'metric'"):
        audit.waive(version.ref, "metrik", "pilot", later)
    waiver = audit.waive(version.ref, "metric", "pilot with ten users", later)
    assert (waiver.version, waiver.gate, waiver.until.isoformat()) == (version.ref, "metric", later)
    report = audit.check(version.ref)
    assert (report.passed, report.waived) == (True, ("metric",))
    assert registry.version(version.ref).stage == "validated"
    assert registry.version(version.ref).stage_reason == (f"gates: 1 passed, 1 waived until {later}, 3 not applicable")
    waived = store.ledger.events(kinds=("gate.waived",))
    assert waived[0].data == {"gate": "metric", "reason": "pilot with ten users", "until": later}


def test_an_approval_does_not_count_once_a_waiver_has_ended(
    store: Store, registry: RegistryService, register: Register
) -> None:
    audit = AuditService(store)
    audit.set_policy("happy", parse_policy({"roc_auc": ">= 0.99"}, (), "happy", "person"))
    version = register()
    audit.check(version.ref)
    audit.waive(version.ref, "metric", "pilot", (store.clock.now() + timedelta(hours=1)).isoformat())
    assert audit.check(version.ref).passed
    store.clock = FixedClock(store.clock.now() + timedelta(hours=2))
    with pytest.raises(Conflict, match="waiver of gate 'metric' has ended"):
        audit.approve(version.ref)
    assert registry.approvals(version.ref) == []
    assert not audit.check(version.ref).passed


def test_a_champion_that_is_refused_is_champion_no_more(
    audit: AuditService, registry: RegistryService, register: Register
) -> None:
    audit.set_policy("happy", parse_policy({"roc_auc": ">= 0.7"}, (), "happy", "person"))
    version = register()
    audit.check(version.ref)
    audit.approve(version.ref)
    registry.alias("happy", "champion", 1)
    registry.alias("happy", "staging", 1)
    audit.refuse(version.ref, "no more")
    assert registry.model("happy").aliases == {"staging": 1}


def test_refusing_names_who_and_why(audit: AuditService, registry: RegistryService, register: Register) -> None:
    version = register()
    audit.check(version.ref)
    with acting_as("user:ann"):
        audit.refuse(version.ref, "the card is empty")
    assert registry.version(version.ref).stage_reason == "refused by user:ann: the card is empty"


def test_what_has_no_policy_or_report_says_what_to_do(store: Store, register: Register) -> None:
    audit, version = AuditService(store), register()
    with pytest.raises(NotFound, match="interlock apply"):
        audit.check(version.ref)
    with pytest.raises(NotFound, match="audit check"):
        audit.report(version.ref)


def test_setting_the_same_policy_again_is_nothing_new(store: Store, audit: AuditService) -> None:
    size = store.ledger.size()
    audit.set_policy("happy", audit.policy("happy"))
    assert store.ledger.size() == size


@pytest.mark.parametrize("name", ["\x00", " m\n", "", "a/b", "x" * 300])
def test_a_policy_of_no_model_leaves_nothing_behind(store: Store, name: str) -> None:
    with pytest.raises(Invalid):
        AuditService(store).set_policy(name, parse_policy(GATES, ("group",), "happy", "person"))
    assert list(store.objects.digests()) == []
    assert store.ledger.size() == 0


def test_a_policy_is_set_by_name_or_reference(audit: AuditService) -> None:
    wanted = parse_policy({"roc_auc": ">= 0.9"}, (), "happy", "person")
    audit.set_policy("model:happy", wanted)
    assert audit.policy("happy") == wanted


def test_a_check_that_cannot_be_made_moves_nothing(store: Store, registry: RegistryService, register: Register) -> None:
    version = register()
    registry.move(version.ref, "development", "not yet")
    with pytest.raises(NotFound, match="no policy"):
        AuditService(store).check(version.ref)
    assert registry.version(version.ref).stage == "development"
