"""A version without a bundle comes to work by the same way as all others: gates, waivers, a signature."""

from __future__ import annotations

from datetime import timedelta

import pytest
from lone import beside, graph

from interlock.audit.policy import parse_policy
from interlock.audit.service import AuditService
from interlock.core.errors import Conflict, GateClosed


def test_gates_that_cannot_judge_are_waived_one_by_one_and_then_somebody_signs(store, deploy, logged) -> None:
    audit, version = AuditService(store), logged({"model.onnx": graph(), **beside({"a": "float", "b": "float"})})
    audit.set_policy("kept", parse_policy({"approvals": 1}))
    report = audit.check(version.ref)
    assert not report.passed
    failed = [result.gate for result in report.results if result.status == "failed"]
    assert failed
    assert all("nothing to judge it on" in r.findings[0].message for r in report.results if r.status == "failed")
    with pytest.raises(Conflict):
        audit.approve(version.ref)
    with pytest.raises(GateClosed):
        deploy.deploy("shop", version.ref)
    until = (store.clock.now() + timedelta(days=1)).isoformat()
    for gate in failed:
        audit.waive(version.ref, gate, "a pilot", until)
    assert audit.check(version.ref).passed
    audit.approve(version.ref)
    assert deploy.deploy("shop", version.ref).live
