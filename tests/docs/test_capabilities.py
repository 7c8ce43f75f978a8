"""docs/capabilities.md: every number once, and nothing named there that does not exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

import interlock
from interlock.core.events import KINDS
from interlock.serve.control import Control
from interlock.serve.explain import explanations
from interlock.serve.labels import Labels
from interlock.serve.openapi import described
from interlock.serve.server import protocols
from interlock.server.app import PERMISSIONS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "capabilities.md").read_text("utf-8")
NUMBERS = [f"R{n:03}" for n in range(1, 151)] + [f"X{n}" for n in range(1, 25)]
STATES = ("done", "partly", "open")
TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")


class Row(NamedTuple):
    """One row of the page's tables."""

    number: str
    title: str
    command: str
    state: str
    shown: str

    @property
    def tests(self) -> list[tuple[str, str]]:
        """The tests that it names: file and function."""
        return TEST.findall(self.shown)

    @property
    def missing(self) -> str:
        """What it says is missing: all that it says beside its tests."""
        return TEST.sub("", self.shown).strip(" ,;").removeprefix("missing:").strip()


def rows() -> list[Row]:
    """Return the rows of all tables."""
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.splitlines() if line.startswith("| ")]
    return [Row(*row) for row in cells if row[0] != "#" and set(row[0]) != {"-"}]


def spans(text: str) -> list[str]:
    """Return what stands in code."""
    return re.findall(r"`([^`]+)`", text)


def test_every_number_is_there_once_in_order() -> None:
    assert [row.number for row in rows()] == NUMBERS


def test_the_counts_are_right() -> None:
    found = [sum(row.state == state for row in rows()) for state in STATES]
    done, partly, left = found
    assert sum(found) == len(NUMBERS)
    assert f"Of {len(NUMBERS)} rows {done} are done, {partly} partly, {left} open." in PAGE


def test_every_row_keeps_to_its_state() -> None:
    for row in rows():
        assert row.title, row.number
        if row.state == "open":
            assert row.tests == [], f"{row.number} is open and names a test"
            assert row.missing, f"{row.number} does not say what is missing"
        else:
            assert row.command, f"{row.number} names no command or call"
            assert row.tests, f"{row.number} is {row.state} without a test"
            assert bool(row.missing) == (row.state == "partly"), row.number
            assert ("; missing: " in row.shown) == (row.state == "partly"), row.number


def test_every_test_that_is_named_exists() -> None:
    """Read from the source, so that a test that cannot be imported here is found too."""
    defined: dict[str, set[str]] = {}
    for row in rows():
        for file, name in row.tests:
            path = ROOT / "tests" / file
            assert path.is_file(), f"{row.number}: there is no tests/{file}"
            if file not in defined:
                tree = ast.parse(path.read_text("utf-8"))
                defined[file] = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
                defined[file] |= {node.name for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef)}
            assert name in defined[file], f"{row.number}: tests/{file} has no {name}"
            assert name.startswith("test_"), f"{row.number}: {name} is not collected"


def test_nothing_else_looks_like_a_test() -> None:
    """A name that the expression above does not read would not be checked."""
    assert PAGE.count("::") == sum(len(row.tests) for row in rows()) + PAGE.count("FILE::TEST")


@pytest.mark.parametrize("line", sorted({s for s in spans(PAGE) if s.startswith("interlock ")}))
def test_every_command_exists(line: str, command: Callable[[str], None]) -> None:
    command(line)


def test_every_route_exists() -> None:
    nothing: Any = None
    endpoints = [endpoint for protocol in protocols() for endpoint in protocol.routes(nothing)]
    endpoints += [*Control(nothing, nothing, nothing).routes(), *explanations(nothing)]
    endpoints += Labels(nothing, SimpleNamespace(database=nothing, predictions=nothing, clock=nothing)).routes()
    endpoints = described(endpoints, nothing, nothing)
    known = {(e.method, shape(e.path)) for e in endpoints} | {(verb, shape(path)) for verb, path in PERMISSIONS}
    named = {tuple(s.split(" ")) for s in spans(PAGE) if re.match(r"(GET|POST|PUT) /", s)}
    assert named
    assert [f"{verb} {path}" for verb, path in named if (verb, shape(path)) not in known] == []


def shape(path: str) -> str:
    """Return a path with its variable parts alike."""
    return re.sub(r"\{\w+\}|\b[A-Z]+\b", "*", path)


def test_every_table_of_the_project_file_exists() -> None:
    known = set(re.findall(r"^## `(\[.*\])`$", (ROOT / "docs/reference/toml.md").read_text("utf-8"), re.MULTILINE))
    named = {s for s in spans(PAGE) if re.fullmatch(r"\[.+\]", s)}
    assert named
    assert named - known == set()


def test_every_event_and_public_name_exists() -> None:
    assert set(re.findall(r"event `([\w.]+)`", PAGE)) - set(KINDS) == set()
    for name in {s.partition(".")[2] for s in spans(PAGE) if re.fullmatch(r"interlock\.\w+", s)}:
        assert getattr(interlock, name)
