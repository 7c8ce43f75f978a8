"""What steps say reaches the recorder of their run, and nobody outside of one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from interlock.core.errors import Invalid
from interlock.train import log_artifact, log_metric, log_param
from interlock.train.context import Scope, Silence, deliver, speaking_to


class Book(Silence):
    def __init__(self) -> None:
        self.lines: list[tuple] = []

    def params(self, values):
        self.lines.append(("params", values))

    def metric(self, key, step, value):
        self.lines.append((key, step, value))

    def artifact(self, path, content):
        self.lines.append((path, content))


def say_everything(file: Path) -> None:
    log_param("depth", 3)
    log_param("rate", np.float64(0.5))
    log_metric("auc", 1)
    log_metric("auc", np.float32(0.5), step=10)
    log_metric("auc", 0.25)
    log_artifact("a/b.txt", "text")
    log_artifact("c.bin", b"\x00")
    log_artifact("d.txt", file)


def test_what_is_said_is_handed_on_and_remembered(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"file")
    book, again = Book(), Book()
    scope = Scope(book)
    with speaking_to(scope):
        say_everything(file)
    assert book.lines == [
        ("params", {"depth": 3}),
        ("params", {"rate": 0.5}),
        ("auc", 0, 1.0),
        ("auc", 10, 0.5),
        ("auc", 11, 0.25),
        ("a/b.txt", b"text"),
        ("c.bin", b"\x00"),
        ("d.txt", b"file"),
    ]
    deliver(again, scope.said)
    assert again.lines == book.lines
    say_everything(file)
    assert len(book.lines) == 8


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: log_metric("", 1),
        lambda: log_metric("auc", "good"),
        lambda: log_metric("auc", None),
        lambda: log_param(" ", 1),
        lambda: log_param("depth", [1]),
        lambda: log_artifact("../x", "text"),
        lambda: log_artifact("/x", "text"),
        lambda: log_artifact("", "text"),
    ],
)
def test_what_makes_no_sense_is_refused_outside_of_runs_too(wrong) -> None:
    with pytest.raises(Invalid):
        wrong()
