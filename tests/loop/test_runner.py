"""Turn after turn: it ends when it is told to, and nothing else ends it."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable

import pytest

from interlock.core.bundles import DeploymentSpec, Route
from interlock.loop import runner
from interlock.loop.runner import run_forever
from interlock.store.predictions import Compactor


class Script(threading.Event):
    """The event that ends the loop, which says what happens in the pause after each turn; then it is set.

    Args:
        pauses: what happens in one pause after another.
    """

    def __init__(self, *pauses: Callable[[], object]) -> None:
        super().__init__()
        self.left = list(pauses)
        self.asked: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        """Let the next pause happen at once."""
        self.asked.append(timeout)
        if self.left:
            self.left.pop(0)()
        if not self.left:
            self.set()
        return self.is_set()


def nothing() -> None:
    """Let a pause pass."""


def until(true: Callable[[], bool], limit_s: float = 20.0) -> None:
    """Return when something holds."""
    deadline = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return the function that returns what the loop has logged."""
    caplog.set_level(logging.INFO, "interlock.loop.runner")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "interlock.loop.runner"]


def test_an_event_that_is_set_ends_it(store, said) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=run_forever, args=(store, stop, 3600))
    thread.start()
    stop.set()
    thread.join(20)
    assert not thread.is_alive()
    script = Script()
    script.set()
    run_forever(store, script)
    assert script.asked == []  # no turn and no pause
    assert said() == []
    assert "interlock-compactor" not in {thread.name for thread in threading.enumerate()}


def test_before_anything_is_applied_it_waits_quietly(store, said) -> None:
    script = Script(nothing, nothing)
    run_forever(store, script, 7.5)
    assert script.asked == [7.5, 7.5]
    assert said() == []


def test_it_takes_turns(applied, said) -> None:
    applied.candidate()
    run_forever(applied.store, Script(nothing, lambda: applied.brought(applied.draw(0, 1600)), nothing))
    assert [(job.kind, job.status) for job in applied.jobs()] == [
        ("approve", "declined"),
        ("train", "done"),
        ("approve", "declined"),
    ]
    assert said() == []


def test_a_turn_that_fails_is_told_once_and_tried_again(applied, said) -> None:
    rename = "ALTER TABLE {} RENAME TO {}"

    def lose() -> None:
        applied.store.database.write(lambda tx: tx.run(rename.format("jobs", "hidden")))

    def find() -> None:
        applied.store.database.write(lambda tx: tx.run(rename.format("hidden", "jobs")))

    applied.candidate()
    lose()
    run_forever(applied.store, Script(nothing, nothing, find, lose, nothing, find, nothing))
    assert len(said()) == 2  # once for each time that it went wrong
    assert all("the loop's turn failed" in line and "jobs" in line for line in said())
    assert [job.status for job in applied.jobs()] == ["declined"]


def test_an_applied_file_that_cannot_be_read_does_not_end_it(applied, said) -> None:
    applied.candidate()
    row = applied.store.database.one("SELECT digest FROM applied WHERE name = 'project'")
    damage = applied.damaged(row["digest"])
    damage.__enter__()
    run_forever(applied.store, Script(nothing, nothing, lambda: damage.__exit__(None, None, None), nothing))
    (line,) = said()
    assert "the loop's turn failed" in line
    assert "changed on disk" in line
    assert [job.kind for job in applied.jobs()] == ["approve"]


def test_what_a_turn_could_not_do_is_told_once(rival, said, monkeypatch: pytest.MonkeyPatch) -> None:
    rival.sign(2)
    rival.turn()
    rival.stop()
    model = rival.version(2)
    rival.context.deploy._writer.write(
        None, DeploymentSpec("aside", 1, (Route(model.ref, model.bundle, 1.0),)), "begun"
    )
    monkeypatch.setattr("interlock.deploy.service._READY_S", 0.5)
    with rival.damaged(rival.serving_part(2)):
        run_forever(rival.store, Script(nothing, nothing))
    assert sorted(line.partition(": ")[0] for line in said()) == ["deployment:aside", "monitor:aside"]


def test_the_prediction_log_is_compacted_meanwhile(serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "Compactor", functools.partial(Compactor, every_s=0.01))
    monkeypatch.setattr(runner, "COMPACT_BYTES", 1000)
    folder = serving.store.predictions.folder
    serving.scored(1, serving.people.head(200))
    serving.scored(1, serving.people.tail(1))
    before = sorted(row.id for row in serving.store.predictions.rows())
    assert list(folder.glob("*.parquet")) == []
    run_forever(serving.store, Script(lambda: until(lambda: bool(list(folder.glob("*.parquet"))))))
    assert len(list(folder.glob("*.parquet"))) == 1  # the small one is left for later
    assert sorted(row.id for row in serving.store.predictions.rows()) == before
    assert "interlock-compactor" not in {thread.name for thread in threading.enumerate()}
