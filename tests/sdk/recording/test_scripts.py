"""`interlock run`: a script runs as Python runs it, and all of it is recorded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LOOKS = """
    import os, pickle, sys, threading
    class Mine: pass
    assert pickle.loads(pickle.dumps(Mine())).__class__ is Mine
    assert sys.modules["__main__"].Mine is Mine
    print(__name__, __file__, sys.argv, sys.path[0], __package__, __doc__)
    print("to stderr", file=sys.stderr)
    threading.Thread(target=lambda: print("from a thread")).start()
"""


def command(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


def shown(err: str) -> str:
    """Return stderr without our own lines."""
    return "".join(line for line in err.splitlines(keepends=True) if not line.startswith("interlock:"))


@pytest.fixture
def script(tmp_path: Path):
    def write(text: str, name: str = "train.py") -> Path:
        import textwrap

        path = tmp_path / "code" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text), "utf-8")
        return path

    return write


@pytest.mark.parametrize(
    "text",
    [
        LOOKS,
        "import sys; sys.exit()",
        "import sys; sys.exit(4)",
        "import sys; sys.exit('a word')",
        "import sys; print('x'); sys.stdout.flush(); raise SystemExit(True)",
        "def f():\n    1 / 0\ntry:\n    f()\nexcept ZeroDivisionError as e:\n    raise KeyError('k') from e",
        "this is no python",
        "import sys\nsys.excepthook = lambda *a: print('own hook', a[0].__name__, file=sys.stderr)\n1 / 0",
    ],
)
def test_it_prints_and_ends_as_under_python(script, project: Path, text: str) -> None:
    path = script(text)
    plain = command(str(path), "a", "--b", "-m", cwd=project)
    ours = command("-m", "interlock", "run", "--no-autolog", str(path), "a", "--b", "-m", cwd=project)
    assert (ours.stdout, shown(ours.stderr), ours.returncode) == (plain.stdout, plain.stderr, plain.returncode)


def test_a_module_runs_as_with_python_m(script, project: Path) -> None:
    script(
        "import sys; print(__name__, sys.argv[1:], __package__); from pack import other",
        "pack/__main__.py".replace("/", "_"),
    )
    package = project / "pack"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "other.py").write_text("print('other')")
    (package / "__main__.py").write_text("import sys; print(__name__, sys.argv[1:]); from . import other; sys.exit(2)")
    plain = command("-m", "pack", "a", cwd=project)
    ours = command("-m", "interlock", "run", "-m", "pack", "a", cwd=project)
    assert (
        (ours.stdout, shown(ours.stderr), ours.returncode)
        == (plain.stdout, plain.stderr, plain.returncode)
        != ("", "", 0)
    )


def test_everything_about_it_is_in_the_run(script, project: Path, workspace) -> None:
    path = script(LOOKS + "    raise SystemExit(3)\n")
    done = command(
        "-m",
        "interlock",
        "run",
        "--experiment",
        "nightly",
        "--name",
        "n",
        "--tag",
        "team=a",
        str(path),
        "x",
        cwd=project,
    )
    assert done.returncode == 3
    (found,) = workspace.track.runs()
    assert (found.experiment, found.name, found.status, found.reason) == ("nightly", "n", "failed", "exit code 3")
    assert {"team": "a", "entry": str(path)}.items() <= found.tags.items()
    log = workspace.track.logs(found.id)
    assert "out| from a thread" in log
    assert "err| to stderr" in log
    files = {file.name: workspace.read(file.digest) for file in found.artifacts}
    assert files["interlock/code/train.py"] == path.read_bytes()
    assert b'"arguments": [\n    "x"\n  ]' in files["interlock/surroundings.json"]
    assert done.stderr.splitlines()[-1] == f"interlock: {found.ref} is failed."


def test_the_traceback_is_in_the_log_and_has_no_frames_of_ours(script, project: Path, workspace) -> None:
    done = command("-m", "interlock", "run", str(script("1 / 0")), cwd=project)
    assert done.returncode == 1
    assert "interlock/sdk" not in done.stderr
    (found,) = workspace.track.runs()
    assert found.reason == "ZeroDivisionError: division by zero"
    assert "err| ZeroDivisionError: division by zero" in workspace.track.logs(found.id)


def test_a_script_that_records_itself_is_nested(script, project: Path, workspace) -> None:
    path = script("import interlock\nwith interlock.run('own') as run: run.metrics(x=1)")
    assert command("-m", "interlock", "run", str(path), cwd=project).returncode == 0
    own, outer = workspace.track.runs()
    assert (own.experiment, own.parent) == ("own", outer.id)


def test_mistakes_are_told_before_anything_runs(project: Path, workspace) -> None:
    missing = command("-m", "interlock", "run", "nothing.py", cwd=project)
    assert (missing.returncode, missing.stdout) == (3, "")
    assert "There is no script 'nothing.py'." in missing.stderr
    tag = command("-m", "interlock", "run", "--tag", "x", __file__, cwd=project)
    assert (tag.returncode, "NAME=VALUE" in tag.stderr) == (2, True)
    assert workspace.track.runs() == []


def test_a_script_of_one_line_is_delivered_before_it_ends(script, project: Path, workspace) -> None:
    done = command("-m", "interlock", "run", str(script("")), cwd=project)
    (found,) = workspace.track.runs()
    assert done.stderr.splitlines() == [f"interlock: {found.ref} is finished."]
