"""Which files are the project's, and the source of its modules as runs keep it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import types
from pathlib import Path

import msgspec
import pytest

from interlock.sdk.recording import project as module
from interlock.sdk.recording.project import Imported, Modules, Project, project_of

SCRIPT = """
import pack.part, rates, sys
sys.path.insert(0, "{site}")
import installed
print(pack.part.x, rates.y)
{then}
"""


def lay(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A git work tree with a script in a folder, modules beside it, and a virtual environment in it."""
    folder = tmp_path / "tree"
    lay(
        folder,
        {
            "scripts/pack/__init__.py": "",
            "scripts/pack/part.py": "x = 1\n",
            "scripts/rates.py": "def late():\n    import later\ny = 2\n",
            "scripts/later.py": "z = 3\n",
            "scripts/never.py": "raise SystemExit\n",
            "venv/pyvenv.cfg": "",
            "venv/lib/python3/site-packages/installed.py": "",
        },
    )
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    return folder


def kept(workspace) -> tuple[dict[str, bytes], Imported | None]:
    """Return the code of the newest run by path, and its list of modules."""
    found = workspace.track.runs()[0]
    files = {file.name: workspace.read(file.digest) for file in found.artifacts}
    listed = files.get("interlock/modules.json")
    code = {name.removeprefix("interlock/code/"): text for name, text in files.items() if "/code/" in name}
    return code, None if listed is None else msgspec.json.decode(listed, type=Imported)


@pytest.mark.parametrize(
    ("then", "status"),
    [
        ("rates.late()", "finished"),
        ("rates.late(); 1 / 0", "failed"),
        ("rates.late(); import os, signal; os.kill(os.getpid(), signal.SIGTERM)", "killed"),
    ],
)
def test_the_modules_that_a_script_imported_are_kept_however_it_ends(tree, project, workspace, then, status) -> None:
    script = tree / "scripts" / "train.py"
    script.write_text(SCRIPT.format(site=tree / "venv/lib/python3/site-packages", then=then))
    subprocess.run([sys.executable, "-m", "interlock", "run", script], cwd=project, capture_output=True, check=False)
    assert workspace.track.runs()[0].status == status
    code, listed = kept(workspace)
    assert set(code) == {f"scripts/{name}.py" for name in ("train", "pack/__init__", "pack/part", "rates", "later")}
    assert code["scripts/later.py"] == b"z = 3\n"
    assert listed is not None
    assert {entry.path: entry.digest for entry in listed.files} == {
        path: hashlib.sha256(text).hexdigest() for path, text in code.items() if path != "scripts/train.py"
    }


def test_a_run_that_is_killed_leaves_what_it_had_imported_ten_seconds_before(start, workspace, tmp_path) -> None:
    (tmp_path / "rates.py").write_text("y = 2\n")
    script = start(
        """
        import time
        from interlock.sdk.recording import lookout
        lookout.SAMPLE_S = 0.05
        import interlock, rates
        with interlock.run("exp", machine=False, console=False) as run:
            time.sleep(0.6)
            run.flush()
            print("now")
            time.sleep(60)
        """
    )
    script.says("now")
    script.kill()
    assert kept(workspace)[0]["rates.py"] == b"y = 2\n"


def test_a_module_that_is_run_is_kept_as_the_script(project, workspace) -> None:
    lay(project, {"pack/__init__.py": "a = 1\n", "pack/__main__.py": "from . import other\n", "pack/other.py": ""})
    subprocess.run([sys.executable, "-m", "interlock", "run", "-m", "pack"], capture_output=True, check=True)
    code, _ = kept(workspace)
    assert code == {"pack/__init__.py": b"a = 1\n", "pack/__main__.py": b"from . import other\n", "pack/other.py": b""}


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Pretend that modules of these files were imported."""

    def load(files: dict[str, str]) -> None:
        lay(tmp_path, files)
        for name in files:
            made = types.ModuleType(name)
            made.__file__ = str(tmp_path / name)
            monkeypatch.setitem(sys.modules, f"made_{name}", made)

    return load


def test_there_are_bounds_and_what_is_beyond_them_is_named(tmp_path, modules, monkeypatch) -> None:
    monkeypatch.setattr(module, "MOST_OF_ONE", 100)
    monkeypatch.setattr(module, "MOST_BYTES", 120)
    monkeypatch.setattr(module, "MOST_FILES", 3)
    modules({"a.py": "a" * 50, "b.py": "b" * 101, "c.py": "c" * 60, "d.py": "d" * 11, "e.py": "", "f.py": ""})
    seen = Modules(Project(tmp_path), None)
    assert set(seen.fresh()) == {"a.py", "c.py", "e.py"}
    assert seen.record.left_out == ("b.py", "d.py", "f.py")
    modules({"late.py": ""})
    assert (seen.fresh(), seen.record.left_out[-1]) == ({}, "late.py")


def test_a_source_counts_as_it_was_when_it_was_first_seen(tmp_path, modules) -> None:
    modules({"a.py": "old", "pack/b.py": "b", "gone.py": "", "data.txt": "", ".venv/lib/site-packages/c.py": ""})
    (tmp_path / "gone.py").unlink()
    seen = Modules(Project(tmp_path), tmp_path / "script.py")
    assert seen.fresh() == {"a.py": b"old", "pack/b.py": b"b"}
    (tmp_path / "a.py").write_text("new")
    assert seen.fresh() == {}
    assert [entry.path for entry in seen.record.files] == ["a.py", "pack/b.py"]
    assert seen.record.left_out == ("gone.py",)


def test_the_project_is_the_work_tree_or_the_workspace_or_the_scripts_folder(tree, tmp_path, monkeypatch) -> None:
    (tmp_path / "work/sub").mkdir(parents=True)
    inside, alone = tmp_path / "work/sub/train.py", tmp_path / "train.py"
    assert project_of(str(tmp_path / "work"), tree / "scripts/train.py").root == tree
    assert project_of(str(tmp_path / "work"), inside).root == tmp_path / "work"
    assert project_of("http://127.0.0.1:1", inside).root == tmp_path / "work/sub"
    assert project_of(str(tmp_path / "work"), alone).root == tmp_path
    monkeypatch.chdir(tree / "scripts")
    assert project_of("http://127.0.0.1:1", Path(pytest.__file__)).root == tree
    assert project_of("http://127.0.0.1:1", Path(sys.executable)).root == tree
    assert project_of(str(tmp_path / "work"), None).root == tree


def test_paths_are_told_from_the_project_or_not_at_all(tmp_path) -> None:
    (tmp_path / "here/data").mkdir(parents=True)
    (tmp_path / "there").mkdir()
    (tmp_path / "here/link").symlink_to(tmp_path / "there")
    (tmp_path / "alias").symlink_to(tmp_path / "here")
    known = Project(tmp_path / "alias")
    assert known.inside(tmp_path / "here/data/x.csv") == "data/x.csv"
    assert known.inside(tmp_path / "alias/data/x.csv") == "data/x.csv"
    assert known.inside(tmp_path / "here/link/x.csv") == "link/x.csv"
    assert known.inside(tmp_path / "there/x.csv") == ""
