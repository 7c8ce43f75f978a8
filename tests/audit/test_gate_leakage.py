"""The gate `leakage`: planted leaks are found, honest data is left in peace."""

from __future__ import annotations

import msgspec
import numpy as np
import polars as pl
import pytest

from interlock.audit.evidence import GateResult
from interlock.audit.gates.leakage import LeakageGate
from interlock.audit.policy import parse_policy

POLICY = parse_policy({"leakage": "none"}, (), "y", "person")


def people(seed: int = 0, rows: int = 2000) -> pl.DataFrame:
    """Return rows with a label that two honest inputs predict in part."""
    rng = np.random.default_rng(seed)
    pay, age = rng.normal(size=rows), rng.integers(18, 70, rows)
    label = (pay + age / 25 + rng.normal(size=rows) * 2 > 2).astype(int)
    return pl.DataFrame({"person": np.arange(rows) + seed * rows, "pay": pay, "age": age, "y": label})


def judge(evidence, frame: pl.DataFrame, inputs: list[str], **known) -> GateResult:
    """Return what the gate says, with honest scores."""
    known = {"training": people(1), "scores": None} | known
    scores = known.pop("scores")
    if scores is None:
        scores = 1 / (1 + np.exp(-(frame["pay"].to_numpy() + frame["age"].to_numpy() / 25 - 2)))
    return LeakageGate().run(evidence(frame, scores, inputs=inputs, **known), POLICY)


def rules(findings) -> list[tuple[str, str]]:
    """Return rule and column of findings."""
    return [(finding.rule, finding.column) for finding in findings]


@pytest.mark.parametrize("seed", range(5))
def test_honest_data_passes(evidence, seed: int) -> None:
    result = judge(evidence, people(seed + 2), ["pay", "age"])
    assert (result.status, result.findings, result.warnings) == ("passed", (), ())
    assert result.facts["ids"]["shared"] == 0
    assert [fact["input"] for fact in result.facts["inputs"]] == ["pay", "age"]
    assert all(0.5 < fact["low"] < fact["auc"] < fact["high"] < 0.9 for fact in result.facts["inputs"])


@pytest.mark.parametrize(
    "leak",
    [
        pl.col("y"),
        pl.col("y").cast(pl.String),
        pl.col("y") * 1000 + pl.col("pay"),
        pl.when(pl.col("y") == 1).then(pl.col("pay") * 0).otherwise(pl.col("pay").abs() + 1),
        pl.when(pl.col("person") % 100 > 0).then("y").otherwise(0),
    ],
    ids=["label", "text", "number", "two sides", "one in a hundred wrong"],
)
def test_a_leaked_column_fails(evidence, leak: pl.Expr) -> None:
    frame = people().with_columns(leak=leak)
    result = judge(evidence, frame, ["pay", "leak"])
    assert result.status == "failed"
    assert rules(result.findings) == [("single_input", "leak")]
    assert "Input leak alone predicts the label with an AUC of" in result.findings[0].message
    assert "2,000 rows" in result.findings[0].message


def test_a_strong_column_warns(evidence) -> None:
    rng = np.random.default_rng(0)
    frame = people().with_columns(
        strong=pl.when(pl.Series(rng.random(2000)) < 0.05).then(1 - pl.col("y")).otherwise("y")
    )
    result = judge(evidence, frame, ["pay", "strong"])
    assert result.status == "passed"
    assert rules(result.warnings) == [("single_input", "strong")]


def test_a_rare_label_does_not_hide_a_leak(evidence) -> None:
    frame = people(rows=5000).with_columns(y=pl.Series(range(5000)) % 100 == 0).with_columns(pl.col("y").cast(pl.Int8))
    frame = frame.with_columns(leak=pl.col("y") * 50 + pl.col("pay"))
    assert rules(judge(evidence, frame, ["leak", "age"], training=None).findings)[0] == ("single_input", "leak")


def test_filled_for_one_label_only_fails(evidence) -> None:
    frame = people().with_columns(left=pl.when((pl.col("y") == 1) & (pl.col("person") % 4 == 0)).then("age"))
    result = judge(evidence, frame, ["pay", "left"])
    assert ("emptiness", "left") in rules(result.findings)
    assert "is filled in" in result.findings[0].message
    assert "all of them have the label 1" in result.findings[0].message


def test_empty_for_one_label_only_warns(evidence) -> None:
    frame = people().with_columns(job=pl.when((pl.col("y") == 1) | (pl.col("person") % 4 > 0)).then("age"))
    result = judge(evidence, frame, ["pay", "job"])
    assert result.status == "passed"
    assert rules(result.warnings) == [("emptiness", "job")]


def test_empty_by_chance_is_fine(evidence) -> None:
    for seed in range(20):
        holes = pl.Series(np.random.default_rng(seed).random(2000)) < 0.02
        frame = people(seed + 2).with_columns(age=pl.when(~holes).then("age"))
        result = judge(evidence, frame, ["pay", "age"], scores=frame["pay"].to_numpy() / 10 + 0.5)
        assert (result.findings, result.warnings) == ((), ())


def test_filled_for_the_common_label_only_may_be_chance(evidence) -> None:
    frame = people().with_columns(y=pl.int_range(pl.len()) % 10 > 0).with_columns(pl.col("y").cast(pl.Int8))
    few = frame.with_columns(left=pl.when((pl.col("y") == 1) & (pl.col("person") < 45)).then("age"))
    result = judge(evidence, few, ["pay", "left"])  # 40 filled rows, of which 4 with the other label are expected
    assert "emptiness" not in {finding.rule for finding in (*result.findings, *result.warnings)}


def test_people_in_both_sets_fail(evidence) -> None:
    frame = people()
    result = judge(evidence, frame, ["pay"], training=pl.concat([people(1), frame[[5, 7]]]))
    (finding,) = result.findings
    assert (finding.rule, finding.rows, finding.count) == ("shared_ids", (5, 7), 2)
    assert finding.message == (
        "2 of 2,000 rows for evaluation have a person that is also among the 2,002 rows for training."
    )


def test_ids_are_compared_as_texts(evidence) -> None:
    training = people(0).with_columns(pl.col("person").cast(pl.String))
    assert judge(evidence, people(0), ["pay"], training=training).facts["ids"]["shared"] == 2000


@pytest.mark.parametrize("training", [None, people(1).drop("person")])
def test_people_in_both_sets_that_cannot_be_looked_for_are_no_pass(evidence, training) -> None:
    result = judge(evidence, people(), ["pay"], training=training)
    assert result.status == "failed"
    assert rules(result.findings) == [("not_tested", "person")]
    assert "training=... to run.model" in result.findings[0].message


@pytest.mark.parametrize("name", ["person", "y"])
def test_id_and_target_may_not_be_inputs(evidence, name: str) -> None:
    assert ("named_input", name) in rules(judge(evidence, people(), ["pay", name]).findings)


@pytest.mark.parametrize(
    ("column", "found"),
    [
        (pl.Series(range(2000)), True),
        (pl.Series(range(2000)) * 15 + 10**9, True),
        (pl.Series(f"case {n}" for n in range(2000)), True),
        (pl.Series(np.random.default_rng(0).integers(0, 10**7, 2000)), False),
        (pl.Series(np.random.default_rng(0).integers(0, 20_000, 2000)), False),
        (pl.Series(np.random.default_rng(0).normal(size=2000)), False),
        (pl.Series(range(2000)) % 300, False),
    ],
    ids=["numbered", "spread numbers", "texts", "amounts", "years", "floats", "repeating"],
)
def test_what_names_rows_is_told(evidence, column: pl.Series, found: bool) -> None:
    result = judge(evidence, people().with_columns(more=column), ["pay", "more"])
    assert rules(result.warnings) == ([("numbering", "more")] if found else [])


def test_a_score_too_good_is_told(evidence) -> None:
    frame = people()
    perfect = frame["y"].to_numpy() * 0.8 + 0.1
    result = judge(evidence, frame, ["pay"], scores=perfect, training_scores=people(1)["y"].to_numpy() * 0.5)
    assert result.status == "passed"
    assert rules(result.warnings) == [("too_good", "")]
    assert "AUC is 1.0000 on 2,000 rows that it has not seen, as on those that it has (1.0000)" in (
        result.warnings[0].message
    )


def test_training_rows_without_labels_are_no_obstacle(evidence) -> None:
    result = judge(evidence, people(), ["pay"], training=people(1).drop("y"), training_scores=np.full(2000, 0.5))
    assert result.facts["roc_auc"]["training"] is None


def test_leakage_that_nobody_asks_about_does_not_apply(evidence) -> None:
    assert LeakageGate().run(evidence(people(), inputs=["pay"]), parse_policy({})).status == "not applicable"


def test_the_result_is_plain(evidence) -> None:
    frame = people().with_columns(leak=pl.col("y"))
    result = judge(evidence, frame, ["pay", "leak"], training=frame)
    assert msgspec.json.decode(msgspec.json.encode(result), type=GateResult) == result
