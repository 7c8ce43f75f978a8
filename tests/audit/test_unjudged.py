"""What is said of a version without evidence: each gate that its policy asks for has not been passed."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from interlock.audit.judge import GROUP
from interlock.audit.policy import parse_policy
from interlock.audit.unjudged import unjudged
from interlock.core.plugins import load, names

VERSION = SimpleNamespace(ref="model:bought@1")
CODE = """
class Gate:
    def applies(self, policy):
        return policy.approvals > 1

class Plain:
    def run(self, evidence, policy):
        raise AssertionError

class Broken:
    def applies(self, policy):
        raise KeyError("x")
"""
ENTRIES = (
    "[interlock.gate]\nhouse = gates_for_test:Gate\nplain = gates_for_test:Plain\nbroken = gates_for_test:Broken\n"
)


@pytest.fixture
def others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install gates of somebody else's."""
    (tmp_path / "gates_for_test.py").write_text(CODE)
    info = tmp_path / "gates_for_test-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: gates-for-test\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRIES)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "gates_for_test", raising=False)


def statuses(bounds, sensitive=()) -> dict[str, str]:
    found = unjudged(VERSION, parse_policy(bounds, sensitive, "y", "id"))
    assert all((result.status == "failed") == bool(result.findings) for result in found)
    return {result.gate: result.status for result in found}


ALL = {"metric", "fairness", "leakage", "environment", "sensitive_inputs"}


@pytest.mark.parametrize(
    ("bounds", "sensitive", "asked"),
    [
        ({}, (), {"environment"}),
        ({"roc_auc": ">= 0.7"}, (), {"environment", "metric"}),
        ({"leakage": "none"}, (), {"environment", "leakage"}),
        ({}, ("group",), {"environment", "sensitive_inputs"}),
        ({"selection_rate_ratio[group]": ">= 0.8"}, ("group",), {"environment", "sensitive_inputs", "fairness"}),
    ],
)
def test_exactly_the_gates_that_the_policy_asks_for_have_failed(bounds, sensitive, asked) -> None:
    found = statuses(bounds, sensitive)
    assert set(found) == ALL
    assert {gate for gate, status in found.items() if status == "failed"} == asked
    assert set(found.values()) <= {"failed", "not applicable"}


@pytest.mark.usefixtures("others")
def test_a_gate_of_somebody_else_says_itself_whether_it_is_asked_for() -> None:
    mine = {"house": "not applicable", "plain": "failed", "broken": "failed"}
    found = statuses({})
    assert {gate: found[gate] for gate in mine} == mine
    assert statuses({"approvals": 2})["house"] == "failed"


@pytest.mark.parametrize("gate", sorted(ALL - {"environment"}))
def test_a_gate_does_what_it_says(gate: str, evidence) -> None:
    import polars as pl

    assert gate in names(GROUP)
    policy, one = parse_policy({}, (), "y", "id"), load(GROUP, gate)()
    assert not one.applies(policy)
    assert one.run(evidence(pl.DataFrame({"y": [0, 1] * 20})), policy).status == "not applicable"
