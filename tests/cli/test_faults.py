from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from interlock.cli.faults import EXIT_CODES, report
from interlock.core import errors
from interlock.core.errors import Finding


def test_every_class_has_an_exit_code_of_its_own() -> None:
    assert set(EXIT_CODES) == {errors.Error, *errors.Error.__subclasses__()}
    assert len(set(EXIT_CODES.values())) == len(EXIT_CODES)


def test_what_the_system_refuses_is_a_sentence_and_what_is_a_bug_is_left_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert report(OSError(28, "No space left on device"), as_json=False) == 8
    assert "No space left on device" in capsys.readouterr().err
    assert report(KeyError("x"), as_json=False) is None


def test_an_error_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    findings = [
        Finding("range", "200 is above 120", "age", (3, 7, 9, 11, 13, 15), 12),
        Finding("missing_column", "it is missing", "sex"),
        Finding("duplicates", "they are there twice", rows=(1, 2), count=2),
        Finding("empty", "many", count=5),
        Finding("type", "holds 'x' (line 3 of a.csv)", "age", (1,), 1),
        Finding("alone", "one", "age", (1,), 1),
    ]
    error = errors.Invalid("4 things are wrong.", about="data", hint="Mend them.", findings=findings)
    assert report(error, as_json=False) == 2
    assert capsys.readouterr().err.splitlines() == [
        "Error: 4 things are wrong.",
        "  - range (age, rows 3, 7, 9, 11, 13 and 7 more): 200 is above 120",
        "  - missing_column (sex): it is missing",
        "  - duplicates (rows 1, 2): they are there twice",
        "  - empty (5 rows): many",
        "  - type (age, 1 row): holds 'x' (line 3 of a.csv)",
        "  - alone (age, row 1): one",
        "Hint: Mend them.",
    ]


def test_a_place_in_a_text_is_shown_on_lines_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    report(
        errors.Invalid("A run has no 'loss'. (column 1)\n    loss < 1\n    ^", hint="Did you mean x?"), as_json=False
    )
    assert capsys.readouterr().err.splitlines() == [
        "Error: A run has no 'loss'. (column 1)",
        "    loss < 1",
        "    ^",
        "Hint: Did you mean x?",
    ]


def test_a_line_of_data_cannot_pass_for_a_line_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    report(errors.Invalid("No 'a\nHint: do harm.\n    \x1b[2J'."), as_json=False)
    assert capsys.readouterr().err.splitlines() == ["Error: No 'a\\nHint: do harm.", "    \\x1b[2J'."]


def test_scripts_get_the_problem_document(capsys: pytest.CaptureFixture[str]) -> None:
    error = errors.NotFound.named("model", "x", ["y"])
    assert report(error, as_json=True) == 3
    assert json.loads(capsys.readouterr().err) == {**error.to_problem(), "findings": []}


def test_what_comes_from_data_cannot_write_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    finding = Finding("x", "\x1b[2J", "\x1b]0;t\x07")
    report(errors.Invalid("\x1b]0;t\x07", hint="\x1b]0;t\x07", findings=[finding]), as_json=False)
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("variables", "colored"), [({}, True), ({"NO_COLOR": "1"}, False), ({"INTERLOCK_COLOR": "false"}, False)]
)
def test_colours_are_for_terminals_that_want_them(tmp_path: Path, variables: dict[str, str], colored: bool) -> None:
    terminal, end = pty.openpty()
    code = "from interlock.cli.main import main; main(['data', 'list'])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **variables}
    subprocess.run([sys.executable, "-c", code], stderr=end, env=environment, cwd=tmp_path, check=False)
    os.close(end)
    shown = os.read(terminal, 10_000)
    os.close(terminal)
    assert b"There is no workspace here." in shown
    assert (b"\x1b[31m" in shown) is colored


def test_what_is_not_ours_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(ZeroDivisionError(), as_json=False) is None
    assert capsys.readouterr().err == ""
