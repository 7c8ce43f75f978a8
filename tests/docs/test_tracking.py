"""docs/reference/tracking.md keeps its word: its snippet runs, and every command that it shows does."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from interlock.sdk.workspace import Workspace
from interlock.store import create_store

PAGE = (Path(__file__).parents[2] / "docs/reference/tracking.md").read_text("utf-8")
SRC = Path(__file__).parents[2] / "src"


def call(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Return what became of a Python process in a folder."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("INTERLOCK_")}
    env |= {"XDG_STATE_HOME": str(folder / "state"), "PYTHONPATH": str(SRC)}
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False, cwd=folder, env=env)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which the page's snippet was run, once."""
    folder = tmp_path_factory.mktemp("tracking")
    create_store(folder / ".interlock").close()
    (snippet,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    (folder / "train.py").write_text(snippet, "utf-8")
    done = call(folder, "train.py")
    assert done.returncode == 0, done.stderr
    return folder


def test_the_snippet_records_what_its_comments_say(project: Path) -> None:
    with Workspace.open(project) as workspace:
        fold, inner, run = workspace.track.runs("churn")
        assert (run.params, run.tags["kind"]) == ({"C": "0.5", "search.folds": "2"}, "baseline")
        points = workspace.track.metric(run.id, "loss")
        assert (points.steps, points.values[-1]) == ((0, 1, 2, 3, 4, 5), 0.1)
        files = {"train.py", "notes.txt", "tables/folds.csv", "figures/loss.svg", "interlock/code/train.py"}
        assert files <= {file.name for file in run.artifacts}
        assert inner.tags["mlflow.parentRunId"] == run.id
        assert "printed lines are in the log" in workspace.track.logs(inner.id)
        assert (fold.name, fold.params, fold.metrics) == ("fold", {"number": "1", "C": "1.0"}, {"auc": 0.81})
        assert [(version.ref, version.run) for version in workspace.registry.versions("churn")] == [
            ("model:churn@1", run.ref)
        ]


def test_every_command_about_runs_runs(project: Path) -> None:
    lines = re.findall(r"^\| `(interlock runs .*?)` \|", PAGE, flags=re.MULTILINE)
    assert [line.split()[2] for line in lines] == ["ls", "show", "compare", "diff", "logs", "rm", "restore", "export"]
    with Workspace.open(project) as workspace:
        fold = workspace.track.runs("churn")[0].ref
    for line in lines:
        done = call(project, "-m", *shlex.split(line.replace("RUN", fold)))
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    assert len((project / "runs.csv").read_text("utf-8").splitlines()) == 3
    assert (project / "loss.svg").read_text("utf-8").startswith("<svg")


def test_every_other_command_exists(command: Callable[[str], None]) -> None:
    for block in re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL):
        for line in block.splitlines():
            command(line.partition("   #")[0].replace("--epochs 3", ""))  # which are the script's own words
