"""The arc of canaries: live evidence promotes or rolls back, and too little of it waits."""

from __future__ import annotations

from interlock.loop.arcs.canary import ENOUGH


def answered(world, count: int = 600, month: int = 1):
    """Let both versions answer for new people from the first of a month on; return these people."""
    people = world.draw(10_000 * month, count)
    world.scored(month, people.head(count * 4 // 5))
    world.scored(month, people.tail(count // 5), version=2)
    return people


def test_nothing_is_decided_before_the_challenger_has_answered(trial) -> None:
    trial.scored(1, trial.people)
    trial.told(trial.people)
    turn = trial.turn("2027-01-01")
    assert (turn.decisions, turn.wrong) == ((), ())
    assert trial.routes() == [(1, 0.8), (2, 0.2)]


def test_the_watch_must_be_over_and_labels_must_be_there(trial) -> None:
    people = answered(trial)
    trial.told(people.tail(ENOUGH - 1))
    assert trial.turn("2026-01-31").decisions == ()
    assert trial.turn("2026-02-01").decisions == ()
    trial.told(people)
    assert trial.turn("2026-01-31").decisions == ()
    assert trial.routes() == [(1, 0.8), (2, 0.2)]


def test_a_better_challenger_is_promoted_and_watched_from_the_next_window_on(trial) -> None:
    people = answered(trial)
    trial.told(trial.turned(people))
    turn = trial.turn("2026-02-01")
    (decision,) = turn.decisions
    assert decision.startswith("model:happy@2 promoted on 600 labelled requests since 2026-01-01: ROC AUC 0.")
    assert turn.wrong == ()
    assert trial.routes() == [(2, 1.0)]
    assert trial.version(2).aliases == ("champion",)
    assert trial.version(1).stage == "approved"
    reason = trial.context.deploy.revisions("happy")[-1].reason
    assert reason == f"promoted: {decision.partition(' promoted ')[2]}"
    # what the old champion did wrong was told before it was replaced, and needs no new challenger
    assert trial.job("retrain").reason == "model:happy@1 has been replaced by model:happy@2"
    assert trial.versions() == [1, 2]
    assert trial.context.monitor.show("happy").model == "model:happy@2"
    trial.scored(2, trial.draw(30_000, 200), version=2)
    turn = trial.turn("2026-03-01")
    assert [line.partition(":")[2].split(":")[0] for line in turn.windows] == ["happy@2 2026-02"]
    assert turn.decisions == ()


def test_a_worse_one_is_rolled_back_and_the_champion_stays_watched(trial) -> None:
    trial.told(answered(trial))
    turn = trial.turn("2026-02-01")
    (decision,) = turn.decisions
    assert decision.startswith("model:happy@2 rolled back on 600 labelled requests")
    assert trial.routes() == [(1, 1.0)]
    assert trial.version(1).aliases == ("champion",)
    assert (trial.version(2).stage, trial.version(2).aliases) == ("approved", ())
    assert trial.context.monitor.show("happy").model == "model:happy@1"
    after = trial.turn("2026-02-02")  # and does not come back by itself
    assert (after.decisions, after.jobs, trial.routes()) == ((), (), [(1, 1.0)])


def test_a_decision_that_cannot_be_made_now_is_told_and_made_later(trial) -> None:
    trial.told(answered(trial))
    with trial.damaged(trial.serving_part(2)):
        turn = trial.turn("2026-02-01")
    assert turn.decisions == ()
    assert len(turn.windows) == 1  # the champion was looked at all the same
    (wrong,) = turn.wrong
    assert wrong.startswith("deployment:happy: Object")
    turn = trial.turn("2026-02-01")
    assert (len(turn.decisions), turn.wrong) == (1, ())
