"""How the demo ends: whatever happens, its server does not outlive it."""

from __future__ import annotations

import functools
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import interlock.demo.main as demo
from interlock.core.errors import NotFound, Unavailable
from interlock.deploy.service import DeployService
from interlock.sdk.services import SERVICES
from interlock.sdk.workspace import Workspace

Command = Callable[..., Any]


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the deployments that are stopped; nothing is deployed in these short stories."""
    names: list[str] = []

    @functools.wraps(DeployService.stop)  # it stays an operation
    def stop(_: DeployService, name: str) -> None:
        names.append(name)
        raise NotFound.named("deployment", name)

    monkeypatch.setattr(DeployService, "stop", stop)
    return names


@pytest.mark.parametrize(
    ("end", "code", "err"),
    [
        (None, 0, ""),
        (KeyboardInterrupt(), 130, "\n"),
        (Unavailable("The server does not answer."), 8, "Error: The server does not answer.\n"),
    ],
)
def test_the_server_is_stopped_once_however_the_story_ends(
    command: Command,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    stopped: list[str],
    end: BaseException | None,
    code: int,
    err: str,
) -> None:
    def tell(_: object) -> None:
        if end is not None:
            raise end

    monkeypatch.setattr(demo, "_tell", tell)
    done = command("demo", services=SERVICES)
    assert (done.code, done.err) == (code, err)
    assert stopped == ["employment"]
    assert ("Done in" in done.out) == (end is None)


def test_an_interrupt_that_comes_twice_leaves_no_server(
    command: Command, monkeypatch: pytest.MonkeyPatch, stopped: list[str]
) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    def stop(workspace: Workspace) -> None:
        next(ends)(workspace)

    ends = iter([interrupt, demo._stop])
    monkeypatch.setattr(demo, "_tell", interrupt)
    monkeypatch.setattr(demo, "_stop", stop)
    assert command("demo", services=SERVICES).code == 130
    assert stopped == ["employment"]


def test_what_it_says_to_look_at_are_commands(command: Command, folder: Path) -> None:
    for line in demo.LOOK[1:]:
        words = line.split()[1:]
        done = command(*words[:2], "--help", services=SERVICES)
        assert done.code == 0, line
        assert all(word in done.out for word in words if word.startswith("--")), line


def test_a_second_demo_in_the_same_folder_is_told_so(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    command = [sys.executable, "-m", "interlock", "demo", "--folder", str(folder), "--people", "50"]
    with (tmp_path / "out.txt").open("wb") as out:
        first = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        lock = folder / ".interlock" / "demo.lock"
        deadline = time.monotonic() + 60
        while not lock.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert second.returncode == 4
        assert "Another demo is at work" in second.stderr
    finally:
        first.terminate()
        first.wait(60)
    # Where it meets `exec` of a text, as dataclasses do, Python ends itself by SIGINT: shells say 130 of both.
    assert first.returncode in {130, -signal.SIGINT}
