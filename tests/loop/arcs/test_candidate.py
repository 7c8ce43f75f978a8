"""The arc `train`: new rows make a candidate, once a job."""

from __future__ import annotations

import msgspec
import pytest

from interlock.core.errors import Conflict, NotFound
from interlock.loop.arcs.candidate import make_candidate, train


def test_new_rows_make_a_judged_candidate_that_waits_for_a_person(applied) -> None:
    applied.brought(applied.draw(0, 1600))
    applied.turn()
    job = applied.job("train")
    assert (job.status, job.target) == ("done", "train")
    version = applied.version(1)
    assert job.reason == f"model:happy@1 is validated: {version.stage_reason}"
    assert version.data == ("data:people@2",)
    run = applied.context.track.run(version.run)
    assert run.cause == job.cause
    event = applied.store.ledger.event(int(job.cause.partition(":")[2]))
    assert (event.kind, event.subject) == ("dataset_version.created", "data:people@2")


def test_the_same_job_again_is_the_same_version(applied) -> None:
    event = applied.events("dataset_version.created")[0]
    first = train(applied.context, "train", event, "job:one")
    again = train(applied.context, "train", event, "job:one")
    assert first == again
    assert applied.versions() == [1]
    assert len(applied.context.track.tagged("job", "job:one")) == 1
    failed = applied.events("gate.failed", "gate.passed")
    make_candidate(applied.context, "train", {}, cause="", job="job:two")
    assert applied.versions() == [1, 2]
    assert len(applied.events("gate.failed", "gate.passed")) == 2 * len(failed)


def test_training_by_hand_is_never_taken_for_done(applied) -> None:
    applied.loop.candidate("train", {"people": "data:people@1"})
    applied.loop.candidate("train", {"people": "data:people@1"})
    assert applied.versions() == [1, 2]


def test_training_that_fails_leaves_no_version(applied) -> None:
    (applied.store.project / "broken").touch()
    applied.brought(applied.draw(0, 1600))
    applied.turn()
    job = applied.job("train")
    assert job.status == "failed"
    assert "nothing to divide by" in job.reason
    assert applied.context.registry.models() == []
    assert [run.status for run in applied.context.track.tagged("job", job.ref)] == ["failed"]
    assert applied.turn().jobs == ()  # what is broken is not tried again by itself


def test_what_is_wrong_with_the_request_is_said(applied) -> None:
    with pytest.raises(NotFound, match=r"no pipeline 'trian'. Did you mean 'train'"):
        make_candidate(applied.context, "trian", {}, cause="", job="")
    project = applied.context.project
    spare = msgspec.structs.replace(project, pipeline={**project.pipeline, "other": project.pipeline["train"]})
    applied.context.project = spare
    with pytest.raises(Conflict, match=r"No model is made by pipeline 'other'.*\[model.NAME\]"):
        make_candidate(applied.context, "other", {}, cause="", job="")
    with pytest.raises(NotFound, match="trees"):
        make_candidate(applied.context, "train", {"trees": 3}, cause="", job="")
