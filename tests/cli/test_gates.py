from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from interlock.audit.evidence import GateResult
from interlock.cli.faults import EXIT_CODES
from interlock.core.errors import Finding, GateClosed, NotFound
from interlock.core.operations import Permission, operation
from interlock.sdk.services import SERVICES, Service

Command = Callable[..., Any]
FAKES = {name: Service(f"tests_of_gates:{name.title()}Service", "For tests.") for name in ("loop", "audit")}
CLOSED = EXIT_CODES[GateClosed]


class Version(msgspec.Struct):
    ref: str
    stage: str


class Report(msgspec.Struct):
    passed: bool
    results: tuple[GateResult, ...]


def judged(version: str) -> Report:
    """Return a report in which the gate fails for what is called bad."""
    passed = "bad" not in version
    warning = Finding("bound", "0.79 is asked for; chance could explain it.")
    result = GateResult("metric", "passed" if passed else "failed", summary="roc_auc 0.6 (>= 0.7)", warnings=(warning,))
    return Report(passed, (result,))


class LoopService:
    """The loop, for tests."""

    name = "loop"

    def __init__(self, store: object) -> None:
        pass

    @operation(Permission.LOOP_RUN, emits=("gate.failed",))
    def candidate(self, pipeline: str) -> Version:
        """Make a candidate.

        Args:
            pipeline: which.
        """
        if pipeline == "nope":
            raise NotFound.named("pipeline", pipeline, ["good", "bad"])
        return Version(f"model:{pipeline}@1", "development" if pipeline == "bad" else "validated")


class AuditService:
    """Gates, for tests."""

    name = "audit"

    def __init__(self, store: object) -> None:
        pass

    @operation(Permission.AUDIT_READ)
    def report(self, version: str) -> Report:
        """Show what gates said.

        Args:
            version: of which.
        """
        return judged(version)

    @operation(Permission.AUDIT_RUN, emits=("gate.failed",))
    def check(self, version: str) -> Report:
        """Let gates judge.

        Args:
            version: which.
        """
        return judged(version)


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    module = types.ModuleType("tests_of_gates")
    module.LoopService, module.AuditService = LoopService, AuditService  # type: ignore[attr-defined]
    module.__spec__ = types.SimpleNamespace()  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "tests_of_gates", module)


def test_a_candidate_that_a_gate_holds_back_is_shown_with_its_report_and_an_exit_code(command: Command) -> None:
    done = command("loop", "candidate", "bad", services=FAKES)
    assert done.code == CLOSED == 6
    for words in ("development", "metric", "failed", "roc_auc 0.6 (>= 0.7)", "chance could explain it"):
        assert words in done.out
    scripts = command("loop", "candidate", "bad", "--json", services=FAKES)
    assert (scripts.code, json.loads(scripts.out)["stage"]) == (CLOSED, "development")


def test_a_candidate_that_passes_is_shown_alone(command: Command) -> None:
    assert command("loop", "candidate", "good", services=FAKES) == (0, "ref    model:good@1\nstage  validated\n", "")


def test_a_check_ends_with_the_same_code_and_looking_at_a_report_does_not(command: Command) -> None:
    assert command("audit", "check", "bad", services=FAKES).code == CLOSED
    assert command("audit", "check", "good", services=FAKES).code == 0
    assert command("audit", "report", "bad", services=FAKES).code == 0


def test_an_edit_that_was_not_applied_is_told(command: Command, project: Path) -> None:
    assert command("apply", services=SERVICES).code == 0
    assert command("loop", "candidate", "good", services=FAKES).err == ""
    with (project / "interlock.toml").open("a") as file:
        file.write("# an edit\n")
    done = command("loop", "candidate", "good", services=FAKES)
    assert done.err.splitlines() == [
        "Warning: interlock.toml was edited since `interlock apply`; this goes by what was applied."
    ]
    assert command("loop", "candidate", "good", "--json", services=FAKES).err == ""


@pytest.mark.parametrize(
    ("words", "title"),
    [
        (["loop", "candidate", "--json"], "Missing argument 'PIPELINE'."),
        (["--json", "stauts"], "There is no command 'stauts'. Did you mean 'status'"),
        (["loop", "candidat", "--json"], "There is no command 'candidat'. Did you mean 'candidate'?"),
        (["loop", "candidate", "good", "--limt", "3", "--json"], "No such option '--limt'."),
    ],
)
def test_words_that_are_no_command_are_a_problem_document_for_scripts(
    command: Command, words: list[str], title: str
) -> None:
    done = command(*words, services=FAKES)
    problem = json.loads(done.err)
    assert (done.code, done.out, problem["code"]) == (2, "", "usage.invalid")
    assert problem["title"].startswith(title)
    assert "--help" in problem["hint"]
    assert "Usage:" in command(*(word for word in words if word != "--json"), services=FAKES).err
