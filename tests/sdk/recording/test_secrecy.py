from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path

import pytest

from interlock.sdk.recording.project import Modules, Project
from interlock.sdk.recording.secrecy import kept_out, without_secrets


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["--lr", "0.1", "data.csv"], ["--lr", "0.1", "data.csv"]),
        (["--api-key", "X", "--lr", "1"], ["--api-key", "***", "--lr", "1"]),
        (["--password=X"], ["--password=***"]),
        (["--DB_PASSWD", "X"], ["--DB_PASSWD", "***"]),
        (["--token", "--lr", "1"], ["--token", "--lr", "1"]),
        (["--tokenizer-path=x"], ["--tokenizer-path=***"]),
        (["postgres://u:X@h/db", "--url=http://u:X@h:1/p"], ["postgres://h/db", "--url=http://h:1/p"]),
        (["a@b", "http://h/@x"], ["a@b", "http://h/@x"]),
    ],
)
def test_words_that_look_like_secrets_are_hidden(words: list[str], kept: list[str]) -> None:
    assert without_secrets(words) == kept


def test_what_git_ignores_is_kept_out_of_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {"open.py": "x = 1", "local_settings.py": "PASSWORD = 'x'", ".gitignore": "local_*"}.items():
        (tmp_path / name).write_text(text)
    for name in ("open", "local_settings"):
        module = types.ModuleType(name)
        module.__file__ = str(tmp_path / f"{name}.py")
        monkeypatch.setitem(sys.modules, name, module)
    assert kept_out(tmp_path, ["local_settings.py"]) == set()  # no repository
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    seen = Modules(Project(tmp_path), None)
    assert seen.fresh() == {"open.py": b"x = 1"}
    assert seen.record.left_out == ("local_settings.py",)
