"""All gates on real people: the first candidate is held back for its inputs, the second passes."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from interlock.audit.evidence import GateResult, gather
from interlock.audit.policy import parse_policy
from interlock.core.plugins import load_all
from interlock.registry.flavors import build_bundle
from interlock.track.environment import environment

DATA = Path(__file__).parents[2] / "examples/employment/data/employment-2015.parquet"
SENSITIVE = ("SEX", "RAC1P")
GATES = {
    "roc_auc": ">= 0.75",
    "selection_rate_ratio[SEX]": ">= 0.8",
    "selection_rate_ratio[RAC1P]": ">= 0.8",
    "leakage": "none",
    "approvals": 1,
}
POLICY = parse_policy(GATES, SENSITIVE, "employed", "person")


@pytest.fixture(scope="module")
def people() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the people of 2015 aged 18 to 54: those to learn from, and those held out."""
    frame = pl.read_parquet(DATA).filter(pl.col("AGEP").is_between(18, 54))
    held_out = pl.col("person") % 10 < 3
    return frame.filter(~held_out), frame.filter(held_out)


def judge(people, folder: Path, dropped: tuple[str, ...]) -> dict[str, GateResult]:
    """Return what every gate says about a candidate trained without some columns."""
    train, held_out = people
    inputs = train.drop("person", "year", "employed", *dropped)
    codes = [name for name in inputs.columns if name != "AGEP"]
    columns = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), codes), (StandardScaler(), ["AGEP"]))
    estimator = make_pipeline(columns, LogisticRegression(max_iter=500)).fit(inputs, train["employed"].to_numpy())
    bundle = build_bundle(estimator, inputs=inputs, target="employed", evaluation=held_out, folder=folder)
    evidence = gather(
        bundle,
        (folder / "model.onnx").read_bytes(),
        pl.read_parquet(folder / "evaluation.parquet"),
        training=train,
        training_environment=environment(),
        present_environment=environment(),
        preflight={"ok": True, "findings": []},
    )
    return {name: gate().run(evidence, POLICY) for name, gate in load_all("interlock.gate").items()}


@pytest.fixture(scope="module")
def second(people, tmp_path_factory) -> dict[str, GateResult]:
    """Return what the gates say about the candidate without sensitive inputs."""
    return judge(people, tmp_path_factory.mktemp("second"), SENSITIVE)


@pytest.mark.slow
def test_the_first_candidate_is_held_back_for_its_inputs_alone(people, tmp_path) -> None:
    results = judge(people, tmp_path, ())
    assert [name for name, result in results.items() if result.status == "failed"] == ["sensitive_inputs"]
    found = results["sensitive_inputs"].findings
    assert [(finding.rule, finding.column) for finding in found] == [
        ("sensitive_input", "SEX"),
        ("sensitive_input", "RAC1P"),
    ]


@pytest.mark.slow
def test_the_second_candidate_passes_every_gate(second) -> None:
    assert {name: result.status for name, result in second.items()} == dict.fromkeys(
        ["environment", "fairness", "leakage", "metric", "sensitive_inputs"], "passed"
    )
    assert second["metric"].facts["rows"] > 9000
    (auc,) = second["metric"].facts["metrics"]
    assert auc["value"] == pytest.approx(0.77, abs=0.015)


@pytest.mark.slow
def test_weak_proxies_are_told_and_do_not_fail(second) -> None:
    facts = {(fact["input"], fact["sensitive"]): fact for fact in second["sensitive_inputs"].facts["proxies"]}
    assert len(facts) == 28
    assert facts["NATIVITY", "RAC1P"]["auc"] == pytest.approx(0.80, abs=0.02)
    assert facts["RELP", "SEX"]["auc"] < 0.6
    assert {finding.column for finding in second["sensitive_inputs"].warnings} == {"CIT", "NATIVITY", "SCHL"}


@pytest.mark.slow
def test_groups_too_small_to_judge_are_named(second) -> None:
    (warning,) = [finding for finding in second["fairness"].warnings if finding.rule == "not_enough_data"]
    assert warning.column == "RAC1P"
    judged = [group["rows"] >= 30 for group in second["fairness"].facts["bounds"][0]["groups"]]
    assert judged == [group["judged"] for group in second["fairness"].facts["bounds"][0]["groups"]]
