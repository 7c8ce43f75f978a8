"""`log_metric` and its like outside of steps: they are of the run that goes on."""

from __future__ import annotations

import pytest

import interlock
from interlock.core.errors import Conflict
from interlock.train import context


def test_what_is_said_outside_of_steps_is_in_the_current_run(workspace) -> None:
    with interlock.run("E", machine=False, console=False) as run:
        interlock.log_metric("auc", 0.5)
        interlock.log_metric("auc", 0.75)
        interlock.log_metric("auc", 0.9, step=7)
        interlock.log_param("depth", 3)
        interlock.log_artifact("notes/a.md", "text")
        with pytest.raises(Conflict):
            interlock.log_param("depth", 4)
    found = workspace.track.run(run.id)
    assert workspace.track.metric(run.id, "auc").steps == (0, 1, 7)
    assert found.params == {"depth": "3"}
    assert b"text" in [workspace.read(file.digest) for file in found.artifacts if file.name == "notes/a.md"]


def test_within_a_step_it_is_the_step_s(workspace) -> None:
    scope = context.Scope(context.Silence())
    with interlock.run("E", machine=False, console=False) as run, context.speaking_to(scope):
        interlock.log_metric("auc", 0.5)
    assert scope.said == [("metric", "auc", 0, 0.5)]
    assert workspace.track.run(run.id).metrics == {}


def test_after_the_run_one_line_warns(workspace, monkeypatch, capsys) -> None:
    monkeypatch.setattr(context, "_warned", [])
    with interlock.run("E", machine=False, console=False):
        interlock.log_metric("auc", 0.5)
    for _ in range(3):
        interlock.log_metric("late", 0.5)
    assert capsys.readouterr().err == "interlock: metric 'late' is recorded nowhere: no run goes on here.\n"
    assert len(context.listeners) == len(set(context.listeners))
