"""The gate `sensitive_inputs`: planted proxies are found, clean columns are left in peace."""

from __future__ import annotations

import msgspec
import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.tree import DecisionTreeClassifier

from interlock.audit.evidence import GateResult
from interlock.audit.gates.sensitive_inputs import FAIL, WARN, SensitiveInputsGate
from interlock.audit.gates.strength import sample, strengths
from interlock.audit.policy import parse_policy

ROWS = 2000


def people(seed: int = 0, rows: int = ROWS) -> pl.DataFrame:
    """Return rows with a sensitive column of two groups, a clean number and a clean category."""
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "sex": rng.integers(1, 3, rows),
            "pay": rng.normal(size=rows),
            "job": rng.choice(list("abcdef"), rows),
            "y": rng.integers(0, 2, rows),
        }
    )


def flipped(column: pl.Series, share: float, seed: int = 1) -> np.ndarray:
    """Return a column of 1 and 2 of which a share is drawn anew."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(len(column)) < share, rng.integers(1, 3, len(column)), column.to_numpy())


def judge(evidence, frame: pl.DataFrame, inputs: list[str], sensitive: tuple[str, ...] = ("sex",)) -> GateResult:
    """Return what the gate says."""
    return SensitiveInputsGate().run(evidence(frame, inputs=inputs), parse_policy({}, sensitive))


def test_clean_inputs_pass(evidence) -> None:
    result = judge(evidence, people(), ["pay", "job"])
    assert (result.status, result.findings, result.warnings) == ("passed", (), ())
    assert {fact["input"] for fact in result.facts["proxies"]} == {"pay", "job"}
    assert all(0.4 < fact["low"] < fact["auc"] < fact["high"] < 0.6 for fact in result.facts["proxies"])


def test_a_sensitive_input_fails_by_name(evidence) -> None:
    result = judge(evidence, people(), ["pay", "sex"])
    assert result.status == "failed"
    (finding,) = result.findings
    assert finding.message == "sex is declared sensitive and is one of the model's 2 inputs."
    assert (finding.rule, finding.column) == ("sensitive_input", "sex")
    assert result.facts["used"] == ["sex"]


def test_a_proxy_with_ten_percent_noise_fails(evidence) -> None:
    frame = people()
    frame = frame.with_columns(zip=pl.Series(flipped(frame["sex"], 0.1)).cast(pl.String) + "0" + pl.col("job"))
    result = judge(evidence, frame, ["pay", "zip"])
    assert result.status == "failed"
    (finding,) = result.findings
    assert (finding.rule, finding.column, finding.count) == ("proxy", "zip", ROWS)
    assert "Input zip alone tells sex=" in finding.message
    assert "with an AUC of 0.9" in finding.message


def test_a_proxy_with_forty_percent_noise_warns(evidence) -> None:
    frame = people().with_columns(club=pl.Series(flipped(people()["sex"], 0.4)))
    result = judge(evidence, frame, ["pay", "club"])
    assert result.status == "passed"
    assert [(finding.rule, finding.column) for finding in result.warnings] == [("proxy", "club")]
    assert WARN <= result.facts["proxies"][0]["auc"] < FAIL


def test_a_number_that_tells_in_the_middle_only_is_found(evidence) -> None:
    frame = people().with_columns(sex=pl.when(pl.col("pay").abs() > 0.67).then(1).otherwise(2))
    result = judge(evidence, frame, ["pay"])
    assert result.facts["proxies"][0]["auc"] > 0.98
    assert result.status == "failed"


def test_a_proxy_of_a_rare_group_is_found_and_a_tiny_group_is_not_judged(evidence) -> None:
    frame = (
        people()
        .with_columns(
            origin=pl.when(pl.int_range(pl.len()) < 40).then(pl.lit("c")).otherwise(pl.lit("a")),
            mark=pl.int_range(pl.len()) < 40,
        )
        .with_columns(origin=pl.when(pl.int_range(pl.len()) >= ROWS - 20).then(pl.lit("b")).otherwise("origin"))
    )
    result = judge(evidence, frame, ["mark", "pay"], ("origin",))
    first = result.facts["proxies"][0]
    assert (first["input"], first["group"]) == ("mark", "c")
    assert first["auc"] > 0.99
    assert result.status == "failed"


def test_emptiness_can_be_a_proxy(evidence) -> None:
    frame = people().with_columns(pay=pl.when(pl.col("sex") == 1).then("pay"))
    assert judge(evidence, frame, ["pay"]).status == "failed"


def test_a_sensitive_column_that_is_not_there_is_not_passed(evidence) -> None:
    result = judge(evidence, people(), ["pay"], ("sex", "race"))
    assert result.status == "failed"
    assert [(finding.rule, finding.column) for finding in result.findings] == [("not_tested", "race")]


def test_nothing_sensitive_does_not_apply(evidence) -> None:
    assert judge(evidence, people(), ["pay"], ()).status == "not applicable"


def test_the_result_is_plain(evidence) -> None:
    result = judge(evidence, people(), ["pay", "job", "sex"])
    assert msgspec.json.decode(msgspec.json.encode(result), type=GateResult) == result


def test_clean_columns_are_left_in_peace() -> None:
    alarms = 0
    for seed in range(100):
        frame, rng = people(seed, 600), np.random.default_rng(seed)
        rare = rng.choice(5, 600, p=[0.6, 0.24, 0.06, 0.06, 0.04])
        many = pl.Series("many", rng.integers(0, 200, 600)).cast(pl.String)
        for column in (frame["pay"], frame["job"], many):
            for codes, groups in ((frame["sex"].to_numpy() - 1, 2), (rare, 5)):
                alarms += any(strength.auc >= WARN for strength in strengths(column, codes, groups))
    assert alarms == 0


@pytest.mark.parametrize("spread", [0.3, 1.0, 3.0])
def test_a_number_has_the_auc_of_scikit_learns_tree(spread: float) -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2, 6000)
    values = np.sin(2 * rng.normal(size=6000)) * spread + codes + rng.normal(size=6000)
    tree = DecisionTreeClassifier(max_depth=3, min_samples_leaf=10, random_state=0)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    want = cross_val_score(tree, values[:, None], codes, cv=folds, scoring="roc_auc").mean()
    (_, strength) = strengths(pl.Series("x", values), codes, 2)
    assert strength.auc == pytest.approx(want, abs=0.01)


def test_a_category_has_the_auc_of_its_shares() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2, 5000)
    flags = np.where(rng.random(5000) < 0.1, 1 - codes, codes)
    (_, strength) = strengths(pl.Series("x", flags), codes, 2)
    assert strength.auc == pytest.approx(roc_auc_score(codes, flags), abs=0.002)


def test_many_rows_are_sampled_the_same_each_time() -> None:
    frame = pl.DataFrame({"a": range(30_000)})
    assert sample(frame).height == 10_000
    assert sample(frame).equals(sample(frame))
    assert sample(frame.head(9)).equals(frame.head(9))
