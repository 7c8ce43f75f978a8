from __future__ import annotations

import json
import sys
import tomllib
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from interlock.core.errors import Unavailable
from interlock.core.operations import Permission, operation
from interlock.core.settings import SETTINGS
from interlock.loop.project import parse_project
from interlock.sdk.places import settings
from interlock.sdk.services import Service

Command = Callable[..., Any]

LOOP = {"loop": Service("tests_of_the_cli:LoopService", "The loop, for tests.")}


def test_init_makes_a_workspace_once(command: Command, folder: Path) -> None:
    done = command("init", "--json")
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out) == {"project": str(folder), "files": ["interlock.toml", ".interlock/"]}
    assert tomllib.loads((folder / "interlock.toml").read_text()) == {"project": {"name": "here", "goal": ""}}
    assert (folder / ".interlock/.gitignore").read_text() == "*\n"
    before = (folder / ".interlock/workspace.json").read_bytes()
    assert json.loads(command("init", "--json").out)["files"] == []
    assert (folder / ".interlock/workspace.json").read_bytes() == before


def test_init_tells_people_what_comes_next(command: Command) -> None:
    assert all(word in command("init").err for word in ("edit interlock.toml", "`interlock plan`", "interlock up"))
    assert "edit" not in command("init", "--example", "employment", "--workspace", "other").err


def test_the_template_is_sound_when_it_is_uncommented_and_shows_every_table(command: Command, folder: Path) -> None:
    assert command("init").code == 0
    head, begin, rest = (folder / "interlock.toml").read_text("utf-8").partition("\n# [")
    text = head + (begin + rest).replace("\n# ", "\n")
    assert "\n#" not in text.partition("[project]")[2]
    project = parse_project(text)
    empty = [name for name in project.__struct_fields__ if not getattr(project, name)]
    assert empty == [], "a table that the template does not show"
    assert settings(folder)["port"].value == SETTINGS["port"].default


@pytest.mark.parametrize("name", ['quo"te', "back\\slash", "\u00fcml\u00e4ut", "new\nline"])
def test_any_folder_name_makes_sound_toml(command: Command, folder: Path, name: str) -> None:
    place = folder / name
    assert command("init", "--workspace", str(place)).code == 0
    assert tomllib.loads((place / "interlock.toml").read_text("utf-8"))["project"]["name"] == name


def test_init_keeps_what_is_there(command: Command, folder: Path) -> None:
    (folder / "interlock.toml").write_text("[project]\nname = 'mine'\n")
    assert command("init").code == 0
    assert "mine" in (folder / "interlock.toml").read_text()


def test_init_with_an_example(command: Command, folder: Path) -> None:
    done = command("init", "--example", "employment", "--json")
    assert done.err == ""
    made = json.loads(done.out)["files"]
    assert {"interlock.toml", "data/employment-2015.parquet", ".interlock/"} <= set(made)
    assert not [name for name in made if "__pycache__" in name]
    assert tomllib.loads((folder / "interlock.toml").read_text())["project"]["name"] == "employment"
    assert command("init", "--example", "employment").code == 0


def test_an_example_replaces_nothing(command: Command, folder: Path) -> None:
    (folder / "interlock.toml").write_text("[project]\nname = 'mine'\n")
    done = command("init", "--example", "employment")
    assert done.code == 4
    assert [path.name for path in folder.iterdir()] == ["interlock.toml"]


def test_an_unknown_example(command: Command) -> None:
    done = command("init", "--example", "employmnet")
    assert done.code == 3
    assert "'employment'" in done.err


def test_init_is_for_folders(command: Command, folder: Path) -> None:
    assert command("init", "--workspace", "http://127.0.0.1:1").code == 2
    (folder / "file").touch()
    done = command("init", "--workspace", str(folder / "file"))
    assert done.code == 2
    assert "No workspace can be made" in done.err


class LoopService:
    """The loop, for tests."""

    name = "loop"
    full = False

    def __init__(self, store: object) -> None:
        pass

    @operation(Permission.LOOP_READ)
    def plan(self, path: str = "interlock.toml") -> list[str]:
        """Return the plan.

        Args:
            path: the file.
        """
        return [f"plan of {path}"]

    @operation(Permission.LOOP_RUN, emits=("project.applied",))
    def apply(self, path: str = "interlock.toml", force: bool = False) -> str:
        """Apply the file.

        Args:
            path: the file.
            force: do it anyway.
        """
        if self.full:
            raise Unavailable("The disk is full.")
        return f"applied {path}, force {force}"

    @operation(Permission.LOOP_RUN, emits=("job.queued",))
    def turn(self, jobs: int = 1) -> str:
        """Take a turn.

        Args:
            jobs: how many.
        """
        return f"turned {jobs}"

    @operation(Permission.LOOP_READ)
    def status(self) -> str:
        """Say how it is."""
        return "well"

    @operation(Permission.LOOP_READ)
    def why(self, ref: str) -> str:
        """Say why.

        Args:
            ref: of what.
        """
        return f"because of {ref}"


@pytest.fixture
def _loop(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("tests_of_the_cli")
    module.LoopService = LoopService  # type: ignore[attr-defined]
    module.__spec__ = types.SimpleNamespace()  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "tests_of_the_cli", module)


@pytest.mark.usefixtures("_loop", "project")
@pytest.mark.parametrize(
    ("words", "out"),
    [
        (["plan"], "plan of interlock.toml\n"),
        (["apply"], "plan of interlock.toml\napplied interlock.toml, force False\n"),
        (["apply", "--path", "x.toml", "--force"], "plan of x.toml\napplied x.toml, force True\n"),
        (["apply", "--json"], '"applied interlock.toml, force False"\n'),
        (["loop"], "turned 1\n"),
        (["loop", "turn", "--jobs", "3"], "turned 3\n"),
        (["loop", "status"], "well\n"),
        (["loop", "--json"], '"turned 1"\n'),
        (["status"], "well\n"),
        (["why", "prediction:1"], "because of prediction:1\n"),
    ],
)
def test_verbs_are_operations_of_the_loop(command: Command, words: list[str], out: str) -> None:
    applied = words[0] == "apply" and "--json" not in words
    assert command(*words, services=LOOP) == (0, out, "Plan:\nApplied.\n" if applied else "")


@pytest.mark.usefixtures("_loop", "project")
def test_a_plan_that_fails_is_not_called_applied(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LoopService, "full", True)
    done = command("apply", services=LOOP)
    assert (done.code, "Plan:" in done.err, "Applied" in done.err) == (8, True, False)


def test_verbs_of_a_room_that_is_not_installed(command: Command, project: Path) -> None:
    done = command("status")
    assert done.code == 3
    assert "There is no service 'loop'" in done.err


def test_demo_runs_the_demo(command: Command, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    demo = types.ModuleType("interlock.demo")
    demo.run_demo = lambda *words: asked.append(words)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "interlock.demo", demo)
    assert command("demo").code == 0
    assert command("demo", "--folder", "x", "--people", "9").code == 0
    assert asked == [(folder / "interlock-demo", 700), (folder / "x", 9)]
