"""The gate `metric`."""

from __future__ import annotations

import msgspec
import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from interlock.audit.evidence import GateResult
from interlock.audit.gates.metric import MetricGate
from interlock.audit.policy import METRICS, parse_policy

RNG = np.random.default_rng(0)
LABELS = (RNG.random(2000) < 0.5).astype(np.int8)
SCORES = 1 / (1 + np.exp(-(LABELS - 0.5 + RNG.normal(size=2000))))
AUC = roc_auc_score(LABELS, SCORES)
ROWS = pl.DataFrame({"y": LABELS})


def judge(evidence, **bounds: str) -> GateResult:
    """Return what the gate says about the scores."""
    return MetricGate().run(evidence(ROWS, SCORES), parse_policy(bounds))


def test_a_bound_that_holds_passes(evidence) -> None:
    result = judge(evidence, roc_auc=">= 0.7", brier="<= 0.24")
    assert (result.gate, result.status, result.findings, result.warnings) == ("metric", "passed", (), ())
    brier, auc = result.facts["metrics"]
    assert (brier["metric"], auc["metric"]) == ("brier", "roc_auc")
    assert auc["value"] == pytest.approx(AUC, abs=1e-12)
    assert auc["low"] < auc["value"] < auc["high"]
    assert (auc["threshold"], auc["method"], result.facts["rows"]) == (0.7, "DeLong", 2000)
    assert result.summary.endswith("roc_auc 0.7704 (>= 0.7) on 2,000 rows.")


def test_a_bound_that_is_missed_fails_with_figures(evidence) -> None:
    result = judge(evidence, roc_auc=">= 0.9", accuracy=">= 0.5")
    assert result.status == "failed"
    (finding,) = result.findings
    assert finding.message == (
        "roc_auc is 0.7704 (90% interval 0.7529 to 0.7869), at least 0.9 is asked on 2,000 rows."
    )
    assert finding.count == 2000


@pytest.mark.parametrize(("name", "operator"), [("roc_auc", ">="), ("log_loss", "<=")])
def test_the_point_decides_and_a_bound_inside_the_interval_is_told(evidence, name: str, operator: str) -> None:
    (fact,) = judge(evidence, **{name: f"{operator} 0"}).facts["metrics"]
    worse = (fact["value"] + fact["low" if operator == ">=" else "high"]) / 2
    better = (fact["value"] + fact["high" if operator == ">=" else "low"]) / 2
    close = judge(evidence, **{name: f"{operator} {worse!r}"})
    assert close.status == "passed"
    assert [finding.rule for finding in close.warnings] == ["interval_crosses"]
    assert "2,000 rows cannot be sure" in close.warnings[0].message
    missed = judge(evidence, **{name: f"{operator} {better!r}"})
    assert missed.status == "failed"
    assert missed.warnings == ()


def test_a_bound_met_exactly_holds(evidence) -> None:
    rows = pl.DataFrame({"y": [0, 1] * 40})
    scores = [0.1, 0.9, 0.1, 0.9, 0.1, 0.9, 0.1, 0.1] * 10
    result = MetricGate().run(evidence(rows, scores), parse_policy({"accuracy": ">= 0.875"}))
    assert result.facts["metrics"][0]["value"] == 0.875
    assert result.status == "passed"


def test_one_label_alone_fails(evidence) -> None:
    rows = pl.DataFrame({"y": [1] * 50})
    result = MetricGate().run(evidence(rows), parse_policy({"roc_auc": ">= 0.1"}))
    assert result.status == "failed"
    assert result.findings[0].message == "roc_auc cannot be calculated: all 50 rows have the same label."


def test_no_bound_does_not_apply(evidence) -> None:
    assert judge(evidence).status == "not applicable"


def test_every_metric_can_be_asked_and_the_result_is_plain(evidence) -> None:
    bounds = {name: ">= 0" if better == "larger" else "<= 1" for name, better in METRICS.items()}
    result = judge(evidence, **bounds)
    assert result.status == "passed"
    assert len(result.facts["metrics"]) == len(METRICS)
    assert msgspec.json.decode(msgspec.json.encode(result), type=GateResult) == result
