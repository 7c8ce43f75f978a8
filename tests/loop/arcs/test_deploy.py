"""The arc `deploy`: what an approval puts to work, and what a repetition leaves alone."""

from __future__ import annotations

import pytest

from interlock.core.bundles import Serving
from interlock.core.errors import Finding
from interlock.deploy.process import ProcessTarget
from interlock.loop.arcs.deploy import deploy

GOLDEN = ", its golden requests having passed in a fresh process"


def approval(world, version: int):
    moved = world.events("model_version.moved", subject=f"model:happy@{version}")
    return next(event for event in moved if (event.data or {})["stage"] == "approved")


def test_the_first_version_takes_all_the_traffic(serving) -> None:
    assert serving.routes() == [(1, 1.0)]
    job = serving.job("deploy")
    assert (job.status, job.target, job.reason) == (
        "done",
        "happy",
        "model:happy@1 takes 100% of deployment:happy" + GOLDEN,
    )
    assert serving.version(1).aliases == ("champion",)
    assert serving.context.monitor.show("happy").model == "model:happy@1"


@pytest.mark.parametrize(
    ("rule", "told"),
    [("golden_none", ", tried in a fresh process"), ("package", GOLDEN)],
)
def test_what_was_not_proved_is_known_by_its_rule(
    applied, monkeypatch: pytest.MonkeyPatch, rule: str, told: str
) -> None:
    found = (Finding(rule, "No golden requests came with it, says somebody."),)
    monkeypatch.setattr("interlock.deploy.service.try_version", lambda *_: found)
    applied.candidate()
    applied.sign(1)
    applied.turn()
    assert applied.job("deploy").reason == "model:happy@1 takes 100% of deployment:happy" + told
    assert applied.context.deploy.show("happy").warnings == found


def test_the_next_one_is_a_canary_of_the_share_that_the_file_says(trial) -> None:
    assert trial.routes() == [(1, 0.8), (2, 0.2)]
    assert trial.job("deploy").reason == "model:happy@2 takes 20% of deployment:happy" + GOLDEN
    assert [trial.version(number).stage for number in (1, 2)] == ["deployed", "deployed"]
    assert trial.context.monitor.show("happy").model == "model:happy@1"


def test_what_was_sent_back_meanwhile_is_not_deployed(rival) -> None:
    rival.sign(2)
    rival.context.audit.refuse("model:happy@2", "not this one")
    turn = rival.turn()
    assert "deploy happy: declined, model:happy@2 is 'development' by now" in turn.jobs
    assert rival.routes() == [(1, 1.0)]


def test_a_champion_that_is_deployed_again_does_not_become_its_own_challenger(serving) -> None:
    outcome = deploy(serving.context, "happy", approval(serving, 1), "job:again")
    assert (outcome.status, outcome.reason) == ("done", "model:happy@1 takes 100% of deployment:happy")
    assert serving.routes() == [(1, 1.0)]
    assert serving.context.deploy.show("happy").live


def test_a_first_deployment_that_was_interrupted_is_taken_up_again(applied, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    applied.candidate()
    applied.sign(1)
    with monkeypatch.context() as patch:
        patch.setattr(ProcessTarget, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            applied.turn()
    assert applied.job("deploy").status == "running"
    applied.free_jobs()
    turn = applied.turn()
    assert turn.healed == ("deployment:happy",)
    assert (applied.job("deploy").status, applied.job("deploy").attempts) == ("done", 2)
    assert applied.routes() == [(1, 1.0)]
    assert applied.context.deploy.show("happy").revision == 1


SAID = '\n[deployment.happy.serving]\ndurability = "1s"\nstale_after = "90 days"\n'
TOLD = Serving(durability="1s", stale_after_s=90 * 86_400)


def say(world, text: str) -> list[tuple[str, str]]:
    path = world.store.project / "interlock.toml"
    path.write_text(path.read_text() + text)
    return [(change.action, change.detail) for change in world.loop.apply() if change.what == "deployment:happy"]


def test_the_first_version_answers_as_the_file_says(applied) -> None:
    assert say(applied, SAID) == [("none", "when it is deployed: durability 1s, stale after 90 days")]
    applied.candidate()
    applied.turn()
    applied.sign(1)
    applied.turn()
    assert applied.context.deploy.show("happy").serving == TOLD
    assert len(applied.context.deploy.revisions("happy")) == 1


def test_a_deployment_follows_the_file_and_what_it_does_not_say_is_left_alone(serving) -> None:
    serving.context.deploy.configure("happy", Serving(concurrent=3))
    assert say(serving, "") == []
    assert serving.context.deploy.show("happy").serving == Serving(concurrent=3)
    assert say(serving, SAID) == [("update", "durability 1s, stale after 90 days")]
    assert serving.context.deploy.show("happy").serving == TOLD
    assert say(serving, "") == [("none", "durability 1s, stale after 90 days")]
    assert [revision.revision for revision in serving.context.deploy.revisions("happy")] == [1, 2, 3]
