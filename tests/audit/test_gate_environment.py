"""The gate `environment`."""

from __future__ import annotations

import msgspec
import polars as pl
import pytest

from interlock.audit.evidence import GateResult
from interlock.audit.gates.environment import EnvironmentGate
from interlock.audit.policy import Policy
from interlock.core.errors import Finding
from interlock.track.environment import Environment, environment

HERE = environment()
FRAME = pl.DataFrame({"x": [1.0], "y": [1]})
GOOD = {"training_environment": HERE, "present_environment": HERE, "preflight": {"ok": True, "findings": []}}


def judge(evidence, **known) -> GateResult:
    """Return what the gate says about a version trained and served here."""
    return EnvironmentGate().run(evidence(FRAME, inputs=["x"], **GOOD | known), Policy())


def without(name: str, version: str = "") -> Environment:
    """Return this environment without a package, or with another version of it."""
    packages = {key: value for key, value in HERE.packages.items() if key != name}
    return msgspec.structs.replace(HERE, packages=packages | ({name: version} if version else {}))


def test_the_same_environment_passes(evidence) -> None:
    result = judge(evidence)
    assert (result.status, result.findings, result.warnings) == ("passed", (), ())
    serving = {fact["package"]: fact for fact in result.facts["packages"]}
    assert serving["onnxruntime"]["trained"] == serving["onnxruntime"]["present"] == HERE.packages["onnxruntime"]
    assert result.facts["agreement"]["rows"] == 100


@pytest.mark.parametrize(
    ("known", "rule", "message"),
    [
        (
            {"training_environment": without("numpy", "1.0")},
            "version",
            f"numpy is {HERE.packages['numpy']} here and was 1.0 in training.",
        ),
        ({"present_environment": without("onnxruntime")}, "missing_package", "onnxruntime is not installed here"),
        ({"training_environment": without("onnxruntime")}, "not_recorded", "does not say which onnxruntime"),
        ({"training_environment": None}, "not_recorded", "The training environment was not recorded."),
        ({"present_environment": None}, "not_recorded", "The present environment was not recorded."),
        ({"preflight": None}, "preflight", "No fresh process was asked"),
        ({"preflight": {"ok": False}}, "preflight", "did not agree"),
        ({"preflight": {}}, "preflight", "did not agree"),
        ({"preflight": {"ok": False, "findings": [Finding("golden", "3 rows differ")]}}, "golden", "3 rows differ"),
        (
            {"preflight": {"ok": False, "findings": [{"rule": "golden", "message": "3 rows differ", "rows": [1]}]}},
            "golden",
            "3 rows differ",
        ),
        ({"preflight": {"ok": True, "versions": {"onnxruntime": "1.0"}}}, "version", "onnxruntime is 1.0 here"),
    ],
)
def test_what_would_serve_otherwise_fails(evidence, known, rule: str, message: str) -> None:
    result = judge(evidence, **known)
    assert result.status == "failed"
    (finding,) = result.findings
    assert finding.rule == rule
    assert message in finding.message


@pytest.mark.parametrize(
    "trained",
    [without("scikit-learn", "1.0"), msgspec.structs.replace(HERE, python="3.4.1")],
    ids=["package", "python"],
)
def test_what_matters_for_training_again_warns(evidence, trained: Environment) -> None:
    result = judge(evidence, training_environment=trained)
    assert result.status == "passed"
    assert len(result.warnings) == 1
    assert "in training" in result.warnings[0].message


@pytest.mark.parametrize("change", [{"rows": 0}, {"max_difference": 0.1}, {"max_difference": float("nan")}])
def test_two_forms_that_were_not_shown_to_agree_fail(evidence, change) -> None:
    made = evidence(FRAME, inputs=["x"], **GOOD)
    agreement = msgspec.structs.replace(made.bundle.agreement, **change)
    bundle = msgspec.structs.replace(made.bundle, agreement=agreement)
    result = EnvironmentGate().run(type(made)(bundle, FRAME, made.scores, made.labels, **GOOD), Policy())
    assert [finding.rule for finding in result.findings] == ["agreement"]


def test_packages_are_compared_by_the_rule_of_a_trial(evidence) -> None:
    numpy, engine = HERE.packages["numpy"], HERE.packages["onnxruntime"]
    assert judge(evidence, training_environment=without("numpy", f"{numpy}+abc")).status == "passed"
    trained = without("onnxruntime")
    trained = msgspec.structs.replace(trained, packages=trained.packages | {"onnxruntime-gpu": engine})
    result = judge(evidence, training_environment=trained)
    assert result.status == "passed", result.findings
    (fact,) = [fact for fact in result.facts["packages"] if fact["package"].startswith("onnxruntime")]
    assert fact == {"package": "onnxruntime-gpu", "trained": engine, "present": engine}


def test_the_result_is_plain(evidence) -> None:
    result = judge(evidence, preflight={"ok": False, "findings": [Finding("golden", "3 rows differ", rows=(1,))]})
    assert msgspec.json.decode(msgspec.json.encode(result), type=GateResult).status == "failed"
