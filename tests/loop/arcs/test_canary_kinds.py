"""Canaries of models that have not two classes: what labels showed is said, and a person decides."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from interlock.loop.arcs.canary import ENOUGH, settle_canaries
from interlock.monitor.measured import Measured
from interlock.monitor.records import Replay


def context(labels: int, measured: dict[str, Measured]) -> Any:
    """A deployment with two routes whose watch is over, and what their replays say."""
    routes = [SimpleNamespace(model="model:m@1"), SimpleNamespace(model="model:m@2")]

    def replay(_name: str, model: str, since: str, until: str) -> Replay:
        return Replay(model, since, until, labels, labels, None, None, 0.1, 0, None, measured[model])

    def unwanted(*_: object) -> None:
        raise AssertionError("nobody asked for that")

    return SimpleNamespace(
        until=datetime(2026, 3, 1, tzinfo=UTC),
        project=SimpleNamespace(
            monitor={"m": None}, deployment={"m": SimpleNamespace(rollout=SimpleNamespace(watch="1 week"))}
        ),
        deploy=SimpleNamespace(
            deployments=lambda: [SimpleNamespace(name="m", routes=routes)], promote=unwanted, rollback=unwanted
        ),
        monitor=SimpleNamespace(first_answer=lambda *_: datetime(2026, 1, 1, tzinfo=UTC), replay=replay),
    )


@pytest.mark.parametrize(("labels", "told"), [(ENOUGH, True), (ENOUGH - 1, False)])
def test_what_was_measured_is_told_and_nothing_is_settled(labels: int, told: bool) -> None:
    measured = {
        "model:m@1": Measured(labels, mean_absolute_error=2.0, rmse=3.0),
        "model:m@2": Measured(labels, mean_absolute_error=1.0, rmse=1.5),
    }
    wrong: list[str] = []
    assert settle_canaries(context(labels, measured), wrong) == []
    assert bool(wrong) == told
    if told:
        assert "100 labelled requests the challenger has MAE 1, RMSE 1.5, the champion MAE 2, RMSE 3" in wrong[0]
