"""A gate that cannot judge has not been passed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from interlock.audit import judge as judging
from interlock.audit.policy import parse_policy
from interlock.audit.service import AuditService
from interlock.core.errors import Conflict, Unavailable
from interlock.registry.service import ModelVersion, RegistryService
from interlock.store import Store

ENTRY = "[interlock.gate]\nhouse_rule = house_rule_for_test:Gate\n"


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    (folder / "house_rule_for_test.py").write_text(code)
    info = folder / "house_rule-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: house-rule\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY)
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])
    monkeypatch.delitem(sys.modules, "house_rule_for_test", raising=False)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise ImportError('half installed')", "half installed"),
        ("class Gate:\n    def run(self, evidence, policy):\n        raise KeyError('x')", "KeyError"),
        ("Gate = 3", "TypeError"),
    ],
)
def test_a_broken_gate_fails_the_version(
    store: Store,
    register: Callable[[], ModelVersion],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    words: str,
) -> None:
    install(tmp_path, monkeypatch, code)
    audit, version = AuditService(store), register()
    audit.set_policy("happy", parse_policy({"roc_auc": ">= 0.7"}, (), "happy", "person"))
    report = audit.check(version.ref)
    assert not report.passed
    broken = next(r for r in report.results if r.gate == "house_rule")
    assert words in broken.summary
    assert RegistryService(store).version(version.ref).stage == "development"


def test_what_failed_is_told_in_sentences_with_one_full_stop_each(
    store: Store, register: Callable[[], ModelVersion]
) -> None:
    audit, version = AuditService(store), register()
    audit.set_policy("happy", parse_policy({"roc_auc": ">= 0.99", "accuracy": ">= 0.999"}, (), "happy", "person"))
    report = audit.check(version.ref)
    summary = next(r for r in report.results if r.gate == "metric").summary
    assert summary.count("is asked on ") == 2
    stood = RegistryService(store).version(version.ref)
    with pytest.raises(Conflict) as caught:
        audit.approve(version.ref)
    for told in (summary, stood.stage_reason, caught.value.message):
        assert ".." not in told
        assert ".;" not in told


def test_without_any_gate_nothing_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "names", lambda group: [])
    with pytest.raises(Unavailable, match="No gate"):
        judging.judge(None, None)  # type: ignore[arg-type]
