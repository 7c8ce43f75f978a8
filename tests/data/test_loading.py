"""`interlock.data.load`: rows of a version, from any workspace, in a process that knows of nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import interlock
from interlock.core.errors import Invalid, NotFound
from interlock.sdk.workspace import Workspace
from interlock.store import create_store


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with two versions of a dataset, in the folder of the process."""
    folder = tmp_path / "project"
    create_store(folder / ".interlock").close()
    monkeypatch.chdir(folder)
    with Workspace.open(folder) as workspace:
        for second in (25, 30):
            (folder / "people.csv").write_text(f"id,age\n1,20\n2,{second}\n3,40\n")
            workspace.data.ingest("people", [folder / "people.csv"])
    return folder


def alone(code: str, folder: Path) -> str:
    """Return what a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("ref", "age"), [("people@1", 25), ("people@latest", 30), ("data:people@1", 25), ("people@2", 30)]
)
def test_rows_of_a_version_come_by_its_reference(project: Path, ref: str, age: int) -> None:
    assert interlock.data.load(ref)["age"].to_list() == [20, age, 40]


def test_the_workspace_may_be_named_or_be_open(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert interlock.data.load("people@1", project)["age"].to_list() == [20, 25, 40]
    with Workspace.open(project) as workspace:
        assert interlock.data.load("people@1", workspace)["age"].to_list() == [20, 25, 40]
    with pytest.raises(NotFound, match="no workspace"):
        interlock.data.load("people@1")


def test_what_is_no_version_is_refused(project: Path) -> None:
    with pytest.raises(NotFound):
        interlock.data.load("people@7")
    with pytest.raises(Invalid, match="a data is wanted"):
        interlock.data.load("model:people@1")


def test_the_room_may_be_imported_first(project: Path) -> None:
    code = "from interlock.data import load; print(load('people@1')['age'].to_list())"
    assert alone(code, project) == "[20, 25, 40]"
    assert alone(
        code.replace("from interlock.data import load", "import interlock; load = interlock.data.load"), project
    )


def test_its_door_loads_no_heavy_library(project: Path) -> None:
    code = "import interlock, sys; interlock.data.load; print(sorted({'polars', 'numpy'} & set(sys.modules)))"
    assert alone(code, project) == "[]"
