"""The snapshot holds the source files and nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import msgspec
import pytest

from interlock.store.manifests import read_manifest
from interlock.store.objects import FolderObjects
from interlock.train.code import REVISION, Revision, revision, snapshot


@pytest.fixture
def objects(tmp_path: Path) -> FolderObjects:
    return FolderObjects(tmp_path / "objects")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    project = tmp_path / "project"
    files = {
        **dict.fromkeys(("pipeline.py", "interlock.toml", "queries/a.sql", "README.md", "package/deep/b.py"), "x"),
        **dict.fromkeys((".interlock/a.py", ".venv/a.py", "env/a.py", "env/pyvenv.cfg", "data/a.py"), "x"),
        **dict.fromkeys(("model.bin", "__pycache__/a.py", ".secret.py"), "x"),
        "large.py": "x" * 1_000_001,
    }
    for name, text in files.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    (project / "link.py").symlink_to(tmp_path / "elsewhere.py")
    return project


def test_source_files_are_kept(folder: Path, objects: FolderObjects) -> None:
    digest = snapshot(folder, objects)
    names = [entry.path for entry in read_manifest(objects, digest).files]
    assert names == ["README.md", "interlock.toml", "package/deep/b.py", "pipeline.py", "queries/a.sql"]
    assert snapshot(folder, objects) == digest
    (folder / "data" / "a.py").write_text("other")
    assert snapshot(folder, objects) == digest
    (folder / "pipeline.py").write_text("y")
    assert snapshot(folder, objects) != digest


def test_git_s_commit_is_kept(folder: Path, objects: FolderObjects) -> None:
    assert revision(folder) is None
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "pipeline.py"], [*identity, "commit", "-q", "-m", "one"]):
        subprocess.run(["git", "-C", str(folder), *words], check=True)
    subprocess.run(["git", "-C", str(folder), "clean", "-fdqx"], check=True)
    found = revision(folder)
    assert found == Revision(found.commit, dirty=False)
    assert len(found.commit) == 40
    entry = read_manifest(objects, snapshot(folder, objects)).find(REVISION)
    assert msgspec.json.decode(objects.get(entry.digest), type=Revision) == found
    (folder / "pipeline.py").write_text("changed")
    assert revision(folder) == Revision(found.commit, dirty=True)
