"""Whatever is done in whatever order: nothing is approved or champion that was not judged and signed for."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import ClassVar, TypeVar

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from interlock.audit.evidence import Evidence
from interlock.audit.policy import Policy, parse_policy
from interlock.audit.service import AuditService, GateReport
from interlock.core.actor import acting_as
from interlock.core.clock import FixedClock
from interlock.core.errors import Conflict, Denied, NotFound
from interlock.registry.lifecycle import NEXT
from interlock.registry.service import ModelVersion, RegistryService
from interlock.store import Store, create_store
from interlock.store.manifests import put_folder
from interlock.track.records import Start
from interlock.track.service import TrackService

T = TypeVar("T")
VERSIONS = st.sampled_from(["model:happy@1", "model:happy@2"])
ACTORS = st.sampled_from(["user:ann", "user:bob"])
POLICIES = [
    {"roc_auc": ">= 0.99", "approvals": 1},
    {"roc_auc": ">= 0.7", "approvals": 2},
    {"roc_auc": ">= 0.6", "approvals": 1},
]


class Audit(AuditService):
    """Audits whose evidence is gathered once: all versions here have the same bundle."""

    gathered: ClassVar[list[Evidence]] = []

    def _evidence(self, version: ModelVersion) -> Evidence:
        if not self.gathered:
            self.gathered.append(super()._evidence(version))
        return self.gathered[0]


class Life(RuleBasedStateMachine):
    """Two versions of one model, two people, and time that goes on."""

    bundle: ClassVar[Path]

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store: Store = create_store(Path(self.folder.name) / ".interlock")
        self.store.clock = FixedClock(self.store.clock.now())
        self.registry, self.audit = RegistryService(self.store), Audit(self.store)
        bundle = put_folder(self.store.objects, self.bundle)
        for _ in range(2):
            run = TrackService(self.store).start(Start("happy"))
            self.registry.register("happy", run.ref, bundle)
        self.audit.set_policy("happy", self._policy(1))
        self.size = 0

    def teardown(self) -> None:
        assert self.store.ledger.verify().ok
        self._events_tell_a_life()
        self.store.close()
        self.folder.cleanup()

    @rule(number=st.integers(0, 2))
    def change_policy(self, number: int) -> None:
        self.audit.set_policy("happy", self._policy(number))

    @rule(version=VERSIONS)
    def check(self, version: str) -> None:
        before = self.registry.version(version).stage
        report = self._try(lambda: self.audit.check(version))
        assert (report is not None) == (before in {"registered", "environment prepared", "validated", "development"})
        if report is not None:
            stage = self.registry.version(version).stage
            assert stage == ("validated" if report.passed else "development")

    @rule(version=VERSIONS, actor=ACTORS)
    def approve(self, version: str, actor: str) -> None:
        before = self.registry.version(version)
        with acting_as(actor):
            after = self._try(lambda: self.audit.approve(version, "fine"))
        if after is None or (before.stage, after.stage) != ("validated", "approved"):
            return
        policy, report = self.audit.policy("happy"), self.audit.report(version)
        signed = [a for a in self.registry.approvals(version) if self._report(a.report) == report]
        assert len({a.actor for a in signed}) >= policy.approvals
        assert {(a.bundle, a.policy) for a in signed} == {(after.bundle, policy.digest)}
        assert (report.passed, report.bundle, report.policy) == (True, after.bundle, policy.digest)
        now = self.store.clock.now().timestamp() * 1e6
        rows = self.store.database.all("SELECT gate, until FROM waivers WHERE model = 'happy'")
        assert set(report.waived) <= {row["gate"] for row in rows if row["until"] > now}

    @rule(version=VERSIONS)
    def refuse(self, version: str) -> None:
        self._try(lambda: self.audit.refuse(version, "no"))

    @rule(version=VERSIONS, hours=st.integers(1, 3))
    def waive(self, version: str, hours: int) -> None:
        until = self.store.clock.now() + timedelta(hours=hours)
        self.audit.waive(version, "metric", "pilot", until.isoformat())

    @rule(hours=st.integers(1, 4))
    def wait(self, hours: int) -> None:
        self.store.clock = FixedClock(self.store.clock.now() + timedelta(hours=hours))

    @rule(version=VERSIONS, stage=st.sampled_from(["development", "approved", "deployed", "validated"]))
    def move(self, version: str, stage: str) -> None:
        before = self.registry.version(version).stage
        moved = self._try(lambda: self.registry.move(version, stage, "by hand"))  # type: ignore[arg-type]
        assert (moved is not None) == (stage == "development" and (before == stage or stage in NEXT[before]))

    @rule(alias=st.sampled_from(["champion", "challenger", "staging"]), number=st.integers(0, 2))
    def alias(self, alias: str, number: int) -> None:
        self._try(lambda: self.registry.alias("happy", alias, number))

    @invariant()
    def aliases_that_are_earned_point_to_what_is_approved(self) -> None:
        for alias, number in self.registry.model("happy").aliases.items():
            stage = self.registry.version(f"model:happy@{number}").stage
            assert alias == "staging" or stage in {"approved", "deployed"}

    @invariant()
    def the_ledger_only_grows(self) -> None:
        size, self.size = self.size, self.store.ledger.size()
        assert self.size >= size

    def _events_tell_a_life(self) -> None:
        """Every version's stages follow one another as the life cycle says, up to where it stands."""
        for version in self.registry.versions("happy"):
            stage = "created"
            for event in self.store.ledger.events(subject=version.ref, kinds=("model_version.moved",)):
                assert event.data is not None
                assert event.data["origin"] == stage
                assert event.data["stage"] in NEXT[stage]  # type: ignore[index]
                stage = event.data["stage"]
            assert stage == version.stage

    def _report(self, digest: str) -> GateReport:
        return msgspec.json.decode(self.store.objects.get(digest), type=GateReport)

    @staticmethod
    def _policy(number: int) -> Policy:
        return parse_policy(POLICIES[number], (), "happy", "person")

    @staticmethod
    def _try(call: Callable[[], T]) -> T | None:
        try:
            return call()
        except (Conflict, Denied, NotFound):
            return None


def test_no_sequence_of_acts_breaks_the_rules(bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Life, "bundle", bundle_folder, raising=False)
    monkeypatch.setattr(Audit, "gathered", [])
    checks = (HealthCheck.too_slow, HealthCheck.data_too_large)
    few = settings(max_examples=8, stateful_step_count=20, deadline=None, suppress_health_check=checks)
    run_state_machine_as_test(Life, settings=few)
