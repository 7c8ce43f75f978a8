"""The gate `metric`."""

from __future__ import annotations

import msgspec
import numpy as np
import polars as pl
import pytest
from sklearn.metrics import confusion_matrix, precision_score, recall_score, roc_auc_score

from interlock.audit.evidence import Evidence, GateResult
from interlock.audit.gates.fairness import FairnessGate
from interlock.audit.gates.figures import METRICS_OF
from interlock.audit.gates.metric import MetricGate
from interlock.audit.policy import METRICS, parse_policy
from interlock.core.bundles import Agreement, Bundle

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
    result = judge(evidence)
    assert result.status == "not applicable"
    assert [figure["metric"] for figure in result.facts["figures"]] == list(METRICS_OF["two classes"]), "kept anyway"


def test_the_confusion_matrix_is_kept(evidence) -> None:
    found = judge(evidence, roc_auc=">= 0.7").facts["confusion"]
    counts = confusion_matrix(LABELS, SCORES > 0.5)
    assert (found["classes"], found["counts"]) == ([0, 1], counts.tolist())
    positive = found["by_class"][1]
    assert (positive["class"], positive["rows"], positive["chosen"]) == (1, counts[1].sum(), counts[:, 1].sum())
    assert positive["recall"] == pytest.approx(recall_score(LABELS, SCORES > 0.5), abs=1e-12)
    assert positive["recall_low"] < positive["recall"] < positive["recall_high"]
    assert positive["precision"] == pytest.approx(precision_score(LABELS, SCORES > 0.5), abs=1e-12)


def of_three() -> Evidence:
    """Return evidence about a model of three named classes."""
    truth = RNG.integers(0, 3, 300)
    table = np.eye(3)[truth] * 0.4 + RNG.dirichlet([1, 1, 1], 300) * 0.6
    names = ("low", "mid", "top")
    return other("classification", names, pl.DataFrame({"y": [names[i] for i in truth]}), truth, table)


def of_values(*truth: float) -> Evidence:
    """Return evidence about a regression that is off by one in every other row."""
    given = [value + place % 2 for place, value in enumerate(truth)]
    values = np.array(truth)
    return other("regression", (), pl.DataFrame({"y": values}), values, np.array(given)[:, None])


def other(task, classes, rows: pl.DataFrame, truth, table) -> Evidence:
    """Return evidence about a model that has not two classes."""
    bundle = Bundle("sklearn", task, (), "y", classes, {}, Agreement(1, 0.0, 1e-4, 0))
    empty = np.empty(0)
    return Evidence(bundle, rows, empty, empty.astype(np.int8), answers=table, outcomes=truth)


def test_a_model_of_three_classes_is_judged() -> None:
    evidence = of_three()
    result = MetricGate().run(evidence, parse_policy({"roc_auc": ">= 0.6", "f1_macro": ">= 0.99"}))
    (finding,) = result.findings
    assert finding.message.startswith("f1_macro is 0.")
    figures = {figure["metric"]: figure for figure in result.facts["figures"]}
    assert set(figures) == set(METRICS_OF["more classes"])
    wanted = roc_auc_score(evidence.truth, evidence.table, multi_class="ovr")
    assert figures["roc_auc"]["value"] == pytest.approx(wanted, abs=1e-12)
    counts = confusion_matrix(evidence.truth, evidence.table.argmax(axis=1))
    assert result.facts["confusion"]["counts"] == counts.tolist()
    assert result.facts["confusion"]["classes"] == ["low", "mid", "top"]
    assert msgspec.json.decode(msgspec.json.encode(result), type=GateResult) == result


def test_values_are_judged() -> None:
    result = MetricGate().run(
        of_values(*range(1, 41)), parse_policy({"mae": "<= 0.5", "rmse": "<= 0.5", "r2": ">= 0.9"})
    )
    assert [finding.message.split()[0] for finding in result.findings] == ["rmse"]
    assert (result.facts["confusion"], result.facts["kind"]) == (None, "values")
    assert {figure["metric"] for figure in result.facts["figures"]} == set(METRICS_OF["values"])
    assert result.summary.startswith("mae 0.5000 (<= 0.5); r2 0.99")


def test_a_percentage_of_nought_is_told() -> None:
    result = MetricGate().run(of_values(0, 1, 2, 0, 4), parse_policy({"mape": "<= 1e300"}))
    assert "divides by 2.2e-16 in 2 rows whose truth is 0" in result.warnings[-1].message


@pytest.mark.parametrize(
    ("evidence", "bound", "says"),
    [
        (of_three(), {"f1": ">= 0.1"}, "f1 is a metric of two classes, this model has 3 classes: ask for f1_macro or"),
        (of_three(), {"mae": "<= 1"}, "mae is a metric of values, this model has 3 classes: there are roc_auc,"),
        (
            of_values(1, 2),
            {"accuracy": ">= 0.1"},
            "accuracy is a metric of classes, this model gives values: there are mae,",
        ),
        (of_values(3, 3), {"r2": ">= 0.1"}, "r2 cannot be calculated: all 2 rows have the same value."),
        (
            other(
                "classification",
                ("a", "b", "c"),
                pl.DataFrame({"y": ["a", "b"]}),
                np.array([0, 1]),
                np.full((2, 3), 1 / 3),
            ),
            {"roc_auc": ">= 0.1"},
            "roc_auc cannot be calculated: none of 2 rows is of class c.",
        ),
    ],
)
def test_a_metric_that_says_nothing_about_a_model_fails(evidence: Evidence, bound, says: str) -> None:
    result = MetricGate().run(evidence, parse_policy(bound))
    assert result.status == "failed"
    assert says in result.findings[0].message
    assert result.facts["metrics"][0]["shown"] == "undefined"


def test_fairness_is_of_two_classes() -> None:
    result = FairnessGate().run(of_three(), parse_policy({"selection_rate_ratio[y]": ">= 0.1"}))
    assert result.status == "failed"
    assert "has not two" in result.findings[0].message


def test_every_metric_can_be_asked_and_the_result_is_plain(evidence) -> None:
    names = METRICS_OF["two classes"]
    bounds = {name: ">= 0" if METRICS[name] == "larger" else "<= 1" for name in names}
    result = judge(evidence, **bounds)
    assert result.status == "passed"
    assert len(result.facts["metrics"]) == len(names)
    assert msgspec.json.decode(msgspec.json.encode(result), type=GateResult) == result
