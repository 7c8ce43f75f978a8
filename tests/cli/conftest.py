"""Runs commands in this process, over the example service, in a folder of their own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sdk"))

from notes_service import SERVICES  # found on the path added above

from interlock.cli.main import run
from interlock.sdk.services import Service


class Done(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str


Command = Callable[..., Done]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder, which is the present one."""
    made = tmp_path / "here"
    made.mkdir()
    monkeypatch.chdir(made)
    monkeypatch.setenv("COLUMNS", "100")
    return made


@pytest.fixture
def command(folder: Path, capfd: pytest.CaptureFixture[str]) -> Command:
    """Return a function that runs `interlock` with some words."""

    def call(*words: str, services: dict[str, Service] = SERVICES) -> Done:
        capfd.readouterr()
        code = run(list(words), services)
        return Done(code, *capfd.readouterr())

    return call


@pytest.fixture
def project(command: Command, folder: Path) -> Path:
    """Return the present folder, which is a workspace."""
    assert command("init").code == 0
    return folder
