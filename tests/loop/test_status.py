"""Status: the loop in one record."""

from __future__ import annotations


def test_status_shows_the_loop_as_it_stands(trial) -> None:
    trial.scored(1, trial.draw(9000, 300))
    trial.turn("2026-02-01")
    status = trial.loop.status()
    assert (status.project, status.runs, status.ledger_entries) == ("happy", 2, trial.store.ledger.size())
    assert [version.ref for version in status.versions] == ["model:happy@1", "model:happy@2"]
    assert [len(deployment.routes) for deployment in status.deployments] == [2]
    assert {monitor.name for monitor in status.monitors} == {"aside", "happy"}
    assert [report.window for report in status.windows] == ["2026-01"]
    assert status.jobs[0] == trial.jobs()[-1]
    indexes = [event.index for event in status.events]
    assert indexes == sorted(indexes, reverse=True)
    assert indexes[0] == trial.store.ledger.size() - 1
