from __future__ import annotations

import json
from pathlib import Path

import pytest

from interlock.core.errors import Invalid, NotFound
from interlock.sdk import places
from interlock.sdk.places import find, nearest, settings, user_file
from interlock.sdk.workspace import Workspace
from interlock.store import FOLDER, create_store


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "deep/er").mkdir(parents=True)
    (folder / "interlock.toml").write_text("[project]\nname = 'x'\n")
    return folder


def write_settings(path: Path, **values: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items()))


@pytest.fixture(autouse=True)
def _own_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def test_the_folder_has_one_name() -> None:
    assert places.FOLDER == FOLDER


def test_what_was_said_comes_first(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other"
    create_store(other / ".interlock").close()
    monkeypatch.setenv("INTERLOCK_WORKSPACE", str(other))
    monkeypatch.chdir(project)
    assert find(project) == str(project)
    assert find(str(project / ".interlock")) == str(project)
    assert find("http://127.0.0.1:1") == "http://127.0.0.1:1"
    assert find() == str(other)


def test_the_nearest_project_upwards(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project / "deep/er")
    assert find() == str(project)
    create_store(project / "deep/.interlock").close()
    assert find() == str(project / "deep")
    assert nearest(project / "deep/er") == project / "deep"


def test_a_project_may_name_another_place(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    with (project / "interlock.toml").open("a") as file:
        file.write('[settings]\nworkspace = "https://ml.example.org"\n')
    assert find() == "https://ml.example.org"


def test_the_users_file_comes_last(tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_settings(user_file(), workspace=str(project))
    assert find() == str(project)


def test_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFound) as caught:
        find()
    assert "interlock init" in caught.value.hint
    with pytest.raises(NotFound, match="interlock init"):
        Workspace.open(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_fresh_checkout_becomes_a_workspace_when_it_is_opened(project: Path) -> None:
    with Workspace.open(project) as workspace:
        assert workspace.location == str(project)
        assert (project / ".interlock/workspace.json").is_file()


def test_settings_know_their_origin(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (project / "interlock.toml").open("a") as file:
        file.write("[settings]\nport = 7\ncolor = true\n")
    write_settings(user_file(), host="127.0.0.9")
    monkeypatch.setenv("INTERLOCK_COLOR", "false")
    found = settings(project, {"port": 9, "host": None})
    assert (found["port"].value, found["port"].origin) == (9, "argument")
    assert (found["color"].value, found["color"].origin) == (False, "INTERLOCK_COLOR")
    assert (found["host"].value, found["host"].origin) == ("127.0.0.9", "user file")
    assert found["workspace"].origin == "default"


@pytest.mark.parametrize("text", ["settings = 3\n", "[settings\n", "\x00", "[settings]\nport = 'x'\n"])
def test_files_that_are_no_settings(project: Path, text: str) -> None:
    (project / "interlock.toml").write_text(text)
    with pytest.raises(Invalid):
        settings(project)


def test_a_misspelt_setting_is_named(project: Path) -> None:
    (project / "interlock.toml").write_text("[settings]\nprot = 3\n")
    with pytest.raises(NotFound, match="'port'"):
        settings(project)


@pytest.mark.parametrize("said", ["127.0.0.1:8655", "localhost:8655", "ml.example.org:443/team", "[::1]:8655"])
def test_an_address_without_its_scheme_is_told_apart_from_a_folder(said: str) -> None:
    with pytest.raises(NotFound) as caught:
        find(said)
    assert f"http://{said}" in caught.value.hint
    assert "interlock init" not in caught.value.hint
