"""The arc `retrain`: from an alarm to a judged challenger, and the reasons why there is none."""

from __future__ import annotations

import polars as pl
import pytest

from interlock.loop.arcs.retrain import gather, retrain
from interlock.registry.service import RegistryService


def changed(world, count: int = 800):
    """Return new people, for whom more income means less happiness, half of them known to the champion; labelled."""
    fresh = world.draw(20_000, count, income=-1.5)
    known = world.people["person"].head(count // 2).append(fresh["person"].tail(count - count // 2))
    rows = fresh.with_columns(person=known)
    world.scored(1, rows)
    world.told(rows)
    return rows


def runs(world, job: str):
    return world.context.track.tagged("job", job)


def test_drift_whose_harm_nobody_knows_trains_nothing(serving) -> None:
    serving.scored(1, serving.draw(9000, 400).with_columns(pl.col("age") + 60))
    turn = serving.turn("2026-02-01")
    (told,) = [line for line in turn.jobs if line.startswith("retrain")]
    assert told.startswith("retrain train: declined, the verdict is 'wait for labels': Drift since 2026-01")
    assert serving.job("retrain").status == "declined"
    assert serving.versions() == [1]
    assert len(serving.context.data.versions("people")) == 1
    assert serving.turn("2026-02-01").jobs == ()  # an alarm is answered once


def test_harm_makes_a_challenger_from_old_rows_and_labelled_ones(serving) -> None:
    rows = changed(serving)
    turn = serving.turn("2026-02-01")
    assert turn.wrong == ()
    job = serving.job("retrain")
    assert job.status == "done", job.reason
    dataset = serving.context.data.version("data:people@2")
    (alarm,) = serving.events("alarm.raised")
    assert dataset.parents == ("data:people@1", "monitor:happy", f"event:{alarm.index}")
    frame = serving.context.data.frame("data:people@2")
    old = serving.context.data.frame("data:people@1")
    assert frame.schema == old.schema
    assert frame["person"].is_unique().all()
    assert set(frame["person"]) == set(serving.people["person"]) | set(rows["person"])
    newest = frame.join(rows, on="person", suffix="_new")  # who is there twice keeps the newest row
    assert newest.height == rows.height
    for column in ("age", "income", "happy", "group"):
        assert (newest[column] == newest[f"{column}_new"]).all()
    version = serving.version(2)
    assert version.data == ("data:people@2",)
    run = serving.context.track.run(version.run)
    assert (run.cause, run.tags["job"]) == (f"event:{alarm.index}", job.ref)
    made = serving.events("dataset_version.created", subject="data:people@2")
    assert made[0].actor == "loop:retrain"  # so that it wakes no trigger on new data
    assert [j.kind for j in serving.jobs()].count("train") == 0
    # the rule found it better on the newest month, and it got its share
    assert serving.job("approve").status == "done", serving.job("approve").reason
    assert serving.routes() == [(1, 0.8), (2, 0.2)]


def test_a_challenger_whose_gates_fail_goes_back_and_nothing_is_deployed(serving) -> None:
    rows = serving.draw(20_000, 1500)
    serving.scored(1, rows)
    serving.told(serving.turned(rows))  # half of all rows now say the opposite of the others
    serving.turn("2026-02-01")
    job = serving.job("retrain")
    assert job.status == "done", job.reason
    assert "from 3000 rows is development: metric gate: " in job.reason
    assert serving.version(2).stage == "development"
    assert serving.routes() == [(1, 1.0)]
    assert [j.kind for j in serving.jobs() if j.queued_at >= job.queued_at] == ["retrain"]


def test_labelled_rows_that_break_the_contract_are_named(serving) -> None:
    rows = serving.draw(20_000, 800).with_columns(age=pl.col("age") + 190)
    serving.scored(1, rows)
    serving.told(serving.turned(rows))
    serving.turn("2026-02-01")
    job = serving.job("retrain")
    assert job.status == "failed"
    assert "break the contract" in job.reason
    assert "age is 208..254 where 0..200 is allowed" in job.reason
    assert (serving.versions(), len(serving.context.data.versions("people"))) == ([1], 1)


def test_while_another_one_is_on_trial_none_is_trained(trial) -> None:
    changed(trial)
    trial.turn("2026-02-01")
    assert trial.job("retrain").reason == "model:happy@2 is on trial already"
    assert trial.versions() == [1, 2]


def test_while_another_one_waits_for_a_person_none_is_trained(rival) -> None:
    rows = rival.draw(20_000, 800, income=-1.5)
    rival.scored(1, rows)
    rival.told(rows)
    rival.context.monitor.look("happy", "2026-02-01")
    (alarm,) = rival.events("alarm.raised")
    outcome = retrain(rival.context, "train", alarm, "job:x")
    assert outcome.reason == "model:happy@2 passed its gates and waits for an approval"
    assert (outcome.status, rival.versions()) == ("declined", [1, 2])


def test_one_that_was_rolled_back_does_not_keep_the_next_one_from_being_made(trial) -> None:
    people = trial.draw(10_000, 600)
    trial.scored(1, people.head(450))
    trial.scored(1, people.tail(150), version=2)
    trial.told(people)
    assert "rolled back" in trial.turn("2026-02-01").decisions[0]
    rows = trial.draw(20_000, 800, income=-1.5)
    trial.scored(2, rows)
    trial.told(rows)
    trial.turn("2026-03-01")
    assert trial.job("retrain").status == "done", trial.job("retrain").reason
    assert trial.versions() == [1, 2, 3]


def test_an_alarm_about_a_version_that_was_replaced_is_no_news(rival) -> None:
    changed(rival)
    rival.context.monitor.look("happy", "2026-02-01")
    (alarm,) = rival.events("alarm.raised")
    rival.sign(2)
    rival.context.deploy.deploy("happy", "model:happy@2")
    rival.context.monitor.watch("happy", "model:happy@2")
    outcome = retrain(rival.context, "train", alarm, "job:x")
    assert outcome.reason == "model:happy@1 has been replaced by model:happy@2"
    assert (outcome.status, rival.versions()) == ("declined", [1, 2])


def test_training_that_was_interrupted_is_done_again(serving) -> None:
    changed(serving)
    stop = serving.store.project / "interrupt"
    stop.touch()
    with pytest.raises(KeyboardInterrupt):
        serving.turn("2026-02-01")
    job = serving.job("retrain")
    assert job.status == "running"
    assert [run.status for run in runs(serving, job.ref)] == ["killed"]
    stop.unlink()
    assert serving.turn("2026-02-01").jobs == ()  # its worker seems to be at it
    serving.free_jobs()
    serving.turn("2026-02-01")
    assert (serving.job("retrain").status, serving.job("retrain").attempts) == ("done", 2)
    assert sorted(run.status for run in runs(serving, job.ref)) == ["finished", "killed"]
    assert [v.ref for v in serving.context.data.versions("people")] == ["data:people@1", "data:people@2"]
    assert serving.versions() == [1, 2]


@pytest.mark.parametrize("place", ["register", "version"])
def test_a_run_that_was_finished_is_taken_up_and_not_trained_again(
    serving, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """The worker dies after training: before its version is registered, or after it was judged."""
    changed(serving)
    sound = getattr(RegistryService, place)

    def dies(self: RegistryService, *args: object):
        judged = serving.events("gate.passed", "gate.failed", subject="model:happy@2")
        if place == "register" or judged:
            raise KeyboardInterrupt
        return sound(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(RegistryService, place, dies)
        with pytest.raises(KeyboardInterrupt):
            serving.turn("2026-02-01")
    job = serving.job("retrain")
    (before,) = runs(serving, job.ref)
    assert (job.status, before.status) == ("running", "finished")
    judged = len(serving.events("gate.passed"))
    serving.free_jobs()
    serving.turn("2026-02-01")
    assert serving.job("retrain").status == "done", [(j.kind, j.reason) for j in serving.jobs()]
    assert runs(serving, job.ref) == [before]
    assert serving.versions() == [1, 2]
    assert serving.version(2).run == before.ref
    if place == "version":  # what was judged is not judged again
        assert len(serving.events("gate.passed")) == judged


def test_rows_without_a_label_are_left_out_and_gathering_again_is_nothing_new(serving) -> None:
    rows = changed(serving, 60)
    serving.scored(1, serving.draw(40_000, 20))  # nobody knows the truth about these
    dataset = gather(serving.context, "happy", "model:happy@1", "event:0")
    assert dataset.rows == serving.people.height + rows.height // 2
    again = gather(serving.context, "happy", "model:happy@1", "event:9")
    assert again == dataset  # the same rows are the same version
