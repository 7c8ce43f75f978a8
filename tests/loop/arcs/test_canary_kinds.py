"""Canaries of models that have not two classes: what labels showed of both on the same rows settles them."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from interlock.loop.arcs.canary import ENOUGH, settle_canaries
from interlock.monitor.auc import Interval
from interlock.monitor.kinds import Task
from interlock.monitor.measured import Measured, measure
from interlock.monitor.records import Replay
from interlock.registry.measures.intervals import difference_interval

OLD, NEW = "model:m@1", "model:m@2"


def errors(size: float, rows: int = ENOUGH) -> Measured:
    """What is measured of a regression whose errors are about of a size."""
    truth, given = [0.0] * rows, [size * (1 + (number % 5 - 2) / 10) for number in range(rows)]
    frame = pl.DataFrame({"kind of truth?": ["number"] * rows, "true number?": truth, "score": given})
    return measure(frame, Task("number"))


def right(hits: int, rows: int = ENOUGH) -> Measured:
    """What is measured of a model of three classes that is right so often."""
    truth = ["0" if number < hits else "1" for number in range(rows)]
    frame = pl.DataFrame({"kind of truth?": ["class"] * rows, "true class?": truth, "label": [0] * rows})
    return measure(frame, Task("class", (0, 1, 2)))


class Canary:
    """A deployment with two routes whose watch is over, and what their replays say."""

    def __init__(self, old: Measured | Interval | None, new: Measured | Interval | None, labels: int = ENOUGH) -> None:
        self.said, self.labels = {OLD: old, NEW: new}, labels
        self.done: list[tuple[str, str, str]] = []

    def replay(self, _name: str, model: str, since: str, until: str) -> Replay:
        said = self.said[model]
        auc, measured = (said, None) if isinstance(said, Interval) else (None, said)
        return Replay(model, since, until, self.labels, self.labels, None, auc, 0.1, 0, None, measured)

    def settle(self) -> tuple[list[str], list[str]]:
        wrong: list[str] = []
        routes = [SimpleNamespace(model=OLD), SimpleNamespace(model=NEW)]
        context: Any = SimpleNamespace(
            until=datetime(2026, 3, 1, tzinfo=UTC),
            project=SimpleNamespace(
                monitor={"m": None}, deployment={"m": SimpleNamespace(rollout=SimpleNamespace(watch="1 week"))}
            ),
            deploy=SimpleNamespace(
                deployments=lambda: [SimpleNamespace(name="m", routes=routes)],
                promote=lambda name, reason: self.done.append(("promote", name, reason)),
                rollback=lambda name, reason: self.done.append(("rollback", name, reason)),
            ),
            monitor=SimpleNamespace(first_answer=lambda *_: datetime(2026, 1, 1, tzinfo=UTC), replay=self.replay),
        )
        return settle_canaries(context, wrong), wrong


@pytest.mark.parametrize(
    ("old", "new", "action"),
    [
        (errors(2.0), errors(1.0), "promote"),
        (errors(1.0), errors(1.0), "promote"),
        (errors(1.0), errors(1.01), "rollback"),
        (right(80), right(81), "promote"),
        (right(80), right(80), "promote"),
        (right(80), right(79), "rollback"),
    ],
)
def test_the_figures_settle_it_as_of_two_classes_and_the_intervals_are_told(old, new, action) -> None:
    canary = Canary(old, new)
    (decision,), wrong = canary.settle()
    assert wrong == []
    ((done, name, evidence),) = canary.done
    assert (done, name) == (action, "m")
    assert evidence.startswith(f"on 100 labelled requests since 2026-01-01: {new}, champion {old}; difference of the ")
    assert evidence.endswith("(90% interval)")
    assert decision == f"{NEW} {'promoted' if action == 'promote' else 'rolled back'} {evidence}"


def test_the_difference_is_told_with_its_interval() -> None:
    canary = Canary(right(80), right(90))
    canary.settle()
    assert (
        "accuracy 0.900 (0.84-0.94), champion accuracy 0.800 (0.73-0.86); difference of the accuracy"
        in (canary.done[0][2])
    )
    low, high = difference_interval((90, 100), (80, 100))
    assert f"{low:.3g} to {high:.3g} (90% interval)" in canary.done[0][2]
    canary = Canary(errors(2.0), errors(1.0))
    canary.settle()
    assert "difference of the mean absolute error -1.05 to -0.948" in canary.done[0][2]


def test_too_few_labels_wait() -> None:
    few = ENOUGH - 1
    for old, new in ((errors(2.0, few), errors(1.0, few)), (right(80, few), right(90, few)), (None, None)):
        canary = Canary(old, new, few)
        assert canary.settle() == ([], [])
        assert canary.done == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (errors(2.0), right(90)),
        (right(80, 50), right(90)),
        (Interval(0.7, 0.6, 0.8, 0.1, 100), right(90)),
        (None, right(90)),
    ],
)
def test_what_answers_other_questions_is_left_to_a_person(old, new) -> None:
    canary = Canary(old, new)
    found, (told,) = canary.settle()
    assert (found, canary.done) == ([], [])
    assert "nothing compares them" in told
