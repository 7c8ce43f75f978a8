"""One turn: what it looks at, what it starts again, and that one thing gone wrong stops no other."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from interlock.core.bundles import DeploymentSpec, Route
from interlock.loop.jobs import Jobs
from interlock.track.records import Start
from interlock.train.service import WORKER


def dead_worker() -> str:
    """Return the name of a process of this machine that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return f"{socket.gethostname()}/{child.pid}/1"


def wanted(world, deployment: str, version: int) -> None:
    """Let a version be what shall answer, by a worker that died before it started the server."""
    model = world.version(version)
    world.context.deploy._writer.write(
        None, DeploymentSpec(deployment, 1, (Route(model.ref, model.bundle, 1.0),)), "begun"
    )


def test_a_turn_on_nothing_does_nothing(applied) -> None:
    size = applied.store.ledger.size()
    turn = applied.turn("2026-03-01")
    assert (turn.until, turn.windows, turn.decisions) == ("2026-03-01T00:00:00+00:00", (), ())
    assert (turn.jobs, turn.healed, turn.wrong) == ((), (), ())
    assert applied.store.ledger.size() == size


def test_a_calm_window_is_looked_at_once(serving) -> None:
    serving.scored(1, serving.draw(9000, 300))
    assert serving.turn("2026-01-31").windows == ()
    (window,) = serving.turn("2026-02-01").windows
    assert window.startswith("model:happy@1 2026-01: keep, No drift beyond chance")
    size = serving.store.ledger.size()
    turn = serving.turn("2026-02-01")
    assert (turn.windows, turn.jobs, serving.store.ledger.size()) == ((), (), size)


def test_an_event_asks_for_its_job_once(applied) -> None:
    applied.candidate()
    assert len(applied.turn().jobs) == 1
    assert applied.turn().jobs == ()
    assert [job.kind for job in applied.jobs()] == ["approve"]
    cause = applied.store.ledger.event(int(applied.jobs()[0].cause.partition(":")[2]))
    assert cause == applied.validated(1)


def test_what_a_dead_worker_left_is_taken_up(serving) -> None:
    """Its run ends as killed, its server comes up, its job is done."""
    serving.store.database.write(
        lambda tx: tx.run("UPDATE deployments SET state = 'serving', pid = 0 WHERE name = 'happy'")
    )
    worker = dead_worker()
    run = serving.context.track.start(Start("happy", tags={WORKER: worker}))
    alive = serving.context.track.start(Start("happy", tags={WORKER: "elsewhere/1/1"}))
    serving.store.database.write(lambda tx: Jobs(serving.store).queue(tx, "approve", "happy", cause(serving)))
    claimed = Jobs(serving.store).claim()
    assert claimed is not None
    assert serving.turn().jobs == ()  # it is ours, and held
    assert serving.context.deploy.show("happy").live
    serving.store.database.write(
        lambda tx: tx.run("UPDATE jobs SET worker = :w WHERE id = :i", {"w": worker, "i": claimed.id})
    )
    turn = serving.turn()
    assert [line.partition(":")[0] for line in turn.jobs] == ["approve happy"]
    assert serving.job("approve").attempts == 2
    assert serving.context.track.run(run.ref).status == "killed"
    assert serving.context.track.run(alive.ref).status == "running"


def cause(world) -> str:
    return f"event:{world.validated(1).index}"


def test_a_broken_deployment_is_told_and_stops_nothing_else(rival, monkeypatch: pytest.MonkeyPatch) -> None:
    rival.sign(2)
    rival.turn()
    rival.stop()
    wanted(rival, "aside", 2)  # comes before `happy` in every list
    rival.scored(1, rival.draw(9000, 300))
    with rival.damaged(rival.serving_part(2)), monkeypatch.context() as patch:
        patch.setattr("interlock.deploy.service._READY_S", 1.0)  # its server stays up, and unready, for so long
        turn = rival.turn("2026-02-01")
    assert turn.healed == ()
    assert sorted(line.partition(": ")[0] for line in turn.wrong) == ["deployment:aside", "monitor:aside"]
    assert "did not become ready" in next(line for line in turn.wrong if line.startswith("deployment"))
    assert [window.partition(":")[2].split(",")[0] for window in turn.windows] == ["happy@1 2026-01: keep"]
    turn = rival.turn("2026-02-01")  # mended meanwhile
    assert (turn.healed, turn.wrong) == (("deployment:aside",), ())
    assert rival.context.deploy.show("aside").live
    assert rival.context.monitor.show("aside").model == "model:happy@2"


def test_what_may_work_later_is_tried_later(applied) -> None:
    busy = applied.store.project / "busy"
    busy.touch()
    applied.brought(applied.draw(0, 1600))
    assert applied.turn().jobs == ("train train: failed, The table is locked.",)
    assert (applied.job("train").status, applied.job("train").attempts) == ("queued", 1)
    assert applied.job("train").ended_at is None
    assert applied.turn().jobs == ()  # it pauses
    applied.free_jobs()
    busy.unlink()
    assert applied.turn().jobs[0].startswith("train train: done, model:happy@1 is validated")
    assert [run.status for run in applied.context.track.tagged("job", applied.job("train").ref)].count("finished") == 1


def test_what_never_works_is_given_up(applied) -> None:
    (applied.store.project / "busy").touch()
    applied.brought(applied.draw(0, 1600))
    for _ in range(3):
        applied.turn()
        applied.free_jobs()
    assert (applied.job("train").status, applied.job("train").reason) == ("failed", "The table is locked.")
    assert applied.turn().jobs == ()


def test_one_bad_job_stops_no_other(applied) -> None:
    applied.candidate()
    jobs = Jobs(applied.store)
    for kind, target in (("dance", "happy"), ("approve", "nobody"), ("approve", "happy")):
        applied.store.database.write(lambda tx, k=kind, t=target: jobs.queue(tx, k, t, cause(applied)))
    applied.turn()
    told = [(job.kind, job.target, job.status) for job in applied.jobs()]
    assert told == [
        ("dance", "happy", "failed"),
        ("approve", "nobody", "failed"),
        ("approve", "happy", "declined"),
        ("approve", "happy", "declined"),  # the trigger's own
    ]
    assert "'dance'" in applied.jobs()[0].reason
    assert applied.jobs()[1].reason == "KeyError: 'nobody'"
    assert len(applied.events("job.finished")) == 4
