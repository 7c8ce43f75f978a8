"""What git says of a working tree."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from interlock.sdk.recording import repository

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def git(folder: Path, *words: str) -> str:
    settings = [
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@b",
        "-c",
        "commit.gpgsign=false",
        "-c",
        "core.hooksPath=/dev/null",
    ]
    command = ["git", *settings, *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "trunk")
    (folder / "a.py").write_text("a = 1\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def test_a_clean_tree_is_its_commit(tree: Path) -> None:
    found, diff = repository.look(tree)
    assert (found.commit, found.branch, found.dirty) == (git(tree, "rev-parse", "HEAD"), "trunk", False)
    assert diff == b""


def test_changes_are_a_diff_that_git_applies(tree: Path) -> None:
    (tree / "a.py").write_text("a = 2\n")
    (tree / "new name.py").write_text("x")
    found, diff = repository.look(tree)
    assert found.dirty
    assert found.untracked == ("new name.py",)
    assert b"+a = 2" in diff
    git(tree, "checkout", "-q", "a.py")
    subprocess.run(["git", "apply"], cwd=tree, input=diff, check=True)
    assert (tree / "a.py").read_text() == "a = 2\n"


def test_a_large_diff_is_cut_and_says_so(tree: Path) -> None:
    (tree / "a.py").write_text("b\n" * repository.MOST_DIFF)
    _, diff = repository.look(tree)
    assert repository.MOST_DIFF < len(diff) < repository.MOST_DIFF + 100
    assert diff.endswith(b"cut by interlock after 1 MiB\n")


def test_before_the_first_commit_there_is_none(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "trunk")
    (tmp_path / "a").write_text("a")
    found, diff = repository.look(tmp_path)
    assert (found.commit, found.branch, found.dirty, diff) == ("", "trunk", True, b"")


def test_where_no_repository_is_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert repository.look(tmp_path) is None
    monkeypatch.setenv("PATH", "")
    assert repository.look(tmp_path) is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:secret@host/x.git", "https://host/x.git"),
        ("https://token@host:8/x", "https://host:8/x"),
        ("git@host:me/x.git", "git@host:me/x.git"),
        ("../other", "../other"),
    ],
)
def test_passwords_of_remotes_are_left_out(tree: Path, url: str, shown: str) -> None:
    git(tree, "remote", "add", "origin", url)
    assert repository.look(tree)[0].remote == shown
