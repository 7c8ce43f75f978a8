"""Deployments with real server processes on loopback."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from interlock.audit.policy import parse_policy
from interlock.audit.service import AuditService
from interlock.core.bundles import Serving
from interlock.core.clock import FixedClock
from interlock.core.errors import Conflict, Finding, GateClosed, Invalid, NotFound
from interlock.deploy.service import DeployService
from interlock.deploy.trial import try_version
from interlock.registry.service import ModelVersion, RegistryService
from interlock.store import Store

Register = Callable[[], ModelVersion]


@pytest.fixture
def approved(store: Store, register: Register) -> Register:
    audit = AuditService(store)
    audit.set_policy("happy", parse_policy({"roc_auc": ">= 0.7", "approvals": 1}, (), "happy", "person"))

    def make() -> ModelVersion:
        version = register()
        audit.check(version.ref)
        return audit.approve(version.ref)

    return make


def ask(url: str, age: int = 30) -> dict[str, object]:
    body = json.dumps({"dataframe_records": [{"age": age, "income": 30.0}]}).encode()
    request = urllib.request.Request(f"{url}/invocations", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        found: dict[str, object] = json.loads(answer.read())
        return found


def test_from_approval_to_traffic_canary_promotion_and_rollback(
    store: Store, deploy: DeployService, approved: Register
) -> None:
    registry = RegistryService(store)
    first = approved()
    found = deploy.deploy("happy", first.ref)
    assert found.live
    assert [(r.model, r.weight) for r in found.routes] == [("model:happy@1", 1.0)]
    assert ask(found.url)["predictions"]
    assert registry.version("model:happy@champion").stage == "deployed"

    second = approved()
    with_canary = deploy.deploy("happy", second.ref, canary=0.25)
    assert [(r.model, r.weight, r.role) for r in with_canary.routes] == [
        ("model:happy@1", 0.75, "champion"),
        ("model:happy@2", 0.25, "challenger"),
    ]
    assert with_canary.url == found.url  # the same process, other routes
    assert registry.version("model:happy@challenger").version == 2
    assert deploy.deploy("happy", second.ref, canary=0.25) == with_canary  # again is nothing new

    promoted = deploy.promote("happy", "better")
    assert [r.model for r in promoted.routes] == ["model:happy@2"]
    assert registry.version("model:happy@1").stage == "approved"
    assert "challenger" not in registry.model("happy").aliases

    back = deploy.rollback("happy", "worse after all")
    assert [r.model for r in back.routes] == ["model:happy@1"]
    assert registry.version("model:happy@champion").version == 1
    assert [r.revision for r in deploy.revisions("happy")] == [1, 2, 3, 4]
    assert ask(found.url)["predictions"]
    with pytest.raises(Conflict, match="no challenger"):
        deploy.promote("happy")


def test_only_what_is_approved_is_deployed(store: Store, deploy: DeployService, register: Register) -> None:
    version = register()
    with pytest.raises(GateClosed, match="only an approved"):
        deploy.deploy("happy", version.ref)
    registry = RegistryService(store)
    for stage in (
        "environment prepared",
        "validated",
        "approved",
    ):  # moved there behind everybody's back: nobody signed
        store.database.write(lambda tx, stage=stage: registry.advance(tx, version.ref, stage, "forged"))
    with pytest.raises(GateClosed):
        deploy.deploy("happy", version.ref)
    assert deploy.deployments() == []


@pytest.mark.parametrize("file", ["linear.json", "model.onnx", "evaluation.parquet"])  # the first one answers
def test_a_bundle_with_a_damaged_file_takes_no_traffic(
    store: Store, deploy: DeployService, approved: Register, file: str
) -> None:
    first, second = approved(), approved()
    found = deploy.deploy("happy", first.ref)
    from interlock.store.manifests import read_manifest

    entry = read_manifest(store.objects, second.bundle).find(file)
    path = store.root / "objects" / entry.digest[:2] / entry.digest[2:]
    sound = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(sound[:-10] + bytes(10))
    with pytest.raises(GateClosed) as caught:
        deploy.deploy("happy", second.ref)
    assert caught.value.findings[0].rule == "bundle.corrupt"
    assert file in caught.value.findings[0].message
    path.write_bytes(sound)
    assert [r.model for r in deploy.show("happy").routes] == ["model:happy@1"]
    assert ask(found.url)["predictions"]
    refused = store.ledger.events(kinds=("deployment.refused",))
    assert [e.data["model"] for e in refused if e.data] == [second.ref]


def test_a_killed_server_is_started_again_and_a_stopped_one_is_not(deploy: DeployService, approved: Register) -> None:
    found = deploy.deploy("happy", approved().ref)
    os.kill(found.pid, signal.SIGKILL)
    os.waitpid(found.pid, 0)
    assert not deploy.show("happy").live
    deploy.reconcile("happy")
    again = deploy.show("happy")
    assert again.live
    assert again.pid != found.pid
    assert ask(again.url)["predictions"]
    stopped = deploy.stop("happy")
    assert (stopped.live, stopped.state) == (False, "stopped")
    deploy.reconcile("happy")
    assert not deploy.show("happy").live
    assert deploy.start("happy").live


def test_what_makes_no_sense_is_refused(deploy: DeployService, approved: Register) -> None:
    version = approved()
    for share in (-0.1, 1.0, 2.0):
        with pytest.raises(Invalid, match="share"):
            deploy.deploy("happy", version.ref, canary=share)
    with pytest.raises(Conflict, match="no champion"):
        deploy.deploy("happy", version.ref, canary=0.1)
    with pytest.raises(NotFound):
        deploy.show("hapy")
    with pytest.raises(NotFound):
        deploy.deploy("happy", "model:happy@9")


def test_a_champion_is_no_canary_beside_itself(deploy: DeployService, approved: Register) -> None:
    version = approved()
    found = deploy.deploy("happy", version.ref)
    with pytest.raises(Conflict, match="champion itself"):
        deploy.deploy("happy", version.ref, canary=0.1)
    assert deploy.show("happy") == found


def test_a_version_that_answers_is_not_retired_nor_sent_back(
    store: Store, deploy: DeployService, approved: Register
) -> None:
    registry, audit = RegistryService(store), AuditService(store)
    first, second = approved(), approved()
    deploy.deploy("happy", first.ref)
    deploy.deploy("sad", first.ref)
    with pytest.raises(Conflict, match="answers in a deployment"):
        registry.move(first.ref, "retired", "old")
    deploy.deploy("happy", second.ref)
    assert registry.version(first.ref).stage == "deployed"  # it still answers in the other
    with pytest.raises(Conflict):
        audit.refuse(first.ref, "no more")
    deploy.deploy("sad", second.ref)
    assert registry.version(first.ref).stage == "approved"
    audit.refuse(first.ref, "no more")
    with pytest.raises(Conflict, match="no earlier champion"):
        deploy.rollback("happy")


def test_a_decision_about_routes_that_are_gone_does_not_count(
    store: Store, deploy: DeployService, approved: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = approved(), approved(), approved()
    deploy.deploy("happy", first.ref)
    rival = DeployService(store)

    def overtaken(*tried: Any) -> tuple[Finding, ...]:
        told = try_version(*tried)
        with monkeypatch.context() as patch:
            patch.setattr("interlock.deploy.service.try_version", try_version)
            rival.deploy("happy", third.ref)
        return told

    with monkeypatch.context() as patch:
        patch.setattr("interlock.deploy.service.try_version", overtaken)
        with pytest.raises(Conflict, match="changed meanwhile"):
            deploy.deploy("happy", second.ref)
    assert [r.model for r in rival.show("happy").routes] == [third.ref]
    assert RegistryService(store).version(second.ref).stage == "approved"


def test_what_is_deployed_again_while_it_is_stopped_serves(deploy: DeployService, approved: Register) -> None:
    version = approved()
    deploy.deploy("happy", version.ref)
    deploy.stop("happy")
    assert deploy.deploy("happy", version.ref).live


def test_a_rollback_goes_back_along_the_champions_and_never_forth(deploy: DeployService, approved: Register) -> None:
    refs = [approved().ref for _ in range(4)]
    for ref in refs[:3]:
        deploy.deploy("happy", ref)
    assert [r.model for r in deploy.rollback("happy").routes] == [refs[1]]
    assert [r.model for r in deploy.rollback("happy").routes] == [refs[0]]
    with pytest.raises(Conflict, match="no earlier champion"):
        deploy.rollback("happy")
    deploy.deploy("happy", refs[3])
    deploy.deploy("happy", refs[1])  # put there anew, on purpose
    assert [r.model for r in deploy.rollback("happy").routes] == [refs[3]]
    assert [r.model for r in deploy.rollback("happy").routes] == [refs[0]]


def test_an_approval_on_a_waiver_that_has_ended_lets_nothing_be_deployed(
    store: Store, deploy: DeployService, register: Register
) -> None:
    audit, version = AuditService(store), register()
    audit.set_policy("happy", parse_policy({"roc_auc": ">= 0.99", "approvals": 1}, (), "happy", "person"))
    audit.check(version.ref)
    audit.waive(version.ref, "metric", "pilot", (store.clock.now() + timedelta(hours=1)).isoformat())
    audit.check(version.ref)
    audit.approve(version.ref)
    now = store.clock
    store.clock = FixedClock(now.now() + timedelta(hours=2))
    with pytest.raises(GateClosed, match="waiver of gate 'metric' has ended") as refused:
        deploy.deploy("happy", version.ref)
    assert "audit check" in refused.value.hint
    assert deploy.deployments() == []
    store.clock = now
    assert deploy.deploy("happy", version.ref).live


def test_what_is_not_approved_is_told_what_to_do_at_its_stage(
    store: Store, deploy: DeployService, register: Register
) -> None:
    audit, registry = AuditService(store), RegistryService(store)

    def hint(ref: str) -> str:
        with pytest.raises(GateClosed) as refused:
            deploy.deploy("happy", ref)
        return refused.value.hint

    failed, passed = register(), register()
    assert f"audit check {passed.ref}" in hint(passed.ref)
    audit.set_policy("happy", parse_policy({"roc_auc": ">= 0.999", "approvals": 1}, (), "happy", "person"))
    audit.check(failed.ref)
    assert "audit approve" not in hint(failed.ref)
    assert "loop candidate" in hint(failed.ref)
    audit.set_policy("happy", parse_policy({"roc_auc": ">= 0.5", "approvals": 1}, (), "happy", "person"))
    audit.check(passed.ref)
    assert f"audit approve {passed.ref}" in hint(passed.ref)
    registry.move(passed.ref, "retired", "old")
    assert "registry versions happy" in hint(passed.ref)


def test_how_a_deployment_answers_is_a_revision_that_its_server_follows_and_others_keep(
    store: Store, deploy: DeployService, approved: Register
) -> None:
    first, second = approved(), approved()
    found = deploy.deploy("happy", first.ref, serving=Serving(durability="1s"))
    assert found.serving == Serving(durability="1s")
    size = store.ledger.size()
    assert deploy.configure("happy", Serving(durability="1s")) == found  # nothing new, so no revision
    assert store.ledger.size() == size

    wanted = Serving(durability="fsync", concurrent=8, stale_after_s=90 * 86_400)
    configured = deploy.configure("happy", wanted)
    assert (configured.pid, configured.routes, configured.serving) == (found.pid, found.routes, wanted)
    told = "durability 1s -> fsync, stale after - -> 90 days, concurrent - -> 8"
    last = deploy.revisions("happy")[-1]
    assert (last.reason, last.changes, last.serving) == (f"configured: {told}", told, wanted)
    event = store.ledger.events()[-1]
    assert (event.kind, event.data["reason"]) == ("deployment.changed", f"configured: {told}")
    with urllib.request.urlopen(f"{found.url}/-/status", timeout=10) as answer:
        assert json.loads(answer.read())["serving"]["concurrent"] == 8

    for step in (
        lambda: deploy.deploy("happy", second.ref, canary=0.5),
        lambda: deploy.promote("happy"),
        lambda: deploy.rollback("happy"),
    ):
        assert step().serving == wanted
    assert [revision.changes for revision in deploy.revisions("happy")[2:]] == ["", "", ""]
    again = deploy.deploy("happy", first.ref, serving=Serving(batch_rows=5))
    assert (again.serving, [r.model for r in again.routes]) == (Serving(batch_rows=5), [first.ref])


def test_what_cannot_be_is_refused_before_anything_changes(
    store: Store, deploy: DeployService, approved: Register
) -> None:
    deploy.deploy("happy", approved().ref)
    size = store.ledger.size()
    for wrong in (Serving(batch_rows=0), Serving(durability="never")):  # type: ignore[arg-type]
        with pytest.raises(Invalid, match="cannot answer so"):
            deploy.configure("happy", wrong)
    with pytest.raises(NotFound):
        deploy.configure("sad", Serving())
    assert store.ledger.size() == size
    assert len(deploy.revisions("happy")) == 1


def test_a_canary_of_another_column_is_refused_before_anything_is_written(
    deploy: DeployService, approved: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = approved(), approved()
    deploy.deploy("happy", first.ref)
    known = RegistryService.bundle

    def another(self: RegistryService, version: str) -> Any:
        found = known(self, version)
        return msgspec.structs.replace(found, target="rich") if version == second.ref else found

    monkeypatch.setattr(RegistryService, "bundle", another)
    with pytest.raises(Invalid, match=r"predicts 'happy' and model:happy@2 predicts 'rich'"):
        deploy.deploy("happy", second.ref, canary=0.2)
    assert len(deploy.revisions("happy")) == 1
