"""The verdict: what each state of knowledge leads to, and how often chance alone leads to a retraining."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.core.errors import Invalid
from interlock.monitor.verdict import Standard, Verdict, WindowFacts, _episode, decide, drift_alpha

STANDARD = Standard(auc=0.783, auc_se=0.006)
SE = 0.0225


def window(name: str, auc: float | None = None, *, drift: str = "none", labels: int = 500) -> WindowFacts:
    reason = "AGEP: 40% of rows outside the reference range 18..54" if drift == "alarm" else ""
    return WindowFacts(
        name=name, drift=drift, reason=reason, labels=labels if auc else 0, auc=auc, auc_se=SE * math.sqrt(500 / labels)
    )


def test_calm_windows_keep_the_model() -> None:
    verdict = decide([window("2016-01", 0.79), window("2016-02", 0.77)], STANDARD)
    assert (verdict.action, verdict.auc, verdict.windows, verdict.since) == ("keep", 0.77, ("2016-02",), "")
    assert (
        verdict.reason
        == "No drift beyond chance; ROC AUC 0.770 on 500 labels of 2016-02; an alarm needs it surely below 0.767."
    )


@pytest.mark.parametrize(
    ("windows", "standard", "reason"),
    [
        ([], STANDARD, "No windows yet."),
        ([window("2016-01")], STANDARD, "No drift beyond chance; no labels yet."),
        ([window("2016-01", 0.5)], Standard(), "No drift beyond chance; no quality to hold it against."),
    ],
)
def test_nothing_known_keeps_the_model(windows: list[WindowFacts], standard: Standard, reason: str) -> None:
    assert (decide(windows, standard).action, decide(windows, standard).reason) == ("keep", reason)


def test_drift_alone_waits_for_labels() -> None:
    verdict = decide([window("2016-12", 0.79), window("2017-01", drift="alarm")], STANDARD)
    assert (verdict.action, verdict.since, verdict.auc) == ("wait for labels", "2017-01", None)
    assert verdict.reason == (
        "Drift since 2017-01 (AGEP: 40% of rows outside the reference range 18..54); no labels of these windows yet."
    )


def test_a_warning_is_no_alarm() -> None:
    assert decide([window("2017-01", drift="warn")], STANDARD).action == "keep"


def test_drift_without_any_standard_waits_and_says_why() -> None:
    verdict = decide([window("2017-01", 0.6, drift="alarm")], Standard())
    assert verdict.action == "wait for labels"
    assert "nothing says how good is good enough" in verdict.reason


def test_labels_pool_until_they_decide() -> None:
    months = [window(f"2017-0{i}", auc, drift="alarm") for i, auc in enumerate((0.772, 0.688, 0.721), start=1)]
    verdicts = [decide([window("2016-12", 0.801), *months[:k]], STANDARD) for k in (1, 2, 3)]
    assert [v.action for v in verdicts] == ["wait for labels", "wait for labels", "retrain"]
    assert "too close to the limit" in verdicts[0].reason
    assert "more labels would, should it stay so" in verdicts[1].reason
    assert verdicts[2].labels == 1500
    assert verdicts[2].auc == pytest.approx((0.772 + 0.688 + 0.721) / 3)
    assert verdicts[2].bound is not None
    assert verdicts[2].bound < verdicts[2].limit == pytest.approx(0.783 * 0.98)
    assert "it does harm" in verdicts[2].reason


def test_the_number_of_labels_asked_for_is_enough() -> None:
    verdict = decide([window("2017-01", 0.72, drift="alarm")], STANDARD)
    assert verdict.action == "wait for labels"
    more = int(verdict.reason.rsplit("about ", 1)[1].split()[0])
    assert decide([window("2017-01", 0.72, drift="alarm", labels=500 + more)], STANDARD).action == "retrain"
    assert decide([window("2017-01", 0.72, drift="alarm", labels=480 + more)], STANDARD).action == "wait for labels"


def test_windows_before_the_episode_do_not_dilute_it() -> None:
    calm = [window(f"2016-{i:02}", 0.80) for i in range(1, 13)]
    assert decide([*calm, window("2017-01", 0.60, drift="alarm")], STANDARD).windows == ("2017-01",)


def test_drift_that_does_no_harm_keeps_the_model() -> None:
    verdict = decide([window("2017-01", 0.80, drift="alarm", labels=5000)], STANDARD)
    assert (verdict.action, verdict.since) == ("keep", "2017-01")
    assert "without harm" in verdict.reason


def test_an_episode_ends_after_two_calm_windows() -> None:
    alarm, calm = window("a", 0.78, drift="alarm"), window("c", 0.78)
    assert [len(_episode(w)) for w in ([alarm], [alarm, calm], [alarm, calm, calm], [alarm, calm, calm, alarm])] == [
        1,
        2,
        0,
        1,
    ]
    assert len(_episode([alarm, calm, alarm, calm])) == 4


def test_quality_that_falls_without_drift_is_found() -> None:
    sudden = decide([window("2016-01", 0.79), window("2016-02", 0.66)], STANDARD)
    assert (sudden.action, sudden.windows, sudden.since) == ("retrain", ("2016-02",), "")
    slow = [window(f"2016-{i:02}", 0.725) for i in range(1, 13)]
    assert decide(slow[:1], STANDARD).action == "keep"
    verdict = decide(slow, STANDARD)
    assert (verdict.action, len(verdict.windows)) == ("retrain", 12)


def test_windows_whose_labels_are_late_are_skipped() -> None:
    late = [window("2016-01", 0.66), window("2016-02"), window("2016-03")]
    assert decide(late, STANDARD).windows == ("2016-01",)


def test_a_floor_holds_whatever_the_reference() -> None:
    facts = [window("2017-01", 0.70, drift="alarm", labels=3000)]
    poor = Standard(auc=0.67, auc_se=0.006)
    assert decide(facts, poor).action == "keep"
    floored = msgspec.structs.replace(poor, at_least=0.73)
    assert (floored.limit, floored.limit_se) == (0.73, 0.0)
    assert decide(facts, floored).action == "retrain"
    assert Standard(auc=0.783, at_least=0.73).limit == pytest.approx(0.783 * 0.98)
    assert Standard(at_least=0.73).limit == 0.73


def test_a_reference_that_is_not_well_known_decides_less() -> None:
    facts = [window("2017-01", 0.70, drift="alarm", labels=1000)]
    assert decide(facts, Standard(auc=0.783, auc_se=0.005)).action == "retrain"
    assert decide(facts, Standard(auc=0.783, auc_se=0.04)).action == "wait for labels"


@pytest.mark.parametrize("wrong", [{"false_alarms": 0.0}, {"false_alarms": 1.0}, {"windows": 0}, {"tolerance": 1.0}])
def test_what_is_no_standard(wrong: dict[str, float]) -> None:
    with pytest.raises(Invalid, match="needs false_alarms"):
        Standard(**wrong)


def test_the_year_shares_its_budget() -> None:
    assert drift_alpha(0.01) * 12 == pytest.approx(0.005)
    assert drift_alpha(0.01, 52) * 52 == pytest.approx(0.005)


def years(false_alarms: float, auc: float, drifts: float, looks: int, seed: int = 0) -> int:
    """Return in how many of many years without a cause for it a model of this true quality is retrained."""
    rng = np.random.default_rng(seed)
    standard = Standard(auc=0.78, auc_se=1e-9, tolerance=0.0, false_alarms=false_alarms)
    retrained = 0
    for _ in range(looks):
        aucs, alarms = rng.normal(auc, SE, 12), rng.random(12) < drifts
        facts = [
            window(str(i), a, drift="alarm" if d else "none") for i, (a, d) in enumerate(zip(aucs, alarms, strict=True))
        ]
        retrained += any(decide(facts[: k + 1], standard).action == "retrain" for k in range(12))
    return retrained


def test_years_without_a_change_keep_to_the_budget() -> None:
    looks, share = 400, 0.2
    wrong = years(share, 0.78, drift_alpha(share), looks)
    assert 0 < wrong <= scipy.stats.binom.isf(0.001, looks, share)


def test_years_of_harm_are_found() -> None:
    assert years(0.01, 0.72, 0.0, 60) > 50
    assert years(0.01, 0.72, 1.0, 60) == 60


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["none", "warn", "alarm"]), st.none() | st.floats(0.05, 0.99), st.integers(1, 5000)),
        max_size=20,
    ),
    st.none() | st.floats(0.5, 0.99),
    st.none() | st.floats(0.5, 0.99),
)
def test_every_verdict_follows_from_what_is_known(
    rows: list[tuple[str, float | None, int]], auc: float | None, floor: float | None
) -> None:
    facts = [window(str(i), value, drift=drift, labels=n) for i, (drift, value, n) in enumerate(rows)]
    verdict = decide(facts, Standard(auc=auc, auc_se=0.01, at_least=floor))
    assert msgspec.json.decode(msgspec.json.encode(verdict), type=Verdict) == verdict
    assert verdict.reason.endswith(".")
    if verdict.action == "retrain":
        assert verdict.auc is not None
        assert verdict.limit is not None
        assert verdict.auc < verdict.bound < verdict.limit
    if verdict.action == "wait for labels":
        assert verdict.since
    if not any(drift == "alarm" for drift, _, _ in rows):
        assert verdict.action != "wait for labels"
