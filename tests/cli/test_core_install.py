"""A core install, without any extra: every command works, or says what to install."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys

import pytest

from interlock.core.errors import EXTRAS

# Runs one command line of each list on stdin in this one process, as if the libraries of all extras were not there.
SCRIPT = """
import contextlib, io, json, sys, traceback
from importlib.machinery import PathFinder

class CoreOnly(PathFinder):
    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        return None if fullname.partition(".")[0] in BLOCKED else super().find_spec(fullname, path, target)

BLOCKED = set(json.loads(sys.argv[1]))
sys.meta_path[:] = [CoreOnly if finder is PathFinder else finder for finder in sys.meta_path]

from interlock.cli.main import run

done = []
for words in json.loads(sys.stdin.read()):
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            code = run(words)
        except Exception:
            traceback.print_exc()
            code = -1
    done.append([words, code, said.getvalue()])
loaded = sorted(BLOCKED & set(sys.modules))
print(json.dumps([done, loaded]))
"""
COMMANDS = [
    ["apply"],
    ["plan"],
    ["status"],
    ["config"],
    ["plugins"],
    ["demo", "--folder", "story"],
    ["why", "model:employment@1"],
    ["data", "list"],
    ["data", "ingest", "people", "people.csv"],
    ["data", "validate", "people", "people.csv"],
    ["data", "show", "people"],
    ["train", "run", "pipeline:train"],
    ["track", "runs"],
    ["registry", "models"],
    ["audit", "report", "model:employment@1"],
    ["audit", "check", "model:employment@1"],
    ["deploy", "deployments"],
    ["monitor", "monitors"],
    ["monitor", "windows", "employment"],
    ["loop", "turn"],
    ["loop", "candidate", "train"],
    ["ledger", "events", "--newest"],
    ["ledger", "verify"],
]
MUST_SAY = {"apply": "data", "demo": "demo", "data ingest": "data"}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[list[str], int, str]]:
    """Return what the commands did in a core install."""
    folder = tmp_path_factory.mktemp("core")
    (folder / "people.csv").write_text("person,age\n1,2\n")
    command = [sys.executable, "-c", inspect.cleandoc(SCRIPT), json.dumps(sorted(EXTRAS))]
    ran = subprocess.run(
        command,
        input=json.dumps([["init", "--example", "employment"], *COMMANDS]),
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert not (folder / "story").exists(), "the demo lays out nothing that it cannot tell"
    found, loaded = json.loads(ran.stdout)
    assert loaded == [], "the blocker blocks"
    return [(words, code, err) for words, code, err in found]


def test_no_command_of_a_core_install_ends_in_a_traceback(done: list[tuple[list[str], int, str]]) -> None:
    # 3: what a core install could not make is not found, which is an answer too
    wrong = [(words, code, err) for words, code, err in done if code not in {0, 3, 7} or "Traceback" in err]
    assert wrong == []
    silent = [(words, err) for words, code, err in done if code == 7 and "pip install 'interlock[" not in err]
    assert silent == []


def test_what_needs_an_extra_names_it(done: list[tuple[list[str], int, str]]) -> None:
    for start, extra in MUST_SAY.items():
        found = [(code, err) for words, code, err in done if " ".join(words).startswith(start)]
        assert [code for code, _ in found] == [7], (start, found)
        assert f"interlock[{extra}]" in found[0][1]
