from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from interlock import __version__
from interlock.cli.main import VERBS, Root, run
from interlock.sdk.services import SERVICES

Command = Callable[..., Any]


def test_help_lists_every_verb_and_service(command: Command) -> None:
    done = command("--help", services=SERVICES)
    assert done.code == 0
    for name, row in {**VERBS, **SERVICES}.items():
        assert f"  {name.replace('_', '-')} " in done.out
        assert row.help.split(maxsplit=1)[0] in done.out


@pytest.mark.parametrize("name", ["logged-models", "logged_models"])
def test_a_service_of_two_words_is_a_command(command: Command, name: str) -> None:
    done = command(name, "--help", services=SERVICES)
    assert done.code == 0
    assert "interlock logged-models [OPTIONS] COMMAND" in done.out


def test_version(command: Command) -> None:
    assert command("--version") == (0, f"{__version__}\n", "")


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (["nots"], "'notes'"),
        (["stauts"], "'status'"),
        (["notes", "cuont"], "'count'"),
        (["notes", "brake-off"], "'break-off'"),
    ],
)
def test_misspelt_commands_get_the_nearest(command: Command, words: list[str], near: str) -> None:
    done = command(*words)
    assert done.code == 2
    assert near in done.err
    assert "Traceback" not in done.err


def test_misspelt_options_get_the_nearest(command: Command) -> None:
    done = command("notes", "notes", "--limt", "3")
    assert done.code == 2
    assert "--limit" in done.err


def test_underscores_are_dashes(command: Command, project: Path) -> None:
    assert command("notes", "break_off").code == 4


def test_common_options_stand_before_or_after(command: Command, project: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    assert command("--workspace", str(elsewhere), "init").code == 0
    place = str(elsewhere)
    (project / "a.csv").touch()
    assert command("notes", "add", "there", "a.csv", "--workspace", place).code == 0
    for words in (
        ["--workspace", place, "--json", "notes", "count"],
        ["notes", "count", "--json", "--workspace", place],
    ):
        assert command(*words) == (0, "1\n", "")
    assert command("notes", "--workspace", place, "count").out == "1\n"
    assert command("notes", "count").out == "0\n"


def test_no_workspace(command: Command) -> None:
    done = command("notes", "count")
    assert done.code == 3
    assert "interlock init" in done.err


def test_interrupts_are_quiet(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Root, "get_command", interrupt)
    assert command("config") == (130, "", "\n")  # the line that shows ^C ends


def test_faults_of_ours_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Root, "get_command", fail)
    with pytest.raises(ZeroDivisionError):
        run(["config"])


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def test_a_reader_that_has_seen_enough_is_quiet(project: Path) -> None:
    code = "import sys; from interlock.cli.session import show; import interlock.cli.main as m\n"
    code += "import click\n"
    code += (
        "def many(*_):\n    return click.Command('x', callback=lambda: [show('line ' * 1000) for _ in range(1000)])\n"
    )
    code += "m.Root.get_command = many\nm.main(['x'])"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 128 + signal.SIGPIPE


def test_it_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "interlock", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=True)
    assert done.stdout.strip() == __version__


def test_letters_that_a_terminal_lacks_are_escaped(project: Path) -> None:
    code = "import sys; from interlock.cli.main import main; main(sys.argv[1:])"
    words = ["config", "--workspace", "\u4e2d", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        env={**environment(), "PYTHONIOENCODING": "ascii:strict"},
        check=True,
    )
    assert json.loads(done.stdout.decode("ascii").replace("\\u4e2d", "\u4e2d"))[0]["value"] == "\u4e2d"
