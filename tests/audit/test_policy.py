"""Policies: what gates tables say, and what is wrong with those that say nothing sensible."""

from __future__ import annotations

import contextlib
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.audit.gates import fairness
from interlock.audit.gates.figures import METRICS_OF
from interlock.audit.policy import FAIRNESS, METRICS, Bound, Policy, parse_policy
from interlock.core.errors import Invalid

TABLE = {"roc_auc": ">= 0.75", "selection_rate_ratio[SEX]": ">= 0.8", "leakage": "none", "approvals": 1}


def test_a_table_becomes_a_policy() -> None:
    policy = parse_policy(TABLE, ("SEX", "RAC1P"), "employed", "person")
    assert policy == Policy(
        metrics=(Bound("roc_auc", ">=", 0.75),),
        fairness=(Bound("selection_rate_ratio", ">=", 0.8, "SEX"),),
        leakage=True,
        approvals=1,
        sensitive=("SEX", "RAC1P"),
        target="employed",
        id="person",
    )
    assert [str(bound) for bound in (*policy.metrics, *policy.fairness)] == [
        "roc_auc >= 0.75",
        "selection_rate_ratio[SEX] >= 0.8",
    ]


def test_an_empty_table_asks_for_nothing() -> None:
    assert parse_policy({}) == Policy()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("roc_acu", ">= 0.75", "did you mean 'roc_auc'?"),
        ("selection_rate[SEX]", ">= 0.8", "did you mean 'selection_rate_ratio[COLUMN]'?"),
        ("leakge", "none", "did you mean 'leakage'?"),
        ("zzz", "1", "there are roc_auc, average_precision,"),
        ("selection_rate_ratio", ">= 0.8", 'name their column: "selection_rate_ratio[COLUMN]"'),
        ("selection_rate_ratio[]", ">= 0.8", "there is no gate of this name"),
        ("roc_auc[SEX]", ">= 0.8", "leave [SEX] out"),
        ("roc_auc", "0.75", 'such as ">= 0.8"'),
        ("roc_auc", 1, 'write ">= 1"'),
        ("roc_auc", 0.7, 'write ">= 0.7"'),
        ("brier", 0.2, 'write "<= 0.2"'),
        ("roc_auc", True, "a bound is wanted"),
        ("approvals", 1.5, "a whole number"),
        ("roc_auc", "> 0.75", "a bound is wanted"),
        ("roc_auc", ">= nan", "a bound is wanted"),
        ("roc_auc", "<= 0.75", 'roc_auc is better when larger; write ">= 0.75"'),
        ("log_loss", ">= 0.5", 'log_loss is better when smaller; write "<= 0.5"'),
        ("equalized_odds_difference[SEX]", ">= 0.1", "better when smaller"),
        ("roc_auc", ">= 75", "lies between 0 and 1"),
        ("log_loss", "<= 1e999", "cannot be its bound"),
        ("leakage", "some", 'the only value is "none"'),
        ("approvals", "1", "a whole number from 0 to 20"),
        ("approvals", True, "a whole number"),
        ("approvals", -1, "a whole number"),
    ],
)
def test_what_is_wrong_is_said_with_the_key(key, value, message: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_policy({key: value})
    assert key in caught.value.message
    assert message in caught.value.message
    assert caught.value.code == "policy.invalid"


def test_all_that_is_wrong_is_found_at_once() -> None:
    with pytest.raises(Invalid, match=r"\(1 more\)") as caught:
        parse_policy({"roc_auc": "high", "leakage": "none", "approvals": "two"})
    assert len(caught.value.findings) == 2


def test_the_digest_names_what_is_asked() -> None:
    policy = parse_policy(TABLE, ["SEX"], "y", "id")
    assert policy.digest == parse_policy(dict(reversed(TABLE.items())), ("SEX",), "y", "id").digest
    others = [
        parse_policy(TABLE | {"roc_auc": ">= 0.76"}, ["SEX"], "y", "id"),
        parse_policy(TABLE | {"approvals": 2}, ["SEX"], "y", "id"),
        parse_policy(TABLE, [], "y", "id"),
        parse_policy(TABLE, ["SEX"], "z", "id"),
    ]
    assert len({policy.digest, *(other.digest for other in others)}) == 5


def test_it_is_the_same_after_a_rest_as_bytes() -> None:
    policy = parse_policy(TABLE, ("SEX",), "y", "id")
    read = msgspec.json.decode(msgspec.json.encode(policy), type=Policy)
    assert read == policy
    assert read.digest == policy.digest


@given(st.sampled_from(sorted(METRICS)), st.floats(0, 1), st.floats(0, 1))
def test_bounds_mean_what_they_say(name: str, threshold: float, value: float) -> None:
    operator = ">=" if METRICS[name] == "larger" else "<="
    (bound,) = parse_policy({name: f"{operator} {threshold!r}"}).metrics
    assert bound.threshold == threshold
    assert bound.holds(value) == (value >= threshold if operator == ">=" else value <= threshold)
    assert not bound.holds(math.nan)


@given(st.text(max_size=40), st.one_of(st.text(max_size=20), st.integers()))
def test_no_table_breaks_the_parser(key: str, value) -> None:
    with contextlib.suppress(Invalid):
        parse_policy({key: value})


def test_every_figure_that_can_be_asked_for_can_be_measured() -> None:
    assert {name for names in METRICS_OF.values() for name in names} == set(METRICS)
    assert set(fairness._RATES) == set(FAIRNESS)
