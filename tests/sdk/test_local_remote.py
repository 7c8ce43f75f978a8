"""A workspace in a folder and one behind an address give the same results and raise the same errors: every operation."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cases import CASES, Case, Past
from notes_service import SERVICES as NOTES

from interlock.core.clock import FixedClock
from interlock.core.errors import Error
from interlock.core.operations import Operation
from interlock.sdk.catalog import Catalog
from interlock.sdk.services import SERVICES
from interlock.sdk.workspace import Workspace
from interlock.server.run import serving
from interlock.store import create_store

ALL = {**NOTES, **SERVICES}
CATALOG = Catalog(ALL)
OPERATIONS = {f"{s}.{n}": op for s in CATALOG.names for n, op in CATALOG.operations(s).items()}
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Side:
    """One workspace with its past; names in its answers that are random are numbered as they appear."""

    random = re.compile(
        r"datetime\.datetime\([^()]*(?:\([^()]*\))?[^()]*\)"  # instants
        r"|\b[0-7][0-9A-HJKMNP-TV-Z]{25}\b"  # ids
        r"|\b[0-9a-f]{64}\b"  # digests: of what holds ids
        r"|[A-Za-z0-9+/]{43}=|[A-Za-z0-9+/]{60,}={0,2}"  # hashes and signatures in checkpoints
        r"|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.\d]*(?:Z|\+00:00)"
    )

    def __init__(self, workspace: Workspace, folder: Path) -> None:
        self.workspace = workspace
        self.past = Past(folder)
        self.seen: dict[str, str] = {}

    def play(self, case: Case) -> str:
        """Return what a case does here, as text; types show in it, and so does NaN."""
        arguments = case.arguments(self.past) if callable(case.arguments) else case.arguments
        service, _, operation = case.operation.partition(".")
        return self.told(lambda: self.workspace.call(service, operation, arguments), case.operation)

    def told(self, call: Any, operation: str) -> str:
        """Return what a call returns or raises, as text."""
        try:
            result = call()
        except Error as error:
            assert not error.code.startswith("server."), error
            return f"{type(error).__name__}: {error.to_problem()}"
        self.past.results.setdefault(operation, []).append(result)
        return repr(result)

    def numbered(self, text: str) -> str:
        """Return a text in which what differs from one workspace to the next is numbered."""
        return self.random.sub(lambda match: self.seen.setdefault(match.group(), f"<{len(self.seen)}>"), text)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    (folder / "people.csv").write_text("person,age\n1,30\n2,41\n")
    (folder / "empty.csv").write_text("")
    return folder


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, Workspace, Workspace]]:
    """Return three workspaces: a copy in a folder; the same, behind a server; and that server's own."""
    base = tmp_path_factory.mktemp("workspaces")
    create_store(base / "original/.interlock").close()
    for name in ("left", "right"):
        shutil.copytree(base / "original", base / name)
    stores = [create_store(base / name / ".interlock", FixedClock(NOW)) for name in ("left", "right")]
    left, right = (Workspace.over(store, services=ALL) for store in stores)
    with left, right, serving(right) as address, Workspace.open(address, services=ALL) as remote:
        yield left, remote, right


def test_every_operation_has_a_case() -> None:
    missing = sorted(OPERATIONS.keys() - {case.operation for case in CASES})
    assert missing == [], "add them to tests/sdk/cases.py"


def test_story_is_told_alike(served: tuple[Workspace, Workspace, Workspace], files: Path) -> None:
    left, remote, right = (Side(workspace, files) for workspace in served)
    right.past = remote.past
    for number, case in enumerate(CASES):
        if case.operation not in OPERATIONS:  # of a service that this installation leaves out
            continue
        there = remote.play(case)
        if OPERATIONS[case.operation].permission.reads_only:
            assert (number, case.operation, right.play(case)) == (number, case.operation, there)
        here = left.numbered(left.play(case))
        assert (number, case.operation, here) == (number, case.operation, remote.numbered(there))


@pytest.mark.parametrize("name", OPERATIONS)
def test_arguments_are_refused_alike(name: str, served: tuple[Workspace, Workspace, Workspace], files: Path) -> None:
    left, remote, _ = (Side(workspace, files) for workspace in served)
    operation = OPERATIONS[name]
    for arguments in wrong_arguments(operation):
        # Straight to what runs it, past the checks that `Workspace` makes before it sends anything.
        here = left.told(lambda given=arguments: left.workspace.backend.call(operation, given), name)
        there = remote.told(lambda given=arguments: remote.workspace.backend.call(operation, given), name)
        assert here == there
        assert here.startswith("Invalid"), f"{name} took {arguments}"
        with pytest.raises(Error) as caught:
            remote.workspace.call(operation.service, operation.name, arguments)
        assert f"Invalid: {caught.value.to_problem()}" == here


def wrong_arguments(operation: Operation) -> Iterator[dict[str, Any]]:
    """Yield arguments that an operation must refuse: an unknown one, none where some are needed, of wrong types."""
    required = {parameter.name: parameter for parameter in operation.parameters if parameter.required}
    wrong = {name: mistyped(parameter.type) for name, parameter in required.items()}
    given = {name: value for name, value in wrong.items() if value is not None}
    yield {"no_such_argument": 1}
    if required:
        yield {}
    if given.keys() == required.keys() and given:
        yield given
    if operation.parameters:
        fitting = {name: 2**70 for name in required} or {operation.parameters[0].name: 2**70}
        yield fitting


def mistyped(kind: Any) -> Any:
    """Return a value that a type refuses, or None where it takes everything."""
    for value in ({"no": {"such": {"thing": 1}}}, [[[1]]], 3, "x"):
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError:
            return value
    return None
