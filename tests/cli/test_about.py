from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from interlock.core.settings import SETTINGS

Command = Callable[..., Any]


def test_config_shows_origins(command: Command, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (project / "interlock.toml").open("a") as file:
        file.write("[settings]\nport = 7\n")
    monkeypatch.setenv("INTERLOCK_COLOR", "false")
    found = {row["name"]: row for row in json.loads(command("config", "--json").out)}
    assert found.keys() == SETTINGS.keys()
    assert (found["port"]["value"], found["port"]["origin"]) == (7, "interlock.toml")
    assert (found["color"]["value"], found["color"]["origin"]) == (False, "INTERLOCK_COLOR")
    assert found["host"]["origin"] == "default"
    assert "interlock.toml" in command("config").out


def test_config_works_without_a_workspace(command: Command) -> None:
    assert command("config").code == 0


def test_plugins_are_listed_with_what_is_wrong(command: Command) -> None:
    rows = json.loads(command("plugins", "--json").out)
    assert all(row.keys() == {"group", "name", "value", "distribution", "error"} for row in rows)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(command: Command, shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.shell_completion import BashComplete

    monkeypatch.setattr(BashComplete, "_check_version", lambda _: None)  # it runs bash, which a machine may lack
    done = command("completion", shell)
    assert done.code == 0
    assert "_INTERLOCK_COMPLETE" in done.out


def test_completion_of_an_unknown_shell(command: Command) -> None:
    assert command("completion", "tcsh").code == 2


@pytest.mark.parametrize(
    ("words", "expected"),
    [("interlock le", "ledger"), ("interlock comp", "completion"), ("interlock config --js", "--json")],
)
def test_words_are_completed(words: str, expected: str) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "_INTERLOCK_COMPLETE": "zsh_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    command = [sys.executable, "-c", "from interlock.cli.main import main; main()"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert expected in done.stdout.splitlines()
