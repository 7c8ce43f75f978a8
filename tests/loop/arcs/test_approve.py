"""The arc `approve`: what a rule signs for, and what it leaves to a person."""

from __future__ import annotations

from datetime import timedelta

import pytest

from interlock.audit.policy import parse_policy
from interlock.core.actor import acting_as
from interlock.loop.arcs.approve import ENOUGH, RULE, approve


def judge(world, version: int = 2):
    """Return what the rule says about a version."""
    return approve(world.context, "happy", world.validated(version), "job:x")


def test_a_challenger_that_does_better_on_new_truth_is_approved_by_the_rule(rival) -> None:
    rival.scored(1, rival.people)
    rival.told(rival.turned(rival.people))
    rival.turn()
    job = rival.job("approve")
    assert job.status == "done", job.reason
    assert "held-out rows of 2026-01" in job.reason
    (signature,) = rival.context.registry.approvals("model:happy@2")
    assert signature.actor == RULE
    assert signature.note in job.reason
    assert signature.bundle == rival.version(2).bundle
    approved = [e for e in rival.events("approval.given") if e.subject == "model:happy@2"]
    assert [event.actor for event in approved] == [RULE]
    assert rival.routes() == [(1, 0.8), (2, 0.2)]  # and what is approved is deployed in the same turn


def test_one_that_does_worse_waits_for_a_person(rival) -> None:
    rival.scored(1, rival.people)
    rival.told(rival.people)
    outcome = judge(rival)
    assert outcome.status == "declined"
    assert "not better" in outcome.reason
    assert rival.version(2).stage == "validated"


def test_the_same_again_is_not_better(rival) -> None:
    rival.candidate()
    rival.scored(1, rival.people)
    rival.told(rival.people)
    assert "not better" in judge(rival, 3).reason


def test_the_newest_labelled_month_decides(rival) -> None:
    rival.scored(1, rival.people)
    rival.scored(2, rival.draw(5000, 10))  # nobody knows the truth of this month
    rival.told(rival.turned(rival.people))
    outcome = judge(rival)
    assert (outcome.status, "2026-01" in outcome.reason) == ("done", True)


def test_few_rows_decide_nothing_and_fewer_than_fifty_are_few(rival) -> None:
    from interlock.train.helpers import holdout

    held_out = holdout(rival.people, by="person", share=0.25)[1]
    rival.scored(1, held_out.head(ENOUGH - 1))
    rival.told(rival.turned(rival.people))
    outcome = judge(rival)
    assert outcome.status == "declined"
    assert f"only {ENOUGH - 1} rows" in outcome.reason
    rival.scored(1, held_out.slice(ENOUGH - 1, 1))
    assert judge(rival).status == "done"


def test_rows_that_the_challenger_has_learned_from_do_not_count(rival) -> None:
    from interlock.train.helpers import holdout

    rival.scored(1, holdout(rival.people, by="person", share=0.25)[0])
    rival.told(rival.turned(rival.people))
    assert "no labelled rows" in judge(rival).reason


def test_without_labels_a_person_decides(rival) -> None:
    rival.scored(1, rival.people)
    assert "no labelled rows" in judge(rival).reason


def test_a_waived_gate_is_nothing_that_a_rule_answers_for(rival) -> None:
    audit = rival.context.audit
    audit.set_policy(
        "happy", parse_policy({"roc_auc": ">= 0.99", "leakage": "none", "approvals": 1}, ("group",), "happy", "person")
    )
    assert not audit.check("model:happy@2").passed
    until = (rival.store.clock.now() + timedelta(days=1)).isoformat()
    audit.waive("model:happy@2", "metric", "we know why", until)
    assert audit.check("model:happy@2").waived == ("metric",)
    rival.scored(1, rival.people)
    rival.told(rival.turned(rival.people))
    outcome = judge(rival)
    assert outcome.status == "declined"
    assert "waived" in outcome.reason
    assert rival.context.registry.approvals("model:happy@2") == []


def test_the_first_version_has_nothing_to_be_compared_with(applied) -> None:
    applied.candidate()
    applied.turn()
    job = applied.job("approve")
    assert job.status == "declined"
    assert "no champion" in job.reason
    assert applied.version(1).stage == "validated"


def test_a_version_that_somebody_decided_about_meanwhile_is_left_alone(rival) -> None:
    rival.sign(2)
    outcome = judge(rival)
    assert (outcome.status, "'approved' by now" in outcome.reason) == ("declined", True)
    assert [a.actor for a in rival.context.registry.approvals("model:happy@2")] == ["user:mary"]


def test_where_persons_approve_the_rule_keeps_out(rival) -> None:
    path = rival.store.project / "interlock.toml"
    path.write_text(path.read_text().replace('approve = "better than champion"', 'approve = "person"'))
    rival.loop.apply()
    rival.scored(1, rival.people)
    rival.told(rival.turned(rival.people))
    turn = rival.turn()
    assert [line for line in turn.jobs if line.startswith("approve")] == [
        "approve happy: declined, a person approves this model's versions"
    ]


@pytest.mark.parametrize("signed", [False, True])
def test_where_two_must_sign_the_rule_is_one_of_them(rival, signed: bool) -> None:
    rival.context.audit.set_policy(
        "happy", parse_policy({"roc_auc": ">= 0.65", "leakage": "none", "approvals": 2}, ("group",), "happy", "person")
    )
    rival.context.audit.check("model:happy@2")
    rival.scored(1, rival.people)
    rival.told(rival.turned(rival.people))
    if signed:
        with acting_as("user:joe"):
            rival.context.audit.approve("model:happy@2")
    outcome = judge(rival)
    assert outcome.status == "done"
    assert rival.version(2).stage == ("approved" if signed else "validated")
    assert ("waits for another signature" in outcome.reason) is not signed
